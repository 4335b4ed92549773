//! Spans grouped into runs, and what is said of them when.
//!
//! A state machine: spans and times go in, [`Output`]s come out. It knows no clock and no socket.

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
use crate::options::Options;
use crate::resource::Resource;
use crate::view::{Parent, SpanView};

/// Something to be sent, or to be accounted for.
#[derive(Debug)]
pub enum Output {
    /// A run, whole, or as far as it came.
    Run(Box<Run>),
    /// A correction of a run that was told before.
    Correction(Box<Correction>),
    /// Spans that are no part of any run worth telling.
    SetAside {
        /// How many.
        spans: u64,
    },
    /// Something of a run that is told while it happens.
    Live(Box<LiveUpdate>),
}

/// A run to be told.
#[derive(Debug)]
pub struct Run {
    /// The trace, without its spans. Its status is `running` when the run was let go before its root ended.
    pub trace: Trace,
    /// The spans, in the order in which they began.
    pub spans: Vec<RecordedSpan>,
    /// Spans of the run that are not sent because nobody selected them.
    pub set_aside: u64,
    /// The run belongs to the process that called this one: these are some of its spans, and its beginning and end are not
    /// this trace's to say.
    pub joined: bool,
}

/// A span of a run.
#[derive(Clone, Debug)]
pub struct RecordedSpan {
    /// The span.
    pub span: Span,
    /// How many accepted spans it stands for: 0 for one that was made up from messages, 1 for most, more for repeats.
    pub sources: u32,
}

/// What became known of a run after it was told: how it ended, or that it was not all.
#[derive(Debug)]
pub struct Correction {
    /// The run.
    pub id: Id,
    /// What to change in it.
    pub patch: TracePatch,
}

/// Collects spans into runs.
///
/// Every span that ended comes out exactly once: in a [`Run`], in a [`LiveEvent`], or as set aside. `now` is the time since
/// any fixed moment, and never goes back.
///
/// Who sees only spans that have ended calls [`Recorder::record`]. A run is told when its local root has ended, a little later ([`RecorderLimits::linger`]). What hangs below a span that
/// has not ended yet is not part of it: a task that outlives its root is told when it ends, as a run of its own that says
/// which one it continues, because a run that was uploaded takes no more spans. So nothing is lost and nobody waits.
///
/// Who also sees spans begin calls [`Recorder::start`] for each of them. A run whose local root was seen to begin is told
/// while it happens, as [`Live`]: from the first span that shows that it is one of interest, each step when it begins and
/// when it ends. Only model calls are told once they have ended, for a step that was told as begun takes no model any more.
/// The run ends a [`RecorderLimits::linger`] after its local roots, or with its last step, but then no later than
/// [`RecorderLimits::outlive`] after them; what ends later is told as a run that continues it.
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
    /// Open runs by when they were last seen.
    by_age: BTreeSet<(Duration, [u8; 16])>,
    /// Open runs whose root has ended, by when.
    by_end: BTreeSet<(Duration, [u8; 16])>,
    live: LiveRuns,
    emitted: EmittedTraces,
    outputs: VecDeque<Output>,
    sources: u64,
    weight: usize,
    unselected_runs: u64,
}

