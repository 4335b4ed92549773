//! Decisions about which runs are recorded: rules and their parts, without a sampler.

pub(crate) mod rule;
pub(crate) mod sample_key;
pub(crate) mod threshold;

pub(crate) use self::rule::Rule;

/// Selects the runs that are sent because they failed although they were not sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failures {
    /// None: spans that were not sampled are dropped at once.
    Off,
    /// Runs whose root failed.
    Root,
    /// Runs in which any span failed.
    #[default]
    AnySpan,
}
