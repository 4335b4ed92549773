//! Replays: each call of a run is answered from a cassette, let out, or refused.

mod binding;
mod decide;
mod fork;
mod matching;
mod options;

use std::collections::{HashMap, HashSet};

use retrace_protocol::SpanType;
use serde_json::Value;

pub use fork::{Fork, ForkPoint, SubstitutionError, Substitutions};
pub use options::{Normalize, Options};

use crate::cassette::{Cassette, CassetteError, Effects, Entry};
pub use crate::mode::Mode;
#[doc(hidden)]
pub use crate::refusal::POISONED;
use crate::refusal::quoted;
pub use crate::refusal::{RefusalReason, Refused};
use crate::report::{CallId, Report};
use crate::{Fingerprint, Lane};
use binding::Bindings;

/// A call that is to be answered.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Enclosing steps.
    pub lane: &'a Lane,
    /// Type of the span.
    pub span_type: SpanType,
    /// Name: the operation of a model call, else the name of the step.
    pub name: &'a str,
    /// Model that is requested.
    pub model: Option<&'a str>,
    /// Request as it is sent.
    pub request: Value,
    /// Effects of a step; [`Effects::External`] where it states none.
    pub effects: Effects,
    /// Lane of what happens inside of a step.
    pub inner: Option<&'a Lane>,
}

impl CallId {
    /// Returns the identification of a live call.
    #[must_use]
    pub fn of(call: &Call<'_>) -> Self {
        let (lane, span_type) = (call.lane.to_string(), call.span_type.as_str());
        Self { ordinal: None, lane, span_type, name: call.name.to_owned() }
    }
}

/// Decision on a call.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decision {
    /// It is answered by this entry.
    Answer(Box<Entry>),
    /// It is answered by this value, in the place of the recorded result.
    Substitute(Value),
    /// It goes out, with this request where one is given.
    Live {
        /// Request in the place of the caller's.
        altered: Option<Value>,
        /// Number for [`Replay::end_live`].
        ticket: usize,
        /// Token ids of the recorded response, for [`Replay::end_verified`]; empty unless they are to be compared.
        recorded_tokens: Vec<u64>,
    },
    /// It does not go out.
    Refuse(Box<Refused>),
}

/// Answers the calls of one run from a cassette. It makes no I/O but reading the cassette; share it behind a lock.
///
/// A call costs the parsing of one entry and one hash of its request, and a search among the entries of its lane that are not
/// used yet.
#[derive(Debug)]
pub struct Replay {
    cassette: Cassette,
    options: Options,
    /// Place of the fork point in the index.
    fork: Option<usize>,
    has_forked: bool,
    /// The changes at the fork point were applied.
    has_substituted: bool,
    /// A step was executed that may be the one at the fork point.
    may_have_executed_point: bool,
    /// Fingerprints through `normalize`, where the stored ones cannot be used.
    normalized: Option<Vec<Fingerprint>>,
    used: Vec<bool>,
    /// Places in the index, by lane, type and name, in order.
    places: HashMap<(usize, SpanType, usize), Places>,
    bindings: Bindings,
    /// Recorded lanes inside of steps that were answered as a whole.
    covered: HashSet<Lane>,
    is_poisoned: bool,
    report: Report,
}

/// Entries of one kind in one lane.
#[derive(Debug, Default)]
struct Places {
    at: Vec<usize>,
    /// Number of entries at the beginning that are all used.
    first_unused: usize,
}

/// A replay that cannot begin.
#[non_exhaustive]
pub enum ReplayError {
    /// The cassette cannot be read.
    Cassette(CassetteError),
    /// The cassette has no such entry.
    NoForkPoint {
        /// Cassette.
        file: String,
        /// Position that the fork names.
        at: ForkPoint,
    },
    /// The call at the fork point has no place for a change.
    Substitution {
        /// Cassette.
        file: String,
        /// Fork point.
        at: ForkPoint,
        /// Change, and why it has no place.
        error: SubstitutionError,
    },
    /// Changes are stated, and no fork point at which they apply.
    SubstitutionWithoutFork {
        /// Names of the changes.
        names: Vec<String>,
    },
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl std::fmt::Debug for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cassette(error) => error.fmt(f),
            Self::NoForkPoint { file, at } => {
                write!(f, "cassette {file} has no fork point at {at}; name one of its entries")
            }
            Self::Substitution { file, at, error } => write!(f, "cassette {file} cannot be forked at {at}: {error}"),
            Self::SubstitutionWithoutFork { names } => {
                write!(f, "{} cannot be changed without a fork point: name one with `from`", quoted(names))
            }
        }
    }
}

