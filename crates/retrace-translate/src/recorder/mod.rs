//! Groups spans into runs and decides when runs are emitted.
//!
//! The recorder is a state machine without clock and I/O: spans and times go in, [`Output`]s come out.

mod assemble;
mod emitted_runs;
mod first_wins;
mod infer_io;
mod limits;
mod live;
mod live_run;
mod live_runs;
mod live_step;
mod live_tools;
mod live_totals;
mod live_tree;
mod match_tool_calls;
mod node;
mod record;
mod rekey_run;
mod remote_parent;
mod run;
mod run_name;
mod same_call;
mod tools;
mod totals;
mod tree;
mod unknown_types;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};

use retrace_protocol::{Id, Span, Trace, TracePatch};

use self::assemble::RunAssembler;
use self::emitted_runs::{EmittedRun, EmittedTrace, EmittedTraces};
pub use self::limits::RecorderLimits;
pub use self::live::{LiveEvent, LiveUpdate};
use self::live_run::LiveRun;
use self::live_runs::LiveRuns;
use self::live_step::LiveSink;
use self::record::RunIdentity;
pub use self::rekey_run::rekey_run;
use self::remote_parent::RemoteParent;
use self::run::{OpenRun, OpenRunStats};
pub(crate) use self::tools::derived_id;
use self::unknown_types::UnknownTypes;
use crate::options::Options;
use crate::resource::Resource;
use crate::view::{Parent, SpanView};

