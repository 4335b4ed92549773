//! Memory of emitted runs, for spans that arrive later.

use std::collections::VecDeque;

use foldhash::HashMap;

use retrace_protocol::{Id, Status, Trace, TracePatch};

use crate::recorder::remote_parent::RemoteParent;
use crate::recorder::{Correction, Output};

/// Maximum number of traces that are remembered.
const RUNS: usize = 4_096;
/// Maximum number of their spans, over all traces: 2 MiB of ids.
const SPANS: usize = 256 * 1024;
/// Bytes accounted for a remembered trace without its spans.
const RUN_BYTES: usize = 320;
/// Divisor of the byte limit of open runs: traces, and likewise their spans, take at most that share of it.
const SHARE: usize = 8;
/// Maximum number of remembered spans of one trace. Children of a forgotten span wait until their run is abandoned.
const TRACE_SPANS: usize = 64 * 1024;

/// An OpenTelemetry trace of which spans were emitted or set aside.
#[derive(Debug)]
pub(crate) struct EmittedTrace {
    /// The emitted run; `None` if its spans were set aside.
    pub run: Option<EmittedRun>,
    /// Ids of the spans, sorted.
    span_ids: Vec<[u8; 8]>,
    /// Ids of the spans whose start was emitted and whose end was not, sorted.
    begun: Vec<[u8; 8]>,
    /// True if spans were lost and no emitted run could state it.
    pub lossy: bool,
}

/// A run that was emitted.
#[derive(Clone, Debug)]
pub(crate) struct EmittedRun {
    /// Id of the Retrace trace.
    pub id: Id,
    /// Number of runs of the same trace that were emitted before it.
    pub part: u32,
    /// True if it was emitted as ended.
    pub ended: bool,
    pub trace_tokens: Option<u64>,
    pub trace_cost: Option<f64>,
    /// Set if the run belongs to another process.
    pub joined: Option<RemoteParent>,
}

impl EmittedRun {
    /// Returns the correction of this run by a run that continues it: it is incomplete, and its end if that was open.
    ///
    /// Its tokens stay those of its own spans. A run of another process needs no correction, because it accepts spans at any
    /// time.
    pub(crate) fn corrected_by(&self, after: &Trace) -> Option<Correction> {
        if self.joined.is_some() {
            return None;
        }
        let patch = if self.ended || after.status == Some(Status::Running) {
            TracePatch { lossy: Some(true), ..TracePatch::default() }
        } else {
            TracePatch {
                total_tokens: self.trace_tokens,
                total_cost: self.trace_cost,
                span_count: None,
                lossy: Some(true),
                ..TracePatch::of(after)
            }
        };
        Some(Correction { id: self.id.clone(), patch })
    }

    /// Returns the correction that the run is incomplete.
    pub(crate) fn not_all(&self) -> Output {
        let patch = TracePatch { lossy: Some(true), ..TracePatch::default() };
        Output::Correction(Box::new(Correction { id: self.id.clone(), patch }))
    }
}

impl EmittedTrace {
    pub(crate) fn new(emitted: Option<EmittedRun>, mut span_ids: Vec<[u8; 8]>) -> Self {
        span_ids.sort_unstable();
        Self { run: emitted, span_ids, begun: Vec::new(), lossy: false }
    }

    /// Creates the memory of spans that were set aside, in a trace of which `emitted` was emitted before. If spans were lost, the
    /// emitted run is corrected, or the next one states it.
    pub(crate) fn set_aside(
        emitted: Option<EmittedRun>,
        span_ids: Vec<[u8; 8]>,
        lossy: bool,
        outputs: &mut VecDeque<Output>,
    ) -> Self {
        let mut run = Self::new(emitted, span_ids);
        if lossy {
            run.mark_lossy(outputs);
        }
        run
    }

    /// Notes that spans of the trace were lost.
    pub(crate) fn mark_lossy(&mut self, outputs: &mut VecDeque<Output>) {
        match &self.run {
            Some(emitted) => outputs.push_back(emitted.not_all()),
            None => self.lossy = true,
        }
    }

    /// Adds spans whose start was emitted and whose end was not.
    pub(crate) fn with_begun(mut self, mut begun: Vec<[u8; 8]>) -> Self {
        begun.sort_unstable();
        self.begun = begun;
        self
    }