impl std::error::Error for ReplayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Cassette(error) => Some(error),
            Self::Substitution { error, .. } => Some(error),
            Self::NoForkPoint { .. } | Self::SubstitutionWithoutFork { .. } => None,
        }
    }
}

impl From<CassetteError> for ReplayError {
    fn from(error: CassetteError) -> Self {
        Self::Cassette(error)
    }
}

impl Replay {
    /// Begins a replay.
    ///
    /// # Errors
    /// A fork point that the cassette does not have, or a change that has no place there. With `normalize` every entry is read once, and its errors are returned.
    pub fn new(mut cassette: Cassette, options: Options) -> Result<Self, ReplayError> {
        let normalized = match (&options.normalize, cassette.header().normalized) {
            // The fingerprints of the file are through no function, or through the one that is given again here.
            (None, false) | (Some(_), true) => None,
            (normalize, _) => {
                let normalize = normalize.clone();
                Some(cassette.fingerprints_by(|entry| {
                    let mut request = entry.request.to_value().unwrap_or_default();
                    if let Some(normalize) = &normalize {
                        normalize(&mut request);
                    }
                    Fingerprint::of(&entry.name, entry.model.as_deref(), &request)
                })?)
            }
        };
        let fork = match &options.fork {
            None => None,
            Some(fork) => match fork.at.resolve(&cassette) {
                Some(at) => {
                    let span_type = cassette.index().get(at).map(|entry| entry.span_type);
                    if let Some(Err(error)) = span_type.map(|span_type| fork.substitutions.check(span_type)) {
                        let file = cassette.file().to_owned();
                        return Err(ReplayError::Substitution { file, at: fork.at.clone(), error });
                    }
                    Some(at)
                }
                None => {
                    let file = cassette.file().to_owned();
                    return Err(ReplayError::NoForkPoint { file, at: fork.at.clone() });
                }
            },
        };
        let mut places: HashMap<_, Places> = HashMap::new();
        for (at, entry) in cassette.index().iter().enumerate() {
            places.entry((entry.lane, entry.span_type, entry.name)).or_default().at.push(at);
        }
        let report = Report::new(cassette.file(), cassette.index().len(), options.mode);
        Ok(Self {
            used: vec![false; cassette.index().len()],
            cassette,
            options,
            fork,
            has_forked: false,
            has_substituted: false,
            may_have_executed_point: false,
            normalized,
            places,
            bindings: Bindings::default(),
            covered: HashSet::new(),
            is_poisoned: false,
            report,
        })
    }

    /// Returns the cassette.
    #[must_use]
    pub fn cassette(&self) -> &Cassette {
        &self.cassette
    }

    /// Returns true if a call was refused: the run fails.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    /// Returns true if the fork point was reached.
    #[must_use]
    pub fn has_forked(&self) -> bool {
        self.has_forked
    }

    /// Returns true if an entry stands before the fork point; without a fork point each does.
    #[must_use]
    pub fn is_before_fork(&self, entry: &Entry) -> bool {
        let fork = self.fork.and_then(|fork| self.cassette.index().get(fork));
        fork.is_none_or(|fork| entry.ordinal < fork.ordinal)
    }

    /// Returns the report so far, with the entries that are not used yet.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = self.report.clone();
        report.unused = self.unused().collect();
        report
    }

    /// Entries with a result that were not used, but for those inside of steps that were answered as a whole and those at and
    /// after a fork point that was reached.
    fn unused(&self) -> impl Iterator<Item = CallId> {
        let entries = self.cassette.index().iter().zip(&self.used).enumerate();
        let is_replaced = |at: usize| self.has_forked && self.fork.is_some_and(|fork| at >= fork);
        entries
            .filter(move |(at, (entry, used))| {
                let lane = self.cassette.lane(entry);
                !**used && entry.has_result && !is_replaced(*at) && !self.is_covered(lane)
            })
            .map(|(at, _)| self.recorded_id(at))
    }

    fn is_covered(&self, lane: &Lane) -> bool {
        !self.covered.is_empty()
            && (0..=lane.segments().len()).any(|depth| self.covered.contains(&lane.truncated(depth)))
    }

    fn recorded_id(&self, at: usize) -> CallId {
        match self.cassette.index().get(at) {
            Some(entry) => CallId {
                ordinal: Some(entry.ordinal),
                lane: self.cassette.lane(entry).to_string(),
                span_type: entry.span_type.as_str(),
                name: self.cassette.name(entry).to_owned(),
            },
            None => CallId::default(),
        }
    }

    fn fingerprint(&self, at: usize) -> Option<Fingerprint> {
        match &self.normalized {
            Some(normalized) => normalized.get(at).copied(),
            None => self.cassette.index().get(at).map(|entry| entry.fingerprint),
        }
    }
}