/// Output of a [`Recorder`]: something to send or to account for.
#[derive(Debug)]
pub enum Output {
    /// A run, complete or not.
    Run(Box<Run>),
    /// A correction of a run that was emitted before.
    Correction(Box<Correction>),
    /// Spans that are part of no run that is sent.
    SetAside {
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
/// ends [`RecorderLimits::linger`] after its local roots, or with its last step, but at most [`RecorderLimits::outlive`] after
/// them; later spans are emitted as a run that continues it.
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
    open: HashMap<[u8; 16], OpenRun>,
    /// Open runs, ordered by the time of the last span.
    by_age: BTreeSet<(Duration, [u8; 16])>,
    /// Open runs whose root has ended, ordered by that time.
    by_end: BTreeSet<(Duration, [u8; 16])>,
    live: LiveRuns,
    emitted: EmittedTraces,
    outputs: VecDeque<Output>,
    sources: u64,
    weight: usize,
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
            open: HashMap::new(),
            by_age: BTreeSet::new(),
            by_end: BTreeSet::new(),
            live: LiveRuns::default(),
            emitted: EmittedTraces::new(limits.bytes),
            outputs: VecDeque::new(),
            sources: 0,
            weight: 0,
            unselected_runs: 0,
            unknown_types: UnknownTypes::default(),
        }
    }

    /// Takes a span that began: its current attributes are read, its end is not. May abandon a run to stay within the limits.
    ///
    /// A run whose local root is seen here is emitted while it happens, as [`Output::Live`]. Starts of other spans are ignored.
    pub fn start<V: SpanView>(&mut self, span: &V, resource: &Arc<Resource>, now: Duration) {
        let (trace_id, span_id) = (span.trace_id(), span.span_id());
        // The span was emitted already.
        if self.emitted.get(&trace_id).is_some_and(|emitted| emitted.has(&span_id) || emitted.has_begun(&span_id)) {
            return;
        }
        if !self.live.contains(&trace_id) {
            let has_ended = self.open.get(&trace_id).is_some_and(|run| run.has(&span_id));
            if has_ended || !span.parent().is_local_root() {
                return;
            }
            // What was collected of the trace is emitted first: a trace is either collected or live.
            self.let_go(trace_id);
            let before = self.emitted.get(&trace_id).and_then(|emitted| emitted.run.as_ref());
            let joins = RemoteParent::of(span, &self.options).is_some();
            let mut run = LiveRun::new(RunIdentity::after(trace_id, before, span_id, joins), Arc::clone(resource), now);
            run.lossy = self.emitted.get(&trace_id).is_some_and(|emitted| emitted.lossy);
            self.live.put(trace_id, run, &self.limits);
        }
        self.with_live(trace_id, |run, sink| run.start(span, now, sink));
        self.make_room();
    }

    /// Takes a span that has ended. May emit an incomplete run to stay within the limits.
    pub fn record<V: SpanView>(&mut self, span: &V, resource: &Arc<Resource>, now: Duration) {
        self.unknown_types.look_at(span);
        let trace_id = span.trace_id();
        let mut starts_run = span.parent().is_local_root();
        let mut joined = RemoteParent::of(span, &self.options);
        if let Some(emitted) = self.emitted.get(&trace_id) {
            if emitted.has(&span.span_id()) {
                // The span was emitted already.
                self.outputs.push_back(Output::SetAside { spans: 1 });
                return;
            }
            if matches!(span.parent(), Parent::Local(parent) if emitted.has(&parent)) {
                starts_run = true;
                joined = emitted.run.as_ref().and_then(|emitted| emitted.joined.clone());
            }
        }
        if self.live.contains(&trace_id) {
            self.with_live(trace_id, |run, sink| run.end(span, now, sink));
            return self.make_room();
        }
        let (run, before) = match self.open.entry(trace_id) {
            Entry::Occupied(run) => {
                let run = run.into_mut();
                let before = run.stats();
                (run, Some(before))
            }
            Entry::Vacant(place) => (place.insert(OpenRun::new(Arc::clone(resource), now)), None),
        };
        run.lossy |= self.emitted.get(&trace_id).is_some_and(|emitted| emitted.lossy);
        run.add(span, starts_run, joined, resource, &self.options, now);
        let (after, is_full) = (run.stats(), run.nodes.len() >= self.limits.run_spans);
        self.note(trace_id, before, Some(after));

        if is_full {
            self.let_go(trace_id);
        }
        self.make_room();
    }

    /// Emits the runs whose deadline has passed.
    pub fn advance(&mut self, now: Duration) {
        while let Some((ended, trace_id)) = self.by_end.first().copied() {
            if now < ended.saturating_add(self.limits.linger) {
                break;
            }
            self.close(trace_id);
        }
        while let Some((due, trace_id)) = self.live.next_due() {
            if now < due {
                break;
            }
            self.close_live(trace_id);
        }
        while let Some((seen, trace_id)) = self.oldest() {
            if now < seen.saturating_add(self.limits.idle) {
                break;
            }
            self.let_go(trace_id);
        }
    }

    /// Returns when [`Recorder::advance`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let end = self.by_end.first().map(|(ended, _)| ended.saturating_add(self.limits.linger));
        let age = self.oldest().map(|(seen, _)| seen.saturating_add(self.limits.idle));
        let due = self.live.next_due().map(|(due, _)| due);
        end.into_iter().chain(age).chain(due).min()
    }

    /// Notes that spans of a trace were lost; returns false if nothing is known of the trace.
    ///
    /// An open run is marked as lossy, and an emitted run is corrected. If all of the trace was set aside, later runs of it are
    /// marked. An unknown trace is not remembered, because nothing determines when to forget it.
    pub fn mark_lossy(&mut self, trace_id: [u8; 16]) -> bool {
        if let Some(run) = self.open.get_mut(&trace_id) {
            run.lossy = true;
        } else if let Some(run) = self.live.get_mut(&trace_id) {
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
        let run = self.open.get_mut(&trace_id);
        run.map(|run| run.kept_for_failure = true).is_some()
    }

    /// Returns the unknown values of `retrace.span_type`, each once: eight of up to 40 bytes at most. A value that was returned once
    /// is not returned again.
    pub fn take_unknown_span_types(&mut self) -> Vec<String> {
        self.unknown_types.take()
    }

    /// Emits every run whose root has ended, without waiting for late spans. A live run still waits for running steps.
    pub fn settle(&mut self) {
        while let Some((_, trace_id)) = self.by_end.first().copied() {
            self.close(trace_id);
        }
        for (_, trace_id) in self.live.lingering().collect::<Vec<_>>() {
            self.close_live(trace_id);
        }
    }

    /// Emits everything: first the runs whose root has ended, with all their spans, then the others, incomplete.
    pub fn finish(&mut self) {
        while let Some((_, trace_id)) =
            self.by_end.first().copied().or_else(|| self.live.next_due()).or_else(|| self.oldest())
        {
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
        self.sources + self.live.sources()
    }

    /// Returns the number of runs that were set aside whole, because none of their spans is selected.
    #[must_use]
    pub fn unselected_runs(&self) -> u64 {
        self.unselected_runs
    }

    /// Returns the approximate size of the open runs in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight + self.live.weight()
    }

    /// Returns the run without spans for the longest time, and since when.
    fn oldest(&self) -> Option<(Duration, [u8; 16])> {
        self.by_age.first().copied().into_iter().chain(self.live.oldest()).min()
    }

    fn make_room(&mut self) {
        while self.open.len() + self.live.len() > self.limits.runs || self.weight() > self.limits.bytes {
            let Some((_, oldest)) = self.oldest() else { break };
            self.let_go(oldest);
        }
    }

    fn with_live(&mut self, trace_id: [u8; 16], happens: impl FnOnce(&mut LiveRun, &mut LiveSink<'_>)) {
        let Some(mut run) = self.live.take(&trace_id) else { return };
        let before = self.emitted.get(&trace_id);
        happens(&mut run, &mut LiveSink { options: &self.options, before, outputs: &mut self.outputs });
        let is_full = run.spans() >= self.limits.run_spans;
        self.live.put(trace_id, run, &self.limits);
        if is_full {
            self.close_live(trace_id);
        }
    }

    /// Closes a live run.
    fn close_live(&mut self, trace_id: [u8; 16]) {
        let Some(run) = self.live.take(&trace_id) else { return };
        let before = self.emitted.get(&trace_id);
        let emitted = run.close(&mut LiveSink { options: &self.options, before, outputs: &mut self.outputs });
        self.emitted.insert(trace_id, emitted);
    }

    fn take(&mut self, trace_id: [u8; 16]) -> Option<OpenRun> {
        let run = self.open.remove(&trace_id)?;
        self.note(trace_id, Some(run.stats()), None);
        Some(run)
    }

    fn put(&mut self, trace_id: [u8; 16], run: OpenRun) {
        self.note(trace_id, None, Some(run.stats()));
        self.open.insert(trace_id, run);
    }

    /// Updates the orders and the sums after a change of one open run.
    fn note(&mut self, trace_id: [u8; 16], before: Option<OpenRunStats>, after: Option<OpenRunStats>) {
        let seen = |stats: OpenRunStats| stats.last_seen;
        reorder(&mut self.by_age, trace_id, before.map(seen), after.map(seen));
        let ended = |stats: OpenRunStats| stats.root_ended;
        reorder(&mut self.by_end, trace_id, before.and_then(ended), after.and_then(ended));
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        self.sources = self.sources - before.sources + after.sources;
        self.weight = self.weight - before.weight + after.weight;
    }

    /// Emits a run whose root has ended. Descendants of a span that has not ended stay open.
    fn close(&mut self, trace_id: [u8; 16]) {
        let Some(run) = self.take(trace_id) else { return };
        let (run, rest) = run.split_connected();
        self.emit(trace_id, run, true);
        if let Some(rest) = rest {
            self.put(trace_id, rest);
        }
    }

    /// Emits a run, complete or not.
    fn let_go(&mut self, trace_id: [u8; 16]) {
        let Some(run) = self.take(trace_id) else { return self.close_live(trace_id) };
        let ended = run.root_ended.is_some();
        self.emit(trace_id, run, ended);
    }

    fn emit(&mut self, trace_id: [u8; 16], run: OpenRun, ended: bool) {
        let earlier = self.emitted.get(&trace_id);
        let before = earlier.and_then(|emitted| emitted.run.as_ref());
        let span_ids: Vec<[u8; 8]> = run.nodes.iter().map(|node| node.span_id).collect();
        if !run.genai {
            let emitted = before.cloned();
            self.unselected_runs += 1;
            self.outputs.push_back(Output::SetAside { spans: run.sources });
            self.emitted.insert(trace_id, EmittedTrace::set_aside(emitted, span_ids, run.lossy, &mut self.outputs));
            return;
        }
        let joined = run.joined();
        let origin = RunIdentity::after(trace_id, before, run.first_span().unwrap_or_default(), joined.is_some());
        let (id, part) = (origin.id.clone(), origin.part);
        let run = RunAssembler { origin, before: earlier, ended, options: &self.options }.assemble(run);
        if let Some(correction) = before.and_then(|before| before.corrected_by(&run.trace)) {
            self.outputs.push_back(Output::Correction(Box::new(correction)));
        }
        let (trace_tokens, trace_cost) = (run.trace.total_tokens, run.trace.total_cost);
        let emitted = EmittedRun { id, part, ended, trace_tokens, trace_cost, joined };
        self.emitted.insert(trace_id, EmittedTrace::new(Some(emitted), span_ids));
        self.outputs.push_back(Output::Run(Box::new(run)));
    }
}

/// Moves a run to another position in an order.
fn reorder(
    order: &mut BTreeSet<(Duration, [u8; 16])>,
    trace_id: [u8; 16],
    before: Option<Duration>,
    after: Option<Duration>,
) {
    // Spans arrive in batches, so that mostly nothing moves.
    if before == after {
        return;
    }
    if let Some(before) = before {
        order.remove(&(before, trace_id));
    }
    order.extend(after.map(|after| (after, trace_id)));
}
