//! Tokens and cost of a live run, each call once, decided when a span is told.
//!
//! The rules are those of [`super::totals`], where they can be: what was told as counting stays counting. So of two
//! tellings of one call the first counts, even when the later one says more.

use std::borrow::Cow;

use foldhash::HashSet;

use retrace_protocol::Span;

use crate::dialect::Class;
use crate::recorder::live_tree::LiveTree;
use crate::recorder::totals::{Totals, has_usage};

/// Sums over what was told.
#[derive(Debug, Default)]
pub(crate) struct LiveTotals {
    pub sum: Totals,
    /// The provider's ids of answers that count.
    answers: HashSet<String>,
    weight: usize,
}

impl LiveTotals {
    /// Whether the usage of an ended span counts; if so, it is added. `path` is what stands above it.
    pub(crate) fn take(
        &mut self,
        tree: &mut LiveTree,
        at: usize,
        path: &[usize],
        response_id: Option<&str>,
        span: &Span,
    ) -> bool {
        let Some(node) = tree.get(at).filter(|_| has_usage(span)) else { return true };
        let operation = node.operation.clone();
        let is_call = node.class == Some(Class::Model);
        let mut counts = match node.class {
            Some(Class::Model) => !node.calls_inside.contains(&operation),
            Some(Class::Tool | Class::Agent | Class::Action) => !node.repeats,
            None => true,
        };

        let mut added = 0;
        // A call around the same call repeats it, unless an agent or a tool stands between the two.
        let mut same_call = is_call;
        for above in path {
            let Some(outer) = tree.get_mut(*above) else { break };
            outer.repeats = true;
            match outer.class {
                None => {}
                Some(Class::Model) => counts &= !(same_call && outer.counts && outer.operation == operation),
                Some(Class::Tool | Class::Agent | Class::Action) => {
                    same_call = false;
                    counts &= !outer.counts;
                }
            }
            if same_call && !outer.has_ended && !outer.calls_inside.contains(&operation) {
                added += size_of::<Option<Cow<'_, str>>>() + operation.as_ref().map_or(0, |operation| operation.len());
                outer.calls_inside.push(operation.clone());
            }
        }
        tree.weigh(added);

        // Two libraries that saw the same answer, side by side.
        if let Some(id) = response_id.filter(|_| is_call && counts) {
            counts = self.answers.insert(id.to_owned());
            self.weight += if counts { id.len() + size_of::<String>() } else { 0 };
        }
        if counts {
            self.sum.add(span);
            if let Some(node) = tree.get_mut(at) {
                node.counts = true;
            }
        }
        counts
    }

    /// Bytes that it takes, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }
}
