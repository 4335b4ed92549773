//! Tail sampling: selects the runs that are recorded, those that were sampled and those that failed.
//!
//! Pure. The spans of a run that was not sampled are held untranslated until its root has ended; then they
//! are passed on if the run failed, and dropped otherwise.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use foldhash::HashMap;
use opentelemetry::trace::Status;
use opentelemetry_sdk::trace::SpanData;

use crate::sampling::sample_key::RootSpan;
use crate::sampling::{Failures, Rule};
use crate::span::span_stub::is_local_root;
use crate::span::view::weight;
use crate::trace_context::RemoteRunContext;

/// Maximum number of remembered decisions about ended runs, and of held runs.
const RUNS: usize = 10_000;

/// Bytes counted for a held run beside its spans: its entries in the table and in the order of age, which
/// grow by doubling.
const RUN_BYTES: usize = 256;
/// Bytes counted for a remembered decision, likewise.
const DECISION_BYTES: usize = 80;
/// Divisor for the share of the bytes that decisions may take, and runs whose spans were all dropped.
const SHARE: usize = 8;

/// Bounds of a [`TailSampler`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct TailSamplerLimits {
    /// Maximum bytes of everything that is held.
    pub bytes: usize,
    /// Time without a new span after which a run is dropped.
    pub idle: Duration,
}

/// Result for a span that has ended.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "most spans pass, and a box for each would cost more than the move")]
pub(crate) enum SamplingVerdict {
    /// The span passes.
    Span(SpanData),
    /// A held run passes; `incomplete` if some of it was dropped before, `for_failure` if it was not sampled.
    Run { spans: Vec<SpanData>, incomplete: bool, for_failure: bool },
    /// The span is held or dropped; `dropped` spans are dropped.
    Nothing { dropped: u64 },
}

/// Tail sampler before the recorder.
#[derive(Debug)]
pub(crate) struct TailSampler {
    rule: Option<Rule>,
    failures: Failures,
    limits: TailSamplerLimits,
    /// True if the runs of callers are joined; those are sent whatever the rule.
    joins: bool,
    runs: HashMap<[u8; 16], Run>,
    by_age: BTreeSet<(Duration, [u8; 16])>,
    weight: usize,
    /// Number of held spans.
    spans: u64,
    /// Number of held runs whose spans were all dropped.
    emptied: usize,
    decided: DecisionCache,
    /// Spans dropped since [`TailSampler::take_dropped`], by trace.
    dropped: Vec<([u8; 16], u64)>,
}

/// Held run.
#[derive(Debug, Default)]
struct Run {
    spans: Vec<SpanData>,
    /// Bytes of the spans, with the spare capacity.
    weight: usize,
    seen: Duration,
    failed: bool,
    incomplete: bool,
}

impl Run {
    fn push(&mut self, span: SpanData) {
        let (spans, slot) = (&mut self.spans, size_of::<SpanData>());
        if spans.len() == spans.capacity() {
            // The capacity grows by half: a span is large, and most runs have few.
            let before = spans.capacity();
            spans.reserve_exact(before / 2 + 1);
            self.weight += (spans.capacity() - before) * slot;
        }
        self.weight += weight(&span).saturating_sub(slot);
        spans.push(span);
    }
}

/// Decisions about the runs that began or ended last.
#[derive(Debug, Default)]
struct DecisionCache {
    passes: HashMap<[u8; 16], bool>,
    order: VecDeque<[u8; 16]>,
}

impl DecisionCache {
    fn of(&self, trace_id: &[u8; 16]) -> Option<bool> {
        self.passes.get(trace_id).copied()
    }

    fn weight(&self) -> usize {
        self.order.len() * DECISION_BYTES
    }

    fn note(&mut self, trace_id: [u8; 16], passes: bool, at_most: usize) {
        if self.passes.insert(trace_id, passes).is_none() {
            self.order.push_back(trace_id);
        }
        while self.order.len() > at_most {
            if let Some(oldest) = self.order.pop_front() {
                self.passes.remove(&oldest);
            }
        }
    }
}

fn trace_id(span: &SpanData) -> [u8; 16] {
    span.span_context.trace_id().to_bytes()
}

/// Returns true if the caller of the span, or of its root, records the trace. A root hands the caller's entry
/// down.
fn belongs_to_caller(span: &SpanData) -> bool {
    let by_sdk = || span.parent_span_is_remote && trace_id(span).starts_with(&span.parent_span_id.to_bytes());
    RemoteRunContext::in_state(span.span_context.trace_state()).is_some() || by_sdk()
}

