//! Tree of the spans of a live run, without their content.

use std::borrow::Cow;

use foldhash::HashMap;

use retrace_protocol::{Id, Span};

use crate::dialect::Class;
use crate::recorder::record::{TreePosition, outlived_id};
use crate::recorder::remote_parent::RemoteParent;
use crate::recorder::same_call::CallIdentity;
use crate::span_reader::Agent;
use crate::view::Parent;

/// A span of a live run.
#[derive(Debug)]
pub(crate) struct LiveNode {
    pub span_id: [u8; 8],
    pub parent: Parent,
    pub start: u64,
    /// True if an earlier run of the same trace emitted its start, under the id that belongs to it.
    pub is_outlived: bool,
    /// Its parent in another process.
    pub joined: Option<Box<RemoteParent>>,
    pub class: Option<Class>,
    pub agent: Option<Agent>,
    pub operation: Option<Cow<'static, str>>,
    /// True if it is emitted, now or later.
    pub kept: bool,
    /// True for a local root that has begun and not ended.
    pub is_open_root: bool,
    /// True if it has begun and not ended.
    pub is_open: bool,
    pub has_ended: bool,
    /// True if its start or its end was emitted.
    pub is_emitted: bool,
    /// True if a child of it was emitted.
    pub has_emitted_child: bool,
    /// True if its usage was emitted and counts.
    pub counts: bool,
    /// True if a descendant reported usage.
    pub repeats: bool,
    /// Operations of descendants that reported usage, down to the next agent or tool.
    pub calls_inside: Vec<Option<Cow<'static, str>>>,
    /// Features by which it is compared with other spans; set on calls that count.
    pub identity: Option<Box<CallIdentity<'static>>>,
    /// Counting spans of kind SERVER below it, down to the next tool.
    pub served_inside: Vec<ServedCall>,
    /// Placeholder emitted if it never ends and has an emitted child; for a step whose start is not emitted.
    pub deferred: Option<Box<Span>>,
    above: Link,
    /// The parent under which it was emitted, which is final.
    placed: Link,
}

impl LiveNode {
    /// Size of its names in bytes.
    pub(crate) fn label_weight(&self) -> usize {
        self.operation.as_ref().map_or(0, |operation| operation.len()) + self.agent.as_ref().map_or(0, Agent::weight)
    }
}

/// A span of kind SERVER with usage that counts.
#[derive(Debug)]
pub(crate) struct ServedCall {
    pub call: Box<CallIdentity<'static>>,
    /// True if there is no agent in between.
    pub is_direct: bool,
}

impl ServedCall {
    /// Approximate size in bytes.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.call.weight()
    }
}

/// Link to a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Unknown,
    Nothing,
    To(usize),
}

impl From<Option<usize>> for Link {
    fn from(at: Option<usize>) -> Self {
        at.map_or(Self::Nothing, Self::To)
    }
}

/// Index of the root, the first span of a live run.
pub(crate) const ROOT: usize = 0;

/// Tree of the spans of a live run. Duplicate ids and cyclic parents are valid input.
#[derive(Debug, Default)]
pub(crate) struct LiveTree {
    nodes: Vec<LiveNode>,
    places: HashMap<[u8; 8], usize>,
    weight: usize,
}

impl LiveTree {
    /// Adds a new span; returns its index.
    pub(crate) fn add(&mut self, span_id: [u8; 8], parent: Parent, start: u64, is_outlived: bool) -> usize {
        let at = self.nodes.len();
        let mut node = LiveNode {
            span_id,
            parent,
            start,
            is_outlived,
            joined: None,
            class: None,
            agent: None,
            operation: None,
            kept: at == ROOT,
            is_open_root: false,
            is_open: false,
            has_ended: false,
            is_emitted: false,
            has_emitted_child: false,
            counts: false,
            repeats: false,
            calls_inside: Vec::new(),
            identity: None,
            served_inside: Vec::new(),
            deferred: None,
            above: Link::Unknown,
            placed: Link::Unknown,
        };
        // Nothing links to a new node, so that this link cannot close a cycle.
        if at == ROOT || parent == Parent::None {
            node.above = Link::Nothing;
        } else if let Some(above) = self.parent_of(&parent) {
            node.above = Link::To(above);
        }
        self.places.insert(span_id, at);
        self.nodes.push(node);
        self.weight += size_of::<LiveNode>() + size_of::<([u8; 8], usize)>();
        at
    }

    pub(crate) fn find(&self, span_id: &[u8; 8]) -> Option<usize> {
        self.places.get(span_id).copied()
    }

