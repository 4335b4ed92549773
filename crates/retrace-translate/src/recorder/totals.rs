//! Tokens and cost of a run, each call once.
//!
//! Agents and outer spans repeat what their children used, and two libraries may record the same call. What is repeated
//! stays readable on its span, as `metadata.usage`, but does not count.

use std::collections::HashMap;

use retrace_protocol::metadata::Usage;

use crate::dialect::Class;
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
    let reports: Vec<bool> = nodes.iter().map(reports).collect();
    let mut counts = reports.clone();
    let mut calls: HashMap<&str, usize> = HashMap::new();

    // Ends decide between two spans of one call: the inner one ends first.
    let mut order: Vec<usize> = (0..nodes.len()).filter(|at| reports.get(*at) == Some(&true)).collect();
    order.sort_by_key(|at| nodes.get(*at).map(|node| (node.end, std::cmp::Reverse(tree.depth(*at)))));

    for at in order {
        let Some(node) = nodes.get(at) else { continue };
        let is_call = node.class() == Some(Class::Model);
        if is_call
            && let Some(id) = node.response_id.as_deref()
            && *calls.entry(id).or_insert(at) != at
        {
            set(&mut counts, at, false);
        }
        // A call around the same call repeats it, unless an agent or a tool stands between the two.
        let mut same_call = is_call;
        for above in tree.above(at) {
            let Some(outer) = nodes.get(above) else { break };
            match outer.class() {
                None => {}
                Some(Class::Model) if same_call && outer.operation == node.operation => set(&mut counts, above, false),
                Some(Class::Model) => {}
                Some(Class::Tool | Class::Agent | Class::Action) => {
                    same_call = false;
                    set(&mut counts, above, false);
                }
            }
        }
    }
    counts
}

fn set(counts: &mut [bool], at: usize, value: bool) {
    if let Some(count) = counts.get_mut(at) {
        *count = value;
    }
}

fn reports(node: &Node) -> bool {
    node.kept
        && node.draft.as_ref().is_some_and(|draft| {
            let span = &draft.span;
            span.input_tokens.is_some() || span.output_tokens.is_some() || span.cost.is_some()
        })
}

/// Adds up what counts, and moves what does not into the metadata of its span.
pub(crate) fn settle(nodes: &mut [Node], counts: &[bool]) -> Totals {
    let mut totals = Totals::default();
    for (node, counts) in nodes.iter_mut().zip(counts) {
        let Some(draft) = node.draft.as_mut().filter(|_| node.kept) else { continue };
        let span = &mut draft.span;
        if *counts {
            totals.tokens += span.input_tokens.unwrap_or(0) + span.output_tokens.unwrap_or(0);
            totals.cost += span.cost.unwrap_or(0.0);
        } else {
            let parts = draft.metadata.usage;
            draft.metadata.usage = Usage {
                input_tokens: span.input_tokens.take(),
                output_tokens: span.output_tokens.take(),
                cost: span.cost.take(),
                ..parts
            };
        }
    }
    totals
}
