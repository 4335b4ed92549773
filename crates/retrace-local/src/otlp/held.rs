//! Traces that are held: told soon after something of them came, and again when more comes.
//!
//! A state machine: requests and times go in, what is to be told comes out. It knows no clock and no store.
//!
//! OTLP says nothing of when a trace is whole. Spans come when they have ended, children first, from any number of services,
//! and log records by another request. So a trace is told a little after its first span, as far as it came, and its run
//! grows with every further telling. Each tells all that is held, so that what became known later (where a span hangs, that
//! a call was counted twice, what a log record adds) is told rightly.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use retrace_protocol::{Id, Status};
use retrace_translate::{Options, Run};

use super::OtlpRequest;
use super::trace::OtlpTrace;

/// Bounds of what is held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldLimits {
    /// How long something new waits for more before it is told.
    pub(crate) linger: Duration,
    /// How much longer for each span of its trace: every telling tells them all.
    pub(crate) linger_per_span: Duration,
    /// How long a trace is held after the last of it came.
    pub(crate) keep: Duration,
    /// How long to wait before something is told again that could not be stored.
    pub(crate) retry: Duration,
    /// Traces.
    pub(crate) traces: usize,
    /// Bytes of all together, roughly.
    pub(crate) bytes: usize,
}

impl Default for HeldLimits {
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(250),
            linger_per_span: Duration::from_micros(250),
            keep: Duration::from_secs(10 * 60),
            retry: Duration::from_secs(1),
            traces: 10_000,
            bytes: 64 * 1024 * 1024,
        }
    }
}

type TraceId = [u8; 16];

/// The traces.
#[derive(Debug)]
pub(crate) struct HeldTraces {
    limits: HeldLimits,
    traces: HashMap<TraceId, Held>,
    /// Those of which something is not told, by when it is to be.
    due: BTreeSet<(Duration, TraceId)>,
    /// All, by when the last of them came.
    by_age: BTreeSet<(Duration, TraceId)>,
    weight: usize,
    forgotten: Vec<TraceId>,
}

/// A trace, and what was told of it.
#[derive(Debug)]
struct Held {
    trace: OtlpTrace,
    weight: usize,
    seen: Duration,
    due: Option<Duration>,
    part: Part,
    told: HashSet<Id>,
}

/// What a telling is to what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The first of this trace, as far as is known here.
    First,
    /// All that ever came: it takes the place of what was told before.
    Whole,
    /// What came since the rest was forgotten.
    Rest,
}

/// A trace to be told. Whoever tells it gives it back by [`HeldTraces::told`].
#[derive(Debug)]
pub(crate) struct Due {
    trace_id: TraceId,
    held: Held,
}

/// What is to be stored of a trace.
#[derive(Debug)]
pub(crate) struct Telling {
    pub(crate) run: Box<Run>,
    /// Spans that were told before and are none: made up from messages, or kept as a root that is none.
    pub(crate) gone: Vec<Id>,
    /// Spans that hang from one that is not held, and that one: it may be stored.
    pub(crate) orphans: Vec<(Id, Id)>,
    /// Whether the first span of the trace is among those that came.
    pub(crate) has_root: bool,
    pub(crate) part: Part,
}

/// How a telling went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is stored.
    Stored,
    /// It was added to what another told, or an earlier life of this one.
    Added,
    /// It could not be stored.
    Failed,
}

impl HeldTraces {
    pub(crate) fn new(limits: HeldLimits) -> Self {
        Self {
            limits,
            traces: HashMap::new(),
            due: BTreeSet::new(),
            by_age: BTreeSet::new(),
            weight: 0,
            forgotten: Vec::new(),
        }
    }

    /// Takes what a request holds.
    pub(crate) fn take(&mut self, request: OtlpRequest, now: Duration) {
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
        // An event without its span is told when that comes.
        if spans > 0 {
            let linger = self.limits.linger.saturating_add(self.limits.linger_per_span.saturating_mul(spans));
            held.due.get_or_insert(now.saturating_add(linger));
        }
        self.insert(trace_id, held);
    }

    /// The next trace to be told, and forgets those that are held no longer.
    pub(crate) fn next_due(&mut self, now: Duration) -> Option<Due> {
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

    /// When [`HeldTraces::next_due`] will next have something to do.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let due = self.due.first().map(|(due, _)| *due);
        let forget = self.by_age.first().map(|(seen, _)| seen.saturating_add(self.limits.keep));
        due.into_iter().chain(forget).min()
    }

    /// Takes back a trace that was told.
    pub(crate) fn told(&mut self, due: Due, how: Told, now: Duration) {
        let Due { trace_id, mut held } = due;
        held.due = None;
        match how {
            Told::Stored if held.part == Part::First => held.part = Part::Whole,
            Told::Stored => {}
            Told::Added => held.part = Part::Rest,
            Told::Failed => held.due = Some(now.saturating_add(self.limits.retry)),
        }
        self.insert(trace_id, held);
    }

    /// Everything that is not told yet, whenever it was to be.
    pub(crate) fn settle(&mut self) -> Vec<Due> {
        let due: Vec<_> = self.due.iter().map(|(_, trace_id)| *trace_id).collect();
        due.into_iter().filter_map(|trace_id| Some(Due { trace_id, held: self.remove(&trace_id)? })).collect()
    }

    /// Forgets a trace: what comes of it later is told by itself.
    pub(crate) fn forget(&mut self, id: &Id) {
        if let Some(trace_id) = id.to_otel_trace() {
            self.remove(&trace_id);
            self.forgotten.push(trace_id);
        }
    }

    /// The traces that were forgotten since this was last asked.
    pub(crate) fn forgotten(&mut self) -> impl Iterator<Item = Id> {
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
        Self { trace, weight: size_of::<Self>(), seen: now, due: None, part: Part::First, told: HashSet::new() }
    }
}

impl Due {
    /// What to store; nothing when no span is one of a run. Takes as long as the trace is large.
    pub(crate) fn tell(&mut self, options: &Options) -> Option<Telling> {
        let (run, _) = self.held.trace.tell(options);
        let run = run?;
        let now: HashSet<Id> = run.spans.iter().map(|recorded| recorded.span.id.clone()).collect();
        let gone = self.held.told.difference(&now).cloned().collect();
        self.held.told = now;
        let (orphans, has_root) = (self.held.trace.orphans(), self.held.trace.has_root());
        Some(Telling { run, gone, orphans, has_root, part: self.held.part })
    }
}

impl Telling {
    /// Whether the run has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.run.trace.status != Some(Status::Running)
    }
}

#[cfg(test)]
mod tests;