impl Recorder {
    /// An empty recorder.
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
        }
    }

    /// Takes note of a span that began: its attributes as far as they are known at its start; its end is not read. May let
    /// a run go to stay within the limits.
    ///
    /// A run whose local root is seen here is told while it happens, as [`Output::Live`]. The starts of other spans say
    /// nothing, and are forgotten.
    pub fn start<V: SpanView>(&mut self, span: &V, resource: &Arc<Resource>, now: Duration) {
        let (trace_id, span_id) = (span.trace_id(), span.span_id());
        // A span that was told already begins no more.
        if self.emitted.get(&trace_id).is_some_and(|emitted| emitted.has(&span_id) || emitted.has_begun(&span_id)) {
            return;
        }
        if !self.live.contains(&trace_id) {
            let has_ended = self.open.get(&trace_id).is_some_and(|run| run.has(&span_id));
            if has_ended || !span.parent().is_local_root() {
                return;
            }
            // What was collected of the trace goes first: one trace is collected, or told live.
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

    /// Takes a span that has ended. May let a run go to stay within the limits.
    pub fn record<V: SpanView>(&mut self, span: &V, resource: &Arc<Resource>, now: Duration) {
        let trace_id = span.trace_id();
        let mut starts_run = span.parent().is_local_root();
        let mut joined = RemoteParent::of(span, &self.options);
        if let Some(emitted) = self.emitted.get(&trace_id) {
            if emitted.has(&span.span_id()) {
                // Once more what was told already.
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

    /// Tells the runs whose time has come.
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

    /// When [`Recorder::advance`] will next have something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let end = self.by_end.first().map(|(ended, _)| ended.saturating_add(self.limits.linger));
        let age = self.oldest().map(|(seen, _)| seen.saturating_add(self.limits.idle));
        let due = self.live.next_due().map(|(due, _)| due);
        end.into_iter().chain(age).chain(due).min()
    }

    /// Notes that spans of this trace were lost before they came here, so that its run says so; tells whether anything is
    /// known of it.
    ///
    /// A run that was told already is corrected. Where all of a trace was set aside, what is told of it later says so. A trace
    /// of which nothing is known yet is not remembered: nobody could say when to forget it again.
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

    /// Tells every run whose root has ended, without waiting for what may still come. A live run goes on waiting for steps
    /// that are under way.
    pub fn settle(&mut self) {
        while let Some((_, trace_id)) = self.by_end.first().copied() {
            self.close(trace_id);
        }
        for (_, trace_id) in self.live.lingering().collect::<Vec<_>>() {
            self.close_live(trace_id);
        }
    }

    /// Tells everything, for nothing more comes: first the runs whose root has ended, with all their spans, then the
    /// others as far as they came.
    pub fn finish(&mut self) {
        while let Some((_, trace_id)) =
            self.by_end.first().copied().or_else(|| self.live.next_due()).or_else(|| self.oldest())
        {
            self.let_go(trace_id);
        }
    }

    /// The next thing to send or account for.
    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Spans that were taken and have not come out. What waits in [`Recorder::next_output`] has come out.
    #[must_use]
    pub fn open_spans(&self) -> u64 {
        self.sources + self.live.sources()
    }

    /// Runs that were set aside whole, since no span of theirs was selected.
    #[must_use]
    pub fn unselected_runs(&self) -> u64 {
        self.unselected_runs
    }

    /// Bytes that open runs take, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight + self.live.weight()
    }

    /// The run that was silent longest, and since when.
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

    /// Ends the telling of a live run.
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

    /// Keeps the orders and the sums of open runs true, of which one came, went or changed.
    fn note(&mut self, trace_id: [u8; 16], before: Option<OpenRunStats>, after: Option<OpenRunStats>) {
        let seen = |stats: OpenRunStats| stats.last_seen;
        reorder(&mut self.by_age, trace_id, before.map(seen), after.map(seen));
        let ended = |stats: OpenRunStats| stats.root_ended;
        reorder(&mut self.by_end, trace_id, before.and_then(ended), after.and_then(ended));
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        self.sources = self.sources - before.sources + after.sources;
        self.weight = self.weight - before.weight + after.weight;
    }

    /// Tells a run whose root has ended. What hangs below a span that has not ended stays open.
    fn close(&mut self, trace_id: [u8; 16]) {
        let Some(run) = self.take(trace_id) else { return };
        let (run, rest) = run.split_connected();
        self.emit(trace_id, run, true);
        if let Some(rest) = rest {
            self.put(trace_id, rest);
        }
    }

    /// Tells a run as far as it came.
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

/// Moves a run from the time that it had in an order to the one that it has.
fn reorder(
    order: &mut BTreeSet<(Duration, [u8; 16])>,
    trace_id: [u8; 16],
    before: Option<Duration>,
    after: Option<Duration>,
) {
    // Spans come many at a time, so that mostly nothing moves.
    if before == after {
        return;
    }
    if let Some(before) = before {
        order.remove(&(before, trace_id));
    }
    order.extend(after.map(|after| (after, trace_id)));
}
