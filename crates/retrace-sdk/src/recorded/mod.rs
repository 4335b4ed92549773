//! A run or a step that is recorded: one OpenTelemetry span, and what is stated of it until it ends.

pub(crate) mod decision;
pub(crate) mod open;
pub(crate) mod rerun;

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::trace::{SpanBuilder, Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_retrace::__private::{AgentScope, HeldStart};
use opentelemetry_retrace::SpanType;

use self::decision::Place;
use self::open::Seat;
use self::rerun::Rerun;
use crate::attributes;
use crate::dropped_guard;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::replay::position::Position;
use crate::replay::{self, position};
use crate::value::Value;

/// The attribute of the conventions for the type of an error.
const ERROR_TYPE: &str = "error.type";
/// Attributes that most spans have in the end.
const USUAL_ATTRIBUTES: usize = 6;

/// A run or a step. Shared by its guard, its handles and the contexts below it.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// Context of the span. It does not hold this, which would be a circle.
    cx: Context,
    seat: Option<Seat>,
    /// How many runs and steps stand above it.
    depth: u32,
    captures_content: bool,
    is_resumable: bool,
    has_ended: AtomicBool,
    /// Facts that are not in attributes yet; `None` once it has ended.
    state: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    facts: Facts,
    failure: Option<Failure>,
    /// Tool step that the receiver checks when it ends: its name, and its arguments as far as they are known.
    checked: Option<Box<(Cow<'static, str>, Option<String>)>>,
    /// Start of a step that is not sent if a replay answers it.
    held: Option<HeldStart>,
}

/// A context with an agent scope, unless it has that one.
fn with_agent(cx: Context, agent: Option<AgentScope>) -> Context {
    match agent {
        Some(agent) if cx.get::<AgentScope>() != Some(&agent) => cx.with_value(agent),
        _ => cx,
    }
}

/// Innermost run or step of a context.
#[derive(Clone, Debug)]
pub(crate) struct Innermost(pub(crate) Arc<Recorded>);

/// Facts that a span is started with.
pub(crate) struct Start {
    pub(crate) name: Cow<'static, str>,
    /// The type of a step; `None` for a run, which is a reasoning step inside of another one.
    pub(crate) span_type: Option<SpanType>,
    pub(crate) is_resumable: bool,
    /// A replay gives its recorded result.
    pub(crate) is_memoised: bool,
    pub(crate) agent: Option<AgentScope>,
}

impl Recorded {
    /// Starts the span. `describe` adds what is known at the start, and runs only if the span is recorded.
    ///
    /// # Errors
    /// The context of the span if it is not recorded.
    pub(crate) fn start(
        place: &Place,
        start: Start,
        describe: &mut dyn FnMut(&mut Facts, bool),
    ) -> Result<Arc<Self>, Context> {
        let captures_content = place.installed.captures_content;
        let position = Position::entered(&place.parent, &start.name);
        replay::step_began(position.as_ref(), start.span_type, start.is_memoised);
        let mut facts = Facts::with_capacity(USUAL_ATTRIBUTES);
        // A step below the span of a library is a step of the library's run.
        let names_run = place.depth == 0 && (start.span_type.is_none() || !place.has_parent);
        let rerun = if names_run { Rerun::begin(&place.parent) } else { None };
        let describe = &mut |facts: &mut Facts, captures_content: bool| {
            describe(facts, captures_content);
            if let Some(rerun) = rerun {
                rerun.describe(facts, captures_content);
            }
        };
        let span_type = start.span_type.unwrap_or(SpanType::Reasoning);
        facts.add([
            KeyValue::new(attributes::SPAN_TYPE, span_type.as_str()),
            KeyValue::new(attributes::NAME, start.name.clone()),
        ]);
        if names_run {
            let name = rerun.map_or_else(|| start.name.clone(), |rerun| rerun.name().to_owned().into());
            facts.add([KeyValue::new(attributes::TRACE_NAME, name)]);
        }
        if start.is_resumable && rerun.is_none() {
            facts.metadata("_resumable".to_owned(), Value::serialize(&true));
        }
        let agent = start.agent.or_else(|| place.agent.clone());
        if let Some(agent) = &agent {
            facts.add(agent.attributes());
        }
        if place.is_certain {
            describe(&mut facts, captures_content);
        }
        let is_checked = replay::is_checked(position.as_ref(), start.span_type);
        let mut checked = is_checked.then(|| Box::new((start.name.clone(), facts.arguments_hash())));
        let builder = SpanBuilder::from_name(start.name).with_attributes(facts.take());
        let holds = start.is_memoised && position.as_ref().is_some_and(Position::leaves_out_recorded);
        let (span, held) = match place.is_certain && !holds {
            true => (place.start(builder), None),
            false => {
                let (mut span, mut held) = HeldStart::around(|| place.start(builder));
                if !place.is_certain && span.is_recording() {
                    describe(&mut facts, captures_content);
                    if let Some(checked) = &mut checked {
                        checked.1 = facts.arguments_hash();
                    }
                    let attributes = facts.take();
                    held.extend(&attributes);
                    span.set_attributes(attributes);
                }
                (span, holds.then_some(held))
            }
        };
        let is_recording = span.is_recording();
        let cx = position::with(with_agent(span.into_context(&place.parent), agent), position);
        if !is_recording {
            if !place.installed.has_pipeline() {
                dropped_guard::run_is_not_recorded();
            }
            return Err(cx);
        }
        let has_ended = AtomicBool::new(false);
        let state = Mutex::new(Some(Open { facts, failure: None, checked, held }));
        let (depth, is_resumable) = (place.depth, start.is_resumable);
        let recorded = open::add(|seat| Self { cx, seat, depth, captures_content, is_resumable, has_ended, state });
        if let Some(rerun) = rerun {
            rerun.set_recorded(&recorded);
        }
        Ok(recorded)
    }

    /// Context in which this is current.
    pub(crate) fn context(self: &Arc<Self>) -> Context {
        self.cx.with_value(Innermost(Arc::clone(self)))
    }

    /// Returns true if inputs and outputs are recorded.
    pub(crate) fn captures_content(&self) -> bool {
        self.captures_content
    }

    /// Returns true if a fork may run this again.
    pub(crate) fn is_resumable(&self) -> bool {
        self.is_resumable
    }

    /// Returns how many runs and steps stand above it.
    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    /// Changes the facts, unless it has ended.
    pub(crate) fn state(&self, change: impl FnOnce(&mut Facts)) {
        if let Some(open) = self.state.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            change(&mut open.facts);
        }
    }

    /// States content. `capture` runs only if content is recorded.
    pub(crate) fn set_content(&self, key: &'static str, capture: impl FnOnce() -> Value) {
        if self.captures_content {
            let value = capture();
            self.state(|facts| facts.set_value(key, value));
        }
    }

    /// States that it failed. The first failure holds.
    pub(crate) fn fail(&self, failure: Failure) {
        if let Some(open) = self.state.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            open.failure.get_or_insert(failure);
        }
    }

    /// Lets the start of a step go on that a replay could have left out. `keeps` is false for one that it does.
    pub(crate) fn release_start(&self, keeps: bool) {
        let held = self.state.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(|open| open.held.take());
        match held {
            Some(held) if !keeps => held.discard(),
            held => drop(held),
        }
    }

    /// Ends the span. Does nothing if it has ended.
    pub(crate) fn end(&self) {
        self.end_with(|_, _| {});
    }

    /// Ends the span as failed, unless it has ended.
    pub(crate) fn end_failed(&self, failure: Failure) {
        self.end_as(failure.is_cut_off(), |_, failed| {
            failed.get_or_insert(failure);
        });
    }

    /// Ends the span, unless it has ended, with what is stated last.
    pub(crate) fn end_with(&self, last: impl FnOnce(&mut Facts, &mut Option<Failure>)) {
        self.end_as(false, last);
    }

    /// `is_cut_off` is true for what did not come to its end.
    fn end_as(&self, is_cut_off: bool, last: impl FnOnce(&mut Facts, &mut Option<Failure>)) {
        let open = self.state.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Open { mut facts, mut failure, checked, held }) = open else { return };
        drop(held);
        self.has_ended.store(true, Ordering::Relaxed);
        last(&mut facts, &mut failure);
        let checked = checked.map(|checked| (checked.0.into_owned(), facts.arguments_hash().or(checked.1)));
        self.finish(facts, failure, is_cut_off);
        if let Some((name, arguments_hash)) = checked {
            replay::check_tool(&self.cx, name, arguments_hash);
        }
    }

    /// Returns true if it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    fn finish(&self, mut facts: Facts, mut failure: Option<Failure>, is_cut_off: bool) {
        if let Some(seat) = self.seat {
            open::remove(seat);
        }
        let span = self.cx.span();
        if let Some(refusal) = replay::poison(&self.cx, is_cut_off) {
            failure = Some(Failure::refused(&refusal, failure));
            facts.set(attributes::STATUS, "failed");
        } else if failure.as_ref().is_some_and(Failure::is_cancelled)
            && let Some(refusal) = replay::cancelled_by(&self.cx)
        {
            failure = Some(Failure::refused(&refusal, failure));
        }
        let failure = match facts.status() {
            Some("completed") => None,
            Some("failed") => failure.or_else(|| Some(Failure::message("failed"))),
            _ => failure,
        };
        if let Some(failure) = failure {
            if let Some(kind) = failure.kind {
                facts.set(ERROR_TYPE, kind);
            }
            span.set_status(Status::error(failure.message));
        }
        let attributes = facts.take();
        if !attributes.is_empty() {
            span.set_attributes(attributes);
        }
        span.end();
    }
}
