//! Alignment of the steps of two runs.

use std::collections::{HashMap, HashSet, VecDeque};

use retrace_protocol::{Id, Json, Span, SpanType};
use serde_json::Value;
use similar::{Algorithm, DiffOp, capture_diff_slices};

/// Indexes of a step in the two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) a: Option<usize>,
    pub(super) b: Option<usize>,
    /// True if the pair deviates from the order.
    pub(super) moved: bool,
    /// A fork has not executed it again, and has it only because the messages at its fork point show it.
    pub(super) repeated: bool,
}

/// Pairs steps of the same type and name, in order where that is possible. `point` is the fork point in `a`: steps before it
/// have partners only if `b` has all of them, if they enclose the fork point, or if messages of `b` show them again.
pub(super) fn align(a: &[Span], b: &[Span], point: Option<usize>) -> Vec<Pair> {
    let prefix = match point {
        Some(point) if !has_prefix(a, b, point) => point,
        _ => 0,
    };
    let mut names = HashMap::new();
    let keys = |spans: &[Span], names: &mut HashMap<(SpanType, String), usize>| -> Vec<usize> {
        let number = |span: &Span| {
            let next = names.len();
            *names.entry((span.span_type, span.name.clone())).or_insert(next)
        };
        spans.iter().map(number).collect()
    };
    let ours = keys(a.get(prefix..).unwrap_or_default(), &mut names);
    let theirs = keys(b, &mut names);
    let replayed = (0..prefix).map(|at| Pair { a: Some(at), b: None, moved: false, repeated: false });
    let mut pairs: Vec<Pair> = replayed.collect();
    for op in capture_diff_slices(Algorithm::Myers, &ours, &theirs) {
        let only_a = |at: usize| Pair { a: Some(prefix + at), b: None, moved: false, repeated: false };
        let only_b = |at: usize| Pair { a: None, b: Some(at), moved: false, repeated: false };
        match op {
            DiffOp::Equal { old_index, new_index, len } => pairs.extend((0..len).map(|step| Pair {
                a: Some(prefix + old_index + step),
                b: Some(new_index + step),
                moved: false,
                repeated: false,
            })),
            DiffOp::Delete { old_index, old_len, .. } => pairs.extend((old_index..old_index + old_len).map(only_a)),
            DiffOp::Insert { new_index, new_len, .. } => pairs.extend((new_index..new_index + new_len).map(only_b)),
            DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                pairs.extend((old_index..old_index + old_len).map(only_a));
                pairs.extend((new_index..new_index + new_len).map(only_b));
            }
        }
    }
    let pairs = pair_moved(pairs, prefix, &ours, &theirs);
    if prefix == 0 { pairs } else { pair_prefix(pairs, a, b, prefix) }
}

/// Pairs steps before the fork point with those that the fork has all the same. They stand at the place of the first run.
fn pair_prefix(mut pairs: Vec<Pair>, a: &[Span], b: &[Span], point: usize) -> Vec<Pair> {
    let mut alone: HashMap<(SpanType, &str), VecDeque<usize>> = HashMap::new();
    let mut places: Vec<usize> = pairs.iter().filter(|pair| pair.a.is_none()).filter_map(|pair| pair.b).collect();
    places.sort_unstable();
    for (at, span) in places.into_iter().filter_map(|at| Some((at, b.get(at)?))) {
        alone.entry((span.span_type, span.name.as_str())).or_default().push_back(at);
    }
    let kinds: HashMap<&Id, SpanType> = b.iter().map(|span| (&span.id, span.span_type)).collect();
    let enclosing = enclosing(a, point);
    let mut repeated_calls: HashSet<&Id> = HashSet::new();
    let mut taken: HashSet<usize> = HashSet::new();
    for pair in &mut pairs {
        let Some((at, step)) = pair.a.filter(|at| *at < point).and_then(|at| Some((at, a.get(at)?))) else { continue };
        let Some(others) = alone.get_mut(&(step.span_type, step.name.as_str())) else { continue };
        let is_enclosing = enclosing.contains(&at);
        let found = others.iter().position(|at| {
            let Some(other) = b.get(*at) else { return false };
            is_enclosing || is_repeated(step, other, &kinds, &repeated_calls)
        });
        let Some(place) = found.and_then(|found| others.remove(found)) else { continue };
        if let Some(other) = b.get(place).filter(|_| !is_enclosing) {
            repeated_calls.insert(&other.id);
        }
        *pair = Pair { b: Some(place), repeated: !is_enclosing, ..*pair };
        taken.insert(place);
    }
    // Of a run that was sent while it happened, results that only messages show are the last steps.
    for pair in &mut pairs {
        let both = pair.a.zip(pair.b).and_then(|(at, place)| a.get(at).zip(b.get(place)));
        pair.repeated |= both.is_some_and(|(step, other)| {
            step.span_type == SpanType::ToolResult && is_repeated(step, other, &kinds, &repeated_calls)
        });
    }
    pairs.retain(|pair| pair.a.is_some() || pair.b.is_none_or(|at| !taken.contains(&at)));
    pairs
}

