//! A recorded call: from the evaluation of its arguments to its end.

use std::any::Any;
use std::borrow::Cow;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::thread;

use opentelemetry::{Context, ContextGuard};
use pin_project_lite::pin_project;

use super::outcome::{Ended, Outcome};
use super::{Function, FunctionKind};
use crate::agent::nested;
use crate::attributes;
use crate::decision::{Decision, Place};
use crate::facts::Facts;
use crate::failure::Failure;
use crate::handle::SpanHandle;
use crate::input::Arguments;
use crate::installed::Installed;
use crate::recorded::{Recorded, Start};
use crate::value::Value;

/// A call that was begun. Dropped before it is made it is recorded as cancelled.
#[derive(Debug)]
pub struct Call(State);

#[derive(Debug)]
enum State {
    /// It is not recorded.
    Nothing,
    /// Nor is anything below it.
    Unsampled(Context),
    Recorded(Running),
}

/// A recorded call. Dropped before its end it is cancelled.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) recorded: Arc<Recorded>,
    pub(crate) cx: Context,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.recorded.has_ended() {
            let failure = if thread::panicking() { Failure::unwound() } else { Failure::cancelled() };
            self.recorded.end_failed(failure);
        }
    }
}

/// Description of a call. Evaluated only if the call is recorded.
#[derive(Debug)]
pub struct Details {
    facts: Facts,
    arguments: Arguments,
    captures_content: bool,
}

impl Details {
    /// Returns true if inputs are recorded: arguments need not be evaluated otherwise.
    #[must_use]
    pub fn takes_input(&self) -> bool {
        self.captures_content
    }

    /// An argument of the function.
    pub(crate) fn arguments(&mut self) -> &mut Arguments {
        &mut self.arguments
    }

    /// The input, in place of the arguments.
    pub fn input(&mut self, value: Value) {
        self.arguments.replace(value);
    }

    /// The session of the run; none for `null`, such as `None`.
    pub fn session(&mut self, value: Value) {
        if !value.is_null() {
            self.facts.set(attributes::SESSION_ID, value.into_plain());
        }
    }

    /// The user on whose behalf it runs; none for `null`, such as `None`.
    pub fn user(&mut self, value: Value) {
        if !value.is_null() {
            self.facts.set(attributes::USER_ID, value.into_plain());
        }
    }

    /// Metadata.
    pub fn metadata(&mut self, key: &'static str, value: Value) {
        self.facts.metadata(key.to_owned(), value);
    }
}

/// Starts the span of a call below the current context. `describe` runs only if the span is recorded; a panic in it is
/// recorded as an unreadable input.
#[inline]
pub fn begin(function: &'static Function, describe: impl FnOnce(&mut Details)) -> Call {
    if Installed::is_off() {
        return Call(State::Nothing);
    }
    let mut describe = Some(describe);
    begin_recording(function, &mut |details| {
        if let Some(describe) = describe.take() {
            describe(details);
        }
    })
}

fn begin_recording(function: &'static Function, describe: &mut dyn FnMut(&mut Details)) -> Call {
    match Decision::here(function.name) {
        Decision::Nothing => Call(State::Nothing),
        Decision::Unsampled(unsampled) => {
            Call(State::Unsampled(Context::map_current(|parent| unsampled.below(parent))))
        }
        Decision::Record(place) => begin_recorded(function, &place, describe),
    }
}

fn begin_recorded(function: &'static Function, place: &Place, describe: &mut dyn FnMut(&mut Details)) -> Call {
    let agent = function.agent.map(|agent| nested(place.agent.as_ref(), agent.id.into(), agent.role.map(Into::into)));
    let start = Start {
        name: Cow::Borrowed(function.name),
        span_type: match function.kind {
            FunctionKind::Auto | FunctionKind::Run => None,
            FunctionKind::Step(span_type) => Some(span_type),
        },
        is_resumable: function.resumable,
        agent,
    };
    let recorded = Recorded::start(place, start, &mut |facts, captures_content| {
        let mut details = Details { facts: std::mem::take(facts), arguments: Arguments::new(), captures_content };
        function.tags.iter().for_each(|tag| details.facts.tag((*tag).to_owned()));
        if catch_unwind(AssertUnwindSafe(|| describe(&mut details))).is_err() {
            details.arguments.replace(Value::unreadable());
        }
        *facts = details.facts;
        if captures_content && let Some(input) = details.arguments.into_input(function.resumable) {
            facts.set_value(attributes::INPUT, input);
        }
    });
    match recorded {
        Ok(recorded) => Call(State::Recorded(Running { cx: recorded.context(), recorded })),
        Err(cx) => Call(State::Unsampled(cx)),
    }
}

impl Running {
    /// Returns true if outputs are recorded.
    fn captures_content(&self) -> bool {
        self.recorded.captures_content()
    }