    /// Adds the spans of an earlier part of the same trace.
    fn after(&mut self, earlier: Self) {
        self.lossy |= earlier.lossy && self.run.is_none();
        if self.spans() + earlier.spans() <= TRACE_SPANS {
            self.span_ids.extend(earlier.span_ids);
            self.span_ids.sort_unstable();
            self.begun.extend(earlier.begun);
            self.begun.sort_unstable();
        }
    }

    fn spans(&self) -> usize {
        self.span_ids.len() + self.begun.len()
    }

    pub(crate) fn has(&self, span_id: &[u8; 8]) -> bool {
        self.span_ids.binary_search(span_id).is_ok()
    }

    /// Returns true if a closed run emitted the start of the span and not its end.
    pub(crate) fn has_begun(&self, span_id: &[u8; 8]) -> bool {
        self.begun.binary_search(span_id).is_ok()
    }
}

/// The traces emitted last, by trace id.
#[derive(Debug)]
pub(crate) struct EmittedTraces {
    runs: HashMap<[u8; 16], EmittedTrace>,
    order: VecDeque<[u8; 16]>,
    spans: usize,
    most_runs: usize,
    most_spans: usize,
}

impl Default for EmittedTraces {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl EmittedTraces {
    /// Creates a memory for a recorder whose open runs take at most `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            runs: HashMap::default(),
            order: VecDeque::new(),
            spans: 0,
            most_runs: RUNS.min(bytes / SHARE / RUN_BYTES).max(1),
            most_spans: SPANS.min(bytes / SHARE / size_of::<[u8; 8]>()),
        }
    }

    pub(crate) fn get(&self, trace_id: &[u8; 16]) -> Option<&EmittedTrace> {
        self.runs.get(trace_id)
    }

    pub(crate) fn get_mut(&mut self, trace_id: &[u8; 16]) -> Option<&mut EmittedTrace> {
        self.runs.get_mut(trace_id)
    }

    /// Remembers a trace; forgets the oldest ones beyond the limits.
    pub(crate) fn insert(&mut self, trace_id: [u8; 16], mut run: EmittedTrace) {
        match self.runs.remove(&trace_id) {
            Some(earlier) => {
                self.spans -= earlier.spans();
                run.after(earlier);
            }
            None => self.order.push_back(trace_id),
        }
        self.spans += run.spans();
        self.runs.insert(trace_id, run);
        while self.order.len() > self.most_runs || (self.spans > self.most_spans && self.order.len() > 1) {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(run) = self.runs.remove(&oldest) {
                self.spans -= run.spans();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(spans: usize) -> EmittedTrace {
        EmittedTrace::new(None, vec![[0; 8]; spans])
    }

    fn id(n: usize) -> [u8; 16] {
        (n as u128).to_be_bytes()
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut emitted = EmittedTraces::default();
        for n in 0..RUNS + 10 {
            emitted.insert(id(n), run(1));
        }
        assert_eq!((emitted.runs.len(), emitted.order.len(), emitted.spans), (RUNS, RUNS, RUNS));
        assert!(emitted.get(&id(9)).is_none());
        assert!(emitted.get(&id(10)).is_some());
        emitted.insert(id(RUNS + 10), run(SPANS));
        assert_eq!(emitted.runs.len(), 1);
    }

    #[test]
    fn a_small_recorder_remembers_less() {
        let mut emitted = EmittedTraces::new(64 * 1024);
        (0..1_000).for_each(|n| emitted.insert(id(n), run(10)));
        assert!(emitted.runs.len() * RUN_BYTES <= 64 * 1024 / SHARE && emitted.spans * 8 <= 64 * 1024 / SHARE);
        assert!(emitted.get(&id(999)).is_some());
    }

    #[test]
    fn what_came_before_in_the_trace_is_still_known() {
        let mut emitted = EmittedTraces::default();
        emitted.insert(id(1), EmittedTrace::new(None, vec![[2; 8], [1; 8]]));
        emitted.insert(id(1), EmittedTrace::new(None, vec![[3; 8]]));
        assert_eq!(emitted.spans, 3);
        assert!((1..=3).all(|n| emitted.get(&id(1)).unwrap().has(&[n; 8])));
        emitted.insert(id(1), run(TRACE_SPANS));
        assert_eq!(emitted.spans, TRACE_SPANS);
    }
}
