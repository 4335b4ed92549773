//! Guards of runs and steps: what they cover ends when they are dropped.

use std::ops::Deref;
use std::thread;

use opentelemetry::ContextGuard;

use crate::failure::Failure;
use crate::handle::SpanHandle;

/// A run or a step that is under way and not current. Ends when it is dropped; as failed if a panic unwinds.
///
/// Made by [`RunBuilder::open`](crate::RunBuilder::open); may go to any thread. Its methods are those of [`SpanHandle`].
#[derive(Debug)]
#[must_use = "when it is dropped, the run or the step ends"]
pub struct OpenSpan {
    handle: SpanHandle,
}

impl OpenSpan {
    pub(crate) fn new(handle: SpanHandle) -> Self {
        Self { handle }
    }

    /// Ends it.
    pub fn end(self) {}
}

impl Deref for OpenSpan {
    type Target = SpanHandle;

    fn deref(&self) -> &SpanHandle {
        &self.handle
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        if thread::panicking() {
            self.handle.unwound();
        }
        self.handle.end();
    }
}

/// A run or a step that is under way and current on this thread: what begins on it belongs below. Ends when it is dropped;
/// as failed if a panic unwinds.
///
/// Not `Send`, since what is current belongs to a thread. Across an `.await` use `scope`: other tasks of a current-thread
/// runtime would run with this one current. Its methods are those of [`SpanHandle`].
///
/// ```compile_fail
/// let run = retrace::run("pipeline").start();
/// std::thread::spawn(move || drop(run));
/// ```
#[derive(Debug)]
#[must_use = "when it is dropped, the run or the step ends"]
pub struct SpanGuard {
    // Dropped first: what is current again is what was before.
    _current: ContextGuard,
    span: OpenSpan,
}

impl SpanGuard {
    pub(crate) fn new(span: OpenSpan) -> Self {
        Self { _current: span.context().clone().attach(), span }
    }

    /// Ends it.
    pub fn end(self) {}
}

impl Deref for SpanGuard {
    type Target = SpanHandle;

    fn deref(&self) -> &SpanHandle {
        &self.span
    }
}

impl SpanHandle {
    /// Records that a panic ends it.
    fn unwound(&self) {
        if let Some(recorded) = self.recorded() {
            recorded.fail(Failure::unwound());
        }
    }
}