    /// Records the outcome of the call, and ends the span. Content is in it only where content is recorded.
    fn finish(&self, outcome: thread::Result<Outcome>) {
        let captures_content = self.captures_content();
        self.recorded.end_with(|facts, failed| match outcome {
            Ok(Outcome(Ended::Returned(value))) => {
                if let Some(value) = value.filter(|_| captures_content) {
                    facts.set_value(attributes::OUTPUT, value);
                }
            }
            Ok(Outcome(Ended::Failed(failure))) => {
                failed.get_or_insert(failure);
            }
            Err(_) if captures_content => facts.set_value(attributes::OUTPUT, Value::unreadable()),
            Err(_) => {}
        });
    }

    /// Records a panic, which goes on.
    fn unwind(&self, payload: Box<dyn Any + Send>) -> ! {
        self.recorded.end_failed(Failure::panicked(&*payload));
        resume_unwind(payload)
    }
}

/// Calls `body` with the span current. A panic is recorded, and goes on.
#[inline]
pub fn call_sync<T>(call: Call, body: impl FnOnce() -> T, outcome: impl FnOnce(&T, bool) -> Outcome) -> T {
    let (current, running) = call.enter();
    let Some(running) = running else { return body() };
    let returned = catch_unwind(AssertUnwindSafe(body));
    drop(current);
    match returned {
        Ok(value) => {
            let content = running.captures_content();
            running.finish(catch_unwind(AssertUnwindSafe(|| outcome(&value, content))));
            value
        }
        Err(payload) => running.unwind(payload),
    }
}

/// Calls `body` with the span current, and leaves the call open for what it returned. A panic is recorded, and goes on.
pub fn call_entered<T>(call: Call, body: impl FnOnce() -> T) -> (Call, T) {
    let _current = call.context().map(Context::attach);
    let Some(running) = call.running() else {
        let value = body();
        return (call, value);
    };
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => (call, value),
        Err(payload) => running.unwind(payload),
    }
}

/// The future of a call, with the span current while it is polled. Dropped before it is done the call is cancelled.
pub fn call_async<F: Future>(
    call: Call,
    body: F,
    outcome: impl FnOnce(&F::Output, bool) -> Outcome,
) -> impl Future<Output = F::Output> {
    CallFuture { call, body: Some(body), outcome: Some(outcome) }
}

pin_project! {
    struct CallFuture<F, O> {
        call: Call,
        // `None` once it is done, or dropped with its context.
        #[pin]
        body: Option<F>,
        outcome: Option<O>,
    }

    impl<F, O> PinnedDrop for CallFuture<F, O> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.body.is_some() {
                let _current = this.call.context().map(Context::attach);
                this.body.set(None);
            }
        }
    }
}

impl Call {
    /// Makes the span current; gives the call if it is recorded.
    fn enter(self) -> (Option<ContextGuard>, Option<Running>) {
        match self.0 {
            State::Nothing => (None, None),
            State::Unsampled(cx) => (Some(cx.attach()), None),
            State::Recorded(mut running) => (Some(std::mem::take(&mut running.cx).attach()), Some(running)),
        }
    }

    /// Records what `outcome` gives, and ends the span.
    pub(crate) fn finish(self, outcome: impl FnOnce() -> Outcome) {
        if let Some(running) = self.running() {
            running.finish(catch_unwind(AssertUnwindSafe(outcome)));
        }
    }

    /// The call of what a handle stands for.
    pub(crate) fn of(handle: &SpanHandle) -> Self {
        let cx = handle.context().clone();
        Self(match handle.recorded() {
            Some(recorded) => State::Recorded(Running { recorded: Arc::clone(recorded), cx }),
            None => State::Unsampled(cx),
        })
    }

    /// The context of what is below it.
    pub(crate) fn context(&self) -> Option<Context> {
        match &self.0 {
            State::Nothing => None,
            State::Unsampled(cx) => Some(cx.clone()),
            State::Recorded(running) => Some(running.cx.clone()),
        }
    }

    pub(crate) fn running(&self) -> Option<&Running> {
        match &self.0 {
            State::Recorded(running) => Some(running),
            State::Nothing | State::Unsampled(_) => None,
        }
    }
}

impl<F: Future, O: FnOnce(&F::Output, bool) -> Outcome> Future for CallFuture<F, O> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        #[expect(clippy::panic, reason = "a future that is done must not be polled, as for any async function")]
        let Some(body) = this.body.as_mut().as_pin_mut() else { panic!("`async fn` resumed after completion") };
        let _current = this.call.context().map(Context::attach);
        let Some(running) = this.call.running() else { return body.poll(task) };
        match catch_unwind(AssertUnwindSafe(|| body.poll(task))) {
            Ok(polled) => {
                let value = ready!(polled);
                this.body.set(None);
                if let Some(outcome) = this.outcome.take() {
                    let content = running.captures_content();
                    running.finish(catch_unwind(AssertUnwindSafe(|| outcome(&value, content))));
                }
                Poll::Ready(value)
            }
            Err(payload) => {
                running.recorded.fail(Failure::panicked(&*payload));
                this.body.set(None);
                running.recorded.end();
                resume_unwind(payload)
            }
        }
    }
}
