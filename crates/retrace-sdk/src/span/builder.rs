//! Builders of runs and steps.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Display};
use std::marker::PhantomData;

use opentelemetry::Context;
use opentelemetry_retrace::__private::Unsampled;
use opentelemetry_retrace::SpanType;
use retrace_replay::cassette::Effects;
use serde::Serialize;

use super::guard::{OpenSpan, SpanGuard};
use crate::__private::{Call, Outcome, call_sync};
use crate::attributes;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::handle::SpanHandle;
use crate::handle::setters::setters;
use crate::memo::MemoCall;
use crate::recorded::decision::Decision;
use crate::recorded::{Recorded, Start};
use crate::replay::{self, position, position::Position};
use crate::value::Value;
use crate::value::input::resumable;

/// Describes a run before it starts; made by [`run()`].
pub type RunBuilder = Builder<Run>;

/// Describes a step before it starts; made by [`step()`] and [`SpanHandle::step`].
pub type StepBuilder = Builder<Step>;

/// Marks builders of runs.
#[derive(Debug)]
pub enum Run {}

/// Marks builders of steps.
#[derive(Debug)]
pub enum Step {}

/// Describes a run or a step before it starts.
///
/// Where it stands, and with the sampler that [`install`](crate::install()) sets up also whether it is recorded, is decided when
/// the builder is made: arguments of its methods are not serialized for what is not recorded.
#[must_use = "a builder does nothing until it is started"]
pub struct Builder<K> {
    name: Cow<'static, str>,
    /// `None` for a run.
    span_type: Option<SpanType>,
    decision: Decision,
    /// The context that it belongs below; `None` for the one that is current.
    below: Option<Context>,
    facts: Facts,
    input: Option<Value>,
    failure: Option<Failure>,
    is_resumable: bool,
    effects: Effects,
    is_memoised: bool,
    kind: PhantomData<fn() -> K>,
}

/// Begins to describe a run. Inside of another run it is a reasoning step of that one.
///
/// ```
/// let run = retrace::run("pipeline").session("s-1").tag("beta").input("tides").start();
/// run.metadata("version", "1.2.0");
/// run.output("spring and neap");
/// ```
pub fn run(name: impl Into<Cow<'static, str>>) -> RunBuilder {
    let name = name.into();
    let decision = Decision::here(&name);
    Builder::new(name, None, decision, None)
}

/// Begins to describe a step below what is current. Without a run around it, it is a run.
///
/// ```
/// use retrace::SpanType;
///
/// let plan = retrace::step("plan", SpanType::Reasoning).in_scope(|step| {
///     step.output("ask the harbour master");
///     "ask"
/// });
/// # assert_eq!(plan, "ask");
/// ```
pub fn step(name: impl Into<Cow<'static, str>>, span_type: SpanType) -> StepBuilder {
    let name = name.into();
    let decision = Decision::here(&name);
    Builder::new(name, Some(span_type), decision, None)
}

/// Records a place at which the run can be forked.
///
/// ```
/// retrace::fork_point("after retrieval");
/// ```
pub fn fork_point(name: impl Into<Cow<'static, str>>) {
    let name = name.into();
    Context::map_current(|cx| replay::fork_point(cx, &name));
    step(name, SpanType::ForkPoint).start().end();
}

impl SpanHandle {
    /// Begins to describe a step below this one.
    ///
    /// ```
    /// use retrace::SpanType;
    ///
    /// let run = retrace::run("pipeline").start();
    /// let found = run.step("web_search", SpanType::ToolCall).input("tides").in_scope(|step| {
    ///     step.output(["neap", "spring"]);
    ///     2
    /// });
    /// # assert_eq!(found, 2);
    /// ```
    pub fn step(&self, name: impl Into<Cow<'static, str>>, span_type: SpanType) -> StepBuilder {
        StepBuilder::below(self.cx(), name.into(), span_type)
    }
}

impl StepBuilder {
    fn below(parent: &Context, name: Cow<'static, str>, span_type: SpanType) -> Self {
        let decision = Decision::below(parent, &name);
        Self::new(name, Some(span_type), decision, Some(parent.clone()))
    }
}

impl RunBuilder {
    /// Marks the run as one that a fork may run again: metadata `_resumable`, and the input as arguments by name.
    pub fn resumable(mut self) -> Self {
        self.is_resumable = true;
        self
    }
}

impl StepBuilder {
    /// Sets the effects of the step on the world, which decide if it may run again after a fork with other arguments. Default:
    /// [`Effects::External`].
    pub fn effects(mut self, effects: Effects) -> Self {
        self.effects = effects;
        self
    }

