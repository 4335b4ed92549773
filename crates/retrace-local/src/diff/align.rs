//! Alignment of the steps of two runs.

use std::collections::{HashMap, HashSet, VecDeque};

use retrace_protocol::{Id, Json, Span, SpanType};
use serde_json::Value;
use similar::{Algorithm, DiffOp, capture_diff_slices};

/// Indexes of a step in the two runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) a: Option<usize>,
    pub(super) b: Option<usize>,
    /// True if the pair deviates from the order.
    pub(super) moved: bool,
    /// A fork has not executed it again, and has it only because the messages at its fork point show it.
    pub(super) repeated: bool,
}

/// Pairs steps of the same type and name, in order where that is possible; of a model call the model is no part of the name. `point`
/// is the fork point in `a`: a step before it has a partner if `b` has executed it again, or if messages of `b` show it again.
pub(super) fn align(a: &[Span], b: &[Span], point: Option<usize>) -> Vec<Pair> {
    let mut kinds = Kinds::default();
    let Some(point) = point.filter(|point| *point < a.len()) else {
        return sections((a, 0), (b, 0), &mut kinds);
    };
    if has_prefix(a, b, point, &mut kinds) {
        let pairs = (0..point).map(|at| Pair { a: Some(at), b: Some(at), ..Pair::default() });
        return pairs.chain(from_point(a, b, (point, point), &mut kinds)).collect();
    }
    let ours: Vec<usize> = a.iter().take(point).map(|span| kinds.before_fork(span)).collect();
    let theirs: Vec<usize> = b.iter().map(|span| kinds.before_fork(span)).collect();
    let split = split((a, &ours), (b, &theirs), &mut kinds);
    let again = theirs.get(..split).unwrap_or_default();
    let mut pairs = in_order(&ours, again, (0, 0));
    pairs.extend(from_point(a, b, (point, split), &mut kinds));
    pair_prefix(pairs, a, b, point)
}

/// Numbers of kinds of steps.
#[derive(Default)]
struct Kinds {
    names: HashMap<(SpanType, String), usize>,
    contents: HashMap<(usize, String), usize>,
}

impl Kinds {
    fn number(&mut self, span_type: SpanType, name: &str) -> usize {
        let next = self.names.len() * 2;
        *self.names.entry((span_type, name.to_owned())).or_insert(next)
    }

    fn named(&mut self, span: &Span) -> usize {
        self.number(span.span_type, &span.name)
    }

    fn without_model(&mut self, span: &Span) -> usize {
        self.number(span.span_type, without_model(span))
    }

    /// Kind of a step where the recording answers model calls: only the same call is one that was made again.
    fn before_fork(&mut self, span: &Span) -> usize {
        let kind = self.without_model(span);
        if span.span_type != SpanType::LlmCall {
            return kind;
        }
        let text = |json: &Option<Json>| json.as_ref().map(|json| json.as_str().to_owned());
        let content = format!("{:?}", (text(&span.input), text(&span.output), &span.error, &span.model));
        let next = self.contents.len() * 2 + 1;
        *self.contents.entry((kind, content)).or_insert(next)
    }
}

/// Name of a step, of a model call without its model.
fn without_model(span: &Span) -> &str {
    let name = span.name.as_str();
    if span.span_type != SpanType::LlmCall || !name.contains(' ') {
        return name;
    }
    let metadata = span.metadata.as_ref().and_then(|metadata| metadata.to_value().ok());
    let operation = metadata.as_ref().and_then(|metadata| metadata.get("operation")).and_then(Value::as_str);
    let is_operation = |rest: &str| operation.is_some_and(|operation| rest == operation);
    let model = span.model.as_deref().and_then(|model| name.strip_suffix(model)?.strip_suffix(' '));
    model.or_else(|| name.split_once(' ').map(|(first, _)| first).filter(|first| is_operation(first))).unwrap_or(name)
}

/// Finds the number of steps of a fork that stand before its fork point: those that it has executed again. `ours` are the kinds of the
/// steps before the fork point in `a`, `theirs` those of all steps of `b`.
fn split((a, ours): (&[Span], &[usize]), (b, theirs): (&[Span], &[usize]), kinds: &mut Kinds) -> usize {
    // A model call that is not a recorded one stands at or after the fork point.
    let recorded: HashSet<usize> = ours.iter().copied().collect();
    let is_new = |(span, kind): (&Span, &usize)| span.span_type == SpanType::LlmCall && !recorded.contains(kind);
    let last = b.iter().zip(theirs).position(is_new).unwrap_or(b.len());
    if last == 0 {
        return 0;
    }
    let point = ours.len();
    let rest: Vec<usize> = a.iter().skip(point).rev().map(|span| kinds.without_model(span)).collect();
    let other: Vec<usize> = b.iter().rev().map(|span| kinds.without_model(span)).collect();
    let before = common(ours, theirs.get(..last).unwrap_or_default());
    let after = common(&rest, &other);
    let unpaired = |at: usize| {
        let after = after.get(b.len() - at).copied().unwrap_or_default();
        at - before.get(at).copied().unwrap_or_default() + (b.len() - at - after) + (rest.len() - after)
    };
    (0..=last).min_by_key(|at| unpaired(*at)).unwrap_or(0)
}

/// Lengths of the longest common subsequences of `a` and the first elements of `b`, by their number.
fn common(a: &[usize], b: &[usize]) -> Vec<usize> {
    let mut lengths = vec![0; b.len() + 1];
    for own in a {
        let mut diagonal = 0;
        let mut left = 0;
        for (other, length) in b.iter().zip(lengths.iter_mut().skip(1)) {
            let above = *length;
            *length = if own == other { diagonal + 1 } else { above.max(left) };
            (diagonal, left) = (above, *length);
        }
    }
    lengths
}

