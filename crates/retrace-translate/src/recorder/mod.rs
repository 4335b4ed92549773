//! Groups spans into runs and decides when runs are emitted.
//!
//! The recorder is a state machine without clock and I/O: spans and times go in, [`Output`]s come out.

mod assemble;
mod emitted_runs;
mod infer_io;
mod limits;
mod live;
mod live_run;
mod match_tool_calls;
mod node;
mod open_calls;
mod record;
mod rekey_run;
mod remote_parent;
mod run;
mod run_name;
mod runs;
mod same_call;
mod tools;
mod totals;
mod tree;
mod unknown_types;
mod verdict;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use retrace_protocol::{Id, Span, Trace, TracePatch};

use self::assemble::{Assembled, RunAssembler};
use self::emitted_runs::{EmittedRun, EmittedTrace, EmittedTraces};
pub use self::limits::RecorderLimits;
pub use self::live::{LiveEvent, LiveUpdate};
use self::live_run::Sink;
use self::node::Node;
use self::record::RunIdentity;
pub use self::rekey_run::rekey_run;
use self::remote_parent::RemoteParent;
use self::run::{OpenRun, SpanContext};
use self::runs::OpenRuns;
pub(crate) use self::tools::derived_id;
use self::unknown_types::UnknownTypes;
use crate::options::Options;
use crate::resource::Resource;
use crate::view::{Parent, SpanView};

/// Divisor of the byte limit of open runs: the content of emitted spans takes at most that share of it.
const RETAINED_SHARE: usize = 4;

/// Output of a [`Recorder`]: something to send or to account for.
#[derive(Debug)]
pub enum Output {
    /// A run, complete or not.
    Run(Box<Run>),
    /// A correction of a run that was emitted before.
    Correction(Box<Correction>),
    /// Spans that are part of no run that is sent.
    SetAside {
        /// OpenTelemetry trace of the spans.
        trace_id: [u8; 16],
        /// Number of spans.
        spans: u64,
    },
    /// Event of a live run.
    Live(Box<LiveUpdate>),
}

/// A run that is emitted as a whole.
#[derive(Debug)]
pub struct Run {
    /// The trace, without its spans. Its status is `running` if the run was emitted before its root ended.
    pub trace: Trace,
    /// The spans, ordered by start.
    pub spans: Vec<RecordedSpan>,
    /// Number of spans that are not sent because they are not selected.
    pub set_aside: u64,
    /// The run belongs to the calling process: these are some of its spans, and that process emits its start and its end.
    pub joined: bool,
}

/// A span of a run.
#[derive(Clone, Debug)]
pub struct RecordedSpan {
    /// The span.
    pub span: Span,
    /// Number of accepted spans it stands for: 0 for a span synthesized from messages, 1 for most, more for duplicates.
    pub sources: u32,
}

/// Correction of an emitted run: its end, or that it is incomplete.
#[derive(Debug)]
pub struct Correction {
    /// Id of the run.
    pub id: Id,
    /// The changed fields.
    pub patch: TracePatch,
}

/// Collects spans into runs.
///
/// Every ended span comes out exactly once: in a [`Run`], in a [`LiveEvent`], or as set aside. `now` is the time since any
/// fixed moment and never goes back.
///
/// A caller that sees only ended spans calls [`Recorder::record`]. A run is emitted [`RecorderLimits::linger`] after its local
/// root has ended. Descendants of a span that has not ended are not part of it: a task that outlives its root is emitted when
/// it ends, as a run of its own that states which one it continues, because a receiver accepts no spans for a run that was
/// uploaded. So nothing is lost and nothing waits.
///
/// A caller that also sees spans begin calls [`Recorder::start`] for each of them. A run whose local root was seen to begin is
/// emitted while it happens, as [`LiveUpdate`]s: from the first selected span on, each step when it begins and when it ends.
/// Model calls are emitted only when they have ended, because a step whose start was emitted can no longer get a model. The run
/// that these events make is the one that [`Recorder::record`] alone would have emitted. It ends [`RecorderLimits::linger`] after
/// its local roots, or with its last step, but at most [`RecorderLimits::outlive`] after them; later spans are emitted as a run
/// that continues it.
///
/// ```
/// use std::time::Duration;
/// use retrace_translate::{Options, Recorder, RecorderLimits};
///
/// let mut recorder = Recorder::new(Options::default(), RecorderLimits::default());
/// // … recorder.record(&span, &resource, now) for each span that ends …
/// recorder.advance(Duration::from_secs(1));
/// assert!(recorder.next_output().is_none());
/// ```
#[derive(Debug)]
pub struct Recorder {
    options: Options,
    limits: RecorderLimits,
    open: OpenRuns,
    emitted: EmittedTraces,
    outputs: VecDeque<Output>,
    unselected_runs: u64,
    unknown_types: UnknownTypes,
}

impl Recorder {
    /// Creates an empty recorder.
    #[must_use]
    pub fn new(options: Options, limits: RecorderLimits) -> Self {
        Self {
            options,
            limits,
            open: OpenRuns::default(),
            emitted: EmittedTraces::new(limits.bytes),
            outputs: VecDeque::new(),
            unselected_runs: 0,
            unknown_types: UnknownTypes::default(),
        }
    }

