//! Sampler: selects the runs that are recorded, when they begin.

pub(crate) mod head_sampling;

use std::fmt;
use std::sync::Arc;

use opentelemetry::trace::{Link, SpanContext, SpanKind, TraceContextExt as _, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};
use retrace_protocol::sampling::is_sampled;

use crate::config::{BuildError, Sampling};
use crate::log::startup_log;
use crate::sampler::head_sampling::AlwaysSampled;
use crate::sampling::Rule;
use crate::sampling::rule::trailing_56_bits;
use crate::sampling::sample_key::{RootSpan, SampleKey};
use crate::sampling::threshold::ProbabilityState;
use crate::span::start_hint;

/// Records a share of all runs, and those that fail.
///
/// ```
/// use opentelemetry_retrace::RetraceSampler;
/// use opentelemetry_sdk::trace::SdkTracerProvider;
///
/// let sampler = RetraceSampler::builder().with_sample_rate(0.1).build()?;
/// let provider = SdkTracerProvider::builder().with_sampler(sampler).build();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # How a run is decided on
/// * **With a seed** by the name of its root span, as Retrace's other SDKs decide (PROTOCOL.md section 16): a
///   name is always or never recorded, in every service and language. Below a server the root is the server's
///   span: `POST /ask` decides for all agents behind it. [`RetraceSamplerBuilder::with_sample_key`] chooses
///   another key, such as a tenant.
/// * **Without a seed** by its trace id, as OpenTelemetry's specification defines consistent probability
///   sampling: the run is kept when the id's last 56 bits, or the `rv` of the `ot` entry in `tracestate`, are
///   at or above a threshold, which is passed on as `th`. A higher rate keeps all runs that a lower one
///   keeps. `opentelemetry_sdk`'s own `TraceIdRatioBased` compares other bits the other way round: the two
///   agree only where one of them follows its parent.
/// * **Below a parent**, whatever the rate, as the parent was decided on;
///   [`RetraceSamplerBuilder::with_parent_based`].
///
/// # Failures
/// A run that is not kept is still recorded in this process, though it is marked as not sampled and no
/// exporter gets it: [`crate::RetraceSpanProcessor`] holds its spans and sends them if it fails. That costs
/// as much as recording; [`RetraceSamplerBuilder::with_failures`] switches it off.
///
/// # Cost
/// A run that is kept by trace id has a `th` in its `tracestate`, at a rate of 1 too, which the SDK copies
/// with every span: about 0.2 µs each. Beside a [`crate::RetraceSpanProcessor`] the sampler scans the keys of
/// the attributes that a span begins with, so that the processor needs no copy of irrelevant ones.
#[derive(Clone)]
pub struct RetraceSampler(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rule: Rule,
    parent_based: bool,
    failures: bool,
}

impl RetraceSampler {
    /// Returns a builder. Settings that are not made come from the environment, then from the defaults.
    pub fn builder() -> RetraceSamplerBuilder {
        RetraceSamplerBuilder::default()
    }

    /// Returns true if every root is recorded, sampled or not.
    pub(crate) fn records_all(&self) -> bool {
        self.0.failures || (self.0.rule.rate >= 1.0)
    }

    /// Returns true if the sampler uses more of a root than its trace id and its name.
    pub(crate) fn wants_whole_root(&self) -> bool {
        self.0.rule.key.is_some()
    }

    /// Returns true if a root of a new trace is sampled, by a rule without a key.
    pub(crate) fn keeps_root(&self, trace_id: TraceId, name: &str) -> bool {
        let Rule { rate, threshold, seed, .. } = &self.0.rule;
        match seed {
            Some(seed) => is_sampled(*rate, seed, name),
            None => threshold.is_some_and(|threshold| threshold.keeps(trailing_56_bits(trace_id))),
        }
    }

