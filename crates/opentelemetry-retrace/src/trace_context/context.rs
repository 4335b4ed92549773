//! Values that the propagator keeps in a `Context` beside the span context.

use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt as _, TraceId, TraceState};

use crate::trace_context::run::RemoteRunContext;
use crate::trace_context::tracestate::Members;

/// Received parts of a trace that a span context cannot hold. Every `Context` that is derived from the extracted one has
/// them.
#[derive(Debug)]
pub(crate) struct Received {
    pub trace_id: TraceId,
    /// Random flag: the SDK drops it below a parent that is not sampled.
    pub random: bool,
    /// All entries of `tracestate`, including keys of the newer grammar.
    pub members: Members,
    /// Entries that the span context holds, to detect changes.
    pub state: TraceState,
    /// Announcement of the caller's run.
    pub run: Option<RemoteRunContext>,
}

impl Received {
    /// Returns the value received with the trace of this `Context`'s span; `None` for a new trace within the
    /// same `Context`.
    pub(crate) fn of(cx: &Context) -> Option<&Self> {
        let received = cx.get::<Self>()?;
        (received.trace_id == cx.span().span_context().trace_id()).then_some(received)
    }
}

/// Announcement that the application makes for the trace of a `Context`.
#[derive(Debug)]
pub(crate) struct Announced {
    pub trace_id: TraceId,
    pub run: RemoteRunContext,
}

impl Announced {
    /// Returns the announcement for the trace of this `Context`'s span; `None` for another trace.
    pub(crate) fn of(cx: &Context) -> Option<&RemoteRunContext> {
        let announced = cx.get::<Self>()?;
        (announced.trace_id == cx.span().span_context().trace_id()).then_some(&announced.run)
    }
}