    /// Takes a span that began: its current attributes are read, its end is not. May abandon a run to stay within the limits.
    ///
    /// A run whose local root is seen here is emitted while it happens, as [`Output::Live`]. Starts of other spans are ignored.
    pub fn start<V: SpanView>(&mut self, span: &V, resource: &Arc<Resource>, now: Duration) {
        let (trace_id, span_id) = (span.trace_id(), span.span_id());
        let before = self.emitted.get(&trace_id);
        // The span was emitted already.
        if before.is_some_and(|emitted| emitted.has(&span_id) || emitted.has_begun(&span_id)) {
            return;
        }
        let open = self.open.get(&trace_id);
        if open.is_none_or(|run| run.live.is_none()) {
            if open.is_some_and(|run| run.find(&span_id).is_some()) || !span.parent().is_local_root() {
                return;
            }
            // What was collected of the trace is emitted first: a trace is either collected or live.
            self.let_go(trace_id);
            let emitted = self.emitted.get(&trace_id);
            let before = emitted.and_then(|emitted| emitted.run.as_ref());
            let joins = RemoteParent::of(span, &self.options).is_some();
            let origin = RunIdentity::after(trace_id, before, span_id, joins);
            let mut run = OpenRun::begun(origin, span_id, Arc::clone(resource), now);
            run.lossy = emitted.is_some_and(|emitted| emitted.lossy);
            self.open.insert(trace_id, run, &self.limits);
        }
        self.change(trace_id, |run, sink| run.start(span, now, sink));
    }

    /// Takes a span that has ended. May emit an incomplete run to stay within the limits.
    pub fn record<V: SpanView>(&mut self, span: &V, resource: &Arc<Resource>, now: Duration) {
        self.unknown_types.look_at(span);
        let trace_id = span.trace_id();
        let mut context =
            SpanContext { starts_run: span.parent().is_local_root(), joined: RemoteParent::of(span, &self.options) };
        let mut lossy = false;
        if let Some(emitted) = self.emitted.get(&trace_id) {
            if emitted.has(&span.span_id()) {
                // The span was emitted already.
                self.outputs.push_back(Output::SetAside { trace_id, spans: 1 });
                return;
            }
            lossy = emitted.lossy;
            if matches!(span.parent(), Parent::Local(parent) if emitted.has(&parent)) {
                context.starts_run = true;
                context.joined = emitted.run.as_ref().and_then(|emitted| emitted.joined.clone());
            }
        }
        if self.open.get(&trace_id).is_none() {
            self.open.insert(trace_id, OpenRun::new(Arc::clone(resource), now), &self.limits);
        }
        self.change(trace_id, |run, sink| {
            run.lossy |= lossy;
            if run.live.is_some() {
                run.end(span, context, resource, now, sink);
            } else {
                // A repeated span comes out with the one that it repeats.
                let _ = run.record(span, context, resource, sink.options, now);
            }
        });
    }

    /// Emits the runs whose deadline has passed.
    pub fn advance(&mut self, now: Duration) {
        while let Some((_, trace_id)) = self.open.next_due().filter(|(due, _)| *due <= now) {
            self.close(trace_id);
        }
        let idle = self.limits.idle;
        while let Some((_, trace_id)) = self.open.oldest().filter(|(seen, _)| seen.saturating_add(idle) <= now) {
            self.let_go(trace_id);
        }
    }

