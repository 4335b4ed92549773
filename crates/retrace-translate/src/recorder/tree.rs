//! Ancestors of the spans of a run.

use foldhash::{HashMap, HashMapExt as _};
use smallvec::SmallVec;

use crate::recorder::node::Node;
use crate::view::Parent;

/// Maximum number of ancestors that are looked at while a run is open. Cyclic parents are valid input.
const OPEN_DEPTH: usize = 512;

/// Returns the parent of a node. One whose parent is unknown is a child of `root`, if there is one.
fn parent_of(
    nodes: &[Node],
    place_of: impl Fn(&[u8; 8]) -> Option<usize>,
    root: Option<usize>,
    at: usize,
) -> Option<usize> {
    if root == Some(at) {
        return None;
    }
    let known = |id: &[u8; 8]| place_of(id).filter(|parent| *parent != at);
    match &nodes.get(at)?.parent {
        Parent::None => None,
        Parent::Remote(id) => known(id),
        Parent::Local(id) => known(id).or(root),
    }
}

/// Returns the ancestors of a node of an open run, nearest first, as far as they are known. An ancestor that becomes known later
/// changes them.
pub(crate) fn known_ancestors(
    nodes: &[Node],
    place_of: impl Fn(&[u8; 8]) -> Option<usize>,
    root: Option<usize>,
    at: usize,
) -> SmallVec<[usize; 16]> {
    let above = |at: &usize| parent_of(nodes, &place_of, root, *at);
    std::iter::successors(above(&at), above).take_while(|above| *above != at).take(OPEN_DEPTH).collect()
}

/// The ancestors of the spans of one run. Duplicate ids and cyclic parents are valid input.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Index of the first node of each id.
    places: HashMap<[u8; 8], usize>,
    /// Index of the parent of each node.
    parents: Vec<Option<usize>>,
}

impl Tree {
    /// Links the nodes. A node whose parent is unknown is a child of `root`, if there is one.
    pub(crate) fn new(nodes: &[Node], root: Option<usize>) -> Self {
        let mut places: HashMap<[u8; 8], usize> = HashMap::with_capacity(nodes.len());
        for (i, node) in nodes.iter().enumerate() {
            places.entry(node.span_id).or_insert(i);
        }
        let place_of = |id: &[u8; 8]| places.get(id).copied();
        let mut parents: Vec<_> = (0..nodes.len()).map(|at| parent_of(nodes, place_of, root, at)).collect();
        break_circles(&mut parents);
        Self { places, parents }
    }

    /// Returns the ancestors of a node, nearest first.
    pub(crate) fn above(&self, node: usize) -> impl Iterator<Item = usize> + Clone {
        std::iter::successors(self.parent(node), |at| self.parent(*at))
    }

    pub(crate) fn find(&self, span_id: &[u8; 8]) -> Option<usize> {
        self.places.get(span_id).copied()
    }

    pub(crate) fn depth(&self, node: usize) -> usize {
        self.above(node).count()
    }

    fn parent(&self, node: usize) -> Option<usize> {
        self.parents.get(node).copied().flatten()
    }
}

/// Cuts every cycle at one link, so that walking up always ends.
fn break_circles(parents: &mut [Option<usize>]) {
    /// State of a node during the walk.
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
        // Every node on this walk is done.
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
