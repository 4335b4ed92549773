//! Tokens and cost of a run, each call once.
//!
//! Agents and outer spans repeat the usage of their children, two libraries may record the same call, and a server may record
//! the call of its client ([`super::same_call`] has the rules). Repeated usage does not count and moves to `metadata.usage` of
//! its span, and so does that of a call which a recording has answered.

use foldhash::{HashMap, HashMapExt as _, HashSet};
use smallvec::{SmallVec, smallvec};

use retrace_protocol::Span;
use retrace_protocol::metadata::Usage;

use crate::dialect::Class;
use crate::recorder::node::Node;
use crate::recorder::same_call::{Lineage, is_one_answer};
use crate::recorder::tree::Tree;
use crate::span_reader::SpanBuilder;

/// Sums over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub tokens: u64,
    pub cost: f64,
}

/// Returns for each node whether its usage counts.
pub(crate) fn counting_nodes(nodes: &[Node], tree: &Tree) -> Vec<bool> {
    let mut counts: Vec<bool> = nodes.iter().map(reports).collect();
    let mut innermost_first: Vec<usize> = (0..nodes.len()).filter(|at| counts.get(*at) == Some(&true)).collect();
    innermost_first.sort_by_cached_key(|at| std::cmp::Reverse(tree.depth(*at)));
    let echoes: Vec<bool> = (0..nodes.len()).map(|at| is_echo(nodes, tree, at)).collect();
    let echoes = |at: usize| echoes.get(at) == Some(&true);

    // The calls that count inside of each call, so far.
    let mut inside: HashMap<usize, SmallVec<[usize; 2]>> = HashMap::new();
    for at in innermost_first {
        let Some(node) = nodes.get(at) else { continue };
        let mut stand_for: SmallVec<[usize; 2]> = smallvec![at];
        match inside.remove(&at).as_deref() {
            _ if echoes(at) => set(&mut counts, at, false),
            None => {}
            // Of two records of one call, the one with content counts, else the inner one.
            Some([inner]) if has_more_content(nodes, at, *inner) => set(&mut counts, *inner, false),
            Some(inner) => {
                set(&mut counts, at, false);
                stand_for = inner.into();
            }
        }
        // A call around the same call repeats it, unless there is an agent or a tool between the two.
        let mut outer_call = None;
        let mut same_call = is_call(node) && !echoes(at);
        for above in tree.above(at) {
            let Some(outer) = nodes.get(above) else { break };
            match outer.class {
                // A step of an agent, or any other span around a call, repeats the usage of the call.
                None => set(&mut counts, above, false),
                Some(Class::Model) if same_call && reports(outer) && outer.operation == node.operation => {
                    outer_call = outer_call.or((!echoes(above)).then_some(above));
                }
                Some(Class::Model) => {}
                Some(Class::Tool | Class::Agent | Class::Action) => {
                    same_call = false;
                    set(&mut counts, above, false);
                }
            }
        }
        if let Some(outer) = outer_call {
            inside.entry(outer).or_default().extend(stand_for);
        }
    }
    count_answers_once(nodes, tree, &mut counts);
    count_neighbours_once(nodes, tree, &mut counts);
    count_no_copies(nodes, tree, &mut counts);
    count_no_answers_again(nodes, tree, &mut counts);
    counts
}

/// Counts no usage of a step that is no call and repeats that of a call before it under the same parent: a step that handles a
/// message of the model is recorded with the usage in that message.
fn count_no_copies(nodes: &[Node], tree: &Tree, counts: &mut [bool]) {
    let key = |at: usize, node: &Node| {
        let tokens = node.span().map(|span| (span.input_tokens, span.output_tokens))?;
        (tokens != (None, None)).then_some((tree.above(at).next(), tokens))
    };
    // The first end of a call with these tokens under this parent.
    let mut ends: HashMap<_, u64> = HashMap::new();
    for (at, call) in nodes.iter().enumerate().filter(|(_, node)| is_call(node)) {
        if let Some(key) = key(at, call) {
            ends.entry(key).and_modify(|end| *end = call.end.min(*end)).or_insert(call.end);
        }
    }
    for (at, node) in nodes.iter().enumerate() {
        let is_step = !is_call(node) && node.class.is_some() && counts.get(at) == Some(&true);
        let is_copy = || key(at, node).and_then(|key| ends.get(&key)).is_some_and(|end| *end <= node.start);
        if is_step && is_copy() {
            set(counts, at, false);
        }
    }
}

/// Counts nothing that a recording has answered, nor the records of other libraries around it.
fn count_no_answers_again(nodes: &[Node], tree: &Tree, counts: &mut [bool]) {
    for (at, node) in nodes.iter().enumerate().filter(|(_, node)| node.is_replayed) {
        set(counts, at, false);
        for above in tree.above(at) {
            match nodes.get(above) {
                Some(outer) if outer.class.is_none() => {}
                Some(outer) if is_call(outer) && outer.operation == node.operation => set(counts, above, false),
                _ => break,
            }
        }
    }
}

