//! Alignment of the steps of two runs.

use std::collections::{HashMap, VecDeque};

use retrace_protocol::{Json, Span, SpanType};
use similar::{Algorithm, DiffOp, capture_diff_slices};

/// Indexes of a step in the two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) a: Option<usize>,
    pub(super) b: Option<usize>,
    /// True if the pair deviates from the order.
    pub(super) moved: bool,
}

/// Pairs steps of the same type and name, in order where that is possible. `point` is the fork point in `a`: steps before it
/// have partners only if `b` has all of them.
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
    let replayed = (0..prefix).map(|at| Pair { a: Some(at), b: None, moved: false });
    let mut pairs: Vec<Pair> = replayed.collect();
    for op in capture_diff_slices(Algorithm::Myers, &ours, &theirs) {
        let only_a = |at: usize| Pair { a: Some(prefix + at), b: None, moved: false };
        let only_b = |at: usize| Pair { a: None, b: Some(at), moved: false };
        match op {
            DiffOp::Equal { old_index, new_index, len } => pairs.extend((0..len).map(|step| Pair {
                a: Some(prefix + old_index + step),
                b: Some(new_index + step),
                moved: false,
            })),
            DiffOp::Delete { old_index, old_len, .. } => pairs.extend((old_index..old_index + old_len).map(only_a)),
            DiffOp::Insert { new_index, new_len, .. } => pairs.extend((new_index..new_index + new_len).map(only_b)),
            DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                pairs.extend((old_index..old_index + old_len).map(only_a));
                pairs.extend((new_index..new_index + new_len).map(only_b));
            }
        }
    }
    pair_moved(pairs, prefix, &ours, &theirs)
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
    let is_repeated = |(a, b): (&Span, &Span)| a.span_type == b.span_type && a.name == b.name && is_same_step(a, b);
    b.len() >= point && a.iter().take(point).zip(b).all(is_repeated)
}

/// Returns true if the content of two steps is the same text, as for most pairs, which need no further comparison.
pub(super) fn is_same_step(a: &Span, b: &Span) -> bool {
    let text = |json: &Option<Json>| json.as_ref().filter(|json| !json.is_null()).map(|json| json.as_str().to_owned());
    text(&a.input) == text(&b.input) && text(&a.output) == text(&b.output) && a.error == b.error && a.model == b.model
}
