//! Spans in the order to print them, each with its place in the tree.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use retrace_protocol::{Id, Span};

/// Levels that are indented. Deeper spans are printed at this level, so that the text of a long chain stays in
/// proportion to its length.
const LEVELS: usize = 24;

/// A span and its place.
pub(crate) struct Branch<'a> {
    pub(crate) span: &'a Span,
    /// What stands before the first line of the span: lines of those above, and its own twig.
    pub(crate) twig: String,
    /// What stands before its other lines.
    pub(crate) rest: String,
}

/// All spans, parents before children and siblings by their start. Each span is there once: one whose parent is not
/// among them stands at the top, and so does the first of those that are parents of each other.
pub(crate) fn branches(spans: &[Span]) -> Vec<Branch<'_>> {
    let mut by_id: HashMap<&Id, usize> = HashMap::new();
    for (at, span) in spans.iter().enumerate() {
        by_id.entry(&span.id).or_insert(at);
    }
    let mut children: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut tops = Vec::new();
    for (at, span) in spans.iter().enumerate() {
        match span.parent_id.as_ref().and_then(|parent| by_id.get(parent)) {
            Some(parent) => children.entry(*parent).or_default().push(at),
            None => tops.push(at),
        }
    }
    let started = |at: &usize| spans.get(*at).and_then(|span| span.started_at.unix_micros());
    for siblings in children.values_mut() {
        siblings.sort_by_key(started);
    }
    tops.extend(cut_cycles(spans.len(), &tops, &mut children));
    tops.sort_by_key(started);

    let mut branches = Vec::new();
    // Last in, first out: siblings go in from the last to the first.
    let mut stack: Vec<Place> = places(&tops, "", 0).collect();
    while let Some(place) = stack.pop() {
        let below = children.get(&place.at).map(Vec::as_slice).unwrap_or_default();
        let stem = if below.is_empty() { "  " } else { "│ " };
        stack.extend(places(below, &place.below, place.level + 1));
        branches.extend(spans.get(place.at).map(|span| Branch {
            span,
            twig: place.twig,
            rest: format!("{}{stem}", place.below),
        }));
    }
    branches
}

struct Place {
    at: usize,
    level: usize,
    twig: String,
    /// What stands before the lines of its children.
    below: String,
}

/// Places for siblings, the last one first.
fn places<'a>(siblings: &'a [usize], before: &'a str, level: usize) -> impl Iterator<Item = Place> + 'a {
    siblings.iter().rev().enumerate().map(move |(from_end, at)| {
        let (twig, line) = if from_end == 0 { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let below = if level < LEVELS { format!("{before}{line}") } else { before.to_owned() };
        Place { at: *at, level, twig: format!("{before}{twig}"), below }
    })
}

/// Takes one span out of every ring of parents, so that it becomes a top.
fn cut_cycles(spans: usize, tops: &[usize], children: &mut BTreeMap<usize, Vec<usize>>) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let mut cut = Vec::new();
    let mut stack = tops.to_vec();
    let mut unseen: Vec<usize> = (0..spans).collect();
    unseen.sort_by_key(|at| Reverse(*at));
    loop {
        while let Some(at) = stack.pop() {
            if seen.insert(at) {
                stack.extend(children.get(&at).into_iter().flatten());
            }
        }
        let Some(next) = unseen.pop() else { return cut };
        if !seen.contains(&next) {
            for siblings in children.values_mut() {
                siblings.retain(|at| *at != next);
            }
            cut.push(next);
            stack.push(next);
        }
    }
}
