//! Buffer of OTLP traces: a trace is emitted shortly after its first span arrives, and again when more of it arrives.
//!
//! The buffer is a state machine: requests and times go in, traces to store come out. It has no clock and no store.
//!
//! OTLP does not define when a trace is complete. Spans arrive when they have ended, children first, from any number of
//! services, and log records arrive in other requests. A trace is therefore emitted shortly after its first span with
//! all spans received so far, and its run grows with each further emission. Each emission contains everything that the
//! buffer holds, so that facts that become known later (the parent of a span, a call that was counted twice, the
//! content of a log record) correct the stored run.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use retrace_protocol::{Id, Status};
use retrace_translate::{Options, Run};

use crate::request::OtlpRequest;
use crate::trace::OtlpTrace;

/// Limits of the buffer.
#[derive(Clone, Copy, Debug)]
pub struct HeldLimits {
    /// Time at which a trace with new data is due.
    pub release: Release,
    /// Time that a trace stays in the buffer after its last data arrived.
    pub keep: Duration,
    /// Delay before a trace that could not be stored is emitted again.
    pub retry: Duration,
    /// Largest number of traces.
    pub traces: usize,
    /// Approximate limit of all traces together, in bytes.
    pub bytes: usize,
}

/// Due time of a trace with data that is not emitted yet.
#[derive(Clone, Copy, Debug)]
pub enum Release {
    /// Soon after the first of that data, for a trace that is emitted again when more arrives.
    AfterFirst {
        /// Time that new data waits for more data before its trace is emitted.
        linger: Duration,
        /// Additional wait for each span of the trace, because each emission contains all spans.
        per_span: Duration,
    },
    /// Due after a silence, for a trace that is emitted once.
    AfterLast {
        /// Wait after the last data of a trace whose root span has arrived.
        with_root: Duration,
        /// Wait after the last data of a trace whose root span has not arrived.
        without_root: Duration,
        /// Longest wait after the first data of a trace that does not fall silent.
        longest: Duration,
    },
}

impl Default for HeldLimits {
    fn default() -> Self {
        Self {
            release: Release::AfterFirst { linger: Duration::from_millis(250), per_span: Duration::from_micros(250) },
            keep: Duration::from_secs(10 * 60),
            retry: Duration::from_secs(1),
            traces: 10_000,
            bytes: 64 * 1024 * 1024,
        }
    }
}

type TraceId = [u8; 16];

/// Traces in the buffer.
#[derive(Debug)]
pub struct HeldTraces {
    limits: HeldLimits,
    traces: HashMap<TraceId, Held>,
    /// Traces with data that is not emitted yet, ordered by the time at which it is due.
    due: BTreeSet<(Duration, TraceId)>,
    /// All traces, ordered by the time of their latest data.
    by_age: BTreeSet<(Duration, TraceId)>,
    weight: usize,
    forgotten: Vec<TraceId>,
}

/// A trace, and the spans of its last emission.
#[derive(Debug)]
struct Held {
    trace: OtlpTrace,
    weight: usize,
    began: Duration,
    seen: Duration,
    due: Option<Duration>,
    part: EmissionPart,
    emitted: HashSet<Id>,
}

/// Relation of an emission to the stored run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmissionPart {
    /// The first emission of this trace, as far as this process knows.
    First,
    /// Everything that arrived: it replaces the earlier emission.
    Whole,
    /// The data that arrived since the trace was dropped from the buffer.
    Rest,
}

/// A trace that is due for emission. The caller returns it with [`HeldTraces::put_back`].
#[derive(Debug)]
pub struct Due {
    trace_id: TraceId,
    held: Held,
}

/// Data of a trace to store.
#[derive(Debug)]
pub struct Emission {
    /// The run, with all spans that the buffer holds of it.
    pub run: Box<Run>,
    /// Spans of an earlier emission that no longer exist: synthesized from messages, or kept as the root, which they
    /// are not.
    pub gone: Vec<Id>,
    /// Spans whose parent is not in the buffer, each with the parent's id: the parent may be stored.
    pub orphans: Vec<(Id, Id)>,
    /// True if the root span of the trace has arrived.
    pub has_root: bool,
    /// Relation of this emission to the stored run.
    pub part: EmissionPart,
}

/// Result of an emission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmissionResult {
    /// The run is stored.
    Stored,
    /// The run was added to data that another sender, or an earlier process of this receiver, stored.
    Added,
    /// The run could not be stored.
    Failed,
}

impl HeldTraces {
    /// Creates an empty buffer.
    #[must_use]
    pub fn new(limits: HeldLimits) -> Self {
        Self {
            limits,
            traces: HashMap::new(),
            due: BTreeSet::new(),
            by_age: BTreeSet::new(),
            weight: 0,
            forgotten: Vec::new(),
        }
    }

    /// Adds the spans and events of a request.
    pub fn take(&mut self, request: OtlpRequest, now: Duration) {
        for span in request.spans {
            self.with(span.trace_id, now, |trace| trace.add_span(span));
        }
        for event in request.events {
            self.with(event.trace_id, now, |trace| trace.add_event(event));
        }
    }

