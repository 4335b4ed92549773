//! Differences of two stored runs. Pure.
//!
//! [`align()`](align::align) pairs their steps, [`content`] compares inputs and outputs of a pair, and [`diff`]
//! combines both. Ids, times, tokens, cost and metadata are not compared; totals are part of the result.
//!
//! A run of a fork is compared with the run that it was forked from in a special way: steps before the fork point that
//! it did not send again count as replayed. The changes of the fork itself are listed and are not a divergence: the input
//! of the run, of the steps that enclose the fork point, of the step at it, and of the model calls after it, which repeat
//! the conversation, and the output of the step at the fork point where the fork states it.

mod align;
mod content;

use std::collections::{HashMap, HashSet};

use retrace_protocol::metadata::{FORK_ID, FORK_OF, FORK_POINT};
use retrace_protocol::{Id, Json, Span, SpanType, Status, Timestamp, Trace};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::fork::command::Call;
use crate::fork::{Fork, Mode};
use align::{Pair, align, enclosing, is_same_step};
use content::{Budget, ContentDiff};

/// Largest number of compared steps of a run; `truncated` states that more exist.
const MAX_STEPS: usize = 5_000;

/// The differences of the run `b` from the run `a`.
#[derive(Debug, Serialize)]
pub(crate) struct RunDiff {
    a: Run,
    b: Run,
    /// Present when `b` is a fork of `a`.
    #[serde(skip_serializing_if = "Option::is_none")]
    fork: Option<ForkPoint>,
    /// No step, output, error or status differs.
    same: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_divergence: Option<Divergence>,
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<ContentDiff>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<ContentDiff>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ContentDiff>,
    steps: Vec<Step>,
    /// A run has more steps than the limit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// One of the runs.
#[derive(Debug, Serialize)]
struct Run {
    id: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
    /// US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    steps: usize,
}

#[derive(Debug, Serialize)]
struct ForkPoint {
    span_id: String,
    /// Index among the spans of `a`, from 0.
    index: usize,
}

/// First divergence of the runs.
#[derive(Debug, Serialize)]
struct Divergence {
    /// Index in `steps`, from 0; absent if only the runs as a whole differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<usize>,
    /// `added`, `removed`, `input`, `output`, `error`, `model` or `status`.
    reason: &'static str,
    /// JSON pointer to the first difference of the input or output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Counts {
    same: usize,
    changed: usize,
    added: usize,
    removed: usize,
    replayed: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum StepStatus {
    /// Both runs have it, and nothing differs.
    Same,
    /// Both runs have it, and something differs.
    Changed,
    /// Only `b` has it.
    Added,
    /// Only `a` has it.
    Removed,
    /// Only `a` has it, before the fork point: `b` used its recorded result.
    Replayed,
}

/// A step of one run, or a pair of steps.
#[derive(Debug, Serialize)]
struct Step {
    status: StepStatus,
    /// A difference is a divergence, and not a change of the fork.
    diverges: bool,
    /// The positions in the runs differ. This alone is not a divergence: concurrent steps have no order.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    moved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<Side>,
    #[serde(skip_serializing_if = "Changes::is_empty")]
    changes: Changes,
}

/// A step in one run.
#[derive(Debug, Serialize)]
struct Side {
    /// Index among the spans of the run, from 0.
    index: usize,
    id: Id,
    span_type: SpanType,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Differences between the steps of a pair.
#[derive(Debug, Default, Serialize)]
struct Changes {
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<ContentDiff>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<ContentDiff>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ContentDiff>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ContentDiff>,
}

impl Changes {
    const fn is_empty(&self) -> bool {
        self.input.is_none() && self.output.is_none() && self.error.is_none() && self.model.is_none()
    }
}

impl RunDiff {
    /// Returns true if the runs differ only in the changes of a fork.
    #[cfg(test)]
    const fn is_same(&self) -> bool {
        self.same
    }
}

/// What is known of the fork that recorded the second run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ForkFacts {
    /// It states the output of the step at the fork point.
    pub(crate) sets_output: bool,
    /// It has executed everything again.
    pub(crate) is_live: bool,
}

impl ForkFacts {
    pub(crate) fn of(fork: &Fork) -> Self {
        let substitutions = fork.substitutions.as_ref().and_then(|json| json.to_value().ok());
        let sets_output = substitutions.is_some_and(|members| members.get("tool_output").is_some());
        Self { sets_output, is_live: fork.mode == Mode::Live }
    }
}

/// Returns the id of the fork that recorded a run.
pub(crate) fn fork_id(run: &Trace) -> Option<String> {
    let metadata = run.metadata.as_ref()?.to_value().ok()?;
    metadata.get(FORK_ID)?.as_str().map(str::to_owned)
}

/// Compares two runs with all of their spans. `facts` are those of the fork that recorded `b`, if one did. The cost is about the
/// product of the numbers of differing steps, of a fork that of all steps; text is compared within a budget.
pub(crate) fn diff(a: &Trace, b: &Trace, facts: ForkFacts) -> RunDiff {
    let spans = |run: &Trace| -> usize { run.spans.as_ref().map_or(0, Vec::len) };
    let (ours, theirs) = (first_steps(a), first_steps(b));
    let fork = fork_point(a, b);
    let point = fork.as_ref().map(|fork| fork.index);
    let forked = ForkedSteps::of(ours, point, facts);
    let mut budget = Budget::default();
    let steps: Vec<Step> = align(ours, theirs, point.filter(|_| !facts.is_live))
        .into_iter()
        .map(|pair| step(pair, ours, theirs, &forked, &mut budget))
        .collect();
    let mut counts = Counts::default();
    for step in &steps {
        *match step.status {
            StepStatus::Same => &mut counts.same,
            StepStatus::Changed => &mut counts.changed,
            StepStatus::Added => &mut counts.added,
            StepStatus::Removed => &mut counts.removed,
            StepStatus::Replayed => &mut counts.replayed,
        } += 1;
    }
    let input = of_input(a.input.as_ref(), b.input.as_ref(), fork.is_some(), &mut budget);
    let output = ContentDiff::of_json(a.output.as_ref(), b.output.as_ref(), &mut budget);
    let error = ContentDiff::of_text(a.error.as_deref(), b.error.as_deref(), &mut budget);
    let of_step = first_step(&steps, ours, theirs, &forked);
    let of_run = || {
        let whole = |reason, content: Option<&ContentDiff>| {
            content.map(|content| Divergence { step: None, reason, pointer: content.first_pointer() })
        };
        let input = input.as_ref().filter(|_| fork.is_none());
        let status = (a.status != b.status).then_some(Divergence { step: None, reason: "status", pointer: None });
        whole("input", input)
            .or_else(|| whole("output", output.as_ref()))
            .or(status)
            .or_else(|| whole("error", error.as_ref()))
    };
    let first_divergence = of_step.or_else(of_run);
    RunDiff {
        same: first_divergence.is_none(),
        first_divergence,
        a: summary(a),
        b: summary(b),
        fork,
        counts,
        input,
        output,
        error,
        steps,
        truncated: spans(a).max(spans(b)) > MAX_STEPS,
    }
}

/// The first step that diverges. Where the output or the error of a step differs because a step inside of it diverges, it is that one.
fn first_step(steps: &[Step], ours: &[Span], theirs: &[Span], forked: &ForkedSteps) -> Option<Divergence> {
    let outer = |spans: &[Span], ids: Vec<&Id>| -> HashSet<Id> {
        let parents: HashMap<&Id, &Id> =
            spans.iter().filter_map(|span| Some((&span.id, span.parent_id.as_ref()?))).collect();
        let mut outer = HashSet::new();
        for mut id in ids {
            while let Some(parent) = parents.get(id).filter(|parent| !outer.contains(**parent)) {
                outer.insert((*parent).clone());
                id = parent;
            }
        }
        outer
    };
    // The result of a tool call is no other step than the call.
    let diverging = |side: fn(&Step) -> Option<&Side>| {
        let sides = steps.iter().filter(|step| step.diverges).filter_map(side);
        sides.filter(|side| side.span_type != SpanType::ToolResult).map(|side| &side.id).collect()
    };
    let (outer_a, outer_b) =
        (outer(ours, diverging(|step| step.a.as_ref())), outer(theirs, diverging(|step| step.b.as_ref())));
    let found = steps.iter().enumerate().filter(|(_, step)| step.diverges);
    let all: Vec<_> = found.map(|(at, step)| (step, divergence(at, step, forked))).collect();
    let is_cause = |(step, divergence): &&(&Step, Divergence)| {
        let is_outer = step.a.as_ref().is_some_and(|side| outer_a.contains(&side.id))
            || step.b.as_ref().is_some_and(|side| outer_b.contains(&side.id));
        !(is_outer && step.status == StepStatus::Changed && ["output", "error"].contains(&divergence.reason))
    };
    let at = all.iter().position(|each| is_cause(&each)).unwrap_or(0);
    all.into_iter().nth(at).map(|(_, divergence)| divergence)
}

fn first_steps(run: &Trace) -> &[Span] {
    let spans = run.spans.as_deref().unwrap_or_default();
    spans.get(..spans.len().min(MAX_STEPS)).unwrap_or_default()
}

fn summary(run: &Trace) -> Run {
    Run {
        id: run.id.clone(),
        name: run.name.clone(),
        status: run.status,
        started_at: run.started_at.clone(),
        tokens: run.total_tokens,
        cost: run.total_cost,
        duration_ms: run.total_duration_ms,
        steps: run.spans.as_ref().map_or(0, Vec::len),
    }
}

/// The fork point when `b` states that it was forked from `a`.
fn fork_point(a: &Trace, b: &Trace) -> Option<ForkPoint> {
    let metadata: Map<String, Value> = serde_json::from_str(b.metadata.as_ref()?.as_str()).ok()?;
    let text = |key| metadata.get(key).and_then(Value::as_str);
    let origin = text(FORK_OF)?;
    a.id.as_ref().filter(|id| id.as_text() == origin)?;
    let span_id = text(FORK_POINT)?;
    let index = first_steps(a).iter().position(|span| span.id.as_text() == span_id)?;
    Some(ForkPoint { span_id: span_id.to_owned(), index })
}

/// Compares two inputs. The input of a fork's run is what the fork changes of the recorded call, which it is compared with as a call;
/// as it is, where the recorded call does not show which argument it changes.
fn of_input(a: Option<&Json>, b: Option<&Json>, is_forked: bool, budget: &mut Budget) -> Option<ContentDiff> {
    let call = Call::parse(a).filter(|_| is_forked && Call::parse(b).is_none());
    let changed = call.zip(b.filter(|changes| !changes.is_null())).and_then(|(mut call, changes)| {
        call.modify(Some(changes)).ok()?;
        Some(Json::from_serialize(&call.to_value()))
    });
    ContentDiff::of_json(a, changed.as_ref().or(b), budget)
}

/// Steps of the first run that a fork changes.
struct ForkedSteps {
    /// The fork point; none where the second run is no fork of the first.
    point: Option<usize>,
    /// Those that enclose it.
    enclosing: HashSet<usize>,
    /// Those whose output the fork states: the step at the fork point, and the result of its tool call.
    outputs: HashSet<usize>,
}

impl ForkedSteps {
    fn of(spans: &[Span], point: Option<usize>, facts: ForkFacts) -> Self {
        let enclosing = point.map(|point| enclosing(spans, point)).unwrap_or_default();
        let own = point.filter(|_| facts.sets_output).and_then(|point| spans.get(point));
        let is_result = |span: &Span| {
            own.is_some_and(|own| {
                let is_below = span.span_type == SpanType::ToolResult && span.parent_id.as_ref() == Some(&own.id);
                span.id == own.id || is_below
            })
        };
        let outputs = spans.iter().enumerate().filter(|(_, span)| is_result(span)).map(|(at, _)| at).collect();
        Self { point, enclosing, outputs }
    }