/// Places of the steps that enclose the step at `point`: a fork executes them again.
pub(super) fn enclosing(spans: &[Span], point: usize) -> HashSet<usize> {
    let places: HashMap<&Id, usize> = spans.iter().enumerate().map(|(at, span)| (&span.id, at)).collect();
    let mut found = HashSet::new();
    let mut next = Some(point);
    while let Some(at) = next {
        let parent = spans.get(at).and_then(|span| places.get(span.parent_id.as_ref()?)).copied();
        next = parent.filter(|parent| *parent != point && found.insert(*parent));
    }
    found
}

/// Returns true if a step of a fork stands for a result in the messages of a model call, which a step before the fork point gave.
/// Such a step is a tool call below the model call, with its result below itself.
fn is_repeated(step: &Span, other: &Span, kinds: &HashMap<&Id, SpanType>, repeated: &HashSet<&Id>) -> bool {
    let Some(parent) = other.parent_id.as_ref() else { return false };
    let is_below = match step.span_type {
        SpanType::ToolCall => kinds.get(parent) == Some(&SpanType::LlmCall) && is_same_input(step, other),
        SpanType::ToolResult => repeated.contains(parent),
        _ => false,
    };
    let call = call_id(step);
    is_below && call.is_some() && call == call_id(other)
}

/// The id under which a model requested a tool call.
fn call_id(span: &Span) -> Option<String> {
    let metadata = span.metadata.as_ref()?.to_value().ok()?;
    metadata.get("tool_call_id").and_then(Value::as_str).map(str::to_owned)
}

fn is_same_input(a: &Span, b: &Span) -> bool {
    let value = |span: &Span| span.input.as_ref().and_then(|json| json.to_value().ok());
    value(a) == value(b)
}

/// Pairs steps without a partner in both runs, at the position of the second run.
fn pair_moved(pairs: Vec<Pair>, prefix: usize, ours: &[usize], theirs: &[usize]) -> Vec<Pair> {
    let mut alone: HashMap<usize, VecDeque<usize>> = HashMap::new();
    for at in pairs.iter().filter(|pair| pair.b.is_none()).filter_map(|pair| pair.a) {
        let key = at.checked_sub(prefix).and_then(|at| ours.get(at));
        if let Some(key) = key {
            alone.entry(*key).or_default().push_back(at);
        }
    }
    let mut taken = Vec::new();
    let mut paired: Vec<Pair> = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let partner = match (pair.a, pair.b) {
            (None, Some(at)) => theirs.get(at).and_then(|key| alone.get_mut(key)).and_then(VecDeque::pop_front),
            _ => None,
        };
        taken.extend(partner);
        paired.push(partner.map_or(pair, |at| Pair { a: Some(at), moved: true, ..pair }));
    }
    taken.sort_unstable();
    paired.retain(|pair| pair.b.is_some() || pair.a.is_none_or(|at| taken.binary_search(&at).is_err()));
    paired
}

/// Returns true if a fork has sent the steps before its fork point again.
fn has_prefix(a: &[Span], b: &[Span], point: usize) -> bool {
    let enclosing = enclosing(a, point);
    let is_alike = |(at, (a, b)): (usize, (&Span, &Span))| {
        let is_named = a.span_type == b.span_type && a.name == b.name;
        is_named && (enclosing.contains(&at) || is_same_step(a, b))
    };
    b.len() >= point && a.iter().take(point).zip(b).enumerate().all(is_alike)
}

/// Returns true if the content of two steps is the same text, as for most pairs, which need no further comparison.
pub(super) fn is_same_step(a: &Span, b: &Span) -> bool {
    let text = |json: &Option<Json>| json.as_ref().filter(|json| !json.is_null()).map(|json| json.as_str().to_owned());
    text(&a.input) == text(&b.input) && text(&a.output) == text(&b.output) && a.error == b.error && a.model == b.model
}