    /// Returns when [`Recorder::advance`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let age = self.open.oldest().map(|(seen, _)| seen.saturating_add(self.limits.idle));
        self.open.next_due().map(|(due, _)| due).into_iter().chain(age).min()
    }

    /// Notes that spans of a trace were lost; returns false if nothing is known of the trace.
    ///
    /// An open run is marked as lossy, and an emitted run is corrected. If all of the trace was set aside, later runs of it are
    /// marked. An unknown trace is not remembered, because nothing determines when to forget it.
    pub fn mark_lossy(&mut self, trace_id: [u8; 16]) -> bool {
        if let Some(run) = self.open.get_mut(&trace_id) {
            run.lossy = true;
        } else if let Some(emitted) = self.emitted.get_mut(&trace_id) {
            emitted.mark_lossy(&mut self.outputs);
        } else {
            return false;
        }
        true
    }

    /// Marks a run that is being collected as one that was not sampled and is sent because it failed; its metadata states so.
    /// Returns false if nothing is collected of the trace.
    pub fn mark_kept_for_failure(&mut self, trace_id: [u8; 16]) -> bool {
        let run = self.open.get_mut(&trace_id).filter(|run| run.live.is_none());
        run.map(|run| run.kept_for_failure = true).is_some()
    }

    /// Returns the unknown values of `retrace.span_type`, each once: eight of up to 40 bytes at most. A value that was returned once
    /// is not returned again.
    pub fn take_unknown_span_types(&mut self) -> Vec<String> {
        self.unknown_types.take()
    }

    /// Emits every run whose root has ended, without waiting for late spans. A live run still waits for running steps.
    pub fn settle(&mut self) {
        for trace_id in self.open.lingering() {
            self.close(trace_id);
        }
    }

    /// Emits everything: first the runs whose root has ended, with all their spans, then the others, incomplete.
    pub fn finish(&mut self) {
        while let Some((_, trace_id)) = self.open.next_due().or_else(|| self.open.oldest()) {
            self.let_go(trace_id);
        }
    }

    /// Returns the next output.
    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns the number of spans that were accepted and have not come out. What [`Recorder::next_output`] would return has
    /// come out.
    #[must_use]
    pub fn open_spans(&self) -> u64 {
        self.open.sources()
    }

    /// Returns the number of runs that were set aside whole, because none of their spans is selected.
    #[must_use]
    pub fn unselected_runs(&self) -> u64 {
        self.unselected_runs
    }

    /// Returns the approximate size of the open runs in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.open.weight()
    }

    /// Changes an open run, and keeps the limits.
    fn change(&mut self, trace_id: [u8; 16], change: impl FnOnce(&mut OpenRun, &mut Sink<'_>)) {
        let retained = self.limits.bytes / RETAINED_SHARE / self.open.live().max(1);
        let (options, before) = (&self.options, self.emitted.get(&trace_id));
        let sink = &mut Sink { options, before, outputs: &mut self.outputs, retained };
        let is_full = self.open.change(trace_id, &self.limits, |run| {
            change(run, sink);
            run.nodes.len() >= self.limits.run_spans
        });
        if is_full == Some(true) {
            self.let_go(trace_id);
        }
        let is_over =
            |open: &OpenRuns, limits: &RecorderLimits| open.len() > limits.runs || open.weight() > limits.bytes;
        while is_over(&self.open, &self.limits) {
            let Some((_, oldest)) = self.open.oldest() else { break };
            self.open.change(oldest, &self.limits, |run| run.retain_at_most(0));
            if is_over(&self.open, &self.limits) {
                self.let_go(oldest);
            }
        }
    }

    /// Emits a run whose root has ended. Descendants of a span that has not ended stay open if the run is collected.
    fn close(&mut self, trace_id: [u8; 16]) {
        let Some(run) = self.open.take(&trace_id) else { return };
        if run.live.is_some() {
            return self.emit(trace_id, run);
        }
        let (run, rest) = run.split_connected();
        self.emit(trace_id, run);
        if let Some(rest) = rest {
            self.open.insert(trace_id, rest, &self.limits);
        }
    }

    /// Emits a run, complete or not.
    fn let_go(&mut self, trace_id: [u8; 16]) {
        if let Some(run) = self.open.take(&trace_id) {
            self.emit(trace_id, run);
        }
    }

    fn emit(&mut self, trace_id: [u8; 16], mut run: OpenRun) {
        let earlier = self.emitted.get(&trace_id);
        let before = earlier.and_then(|emitted| emitted.run.as_ref());
        let ids = |run: &OpenRun, is_of: fn(&Node) -> bool| -> Vec<[u8; 8]> {
            run.nodes.iter().filter(|node| is_of(node)).map(|node| node.span_id).collect()
        };
        let ended_ids = ids(&run, |node| node.ended.is_some());
        let mut sink = Sink { options: &self.options, before: earlier, outputs: &mut self.outputs, retained: 0 };
        if !run.genai {
            self.unselected_runs += 1;
            sink.set_aside(trace_id, run.sources);
            let emitted = EmittedTrace::set_aside(before.cloned(), ended_ids, run.lossy, &mut self.outputs);
            return self.emitted.insert(trace_id, emitted);
        }
        let joined = run.joined().cloned();
        let (origin, ended) = match &run.live {
            Some(live) => (live.origin.clone(), live.over.is_some()),
            None => {
                let first = run.first_span().unwrap_or_default();
                (RunIdentity::after(trace_id, before, first, joined.is_some()), run.root_ended.is_some())
            }
        };
        run.sort_by_end();
        let assembler = RunAssembler { origin: &origin, before: earlier, ended, options: &self.options };
        let rest = assembler.assemble(&mut run);
        if let Some(correction) = before.and_then(|before| before.corrected_by(&rest.trace)) {
            sink.outputs.push_back(Output::Correction(Box::new(correction)));
        }
        let (trace_tokens, trace_cost) = (rest.trace.total_tokens, rest.trace.total_cost);
        let emitted = EmittedRun { id: origin.id.clone(), part: origin.part, ended, trace_tokens, trace_cost, joined };
        match &run.live {
            Some(live) => {
                live.emit_rest(rest, ended, &mut sink);
                if run.lossy && !ended {
                    sink.outputs.push_back(emitted.not_all());
                }
            }
            None => {
                let Assembled { trace, spans, set_aside, .. } = rest;
                let run = Run { trace, spans, set_aside, joined: origin.joined };
                sink.outputs.push_back(Output::Run(Box::new(run)));
            }
        }
        let begun = ids(&run, |node| node.ended.is_none() && node.emitted.is_some());
        self.emitted.insert(trace_id, EmittedTrace::new(Some(emitted), ended_ids).with_begun(begun));
    }
}