    /// Starts a step whose recorded result is used in a replay.
    pub(crate) fn begin_memo(mut self) -> (SpanHandle, Option<MemoCall>) {
        self.is_memoised = true;
        if !position::is_active() {
            return (self.begin(), None);
        }
        let request = self.input.clone().map(Value::into_json).unwrap_or_default();
        let (span_type, effects) = (self.span_type.unwrap_or(SpanType::Action), self.effects);
        let handle = self.begin();
        let memo = MemoCall::of(handle.context(), span_type, effects, request);
        (handle, memo)
    }
}

impl<K> Builder<K> {
    fn new(name: Cow<'static, str>, span_type: Option<SpanType>, decision: Decision, below: Option<Context>) -> Self {
        Self {
            name,
            span_type,
            decision,
            below,
            facts: Facts::default(),
            input: None,
            failure: None,
            is_resumable: false,
            effects: Effects::default(),
            is_memoised: false,
            kind: PhantomData,
        }
    }

    setters!(self, (mut self) -> Self);

    /// Starts it and makes it current on this thread, until the guard is dropped.
    pub fn start(self) -> SpanGuard {
        SpanGuard::new(self.open())
    }

    /// Starts it without making it current. It ends when it is dropped.
    pub fn open(self) -> OpenSpan {
        OpenSpan::new(self.begin())
    }

    /// Starts it, and calls `body` with it current. A panic in `body` is recorded, and goes on.
    pub fn in_scope<T>(self, body: impl FnOnce(SpanHandle) -> T) -> T {
        let handle = self.begin();
        call_sync(Call::of(&handle), || body(handle), |_, _| Outcome::unrecorded())
    }

    /// [`Builder::in_scope`] for a body that may fail: an `Err` is recorded as a failure.
    ///
    /// # Errors
    /// The error of `body`.
    pub fn try_in_scope<T, E: Display>(self, body: impl FnOnce(SpanHandle) -> Result<T, E>) -> Result<T, E> {
        self.in_scope(|handle| {
            body(handle.clone()).inspect_err(|error| {
                handle.fail(error);
            })
        })
    }

    /// Starts it.
    pub(crate) fn begin(self) -> SpanHandle {
        let Self { name, span_type, decision, below, facts: stated, input, failure, is_resumable, is_memoised, .. } =
            self;
        let parent = || below.unwrap_or_else(Context::current);
        let unrecorded = |parent: Context, unsampled: Option<Unsampled>| {
            let position = Position::entered(&parent, &name);
            replay::step_began(position.as_ref(), span_type, is_memoised);
            let cx = unsampled.map_or_else(|| parent.clone(), |unsampled| unsampled.below(&parent));
            SpanHandle::new(position::with(cx, position), None)
        };
        match decision {
            Decision::Nothing => unrecorded(parent(), None),
            Decision::Unsampled(unsampled) => unrecorded(parent(), Some(unsampled)),
            Decision::Record(place) => {
                let start = Start { name, span_type, is_resumable, is_memoised, agent: None };
                let mut stated = Some((stated, input));
                let recorded = Recorded::start(&place, start, &mut |facts, captures_content| {
                    let Some((stated, input)) = stated.take() else { return };
                    facts.merge(stated);
                    if let Some(input) = input.filter(|_| captures_content) {
                        facts.set_value(attributes::INPUT, if is_resumable { resumable(&input) } else { input });
                    }
                });
                match recorded {
                    Ok(recorded) => {
                        if let Some(failure) = failure {
                            recorded.fail(failure);
                        }
                        SpanHandle::new(recorded.context(), Some(recorded))
                    }
                    Err(cx) => SpanHandle::new(cx, None),
                }
            }
        }
    }

    fn edit(&mut self, change: impl FnOnce(&mut Facts)) {
        if self.decision.records() {
            change(&mut self.facts);
        }
    }

    fn edit_content(&mut self, key: &'static str, capture: impl FnOnce() -> Value) {
        if self.decision.records_content() {
            self.facts.set_value(key, capture());
        }
    }

    fn edit_input(&mut self, capture: impl FnOnce() -> Value) {
        // A replay compares the input of steps that are not recorded as well.
        if self.decision.records_content() || position::is_active() {
            self.input = Some(capture());
        }
    }

    fn edit_failure(&mut self, failure: impl FnOnce() -> Failure) {
        if self.decision.records() {
            self.failure.get_or_insert_with(failure);
        }
    }
}

impl<K> fmt::Debug for Builder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("name", &self.name).field("span_type", &self.span_type).finish_non_exhaustive()
    }
}