/// Returns true if a span is a server's record of a call that a span above it records from the client's side.
fn is_echo(nodes: &[Node], tree: &Tree, at: usize) -> bool {
    let Some(node) = nodes.get(at).filter(|node| node.is_server && reports(node)) else { return false };
    let own = node.identity();
    let mut is_direct = true;
    for outer in tree.above(at).filter_map(|above| nodes.get(above)) {
        match outer.class {
            // The call of a tool is another call.
            Some(Class::Tool) => return false,
            Some(Class::Agent) => is_direct = false,
            _ => {}
        }
        if (is_call(outer) || outer.is_server) && reports(outer) && own.serves(&outer.identity(), is_direct) {
            return true;
        }
    }
    false
}

/// Counts one of several spans with the same response id that are one call, such as those of two libraries: the one that has
/// content, else the one that ended first.
fn count_answers_once(nodes: &[Node], tree: &Tree, counts: &mut [bool]) {
    let mut calls: Vec<usize> = (0..nodes.len())
        .filter(|at| counts.get(*at) == Some(&true))
        .filter(|at| nodes.get(*at).is_some_and(|node| is_call(node) && node.response_id().is_some()))
        .collect();
    calls.sort_by_cached_key(|at| (nodes.get(*at).map(|node| node.end.max(node.start)), *at));
    let mut by_id: HashMap<&str, Vec<usize>> = HashMap::new();
    for at in &calls {
        if let Some(id) = nodes.get(*at).and_then(Node::response_id) {
            by_id.entry(id).or_default().push(*at);
        }
    }
    for calls in by_id.into_values().filter(|calls| calls.len() > 1) {
        let above: HashSet<usize> = calls.iter().flat_map(|at| tree.above(*at)).collect();
        // The counting calls, ordered by end.
        let mut counting: Vec<usize> = Vec::with_capacity(calls.len());
        for at in calls {
            let same = same_answers(nodes, tree, &counting, at, above.contains(&at));
            match same.as_slice() {
                [] => counting.push(at),
                [other] if has_more_content(nodes, at, *other) => {
                    set(counts, *other, false);
                    counting.retain(|counting| counting != other);
                    counting.push(at);
                }
                _ => set(counts, at, false),
            }
        }
    }
}

/// Number of calls that began within the time of a call and are compared with it: more are not side by side with it.
const BESIDE: usize = 64;

/// Counts one of two spans side by side that are one call in the records of two libraries, such as those of a framework and of
/// the SDK below it, where neither is the parent of the other: the one with a response id.
fn count_neighbours_once(nodes: &[Node], tree: &Tree, counts: &mut [bool]) {
    let mut calls: Vec<usize> = (0..nodes.len())
        .filter(|at| counts.get(*at) == Some(&true))
        .filter(|at| nodes.get(*at).is_some_and(is_call))
        .collect();
    let scope = |at: &usize| nodes.get(*at).map(|node| node.scope);
    if calls.iter().all(|at| scope(at) == calls.first().and_then(scope)) {
        return;
    }
    calls.sort_by_key(|at| nodes.get(*at).map(Node::interval));
    let (with_id, without_id): (Vec<usize>, Vec<usize>) =
        calls.into_iter().partition(|at| nodes.get(*at).is_some_and(|node| node.response_id().is_some()));
    // The calls with an id that have one parent and equal counts, ordered by start.
    let mut identified: HashMap<_, Vec<usize>> = HashMap::new();
    let group = |at: usize| nodes.get(at).map(|node| (tree.above(at).next(), node.identity().tokens));
    for at in with_id {
        identified.entry(group(at)).or_default().push(at);
    }
    let start = |at: &usize| nodes.get(*at).map_or(0, |node| node.start);
    for at in without_id {
        let (Some(node), Some(beside)) = (nodes.get(at), identified.get_mut(&group(at))) else { continue };
        let is_same = |other: &usize| {
            nodes.get(*other).is_some_and(|other| {
                node.scope != other.scope && is_within(other, node) && node.identity().repeats(&other.identity())
            })
        };
        let first = beside.partition_point(|other| start(other) < node.start);
        let mut during =
            beside.iter().enumerate().skip(first).take(BESIDE).take_while(|(_, other)| start(other) <= node.end);
        if let Some((place, _)) = during.find(|(_, other)| is_same(other)) {
            beside.remove(place);
            set(counts, at, false);
        }
    }
}

/// Returns true if one span lies within the time of another.
fn is_within(inner: &Node, outer: &Node) -> bool {
    outer.start <= inner.start && inner.end <= outer.end && outer.start < outer.end
}

