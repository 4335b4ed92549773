//! Events of runs that are emitted while they happen.

use retrace_protocol::{Id, Span, Trace};

use crate::recorder::RecordedSpan;

/// Event of a live run.
#[derive(Debug)]
pub struct LiveUpdate {
    /// Id of the Retrace trace.
    pub run: Id,
    /// The run belongs to the calling process, which emits its start and its end.
    pub joined: bool,
    /// The event.
    pub event: LiveEvent,
}

/// Event of a run.
///
/// For each run, [`LiveEvent::RunStarted`] comes first and [`LiveEvent::RunEnded`] or [`LiveEvent::RunAbandoned`] last.
///
/// For a run of another process, [`LiveEvent::RunStarted`] and [`LiveEvent::RunEnded`] carry the trace that these spans alone
/// would have. They are meant only for a receiver that does not accept spans without a trace.
#[derive(Debug)]
pub enum LiveEvent {
    /// The run began: status running, without totals and spans. Emitted again before the end if its name, input, metadata or
    /// session has changed.
    RunStarted(Trace),
    /// A step began: without end, duration, output and usage. Its [`LiveEvent::SpanEnded`] repeats all of it that still holds.
    ///
    /// Omitted for model calls and for spans whose type is known only at their end. If a child of such a span is emitted and
    /// the run is closed before the span ends, this event is emitted late, so that every parent exists.
    SpanStarted(Span),
    /// A step ended; the complete span. A span synthesized from messages has no sources.
    ///
    /// Emitted again before the end of the run, without sources, if later spans have changed its parent, its agents, whether its
    /// usage counts, which labels of the run it repeats or which tool call it executes: the last record holds. The recorder keeps the
    /// content of the spans that ended last for that, in a quarter of [`RecorderLimits::bytes`](crate::RecorderLimits::bytes).
    SpanEnded(RecordedSpan),
    /// The run ended: the trace of `RunStarted` with its end.
    RunEnded(Trace),
    /// No more events follow, although local roots have not ended: the run exceeded a limit of the recorder. What was emitted
    /// stays.
    RunAbandoned,
}