/// Pairs the steps from the fork point on, which stands at these places. The fork point is the first step of its kind there.
fn from_point(a: &[Span], b: &[Span], (point, split): (usize, usize), kinds: &mut Kinds) -> Vec<Pair> {
    let (ours, theirs) = (a.get(point..).unwrap_or_default(), b.get(split..).unwrap_or_default());
    let wanted = ours.first().map(|span| kinds.without_model(span));
    let Some(found) = theirs.iter().position(|span| Some(kinds.without_model(span)) == wanted) else {
        return sections((ours, point), (theirs, split), kinds);
    };
    let before = (split..split + found).map(|at| Pair { b: Some(at), ..Pair::default() });
    let own = Pair { a: Some(point), b: Some(split + found), ..Pair::default() };
    let (ours, theirs) = (ours.get(1..).unwrap_or_default(), theirs.get(found + 1..).unwrap_or_default());
    let after = sections((ours, point + 1), (theirs, split + found + 1), kinds);
    before.chain([own]).chain(after).collect()
}

/// Pairs steps that begin at these places: by their names, and by their names without models where that pairs more.
fn sections((a, from_a): (&[Span], usize), (b, from_b): (&[Span], usize), kinds: &mut Kinds) -> Vec<Pair> {
    let mut paired = |kind: fn(&mut Kinds, &Span) -> usize| {
        let ours: Vec<usize> = a.iter().map(|span| kind(kinds, span)).collect();
        let theirs: Vec<usize> = b.iter().map(|span| kind(kinds, span)).collect();
        let pairs = in_order(&ours, &theirs, (from_a, from_b));
        let count = pairs.iter().filter(|pair| pair.a.is_some() && pair.b.is_some()).count();
        (count, pair_moved(pairs, (&ours, from_a), (&theirs, from_b)))
    };
    let (by_name, by_operation) = (paired(Kinds::named), paired(Kinds::without_model));
    if by_operation.0 > by_name.0 { by_operation.1 } else { by_name.1 }
}

/// Pairs equal kinds in order. The kinds begin at these places.
fn in_order(ours: &[usize], theirs: &[usize], (from_a, from_b): (usize, usize)) -> Vec<Pair> {
    let only_a = |at: usize| Pair { a: Some(from_a + at), ..Pair::default() };
    let only_b = |at: usize| Pair { b: Some(from_b + at), ..Pair::default() };
    let mut pairs = Vec::new();
    for op in capture_diff_slices(Algorithm::Myers, ours, theirs) {
        match op {
            DiffOp::Equal { old_index, new_index, len } => pairs.extend((0..len).map(|step| Pair {
                a: Some(from_a + old_index + step),
                b: Some(from_b + new_index + step),
                ..Pair::default()
            })),
            DiffOp::Delete { old_index, old_len, .. } => pairs.extend((old_index..old_index + old_len).map(only_a)),
            DiffOp::Insert { new_index, new_len, .. } => pairs.extend((new_index..new_index + new_len).map(only_b)),
            DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                pairs.extend((old_index..old_index + old_len).map(only_a));
                pairs.extend((new_index..new_index + new_len).map(only_b));
            }
        }
    }
    pairs
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

/// Pairs steps without a partner in both runs, at the position of the second run. The kinds begin at these places.
fn pair_moved(pairs: Vec<Pair>, (ours, from_a): (&[usize], usize), (theirs, from_b): (&[usize], usize)) -> Vec<Pair> {
    let mut alone: HashMap<usize, VecDeque<usize>> = HashMap::new();
    for at in pairs.iter().filter(|pair| pair.b.is_none()).filter_map(|pair| pair.a) {
        if let Some(kind) = at.checked_sub(from_a).and_then(|at| ours.get(at)) {
            alone.entry(*kind).or_default().push_back(at);
        }
    }
    let mut taken = Vec::new();
    let mut paired: Vec<Pair> = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let kind = pair.b.filter(|_| pair.a.is_none()).and_then(|at| theirs.get(at.checked_sub(from_b)?));
        let partner = kind.and_then(|kind| alone.get_mut(kind)).and_then(VecDeque::pop_front);
        taken.extend(partner);
        paired.push(partner.map_or(pair, |at| Pair { a: Some(at), moved: true, ..pair }));
    }
    taken.sort_unstable();
    paired.retain(|pair| pair.b.is_some() || pair.a.is_none_or(|at| taken.binary_search(&at).is_err()));
    paired
}

/// Returns true if a fork has sent the steps before its fork point again.
fn has_prefix(a: &[Span], b: &[Span], point: usize, kinds: &mut Kinds) -> bool {
    let enclosing = enclosing(a, point);
    let is_alike = |(at, (a, b)): (usize, (&Span, &Span))| {
        let is_named = kinds.named(a) == kinds.named(b);
        is_named && (enclosing.contains(&at) || is_same_step(a, b))
    };
    b.len() >= point && a.iter().take(point).zip(b).enumerate().all(is_alike)
}

/// Returns true if the content of two steps is the same text, as for most pairs, which need no further comparison.
pub(super) fn is_same_step(a: &Span, b: &Span) -> bool {
    let text = |json: &Option<Json>| json.as_ref().filter(|json| !json.is_null()).map(|json| json.as_str().to_owned());
    text(&a.input) == text(&b.input) && text(&a.output) == text(&b.output) && a.error == b.error && a.model == b.model
}