/// Returns those of `counting`, ordered by end, that are one call with `at`, which ended last and has the same response id.
/// `is_above` is true if a call with that id is below it.
fn same_answers(nodes: &[Node], tree: &Tree, counting: &[usize], at: usize, is_above: bool) -> SmallVec<[usize; 2]> {
    let Some(own) = nodes.get(at).map(Node::interval) else { return SmallVec::new() };
    let interval = |at: usize| nodes.get(at).map_or((0, 0), Node::interval);
    let end = |at: usize| interval(at).1.max(interval(at).0);
    let recent = counting.iter().rev().take_while(|other| is_above || end(**other) > own.0).copied();
    let is_one = |other: &usize| is_one_answer(line(nodes, tree, at, *other), own, interval(*other));
    let mut same: SmallVec<[usize; 2]> = recent.filter(is_one).collect();
    // An ancestor may have ended before it began.
    let ended = tree.above(at).filter(|above| end(*above) <= own.0 && counting.contains(above));
    let ended: SmallVec<[usize; 2]> = ended.filter(|above| is_one(above) && !same.contains(above)).collect();
    same.extend(ended);
    same
}

/// Returns the relation between two nodes.
fn line(nodes: &[Node], tree: &Tree, one: usize, other: usize) -> Lineage {
    let walk = |lower: usize, upper: usize| {
        let mut through_tool = false;
        for above in tree.above(lower) {
            if above == upper {
                return Some(if through_tool { Lineage::ThroughTool } else { Lineage::Ancestor });
            }
            through_tool |= nodes.get(above).is_some_and(|node| node.class == Some(Class::Tool));
        }
        None
    };
    walk(one, other).or_else(|| walk(other, one)).unwrap_or(Lineage::Unrelated)
}

fn is_call(node: &Node) -> bool {
    node.class == Some(Class::Model)
}

/// Returns true if one span has content and the other has none.
fn has_more_content(nodes: &[Node], one: usize, other: usize) -> bool {
    let has_content = |at: usize| nodes.get(at).is_some_and(Node::has_content);
    has_content(one) && !has_content(other)
}

fn set(counts: &mut [bool], at: usize, value: bool) {
    if let Some(count) = counts.get_mut(at) {
        *count = value;
    }
}

/// Returns true if a span that is sent states usage.
pub(crate) fn reports(node: &Node) -> bool {
    let has_usage = |span: &Span| span.input_tokens.is_some() || span.output_tokens.is_some() || span.cost.is_some();
    node.kept && node.ended.is_some() && node.span().is_some_and(has_usage)
}

/// Returns whether the usage of a span that has just ended counts, as far as that is known: decided by the spans that ended before
/// it. `path` has its ancestors. The run decides by [`counting_nodes`] when it has ended.
pub(crate) fn counts_so_far(nodes: &mut [Node], at: usize, path: &[usize]) -> bool {
    let Some(node) = nodes.get(at).filter(|node| reports(node)) else { return false };
    let [any_below, same_below] = node.has_usage_below;
    let operation = node.operation.clone();
    let mut same_call = is_call(node);
    let mut counts = if same_call { !same_below } else { !any_below };
    let is_server = node.is_server;
    counts &= !node.is_replayed;
    for above in path {
        let Some(outer) = nodes.get_mut(*above) else { break };
        counts &= !(is_server && is_call(outer));
        same_call &= matches!(outer.class, None | Some(Class::Model));
        outer.has_usage_below[0] = true;
        outer.has_usage_below[1] |= same_call && outer.operation == operation;
    }
    counts
}

/// Adds up the usage that counts.
pub(crate) fn sum(nodes: &[Node], counts: &[bool]) -> Totals {
    let mut totals = Totals::default();
    for (node, _) in nodes.iter().zip(counts).filter(|(node, counts)| **counts && node.kept) {
        if let Some(span) = node.span() {
            totals.add(span);
        }
    }
    totals
}

impl Totals {
    pub(crate) fn add(&mut self, span: &Span) {
        let tokens = span.input_tokens.unwrap_or(0).saturating_add(span.output_tokens.unwrap_or(0));
        self.tokens = self.tokens.saturating_add(tokens);
        self.cost = (self.cost + span.cost.unwrap_or(0.0)).clamp(f64::MIN, f64::MAX);
    }
}

/// Moves usage that does not count to the metadata of its span.
pub(crate) fn move_usage_to_metadata(builder: &mut SpanBuilder) {
    let (span, parts) = (&mut builder.span, builder.metadata.usage);
    builder.metadata.usage = Usage {
        input_tokens: span.input_tokens.take(),
        output_tokens: span.output_tokens.take(),
        cost: span.cost.take(),
        ..parts
    };
}
