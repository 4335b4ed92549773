//! Tokens and cost of a run, each call once.
//!
//! Agents and outer spans repeat what their children used, and two libraries may record the same call. What is repeated
//! stays readable on its span, as `metadata.usage`, but does not count.

use foldhash::{HashMap, HashMapExt as _};
use smallvec::{SmallVec, smallvec};

use retrace_protocol::Span;
use retrace_protocol::metadata::Usage;

use crate::dialect::Class;
use crate::reading::Draft;
use crate::recorder::node::Node;
use crate::recorder::tree::Tree;

/// Sums over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub tokens: u64,
    pub cost: f64,
}

/// For each node, whether its usage counts.
pub(crate) fn counted(nodes: &[Node], tree: &Tree<'_>) -> Vec<bool> {
    let mut counts: Vec<bool> = nodes.iter().map(reports).collect();
    let mut innermost_first: Vec<usize> = (0..nodes.len()).filter(|at| counts.get(*at) == Some(&true)).collect();
    innermost_first.sort_by_cached_key(|at| std::cmp::Reverse(tree.depth(*at)));

    // What stands for the calls inside of each call, so far.
    let mut inside: HashMap<usize, SmallVec<[usize; 2]>> = HashMap::new();
    for at in innermost_first {
        let Some(node) = nodes.get(at) else { continue };
        let mut stand_for: SmallVec<[usize; 2]> = smallvec![at];
        match inside.remove(&at).as_deref() {
            None => {}
            // One call told twice: the telling that knows what was said counts, else the inner one.
            Some([inner]) if says_more(nodes, at, *inner) => set(&mut counts, *inner, false),
            Some(inner) => {
                set(&mut counts, at, false);
                stand_for = inner.into();
            }
        }
        // A call around the same call repeats it, unless an agent or a tool stands between the two.
        let mut outer_call = None;
        let mut same_call = is_call(node);
        for above in tree.above(at) {
            let Some(outer) = nodes.get(above) else { break };
            match outer.class {
                None => {}
                Some(Class::Model) if same_call && reports(outer) && outer.operation == node.operation => {
                    outer_call.get_or_insert(above);
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

    // Two libraries that saw the same answer, side by side.
    let mut answers: HashMap<&str, usize> = HashMap::new();
    for (at, node) in nodes.iter().enumerate().filter(|(_, node)| is_call(node)) {
        let Some(id) = node.response_id().filter(|_| counts.get(at) == Some(&true)) else { continue };
        let best = *answers.entry(id).or_insert(at);
        if best == at {
            continue;
        }
        let (wins, loses) = if says_more(nodes, at, best) { (at, best) } else { (best, at) };
        answers.insert(id, wins);
        set(&mut counts, loses, false);
    }
    counts
}

fn is_call(node: &Node) -> bool {
    node.class == Some(Class::Model)
}

/// Whether one span knows what was said, and the other does not.
fn says_more(nodes: &[Node], one: usize, other: usize) -> bool {
    let has_content = |at: usize| {
        let draft = nodes.get(at).and_then(|node| node.draft.as_ref());
        draft.is_some_and(|draft| draft.span.input.is_some() || draft.span.output.is_some())
    };
    has_content(one) && !has_content(other)
}

fn set(counts: &mut [bool], at: usize, value: bool) {
    if let Some(count) = counts.get_mut(at) {
        *count = value;
    }
}

fn reports(node: &Node) -> bool {
    node.kept && node.draft.as_ref().is_some_and(|draft| has_usage(&draft.span))
}

/// Whether a span says what it used.
pub(crate) fn has_usage(span: &Span) -> bool {
    span.input_tokens.is_some() || span.output_tokens.is_some() || span.cost.is_some()
}

/// Adds up what counts, and moves what does not into the metadata of its span.
pub(crate) fn settle(nodes: &mut [Node], counts: &[bool]) -> Totals {
    let mut totals = Totals::default();
    for (node, counts) in nodes.iter_mut().zip(counts) {
        let Some(draft) = node.draft.as_mut().filter(|_| node.kept) else { continue };
        if *counts {
            totals.add(&draft.span);
        } else {
            set_apart(draft);
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

/// Moves usage that does not count into the metadata of its span.
pub(crate) fn set_apart(draft: &mut Draft) {
    let (span, parts) = (&mut draft.span, draft.metadata.usage);
    draft.metadata.usage = Usage {
        input_tokens: span.input_tokens.take(),
        output_tokens: span.output_tokens.take(),
        cost: span.cost.take(),
        ..parts
    };
}