fn has_failed(span: &SpanData) -> bool {
    matches!(span.status, Status::Error { .. })
}

impl TailSampler {
    pub(crate) fn new(rule: Option<Rule>, failures: Failures, limits: TailSamplerLimits) -> Self {
        Self {
            rule,
            failures,
            limits,
            joins: true,
            runs: HashMap::default(),
            by_age: BTreeSet::new(),
            weight: 0,
            spans: 0,
            emptied: 0,
            decided: DecisionCache::default(),
            dropped: Vec::new(),
        }
    }

    /// Sets whether the runs of callers are joined. By default they are.
    pub(crate) fn with_joins(mut self, joins: bool) -> Self {
        self.joins = joins;
        self
    }

    /// Returns true if a span that begins belongs to a sampled run.
    pub(crate) fn lets_begin(&mut self, span: &SpanData) -> bool {
        self.decide(span).unwrap_or(false)
    }

    /// Handles a span that has ended.
    pub(crate) fn ended(&mut self, span: SpanData, now: Duration) -> SamplingVerdict {
        if self.decide(&span) == Some(true) && !self.runs.contains_key(&trace_id(&span)) {
            return SamplingVerdict::Span(span);
        }
        self.hold(span, now)
    }

    /// Returns true if the run of this span is sampled; `None` while that is unknown.
    fn decide(&mut self, span: &SpanData) -> Option<bool> {
        if let Some(decided) = self.decided.of(&trace_id(span)) {
            return Some(decided);
        }
        let Some(rule) = self.rule.as_ref().filter(|rule| rule.applies()) else {
            return Some(span.span_context.is_sampled());
        };
        if !span.span_context.is_sampled() {
            return Some(false);
        }
        // A run that another service sends must be whole.
        if self.joins && belongs_to_caller(span) {
            self.decided.note(trace_id(span), true, self.decisions());
            return Some(true);
        }
        if !rule.wants_root() {
            return Some(rule.keeps_trace(span.span_context.trace_id(), span.span_context.trace_state()));
        }
        let at_most = self.decisions();
        // The decision by the root is known as soon as the root is.
        is_local_root(span).then(|| {
            let keeps = rule.keeps(span.span_context.trace_id(), &RootSpan::of(span), span.span_context.trace_state());
            self.decided.note(trace_id(span), keeps, at_most);
            keeps
        })
    }

    fn hold(&mut self, span: SpanData, now: Duration) -> SamplingVerdict {
        let id = trace_id(&span);
        let (sampled, is_root) = (self.decide(&span), is_local_root(&span));
        if self.failures == Failures::Off && sampled == Some(false) {
            let held = self.take(&id).map_or(0, |run| run.spans.len() as u64);
            return SamplingVerdict::Nothing { dropped: self.drop_spans(id, held + 1) };
        }
        let mut run = self.take(&id).unwrap_or_default();
        run.failed |= has_failed(&span) && (is_root || self.failures == Failures::AnySpan);
        run.seen = now;
        run.push(span);
        if sampled == Some(true) || (is_root && run.failed) {
            self.decided.note(id, true, self.decisions());
            let for_failure = sampled != Some(true);
            return SamplingVerdict::Run { spans: run.spans, incomplete: run.incomplete, for_failure };
        }
        if is_root {
            // If the run begins again under the same trace, from another process, it is decided on anew.
            return SamplingVerdict::Nothing { dropped: self.drop_spans(id, run.spans.len() as u64) };
        }
        self.put(id, run);
        SamplingVerdict::Nothing { dropped: self.make_room(usize::MAX) }
    }

    fn take(&mut self, id: &[u8; 16]) -> Option<Run> {
        let run = self.runs.remove(id)?;
        self.by_age.remove(&(run.seen, *id));
        self.weight -= run.weight;
        self.spans -= run.spans.len() as u64;
        self.emptied -= usize::from(run.spans.is_empty());
        Some(run)
    }

    fn put(&mut self, id: [u8; 16], run: Run) {
        self.by_age.insert((run.seen, id));
        self.weight += run.weight;
        self.spans += run.spans.len() as u64;
        self.emptied += usize::from(run.spans.is_empty());
        self.runs.insert(id, run);
    }

    /// Bytes of everything that is held: spans, runs and decisions.
    pub(crate) fn weight(&self) -> usize {
        self.weight + self.runs.len() * RUN_BYTES + self.decided.weight()
    }

