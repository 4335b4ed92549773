//! Replays, recordings into cassettes, and ceilings.

mod cassette_builder;
pub(crate) mod golden;
mod interceptor;
pub(crate) mod limits;
pub(crate) mod position;
mod price;
mod recorder;
mod refusal;
mod replaced_file;
mod run;
mod session;
mod values;

pub use cassette_builder::{
    Pace, RecordedCassette, RecordingBuilder, ReplayBuilder, ReplayError, Replayed, record_cassette, replay,
};
pub(crate) use interceptor::SessionInterceptor;
pub use limits::{LimitsBuilder, limits};
pub(crate) use recorder::Begun;
pub use refusal::{RefusedCall, refusal};
pub(crate) use run::Aborted;
pub(crate) use session::Session;
pub use values::{now, random, uuid};

use std::future::Future;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use retrace_protocol::SpanType;

use crate::carry::InContext;
use crate::enforcement::CheckedSpan;
use position::{Outside, Position};

/// Runs a future that belongs to no replay and no recording, nor to a run, though one may be under way in the process.
pub fn outside_replay<F: Future>(future: F) -> InContext<F> {
    InContext::new(future, Context::new().with_value(Outside))
}

/// Counts a step that began, in the ceilings and the report of what it belongs to.
pub(crate) fn step_began(position: Option<&Position>, span_type: Option<SpanType>, is_memoised: bool) {
    let Some(position) = position else { return };
    if span_type != Some(SpanType::ToolCall) {
        return;
    }
    if let Some(limits) = &position.limits {
        limits.add_step();
    }
    if let (Some(session), false) = (&position.session, is_memoised)
        && session.is_replay()
    {
        session.note_executed(position.lane());
    }
}

/// Returns true if the receiver checks the tool step of this position when it ends.
pub(crate) fn is_checked(position: Option<&Position>, span_type: Option<SpanType>) -> bool {
    let is_replay = |position: &Position| position.session.as_ref().is_some_and(|session| session.is_replay());
    span_type == Some(SpanType::ToolCall)
        && position.is_some_and(|position| {
            !is_replay(position) && position.limits.as_ref().is_some_and(|limits| limits.checks().is_some())
        })
}

/// Begins the check of a tool step that has ended.
pub(crate) fn check_tool(cx: &Context, name: String, arguments_hash: Option<String>) {
    let Some(limits) = cx.get::<Position>().and_then(|position| position.limits.clone()) else { return };
    let span = cx.span();
    let span = span.span_context();
    limits.check(&CheckedSpan {
        trace_id: span.trace_id(),
        span_id: span.span_id(),
        tool: Some((name, arguments_hash)),
    });
}

/// Passes a place at which the run can be forked.
pub(crate) fn fork_point(cx: &Context, name: &str) {
    if position::is_active()
        && let Some(position) = cx.get::<Position>()
        && let Some(session) = &position.session
    {
        session.mark(position, name);
    }
}

/// Returns the message of the refusal that fails the run of a context; only for what is outermost in it. What is cut off proves nothing
/// about a call that was to be changed.
pub(crate) fn poison(cx: &Context, is_cut_off: bool) -> Option<String> {
    let position = cx.get::<Position>()?;
    let session = position.session.as_ref()?;
    if position.lane().segments().len() > 1 {
        return None;
    }
    if !is_cut_off {
        session.end_step(position.lane());
    }
    session.poison()
}

/// Returns the message of the refusal that cancels everything in a context.
pub(crate) fn cancelled_by(cx: &Context) -> Option<String> {
    let session = cx.get::<Position>()?.session.as_ref()?;
    session.poison().filter(|_| session.is_aborted())
}