    fn root(&self, trace_id: TraceId, root: &RootSpan<'_>, state: &TraceState) -> SamplingResult {
        let rule = &self.0.rule;
        let probability = ProbabilityState::of(state);
        let kept = match &rule.seed {
            Some(seed) => rule.keeps_by_root(seed, root),
            None => rule.keeps_by_id(trace_id, &probability),
        };
        // The probability of a decision by name is unknown.
        let threshold = rule.threshold.filter(|_| kept && !rule.wants_root());
        let trace_state = probability.written_to(state, threshold);
        self.result(kept, trace_state)
    }

    fn result(&self, kept: bool, trace_state: TraceState) -> SamplingResult {
        let decision = match kept {
            true => SamplingDecision::RecordAndSample,
            false if self.0.failures => SamplingDecision::RecordOnly,
            false => SamplingDecision::Drop,
        };
        SamplingResult { decision, attributes: Vec::new(), trace_state }
    }
}

impl ShouldSample for RetraceSampler {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        let parent = parent_context.filter(|context| context.has_active_span()).map(|context| context.span());
        let parent: Option<&SpanContext> =
            parent.as_ref().map(opentelemetry::trace::SpanRef::span_context).filter(|p| p.is_valid());
        start_hint::note(parent, name, attributes);
        Rule::note_sampler();
        if parent_context.is_some_and(|context| context.get::<AlwaysSampled>().is_some()) {
            let state = parent.map_or(TraceState::NONE, |parent| parent.trace_state().clone());
            return self.result(true, state);
        }
        match parent {
            Some(parent) if self.0.parent_based => self.result(parent.is_sampled(), parent.trace_state().clone()),
            Some(parent) => self.root(trace_id, &RootSpan::new(name, kind, attributes), parent.trace_state()),
            None => self.root(trace_id, &RootSpan::new(name, kind, attributes), &TraceState::NONE),
        }
    }
}

impl fmt::Debug for RetraceSampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { rule: Rule { rate, seed, .. }, parent_based, failures } = &*self.0;
        write!(f, "RetraceSampler{{rate={rate},seed={seed:?},parent_based={parent_based},failures={failures}}}")
    }
}

/// Configures a [`RetraceSampler`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until build() is called"]
pub struct RetraceSamplerBuilder {
    rate: Option<f64>,
    seed: Option<String>,
    key: Option<SampleKey>,
    parent_based: Option<bool>,
    failures: Option<bool>,
}

impl RetraceSamplerBuilder {
    /// Sets the share of runs that are kept, from 0 to 1. `RETRACE_SAMPLE_RATE`, else `OTEL_TRACES_SAMPLER`
    /// and `OTEL_TRACES_SAMPLER_ARG`; 1 by default.
    pub fn with_sample_rate(mut self, rate: f64) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Sets the seed: the name of the root span and this seed decide. `RETRACE_SAMPLE_SEED`; none by default.
    pub fn with_sample_seed(mut self, seed: impl Into<String>) -> Self {
        self.seed = Some(seed.into());
        self
    }