    fn with(&mut self, trace_id: TraceId, now: Duration, add: impl FnOnce(&mut OtlpTrace) -> usize) {
        let mut held = self.remove(&trace_id).unwrap_or_else(|| Held::new(now));
        held.weight += add(&mut held.trace);
        held.seen = now;
        let spans = u32::try_from(held.trace.spans()).unwrap_or(u32::MAX);
        // An event without its span is emitted when the span arrives.
        if spans > 0 {
            match self.limits.release {
                Release::AfterFirst { linger, per_span } => {
                    let linger = linger.saturating_add(per_span.saturating_mul(spans));
                    held.due.get_or_insert(now.saturating_add(linger));
                }
                Release::AfterLast { with_root, without_root, longest } => {
                    let wait = if held.trace.has_root() { with_root } else { without_root };
                    held.due = Some(now.saturating_add(wait).min(held.began.saturating_add(longest)));
                }
            }
        }
        self.insert(trace_id, held);
    }

    /// Number of traces in the buffer.
    #[must_use]
    pub fn len(&self) -> usize {
        self.traces.len()
    }

    /// Returns true if the buffer has no trace.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.traces.is_empty()
    }

    /// Approximate size of the traces in the buffer, in bytes.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// Removes a trace and returns it.
    pub fn remove_trace(&mut self, trace_id: &[u8; 16]) -> Option<OtlpTrace> {
        self.remove(trace_id).map(|held| held.trace)
    }

    /// Returns the next trace that is due, and drops traces whose retention in the buffer has ended.
    pub fn next_due(&mut self, now: Duration) -> Option<Due> {
        while let Some((seen, oldest)) = self.by_age.first().copied() {
            let is_full = self.traces.len() > self.limits.traces || self.weight > self.limits.bytes;
            if !is_full && now < seen.saturating_add(self.limits.keep) {
                break;
            }
            let held = self.remove(&oldest)?;
            if held.due.is_some() {
                return Some(Due { trace_id: oldest, held });
            }
            self.forgotten.push(oldest);
        }
        let (due, first) = self.due.first().copied()?;
        if now < due {
            return None;
        }
        self.remove(&first).map(|held| Due { trace_id: first, held })
    }

    /// Returns the next time at which [`HeldTraces::next_due`] has work.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let due = self.due.first().map(|(due, _)| *due);
        let forget = self.by_age.first().map(|(seen, _)| seen.saturating_add(self.limits.keep));
        due.into_iter().chain(forget).min()
    }

    /// Returns an emitted trace to the buffer.
    pub fn put_back(&mut self, due: Due, how: EmissionResult, now: Duration) {
        let Due { trace_id, mut held } = due;
        held.due = None;
        match how {
            EmissionResult::Stored if held.part == EmissionPart::First => held.part = EmissionPart::Whole,
            EmissionResult::Stored => {}
            EmissionResult::Added => held.part = EmissionPart::Rest,
            EmissionResult::Failed => held.due = Some(now.saturating_add(self.limits.retry)),
        }
        self.insert(trace_id, held);
    }

    /// Removes and returns all traces with data that is not emitted yet, whether due or not.
    pub fn settle(&mut self) -> Vec<Due> {
        let due: Vec<_> = self.due.iter().map(|(_, trace_id)| *trace_id).collect();
        due.into_iter().filter_map(|trace_id| Some(Due { trace_id, held: self.remove(&trace_id)? })).collect()
    }

    /// Drops a trace: data that arrives later is emitted separately.
    pub fn forget(&mut self, id: &Id) {
        if let Some(trace_id) = id.to_otel_trace() {
            self.remove(&trace_id);
            self.forgotten.push(trace_id);
        }
    }

    /// Returns the traces that were dropped since the last call.
    pub fn forgotten(&mut self) -> impl Iterator<Item = Id> {
        self.forgotten.drain(..).map(Id::from_otel_trace)
    }

    fn remove(&mut self, trace_id: &TraceId) -> Option<Held> {
        let held = self.traces.remove(trace_id)?;
        self.weight -= held.weight;
        self.by_age.remove(&(held.seen, *trace_id));
        if let Some(due) = held.due {
            self.due.remove(&(due, *trace_id));
        }
        Some(held)
    }

    fn insert(&mut self, trace_id: TraceId, held: Held) {
        self.weight += held.weight;
        self.by_age.insert((held.seen, trace_id));
        if let Some(due) = held.due {
            self.due.insert((due, trace_id));
        }
        self.traces.insert(trace_id, held);
    }
}

impl Held {
    fn new(now: Duration) -> Self {
        let trace = OtlpTrace::default();
        Self {
            trace,
            weight: size_of::<Self>(),
            began: now,
            seen: now,
            due: None,
            part: EmissionPart::First,
            emitted: HashSet::new(),
        }
    }
}

impl Due {
    /// The trace id.
    #[must_use]
    pub const fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// Returns the trace, for a caller that emits it once and does not return it to the buffer.
    #[must_use]
    pub fn into_trace(self) -> OtlpTrace {
        self.held.trace
    }

    /// Builds the data to store; `None` if no span belongs to a run. The cost is linear in the size of the trace.
    pub fn translate(&mut self, options: &Options) -> Option<Emission> {
        let (run, _) = self.held.trace.translate(options);
        let run = run?;
        let now: HashSet<Id> = run.spans.iter().map(|recorded| recorded.span.id.clone()).collect();
        let gone = self.held.emitted.difference(&now).cloned().collect();
        self.held.emitted = now;
        let (orphans, has_root) = (self.held.trace.orphans(), self.held.trace.has_root());
        Some(Emission { run, gone, orphans, has_root, part: self.held.part })
    }
}

impl Emission {
    /// Returns true if the run has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.run.trace.status != Some(Status::Running)
    }
}

#[cfg(test)]
mod tests;
