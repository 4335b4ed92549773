//! Who stands above whom, once spans that are not sent are gone.

use foldhash::{HashMap, HashMapExt as _};

use crate::recorder::node::Node;
use crate::span_reader::Agent;
use crate::view::Parent;

/// The ancestors of the spans of one run. Ids that come twice and parents that go in circles are legal input.
#[derive(Debug)]
pub(crate) struct Tree<'n> {
    nodes: &'n [Node],
    /// For each node the place of its parent.
    parents: Vec<Option<usize>>,
}

impl<'n> Tree<'n> {
    /// Links the nodes. A node whose parent was never seen hangs from `root`, if the run has one.
    pub(crate) fn new(nodes: &'n [Node], root: Option<usize>) -> Self {
        let mut places: HashMap<[u8; 8], usize> = HashMap::with_capacity(nodes.len());
        for (i, node) in nodes.iter().enumerate() {
            places.entry(node.span_id).or_insert(i);
        }
        let mut parents: Vec<Option<usize>> = nodes
            .iter()
            .enumerate()
            .map(|(i, node)| {
                if root == Some(i) {
                    return None;
                }
                let known = |id: &[u8; 8]| places.get(id).copied().filter(|at| *at != i);
                match &node.parent {
                    Parent::None => None,
                    Parent::Remote(id) => known(id),
                    Parent::Local(id) => known(id).or(root),
                }
            })
            .collect();
        break_circles(&mut parents);
        Self { nodes, parents }
    }

    /// The nodes above this one, nearest first.
    pub(crate) fn above(&self, node: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.parent(node), |at| self.parent(*at))
    }

    pub(crate) fn depth(&self, node: usize) -> usize {
        self.above(node).count()
    }

    fn parent(&self, node: usize) -> Option<usize> {
        self.parents.get(node).copied().flatten()
    }

    /// The nearest node above that is sent.
    pub(crate) fn kept_parent(&self, node: usize, kept: impl Fn(usize) -> bool) -> Option<usize> {
        self.above(node).find(|at| kept(*at))
    }

    /// The agent that did this: the nearest that a span at or above it names, and the next other one above that.
    pub(crate) fn agents(&self, node: usize) -> Option<(&'n Agent, Option<&'n Agent>)> {
        let mut named =
            std::iter::once(node).chain(self.above(node)).filter_map(|at| self.nodes.get(at)?.agent.as_ref());
        let own = named.next()?;
        Some((own, named.find(|other| other.id != own.id)))
    }
}

/// Cuts every circle at one place, so that walking up always ends.
fn break_circles(parents: &mut [Option<usize>]) {
    /// How far a node has been walked.
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Walking(usize),
        Done,
    }
    let mut marks = vec![Mark::New; parents.len()];
    for start in 0..parents.len() {
        let mut at = start;
        loop {
            match marks.get(at) {
                Some(Mark::New) => {}
                Some(Mark::Walking(walk)) if *walk == start => {
                    if let Some(parent) = parents.get_mut(at) {
                        *parent = None;
                    }
                    break;
                }
                _ => break,
            }
            if let Some(mark) = marks.get_mut(at) {
                *mark = Mark::Walking(start);
            }
            match parents.get(at).copied().flatten() {
                Some(parent) => at = parent,
                None => break,
            }
        }
        // Everything on this walk ends now.
        let mut at = Some(start);
        while let Some(place) = at.filter(|place| marks.get(*place) == Some(&Mark::Walking(start))) {
            if let Some(mark) = marks.get_mut(place) {
                *mark = Mark::Done;
            }
            at = parents.get(place).copied().flatten();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn circles_are_cut_once() {
        let mut parents = vec![Some(1), Some(2), Some(0), Some(2), None, Some(5)];
        break_circles(&mut parents);
        assert_eq!(parents, [None, Some(2), Some(0), Some(2), None, None]);
    }

    proptest! {
        #[test]
        fn walking_up_always_ends(parents in prop::collection::vec(prop::option::of(0_usize..24), 24)) {
            let mut cut = parents.clone();
            break_circles(&mut cut);
            for start in 0..cut.len() {
                let steps = std::iter::successors(Some(start), |at| cut[*at]).take(100).count();
                prop_assert!(steps <= cut.len());
            }
            for (before, after) in parents.iter().zip(&cut) {
                prop_assert!(after.is_none() || after == before);
            }
        }
    }
}