    /// Maximum number of remembered decisions.
    fn decisions(&self) -> usize {
        RUNS.min(self.limits.bytes / SHARE / DECISION_BYTES)
    }

    /// Drops the spans of the runs that were silent longest until `bytes` bytes are enough; returns the
    /// number of dropped spans.
    pub(crate) fn make_room(&mut self, bytes: usize) -> u64 {
        // Decisions have a share of their own.
        let others = self.limits.bytes - self.limits.bytes / SHARE;
        let bytes = bytes.saturating_sub(self.decided.weight()).min(others);
        let mut dropped = 0;
        while self.runs.len() > RUNS {
            let Some((_, oldest)) = self.by_age.first().copied() else { break };
            let spans = self.take(&oldest).map_or(0, |run| run.spans.len() as u64);
            dropped += self.drop_spans(oldest, spans);
        }
        while self.weight + self.runs.len() * RUN_BYTES > bytes {
            let oldest = |is_empty: bool| {
                let held = |id| self.runs.get(id).is_some_and(|run| run.spans.is_empty() == is_empty);
                self.by_age.iter().find(|(_, id)| held(id)).map(|(_, id)| *id)
            };
            // A run without spans only records that some were dropped; the number of such runs is bounded.
            let emptied = oldest(true).filter(|_| self.emptied * RUN_BYTES > bytes / SHARE);
            let Some(oldest) = emptied.or_else(|| oldest(false)).or_else(|| oldest(true)) else { break };
            let Some(mut run) = self.take(&oldest) else { break };
            if !run.spans.is_empty() {
                dropped += self.drop_spans(oldest, run.spans.len() as u64);
                (run.spans, run.weight, run.incomplete) = (Vec::new(), 0, true);
                self.put(oldest, run);
            }
        }
        dropped
    }

    /// Drops the runs that were silent for too long; returns the number of dropped spans.
    pub(crate) fn advance(&mut self, now: Duration) -> u64 {
        let mut dropped = 0;
        while let Some((seen, id)) = self.by_age.first().copied() {
            if now < seen + self.limits.idle {
                break;
            }
            let spans = self.take(&id).map_or(0, |run| run.spans.len() as u64);
            dropped += self.drop_spans(id, spans);
        }
        dropped
    }

    /// Notes spans that are dropped; returns their number.
    fn drop_spans(&mut self, id: [u8; 16], spans: u64) -> u64 {
        if spans > 0 {
            self.dropped.push((id, spans));
        }
        spans
    }

    /// Takes the numbers of dropped spans by trace since the last call.
    pub(crate) fn take_dropped(&mut self) -> Vec<([u8; 16], u64)> {
        std::mem::take(&mut self.dropped)
    }

    /// Ends sampling: failed runs pass, the others are dropped.
    pub(crate) fn finish(&mut self) -> (Vec<(Vec<SpanData>, bool)>, u64) {
        let mut dropped = 0;
        let mut failed = Vec::new();
        for (_, id) in std::mem::take(&mut self.by_age) {
            let Some(run) = self.runs.remove(&id) else { continue };
            if run.failed {
                failed.push((run.spans, run.incomplete));
            } else {
                dropped += self.drop_spans(id, run.spans.len() as u64);
            }
        }
        (self.weight, self.spans, self.emptied) = (0, 0, 0);
        (failed, dropped)
    }