    pub(crate) fn get(&self, at: usize) -> Option<&LiveNode> {
        self.nodes.get(at)
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut LiveNode> {
        self.nodes.get_mut(at)
    }

    pub(crate) fn nodes(&self) -> &[LiveNode] {
        &self.nodes
    }

    /// Adds to the size in bytes.
    pub(crate) fn weigh(&mut self, bytes: usize) {
        self.weight += bytes;
    }

    /// Subtracts from the size in bytes.
    pub(crate) fn lighten(&mut self, bytes: usize) {
        self.weight = self.weight.saturating_sub(bytes);
    }

    /// Approximate size in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// Returns the known ancestors, nearest first.
    pub(crate) fn above(&self, at: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.look_up(at), |at| self.look_up(*at)).take(self.nodes.len())
    }

    /// Returns the number of known ancestors.
    pub(crate) fn depth(&self, at: usize) -> usize {
        self.above(at).count()
    }

    /// Returns the ancestors, nearest first, and fixes them.
    pub(crate) fn path(&mut self, at: usize) -> Vec<usize> {
        let mut path = Vec::new();
        let mut next = self.settle(at);
        while let Some(above) = next {
            path.push(above);
            next = self.settle(above);
        }
        path
    }

    /// Returns the nearest kept ancestor; the first result is final.
    pub(crate) fn parent(&mut self, at: usize, path: &[usize]) -> Option<usize> {
        let kept = |at: &usize| self.nodes.get(*at).is_some_and(|node| node.kept);
        let found = path.iter().copied().find(kept);
        let node = self.nodes.get_mut(at)?;
        if node.placed == Link::Unknown {
            node.placed = found.into();
        }
        self.placed_under(at)
    }

    /// Returns the parent under which the node was emitted.
    pub(crate) fn placed_under(&self, at: usize) -> Option<usize> {
        match self.nodes.get(at)?.placed {
            Link::To(parent) => Some(parent),
            Link::Unknown | Link::Nothing => None,
        }
    }

    /// Returns the position of the node in the run.
    pub(crate) fn place(&mut self, trace_id: [u8; 16], at: usize, path: &[usize]) -> TreePosition {
        let parent = self.parent(at, path).map(|parent| self.id(trace_id, parent));
        let mut named =
            std::iter::once(at).chain(path.iter().copied()).filter_map(|at| self.nodes.get(at)?.agent.as_ref());
        let agents = named.next().map(|own| (own, named.find(|other| other.id != own.id)));
        let stated = self.nodes.get(at).map_or(Parent::None, |node| node.parent);
        let topmost = self.nodes.get(path.last().copied().unwrap_or(at));
        let joined = topmost.and_then(|node| node.joined.as_deref());
        TreePosition::new(self.id(trace_id, at), trace_id, parent, stated, agents, joined)
    }

    fn id(&self, trace_id: [u8; 16], at: usize) -> Id {
        match self.nodes.get(at) {
            Some(node) if node.is_outlived => outlived_id(trace_id, node.span_id),
            node => Id::from_otel_span(trace_id, node.map(|node| node.span_id).unwrap_or_default()),
        }
    }

    fn parent_of(&self, parent: &Parent) -> Option<usize> {
        match parent {
            Parent::None => None,
            Parent::Local(id) | Parent::Remote(id) => self.find(id),
        }
    }

    /// Returns the parent of a node. One whose parent is unknown is a child of the root.
    fn look_up(&self, at: usize) -> Option<usize> {
        let node = self.nodes.get(at)?;
        match node.above {
            Link::To(above) => Some(above),
            Link::Nothing => None,
            Link::Unknown => {
                let fallback = matches!(node.parent, Parent::Local(_)).then_some(ROOT);
                self.parent_of(&node.parent).filter(|above| *above != at).or(fallback)
            }
        }
    }

    /// Fixes the parent of a node. A cycle ends at the root.
    fn settle(&mut self, at: usize) -> Option<usize> {
        let mut above = self.look_up(at);
        if self.nodes.get(at)?.above == Link::Unknown {
            let known = |at: &usize| match self.nodes.get(*at)?.above {
                Link::To(above) => Some(above),
                Link::Unknown | Link::Nothing => None,
            };
            if std::iter::successors(above, known).any(|above| above == at) {
                above = Some(ROOT);
            }
            self.nodes.get_mut(at)?.above = above.into();
        }
        above
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: usize) -> [u8; 8] {
        (n as u64).to_be_bytes()
    }

    proptest! {
        /// For any parents in any order, every path ends and stays the same.
        #[test]
        fn walking_up_always_ends(
            spans in prop::collection::vec((0_usize..20, 0_usize..20, any::<bool>()), 1..40),
        ) {
            let mut tree = LiveTree::default();
            let mut walked: Vec<(usize, Vec<usize>)> = Vec::new();
            for (span, parent, walk) in spans {
                let at = tree.find(&id(span)).unwrap_or_else(|| tree.add(id(span), Parent::Local(id(parent)), 0, false));
                if walk {
                    let path = tree.path(at);
                    prop_assert!(path.len() < tree.nodes().len());
                    prop_assert_eq!(tree.depth(at), path.len());
                    walked.push((at, path));
                }
            }
            for (at, path) in walked {
                prop_assert_eq!(tree.path(at), path);
            }
        }
    }
}