    /// Sets the key for a seed: this key of the root span decides instead of its name. Equal keys are always
    /// decided alike. Without a seed it has no effect.
    ///
    /// The key is computed on the thread that begins the root, from its name and the attributes that it
    /// begins with. On `None`, and on a panic, the name is used. Another process that is to decide alike
    /// needs the same rate, seed and keys.
    ///
    /// ```
    /// use opentelemetry_retrace::RetraceSampler;
    ///
    /// // One tenant in ten, with all of its runs.
    /// let sampler = RetraceSampler::builder()
    ///     .with_sample_rate(0.1)
    ///     .with_sample_seed("2026")
    ///     .with_sample_key(|root| root.attribute("tenant.id").map(ToString::to_string))
    ///     .build()?;
    /// # Ok::<(), opentelemetry_retrace::BuildError>(())
    /// ```
    pub fn with_sample_key(mut self, key: impl Fn(&RootSpan<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        self.key = Some(SampleKey::new(key));
        self
    }

    /// Sets whether a span below another is decided on as that one was; on by default, unless
    /// `OTEL_TRACES_SAMPLER` names a sampler that is not parent-based. Off for use inside of a parent-based
    /// sampler.
    pub fn with_parent_based(mut self, parent_based: bool) -> Self {
        self.parent_based = Some(parent_based);
        self
    }

    /// Sets whether runs that are not kept are recorded in this process, so that those that fail can be sent;
    /// on by default.
    pub fn with_failures(mut self, failures: bool) -> Self {
        self.failures = Some(failures);
        self
    }

    /// Builds the sampler.
    ///
    /// # Errors
    /// A rate set in code that is not from 0 to 1. One in the environment that cannot be read keeps the
    /// default, with a warning that the exporter or processor of the process also returns by `warnings()`.
    pub fn build(self) -> Result<RetraceSampler, BuildError> {
        let (from_environment, warnings) = Sampling::read(&|name| std::env::var_os(name));
        startup_log::warn_shared("setting", warnings);
        self.build_with(from_environment)
    }

    fn build_with(self, environment: Sampling) -> Result<RetraceSampler, BuildError> {
        let rate = match self.rate {
            Some(rate) => Sampling::checked(rate, "with_sample_rate")?,
            None => environment.rate.unwrap_or(1.0),
        };
        Ok(RetraceSampler(Arc::new(Inner {
            rule: Rule::new(rate, self.seed.or(environment.seed)).with_key(self.key),
            parent_based: self.parent_based.or(environment.parent_based).unwrap_or(true),
            failures: self.failures.unwrap_or(true),
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{SpanId, TraceFlags};
    use proptest::prelude::*;
    use std::str::FromStr as _;

    fn sampler(rate: f64) -> RetraceSamplerBuilder {
        RetraceSampler::builder().with_sample_rate(rate)
    }

    fn built(builder: RetraceSamplerBuilder) -> RetraceSampler {
        builder.build_with(Sampling::default()).unwrap()
    }

    fn decide(sampler: &RetraceSampler, parent: Option<&Context>, trace_id: u128, name: &str) -> SamplingResult {
        sampler.should_sample(parent, TraceId::from(trace_id), name, &SpanKind::Internal, &[], &[])
    }

    fn kept(sampler: &RetraceSampler, trace_id: u128) -> bool {
        decide(sampler, None, trace_id, "run").decision == SamplingDecision::RecordAndSample
    }

    fn parent(sampled: bool, state: &str) -> Context {
        let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        let state = TraceState::from_str(state).unwrap();
        Context::new().with_remote_span_context(SpanContext::new(
            TraceId::from(7_u128),
            SpanId::from(7_u64),
            flags,
            true,
            state,
        ))
    }

    #[test]
    fn with_a_seed_the_name_decides_as_in_the_other_sdks() {
        let sampler = built(sampler(0.5).with_sample_seed("seed"));
        for trace_id in [1, u128::MAX, 1 << 55] {
            let decided = |name| decide(&sampler, None, trace_id, name).decision;
            assert_eq!(decided("Agent"), SamplingDecision::RecordAndSample);
            assert_eq!(decided("agent"), SamplingDecision::RecordOnly);
        }
    }

    #[test]
    fn with_a_key_the_attribute_decides_and_the_name_where_there_is_none() {
        let seeded = sampler(0.5).with_sample_seed("seed");
        let keyed = built(seeded.clone().with_sample_key(|root| root.attribute("agent").map(ToString::to_string)));
        let by_attribute = |value: &'static str| {
            let attributes = [KeyValue::new("agent", value)];
            keyed.should_sample(None, TraceId::from(7), "POST /ask", &SpanKind::Server, &attributes, &[]).decision
        };
        assert_eq!(by_attribute("Agent"), SamplingDecision::RecordAndSample);
        assert_eq!(by_attribute("agent"), SamplingDecision::RecordOnly);
        for name in ["Agent", "agent", "POST /ask"] {
            let panicking = built(seeded.clone().with_sample_key(|_| panic!("on purpose")));
            let plain = decide(&built(seeded.clone()), None, 7, name).decision;
            assert_eq!(decide(&keyed, None, 7, name).decision, plain, "{name}");
            assert_eq!(decide(&panicking, None, 7, name).decision, plain, "{name}");
        }
        let unseeded = built(sampler(0.5).with_sample_key(|_| Some("agent".to_owned())));
        assert!(kept(&unseeded, 1 << 55) && !kept(&unseeded, 1), "without a seed the id decides");
    }

    #[test]
    fn without_a_seed_the_last_bits_of_the_trace_id_decide() {
        let half = built(sampler(0.5));
        let at = 1_u128 << 55;
        assert!(kept(&half, at) && !kept(&half, at - 1) && kept(&half, at | 0xffff << 100));
        let result = decide(&half, None, at, "run");
        assert_eq!(result.trace_state.get("ot"), Some("th:8"));
        assert_eq!(
            decide(&half, None, at - 1, "run").trace_state.get("ot"),
            None,
            "nothing is known of what is dropped"
        );
        assert!(kept(&built(sampler(1.0)), 1) && !kept(&built(sampler(0.0)), u128::MAX));
    }

    #[test]
    fn stated_randomness_comes_before_that_of_the_id() {
        let half = built(sampler(0.5).with_parent_based(false));
        for (rv, decision) in
            [("80000000000000", SamplingDecision::RecordAndSample), ("7fffffffffffff", SamplingDecision::RecordOnly)]
        {
            let parent = parent(true, &format!("x=1,ot=p:3;rv:{rv};th:c,y=2"));
            let result = decide(&half, Some(&parent), 0, "run");
            assert_eq!(result.decision, decision);
            let ot = result.trace_state.get("ot").unwrap();
            assert!(ot.contains(&format!("rv:{rv}")) && ot.contains("p:3") && !ot.contains("th:c"), "{ot}");
            assert_eq!((result.trace_state.get("x"), result.trace_state.get("y")), (Some("1"), Some("2")));
        }
    }

    #[test]
    fn below_a_parent_its_decision_holds_and_its_state_passes() {
        for (rate, parent_based, sampled, expected) in [
            (0.0, true, true, SamplingDecision::RecordAndSample),
            (1.0, true, false, SamplingDecision::RecordOnly),
            (0.0, false, true, SamplingDecision::RecordOnly),
            (1.0, false, false, SamplingDecision::RecordAndSample),
        ] {
            let sampler = built(sampler(rate).with_parent_based(parent_based));
            let result = decide(&sampler, Some(&parent(sampled, "a=b")), 7, "run");
            assert_eq!(result.decision, expected);
            assert_eq!(result.trace_state.get("a"), Some("b"));
        }
    }

    #[test]
    fn without_failures_what_is_not_kept_costs_nothing() {
        let sampler = built(sampler(0.0).with_failures(false));
        assert_eq!(decide(&sampler, None, 7, "run").decision, SamplingDecision::Drop);
        assert_eq!(decide(&sampler, Some(&parent(false, "")), 7, "run").decision, SamplingDecision::Drop);
    }

    #[test]
    fn a_rate_that_is_none_is_an_error_in_code() {
        for rate in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let error = sampler(rate).build_with(Sampling::default()).unwrap_err().to_string();
            assert!(error.contains("with_sample_rate") && error.contains("0 to 1"), "{error}");
        }
    }

    #[test]
    fn it_tells_what_it_is() {
        let text = format!("{:?}", built(sampler(0.000_012_5).with_sample_seed("s")));
        assert_eq!(text, r#"RetraceSampler{rate=0.0000125,seed=Some("s"),parent_based=true,failures=true}"#);
    }

    #[test]
    fn the_share_is_the_rate() {
        let mut random = fastrand::Rng::with_seed(7);
        let sampler = built(sampler(0.1));
        let kept = (0..100_000).filter(|_| kept(&sampler, random.u128(..))).count();
        assert!((9_700..=10_300).contains(&kept), "{kept}");
    }

    proptest! {
        #[test]
        fn a_higher_rate_keeps_what_a_lower_one_keeps(low in 0.0..=1.0_f64, high in 0.0..=1.0_f64, trace_id: u128) {
            let (low, high) = (low.min(high), low.max(high));
            prop_assert!(!kept(&built(sampler(low)), trace_id) || kept(&built(sampler(high)), trace_id));
        }
    }
}
