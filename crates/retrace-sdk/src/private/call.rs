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
use opentelemetry_retrace::__private::Unsampled;
use opentelemetry_retrace::SpanType;
use pin_project_lite::pin_project;

use super::outcome::{Ended, Outcome};
use super::{Function, FunctionKind};
use crate::agent::nested;
use crate::attributes;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::handle::SpanHandle;
use crate::installed::Installed;
use crate::memo::{Codec, MemoCall, memoised, memoised_sync};
use crate::recorded::decision::{Decision, Place};
use crate::recorded::{Recorded, Start};
use crate::replay;
use crate::replay::position::{self, Position};
use crate::value::Value;
use crate::value::input::Arguments;

/// A call that was begun. Dropped before it is made it is recorded as cancelled.
#[derive(Debug)]
pub struct Call {
    state: State,
    /// Set for a step whose recorded result is used, while a replay or a recording is under way.
    memo: Option<Box<MemoCall>>,
}

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
    let is_positioned = position::is_active();
    if Installed::is_off() && !is_positioned {
        return Call { state: State::Nothing, memo: None };
    }
    let mut describe = Some(describe);
    let describe = &mut |details: &mut Details| {
        if let Some(describe) = describe.take() {
            describe(details);
        }
    };
    if is_positioned { begin_positioned(function, describe) } else { begin_recording(function, describe) }
}

fn begin_recording(function: &'static Function, describe: &mut dyn FnMut(&mut Details)) -> Call {
    let state = match Decision::here(function.name) {
        Decision::Nothing => State::Nothing,
        Decision::Unsampled(unsampled) => State::Unsampled(Context::map_current(|parent| unsampled.below(parent))),
        Decision::Record(place) => start(function, &place, &mut |facts, captures_content| {
            described(function, facts, captures_content, describe)
        }),
    };
    Call { state, memo: None }
}

/// [`begin`] while something is replayed, recorded into a cassette or limited.
fn begin_positioned(function: &'static Function, describe: &mut dyn FnMut(&mut Details)) -> Call {
    let decision = Decision::here(function.name);
    let mut facts = Facts::default();
    let mut input = None;
    if function.replay || matches!(decision, Decision::Record(_)) {
        input = described(function, &mut facts, true, describe);
    }
    let request = input.clone().filter(|_| function.replay).map(Value::into_json).unwrap_or_default();
    let below = |unsampled: Option<Unsampled>| {
        Context::map_current(|parent| {
            let position = Position::entered(parent, function.name);
            replay::step_began(position.as_ref(), span_type(function), function.replay);
            let cx = unsampled.map_or_else(|| parent.clone(), |unsampled| unsampled.below(parent));
            position::with(cx, position)
        })
    };
    let state = match decision {
        Decision::Record(place) => start(function, &place, &mut |stated, captures_content| {
            stated.merge(std::mem::take(&mut facts));
            input.take().filter(|_| captures_content)
        }),
        Decision::Unsampled(unsampled) => State::Unsampled(below(Some(unsampled))),
        Decision::Nothing => State::Unsampled(below(None)),
    };
    let mut call = Call { state, memo: None };
    if let (true, Some(cx)) = (function.replay, call.context()) {
        let span_type = span_type(function).unwrap_or(SpanType::ToolCall);
        call.memo = MemoCall::of(&cx, span_type, function.effects.into(), request).map(Box::new);
    }
    call
}

fn span_type(function: &Function) -> Option<SpanType> {
    match function.kind {
        FunctionKind::Auto | FunctionKind::Run => None,
        FunctionKind::Step(span_type) => Some(span_type),
    }
}

/// Evaluates the description of a call. Returns the input.
fn described(
    function: &Function,
    facts: &mut Facts,
    captures_content: bool,
    describe: &mut dyn FnMut(&mut Details),
) -> Option<Value> {
    let mut details = Details { facts: std::mem::take(facts), arguments: Arguments::new(), captures_content };
    function.tags.iter().for_each(|tag| details.facts.tag((*tag).to_owned()));
    if catch_unwind(AssertUnwindSafe(|| describe(&mut details))).is_err() {
        details.arguments.replace(Value::unreadable());
    }
    *facts = details.facts;
    if captures_content { details.arguments.into_input(function.resumable) } else { None }
}

/// Starts the span of a call. `describe` returns the input.
fn start(
    function: &'static Function,
    place: &Place,
    describe: &mut dyn FnMut(&mut Facts, bool) -> Option<Value>,
) -> State {
    let agent = function.agent.map(|agent| nested(place.agent.as_ref(), agent.id.into(), agent.role.map(Into::into)));
    let start = Start {
        name: Cow::Borrowed(function.name),
        span_type: span_type(function),
        is_resumable: function.resumable,
        is_memoised: function.replay,
        agent,
    };
    let recorded = Recorded::start(place, start, &mut |facts, captures_content| {
        if let Some(input) = describe(facts, captures_content) {
            facts.set_value(attributes::INPUT, input);
        }
    });
    match recorded {
        Ok(recorded) => State::Recorded(Running { cx: recorded.context(), recorded }),
        Err(cx) => State::Unsampled(cx),
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

/// Calls the body of a step, or gives its recorded result. A panic is recorded, and goes on.
pub fn replay_sync<T>(
    mut call: Call,
    body: impl FnOnce() -> T,
    outcome: impl FnOnce(&T, bool) -> Outcome,
    codec: &impl Codec<T>,
) -> T {
    let memo = call.memo.take().map(|memo| *memo);
    call_sync(call, || memoised_sync(memo, body, codec), outcome)
}

/// The future of a step, or its recorded result.
pub fn replay_async<F: Future>(
    mut call: Call,
    body: F,
    outcome: impl FnOnce(&F::Output, bool) -> Outcome,
    codec: impl Codec<F::Output>,
) -> impl Future<Output = F::Output> {
    let memo = call.memo.take().map(|memo| *memo);
    call_async(call, memoised(memo, body, codec), outcome)
}

impl Call {
    /// Makes the span current; gives the call if it is recorded.
    fn enter(self) -> (Option<ContextGuard>, Option<Running>) {
        match self.state {
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
        let state = match handle.recorded() {
            Some(recorded) => State::Recorded(Running { recorded: Arc::clone(recorded), cx }),
            None => State::Unsampled(cx),
        };
        Self { state, memo: None }
    }

    /// The context of what is below it.
    pub(crate) fn context(&self) -> Option<Context> {
        match &self.state {
            State::Nothing => None,
            State::Unsampled(cx) => Some(cx.clone()),
            State::Recorded(running) => Some(running.cx.clone()),
        }
    }

    pub(crate) fn running(&self) -> Option<&Running> {
        match &self.state {
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
