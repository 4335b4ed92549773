//! Sampling rule: selects a run by its trace id, or by the name or the key of its root.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::trace::{TraceId, TraceState};
use retrace_protocol::sampling::is_sampled;

use crate::sampling::sample_key::{RootSpan, SampleKey};
use crate::sampling::threshold::{ProbabilityState, Threshold};

/// True once a [`RetraceSampler`](crate::RetraceSampler) has decided on a span of this process.
static HAS_DECIDED: AtomicBool = AtomicBool::new(false);

/// Sampling rule for the root of a run.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub rate: f64,
    pub threshold: Option<Threshold>,
    pub seed: Option<String>,
    /// Key by which a rule with a seed decides, in place of the name of the root.
    pub key: Option<SampleKey>,
    /// While this is true, the rule does not apply.
    yields_to: Option<&'static AtomicBool>,
}

impl Rule {
    /// Creates a rule. An empty seed counts as none.
    pub(crate) fn new(rate: f64, seed: Option<String>) -> Self {
        let seed = seed.filter(|seed| !seed.is_empty());
        Self { rate, threshold: Threshold::of(rate), seed, key: None, yields_to: None }
    }

    /// Sets the key by which a rule with a seed decides.
    pub(crate) fn with_key(self, key: Option<SampleKey>) -> Self {
        Self { key, ..self }
    }

    /// Makes the rule apply only as long as no [`RetraceSampler`](crate::RetraceSampler) decides in this process, so that one rate
    /// is not applied twice.
    pub(crate) fn yielding_to_samplers(self) -> Self {
        self.yielding_to(&HAS_DECIDED)
    }

    /// Notes that a [`RetraceSampler`](crate::RetraceSampler) decides in this process.
    pub(crate) fn note_sampler() {
        if !HAS_DECIDED.load(Ordering::Relaxed) {
            HAS_DECIDED.store(true, Ordering::Relaxed);
        }
    }

    /// Makes the rule apply only while `flag` is false.
    pub(crate) fn yielding_to(self, flag: &'static AtomicBool) -> Self {
        Self { yields_to: Some(flag), ..self }
    }

    /// Returns false if another sampler decides.
    pub(crate) fn applies(&self) -> bool {
        self.yields_to.is_none_or(|flag| !flag.load(Ordering::Relaxed))
    }

    /// Returns true if the root decides, by its name or its key.
    pub(crate) fn wants_root(&self) -> bool {
        self.seed.is_some()
    }

    /// Returns true if a run with this root is kept.
    pub(crate) fn keeps(&self, trace_id: TraceId, root: &RootSpan<'_>, state: &TraceState) -> bool {
        match &self.seed {
            Some(seed) => self.keeps_by_root(seed, root),
            None => self.keeps_by_id(trace_id, &ProbabilityState::of(state)),
        }
    }

    /// Returns true if a run of this trace is kept, without a seed.
    pub(crate) fn keeps_trace(&self, trace_id: TraceId, state: &TraceState) -> bool {
        self.keeps_by_id(trace_id, &ProbabilityState::of(state))
    }

    pub(crate) fn keeps_by_root(&self, seed: &str, root: &RootSpan<'_>) -> bool {
        let key = self.key.as_ref().map_or(Cow::Borrowed(root.name), |key| key.of(root));
        is_sampled(self.rate, seed, &key)
    }

    pub(crate) fn keeps_by_id(&self, trace_id: TraceId, probability: &ProbabilityState<'_>) -> bool {
        let randomness = probability.randomness().unwrap_or_else(|| trailing_56_bits(trace_id));
        self.threshold.is_some_and(|threshold| threshold.keeps(randomness))
    }
}

/// Returns the bits that W3C Trace Context level 2 requires to be random.
pub(crate) fn trailing_56_bits(trace_id: TraceId) -> u64 {
    const BITS: u128 = (1 << 56) - 1;
    u64::try_from(u128::from_be_bytes(trace_id.to_bytes()) & BITS).unwrap_or_default()
}
