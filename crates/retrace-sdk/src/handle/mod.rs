//! Handles of runs and steps.

pub(crate) mod setters;

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Display};
use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_retrace::SpanType;
use retrace_protocol::Id;
use serde::Serialize;

use self::setters::setters;
use crate::attributes;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::recorded::{Innermost, Recorded};
use crate::value::Value;
use crate::value::input::resumable;

/// A handle of a run or a step: adds what becomes known of it until it ends.
///
/// Cheap to clone, and may go to any thread. Holding one keeps nothing open. A handle of something that is not recorded does
/// nothing; what stands in the arguments of its methods is not serialized then.
#[derive(Clone)]
pub struct SpanHandle {
    cx: Context,
    recorded: Option<Arc<Recorded>>,
}

/// Returns the innermost run or step that is current, from anywhere below it. Where there is none the handle does nothing.
///
/// ```
/// fn answered(text: &str, input_tokens: u32, output_tokens: u32) {
///     retrace::current().output(text).tokens(input_tokens, output_tokens);
/// }
/// # answered("", 1, 2);
/// ```
#[must_use]
pub fn current() -> SpanHandle {
    SpanHandle::of(Context::current())
}

impl SpanHandle {
    pub(crate) fn new(cx: Context, recorded: Option<Arc<Recorded>>) -> Self {
        Self { cx, recorded }
    }

    pub(crate) fn cx(&self) -> &Context {
        &self.cx
    }

    pub(crate) fn recorded(&self) -> Option<&Arc<Recorded>> {
        self.recorded.as_ref()
    }

    fn of(cx: Context) -> Self {
        let recorded = cx.get::<Innermost>().map(|innermost| Arc::clone(&innermost.0));
        Self { recorded: recorded.filter(|_| cx.span().is_recording()), cx }
    }

    setters!(self, (&self) -> &Self);

    /// Records a place below this at which the run can be forked.
    pub fn fork_point(&self, name: impl Into<Cow<'static, str>>) {
        let name = name.into();
        crate::replay::fork_point(&self.cx, &name);
        self.step(name, SpanType::ForkPoint).start().end();
    }

    /// Ends it. Does nothing if it has ended.
    pub fn end(&self) {
        if let Some(recorded) = &self.recorded {
            recorded.end();
        }
    }

    /// Returns true if it is recorded.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// The `Context` below it, for what is run elsewhere.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.cx
    }

    /// The id of the run in Retrace, if it is recorded.
    #[must_use]
    pub fn run_id(&self) -> Option<String> {
        let span = self.cx.span();
        self.recorded.as_ref().map(|_| Id::from_otel_trace(span.span_context().trace_id().to_bytes()).to_string())
    }

    fn edit(&self, change: impl FnOnce(&mut Facts)) {
        if let Some(recorded) = &self.recorded {
            recorded.state(change);
        }
    }

    fn edit_content(&self, key: &'static str, capture: impl FnOnce() -> Value) {
        if let Some(recorded) = &self.recorded {
            recorded.set_content(key, capture);
        }
    }

    fn edit_input(&self, capture: impl FnOnce() -> Value) {
        let Some(recorded) = &self.recorded else { return };
        recorded.set_content(attributes::INPUT, || match recorded.is_resumable() {
            true => resumable(&capture()),
            false => capture(),
        });
    }

    fn edit_failure(&self, failure: impl FnOnce() -> Failure) {
        if let Some(recorded) = &self.recorded {
            recorded.fail(failure());
        }
    }
}

impl fmt::Debug for SpanHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanHandle").field("run_id", &self.run_id()).finish_non_exhaustive()
    }
}