    fn encloses(&self, at: Option<usize>) -> bool {
        at.is_some_and(|at| self.enclosing.contains(&at))
    }

    fn sets_output(&self, at: Option<usize>) -> bool {
        at.is_some_and(|at| self.outputs.contains(&at))
    }

    /// Returns true if the fork itself changes the input of this step.
    fn changes(&self, at: usize, span_type: SpanType) -> bool {
        let is_after = |point| at == point || (at > point && span_type == SpanType::LlmCall);
        self.enclosing.contains(&at) || self.point.is_some_and(is_after)
    }
}

fn step(pair: Pair, ours: &[Span], theirs: &[Span], forked: &ForkedSteps, budget: &mut Budget) -> Step {
    let (a, b) = (pair.a.and_then(|at| ours.get(at)), pair.b.and_then(|at| theirs.get(at)));
    let changes = match (a, b) {
        (Some(a), Some(b)) if !is_same_step(a, b) => Changes {
            input: of_input(a.input.as_ref(), b.input.as_ref(), forked.encloses(pair.a), budget),
            output: ContentDiff::of_json(a.output.as_ref(), b.output.as_ref(), budget),
            error: ContentDiff::of_text(a.error.as_deref(), b.error.as_deref(), budget),
            model: ContentDiff::of_text(a.model.as_deref(), b.model.as_deref(), budget).filter(|_| !pair.repeated),
        },
        _ => Changes::default(),
    };
    let status = match (pair.a, pair.b) {
        (Some(at), None) if forked.point.is_some_and(|point| at < point) => StepStatus::Replayed,
        (Some(_), None) => StepStatus::Removed,
        (None, _) => StepStatus::Added,
        (Some(_), Some(_)) if changes.is_empty() => StepStatus::Same,
        (Some(_), Some(_)) => StepStatus::Changed,
    };
    let diverges = match status {
        StepStatus::Same | StepStatus::Replayed => false,
        StepStatus::Changed if pair.repeated => false,
        StepStatus::Added | StepStatus::Removed => true,
        StepStatus::Changed => {
            let is_forked = pair.a.zip(a).is_some_and(|(at, a)| forked.changes(at, a.span_type));
            (changes.output.is_some() && !forked.sets_output(pair.a))
                || changes.error.is_some()
                || (!is_forked && (changes.input.is_some() || changes.model.is_some()))
        }
    };
    let side = |at: Option<usize>, span: Option<&Span>| at.zip(span).map(|(index, span)| side(index, span));
    Step { status, diverges, moved: pair.moved, a: side(pair.a, a), b: side(pair.b, b), changes }
}

fn divergence(at: usize, step: &Step, forked: &ForkedSteps) -> Divergence {
    let found = |reason, content: Option<&ContentDiff>| {
        content.map(|content| Divergence { step: Some(at), reason, pointer: content.first_pointer() })
    };
    let is_forked = step.a.as_ref().is_some_and(|a| forked.changes(a.index, a.span_type));
    let sets_output = forked.sets_output(step.a.as_ref().map(|a| a.index));
    let Changes { input, output, error, model } = &step.changes;
    let plain = |reason| Divergence { step: Some(at), reason, pointer: None };
    match step.status {
        StepStatus::Added => plain("added"),
        StepStatus::Removed | StepStatus::Replayed | StepStatus::Same => plain("removed"),
        StepStatus::Changed => found("input", input.as_ref().filter(|_| !is_forked))
            .or_else(|| found("model", model.as_ref().filter(|_| !is_forked)))
            .or_else(|| found("error", error.as_ref()))
            .or_else(|| found("output", output.as_ref().filter(|_| !sets_output)))
            .unwrap_or_else(|| plain("output")),
    }
}

fn side(index: usize, span: &Span) -> Side {
    Side {
        index,
        id: span.id.clone(),
        span_type: span.span_type,
        name: span.name.clone(),
        model: span.model.clone(),
        input_tokens: span.input_tokens,
        output_tokens: span.output_tokens,
        cost: span.cost,
        duration_ms: span.duration_ms,
        error: span.error.clone(),
    }
}

#[cfg(test)]
mod tests;
