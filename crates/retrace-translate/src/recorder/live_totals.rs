//! Tokens and cost of a live run, each call once, decided when a span is emitted.
//!
//! The rules are those of [`super::totals`] as far as possible, but usage that was emitted as counting stays counting. Of two
//! records of one call the first counts, even if the later one has more content. A server's record counts if it ends before
//! that of its client, whose usage then moves to its metadata.

use std::borrow::Cow;

use foldhash::HashMap;

use retrace_protocol::Span;

use crate::dialect::Class;
use crate::recorder::live_tree::{LiveTree, ServedCall};
use crate::recorder::same_call::{CallIdentity, Interval, Lineage, is_one_answer};
use crate::recorder::totals::{Totals, has_usage};

/// Sums over the emitted spans.
#[derive(Debug, Default)]
pub(crate) struct LiveTotals {
    pub sum: Totals,
    /// Counting calls by response id, sorted by their ends.
    answers: HashMap<String, Vec<Answer>>,
    weight: usize,
}

/// A model call that counts.
#[derive(Clone, Copy, Debug)]
struct Answer {
    at: usize,
    interval: Interval,
}

impl Answer {
    fn end(&self) -> u64 {
        self.interval.1.max(self.interval.0)
    }
}

impl LiveTotals {
    /// Decides whether the usage of an ended span counts, and adds it if so. `path` holds its ancestors, `end` is in
    /// nanoseconds since 1970 UTC.
    pub(crate) fn take(
        &mut self,
        tree: &mut LiveTree,
        at: usize,
        path: &[usize],
        call: CallIdentity<'_>,
        span: &Span,
        end: u64,
    ) -> bool {
        let Some(node) = tree.get_mut(at).filter(|_| has_usage(span)) else { return true };
        let interval = (node.start, end);
        let operation = node.operation.clone();
        let is_call = node.class == Some(Class::Model);
        let mut counts = match node.class {
            Some(Class::Model) => !node.calls_inside.contains(&operation),
            Some(Class::Tool | Class::Agent | Class::Action) => !node.repeats,
            None => true,
        };
        let served = std::mem::take(&mut node.served_inside);
        if is_call || call.is_server {
            counts &= !served.iter().any(|inner| inner.call.serves(&call, inner.is_direct));
        }
        tree.lighten(served.iter().map(ServedCall::weight).sum());
        counts &= !is_echo(tree, path, &call);

        let mut added = 0;
        // A call around the same call repeats it, unless there is an agent or a tool between the two.
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

        if let Some(id) = call.ids.first().and_then(Option::as_deref).filter(|_| is_call && counts) {
            counts = self.note_answer(tree, path, id, Answer { at, interval });
        }
        if counts {
            self.sum.add(span);
            announce_server(tree, path, &call);
            let identity = (is_call || call.is_server).then(|| Box::new(call.into_owned()));
            tree.weigh(identity.as_ref().map_or(0, |identity| identity.weight()));
            if let Some(node) = tree.get_mut(at) {
                node.counts = true;
                node.identity = identity;
            }
        }
        counts
    }

    /// Notes a call; returns false if it is the same as one that counts.
    fn note_answer(&mut self, tree: &LiveTree, path: &[usize], id: &str, answer: Answer) -> bool {
        if let Some(known) = self.answers.get_mut(id) {
            // Its descendants are searched only if there are some.
            let is_above = tree.get(answer.at).is_some_and(|node| node.repeats);
            let recent = known.iter().rev().take_while(|other| is_above || other.end() > answer.interval.0);
            let is_one =
                |other: &Answer| is_one_answer(line(tree, path, answer.at, other.at), answer.interval, other.interval);
            if recent.copied().any(|other| is_one(&other)) || has_answer_above(tree, path, id) {
                return false;
            }
            let place = known.partition_point(|other| other.end() <= answer.end());
            known.insert(place, answer);
        } else {
            self.answers.insert(id.to_owned(), vec![answer]);
            self.weight += id.len() + size_of::<(String, Vec<Answer>)>();
        }
        self.weight += size_of::<Answer>();
        true
    }

    /// Approximate size in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }
}

/// Returns true if a span is a server's record of a call that already counts for an ancestor.
fn is_echo(tree: &LiveTree, path: &[usize], call: &CallIdentity<'_>) -> bool {
    let mut is_direct = true;
    for outer in path.iter().filter_map(|above| tree.get(*above)).take_while(|outer| outer.class != Some(Class::Tool)) {
        is_direct &= outer.class != Some(Class::Agent);
        if outer.counts && outer.identity.as_ref().is_some_and(|client| call.serves(client, is_direct)) {
            return true;
        }
    }
    false
}

/// Notes a server's record that counts with the calls above it, up to the next tool.
fn announce_server(tree: &mut LiveTree, path: &[usize], call: &CallIdentity<'_>) {
    let mut is_direct = true;
    for above in path.iter().filter(|_| call.is_server) {
        let Some(outer) = tree.get_mut(*above).filter(|outer| outer.class != Some(Class::Tool)) else { break };
        is_direct &= outer.class != Some(Class::Agent);
        if outer.has_ended {
            continue;
        }
        let served = ServedCall { call: Box::new(call.clone().into_owned()), is_direct };
        let bytes = served.weight();
        outer.served_inside.push(served);
        tree.weigh(bytes);
    }
}

/// Returns true if an ancestor with this response id counts and there is no tool in between.
fn has_answer_above(tree: &LiveTree, path: &[usize], id: &str) -> bool {
    let above = path.iter().filter_map(|above| tree.get(*above)).take_while(|outer| outer.class != Some(Class::Tool));
    let mut calls = above.filter(|outer| outer.counts && outer.class == Some(Class::Model));
    calls.any(|outer| {
        outer.identity.as_ref().is_some_and(|call| call.ids.first().and_then(Option::as_deref) == Some(id))
    })
}

/// Returns the relation between the node `at`, with its path, and another one.
fn line(tree: &LiveTree, path: &[usize], at: usize, other: usize) -> Lineage {
    let is_tool = |at: &usize| tree.get(*at).is_some_and(|node| node.class == Some(Class::Tool));
    let of = |is_through: bool| if is_through { Lineage::ThroughTool } else { Lineage::Ancestor };
    if let Some(place) = path.iter().position(|above| *above == other) {
        return of(path.iter().take(place).any(is_tool));
    }
    if !tree.get(at).is_some_and(|node| node.repeats) {
        return Lineage::Unrelated;
    }
    let mut is_through = false;
    for above in tree.above(other) {
        if above == at {
            return of(is_through);
        }
        is_through |= is_tool(&above);
    }
    Lineage::Unrelated
}