    /// Returns when [`TailSampler::advance`] next has work to do.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.by_age.first().map(|(seen, _)| *seen + self.limits.idle)
    }

    /// Number of held spans.
    pub(crate) fn held(&self) -> u64 {
        self.spans
    }

    /// Counts the held spans run by run: after a panic, and for tests.
    pub(crate) fn count_spans(&self) -> u64 {
        self.runs.values().map(|run| run.spans.len() as u64).sum()
    }

    /// Corrects the counts after a panic that may have come between a change and its count.
    pub(crate) fn recount(&mut self) {
        self.spans = self.count_spans();
        self.weight = self.runs.values().map(|run| run.weight).sum();
        self.emptied = self.runs.values().filter(|run| run.spans.is_empty()).count();
        self.by_age = self.runs.iter().map(|(id, run)| (run.seen, *id)).collect();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::testing::{in_trace, span_data};
    use opentelemetry::trace::{SpanContext, TraceFlags, TraceState};
    use proptest::prelude::*;

    const LIMITS: TailSamplerLimits = TailSamplerLimits { bytes: 1 << 20, idle: Duration::from_secs(60) };

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn gate(failures: Failures) -> TailSampler {
        TailSampler::new(None, failures, LIMITS)
    }

    fn unsampled(mut span: SpanData) -> SpanData {
        let context = &span.span_context;
        span.span_context = SpanContext::new(
            context.trace_id(),
            context.span_id(),
            TraceFlags::default(),
            false,
            TraceState::default(),
        );
        span
    }

    fn failed(mut span: SpanData) -> SpanData {
        span.status = Status::error("no");
        span
    }

    fn child() -> SpanData {
        unsampled(span_data(2, 1, "child"))
    }

    fn root() -> SpanData {
        unsampled(span_data(1, 0, "root"))
    }

    #[test]
    fn what_was_sampled_goes_through() {
        let mut gate = gate(Failures::AnySpan);
        let span = span_data(2, 1, "s");
        assert!(gate.lets_begin(&span));
        assert_eq!(gate.ended(span.clone(), secs(0)), SamplingVerdict::Span(span));
    }

    #[test]
    fn of_the_others_only_what_failed_does() {
        for (failures, child_fails, root_fails, passes) in [
            (Failures::AnySpan, false, false, false),
            (Failures::AnySpan, true, false, true),
            (Failures::AnySpan, false, true, true),
            (Failures::Root, true, false, false),
            (Failures::Root, false, true, true),
            (Failures::Off, true, true, false),
        ] {
            let mut gate = gate(failures);
            assert!(!gate.lets_begin(&root()));
            let fail = |span, fails| if fails { failed(span) } else { span };
            let (child, root) = (fail(child(), child_fails), fail(root(), root_fails));
            let dropped = u64::from(failures == Failures::Off);
            assert_eq!(gate.ended(child.clone(), secs(0)), SamplingVerdict::Nothing { dropped });
            let expected = match (passes, failures) {
                (true, _) => {
                    SamplingVerdict::Run { spans: vec![child, root.clone()], incomplete: false, for_failure: true }
                }
                (false, Failures::Off) => SamplingVerdict::Nothing { dropped: 1 },
                (false, _) => SamplingVerdict::Nothing { dropped: 2 },
            };
            assert_eq!(gate.ended(root, secs(0)), expected, "{failures:?} {child_fails} {root_fails}");
            assert_eq!((gate.held(), gate.weight), (0, 0));
        }
    }

    #[test]
    fn what_a_caller_records_goes_through_whatever_the_rule() {
        let rule = || Some(Rule::new(0.0, None));
        let called = |state: &str| {
            let mut span = span_data(2, 1, "s");
            let context = &span.span_context;
            let state = state.parse().unwrap();
            span.span_context =
                SpanContext::new(context.trace_id(), context.span_id(), TraceFlags::SAMPLED, false, state);
            span
        };
        let by_sdk = || SpanData { parent_span_is_remote: true, ..in_trace(span_data(2, 9, "s"), 9 << 64 | 7) };
        for (span, passes) in [(called("retrace=1;s:a"), true), (called("other=1"), false), (by_sdk(), true)] {
            assert_eq!(TailSampler::new(rule(), Failures::Off, LIMITS).lets_begin(&span), passes);
            assert!(!TailSampler::new(rule(), Failures::Off, LIMITS).with_joins(false).lets_begin(&span));
        }
    }

    #[test]
    fn what_ends_after_a_failed_run_belongs_to_it() {
        let mut gate = gate(Failures::AnySpan);
        gate.ended(failed(root()), secs(0));
        assert_eq!(gate.ended(child(), secs(1)), SamplingVerdict::Span(child()));
    }

    #[test]
    fn what_is_held_is_bounded_and_a_failure_says_what_is_missing() {
        let one = weight(&child());
        let mut gate = TailSampler::new(
            None,
            Failures::AnySpan,
            TailSamplerLimits { bytes: (one * 3 + RUN_BYTES * 4) * 8 / 7 + 8, ..LIMITS },
        );
        for n in 0..3_u8 {
            let span = unsampled(in_trace(span_data(2, 1, "child"), n.into()));
            assert_eq!(gate.ended(span, secs(n.into())), SamplingVerdict::Nothing { dropped: 0 });
        }
        let span = unsampled(in_trace(span_data(2, 1, "child"), 3));
        assert_eq!(gate.ended(span, secs(3)), SamplingVerdict::Nothing { dropped: 1 });
        let root = failed(unsampled(in_trace(span_data(1, 0, "root"), 0)));
        assert_eq!(
            gate.ended(root.clone(), secs(4)),
            SamplingVerdict::Run { spans: vec![root], incomplete: true, for_failure: true }
        );
        assert_eq!(gate.advance(secs(61)), 1);
        assert_eq!((gate.next_deadline(), gate.held()), (Some(secs(62)), 2));
    }

    #[test]
    fn at_the_end_what_failed_goes_through() {
        let mut gate = gate(Failures::AnySpan);
        gate.ended(failed(child()), secs(0));
        gate.ended(unsampled(in_trace(span_data(4, 3, "other"), 8)), secs(0));
        assert_eq!(gate.finish(), (vec![(vec![failed(child())], false)], 1));
        assert_eq!((gate.held(), gate.weight), (0, 0));
    }

    #[test]
    fn a_rule_of_the_environment_yields_to_a_sampler() {
        static DECIDES: AtomicBool = AtomicBool::new(false);
        let mut gate = TailSampler::new(Some(Rule::new(0.0, None).yielding_to(&DECIDES)), Failures::Off, LIMITS);
        assert!(!gate.lets_begin(&span_data(1, 0, "first")));
        DECIDES.store(true, Ordering::Relaxed);
        assert!(gate.lets_begin(&in_trace(span_data(1, 0, "second"), 2)));
    }

    #[test]
    fn a_rule_of_its_own_decides_for_retrace_alone() {
        let rule = |rate, seed: Option<&str>| Some(Rule::new(rate, seed.map(str::to_owned)));
        let (child, root) = (span_data(2, 1, "child"), span_data(1, 0, "Agent"));
        // The name of the root decides, which comes last.
        for (rate, passes) in [(0.5, true), (0.1, false)] {
            let mut gate = TailSampler::new(rule(rate, Some("seed")), Failures::AnySpan, LIMITS);
            assert_eq!(gate.ended(child.clone(), secs(0)), SamplingVerdict::Nothing { dropped: 0 });
            let passed = gate.ended(root.clone(), secs(0));
            let run = SamplingVerdict::Run {
                spans: vec![child.clone(), root.clone()],
                incomplete: false,
                for_failure: false,
            };
            assert_eq!(passed, if passes { run } else { SamplingVerdict::Nothing { dropped: 2 } });
        }
        // A processor sees the root first.
        let mut gate = TailSampler::new(rule(0.5, Some("seed")), Failures::AnySpan, LIMITS);
        assert!(gate.lets_begin(&root) && gate.lets_begin(&child));
        assert_eq!(gate.ended(child.clone(), secs(0)), SamplingVerdict::Span(child.clone()));
        // The trace id decides, which every span has. The one of the test is very small.
        let mut gate = TailSampler::new(rule(0.5, None), Failures::AnySpan, LIMITS);
        assert!(!gate.lets_begin(&child));
        let mut gate = TailSampler::new(rule(1.0, None), Failures::AnySpan, LIMITS);
        assert!(gate.lets_begin(&child));
    }

    proptest! {
        #[test]
        fn every_span_comes_through_or_is_dropped_once(
            spans in prop::collection::vec((0_u128..6, 1_u64..8, 0_u64..4, any::<bool>(), any::<bool>()), 0..200),
            bytes in 1_000_usize..20_000,
        ) {
            let mut gate = TailSampler::new(None, Failures::AnySpan, TailSamplerLimits { bytes, ..LIMITS });
            let (mut through, mut dropped) = (0, 0);
            let total = spans.len() as u64;
            for (n, (trace, id, parent, sampled, fails)) in spans.into_iter().enumerate() {
                let span = in_trace(span_data(id, parent, "s"), trace);
                let span = if sampled { span } else { unsampled(span) };
                match gate.ended(if fails { failed(span) } else { span }, secs(n as u64)) {
                    SamplingVerdict::Span(_) => through += 1,
                    SamplingVerdict::Run { spans, .. } => through += spans.len() as u64,
                    SamplingVerdict::Nothing { dropped: more } => dropped += more,
                }
                dropped += gate.advance(secs(n as u64));
                prop_assert!(gate.weight() <= bytes);
                prop_assert_eq!(gate.held(), gate.count_spans());
                prop_assert_eq!(through + dropped + gate.held(), n as u64 + 1);
            }
            let (failed, more) = gate.finish();
            let late: u64 = failed.iter().map(|(spans, _)| spans.len() as u64).sum();
            prop_assert_eq!(through + late + dropped + more, total);
        }
    }
}
