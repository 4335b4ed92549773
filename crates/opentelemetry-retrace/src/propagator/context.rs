//! What the propagator keeps in a `Context` beside the span context.

use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt as _, TraceId, TraceState};

use crate::propagator::run::RecordedRun;
use crate::propagator::tracestate::Members;

/// What was received with a trace and a span context cannot hold: it lives as long as `Context`s are made from the one that
/// was extracted.
#[derive(Debug)]
pub(crate) struct Received {
    pub trace_id: TraceId,
    /// The random flag: the SDK forgets it below a parent that is not sampled.
    pub random: bool,
    /// All of `tracestate`, keys of the newer grammar too.
    pub members: Members,
    /// What the span context got of it, to notice changes.
    pub state: TraceState,
    /// Our entry.
    pub run: Option<RecordedRun>,
}

impl Received {
    /// What was received with the trace of this `Context`'s span; a new trace within the same `Context` has nothing of it.
    pub(crate) fn of(cx: &Context) -> Option<&Self> {
        let received = cx.get::<Self>()?;
        (received.trace_id == cx.span().span_context().trace_id()).then_some(received)
    }
}

/// What the application says about the trace of a `Context`.
#[derive(Debug)]
pub(crate) struct Announced {
    pub trace_id: TraceId,
    pub run: RecordedRun,
}

impl Announced {
    pub(crate) fn of(cx: &Context) -> Option<&RecordedRun> {
        let announced = cx.get::<Self>()?;
        (announced.trace_id == cx.span().span_context().trace_id()).then_some(&announced.run)
    }
}
