//! A run that is being collected.

use foldhash::{HashMap, HashMapExt as _};
use std::sync::Arc;
use std::time::Duration;

use crate::options::Options;
use crate::recorder::node::Node;
use crate::recorder::remote_parent::RemoteParent;
use crate::recorder::tools::{SeenTools, SourceCall};
use crate::recorder::tree::Tree;
use crate::resource::Resource;
use crate::span_reader::ScopeCache;
use crate::span_reader::SpanReader;
use crate::view::{Parent, SpanView};

/// Spans of one OpenTelemetry trace that were collected and not emitted yet.
#[derive(Debug)]
pub(crate) struct OpenRun {
    pub nodes: Vec<Node>,
    pub tools: SeenTools,
    scope_cache: ScopeCache,
    /// True if one of its spans is selected.
    pub genai: bool,
    /// Resource of the local root; of the first span while there is no root.
    pub resource: Arc<Resource>,
    pub last_seen: Duration,
    /// When a local root of it ended.
    pub root_ended: Option<Duration>,
    /// True if spans of it were lost.
    pub lossy: bool,
    /// True if it was not sampled, and is sent because it failed.
    pub kept_for_failure: bool,
    /// Number of accepted spans.
    pub sources: u64,
    /// Approximate size in bytes.
    pub weight: usize,
    places: HashMap<[u8; 8], usize>,
}

/// Values by which the recorder orders open runs, and which it sums up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OpenRunStats {
    pub last_seen: Duration,
    pub root_ended: Option<Duration>,
    pub sources: u64,
    pub weight: usize,
}

impl OpenRun {
    pub(crate) fn stats(&self) -> OpenRunStats {
        let Self { last_seen, root_ended, sources, weight, .. } = *self;
        OpenRunStats { last_seen, root_ended, sources, weight }
    }

    pub(crate) fn new(resource: Arc<Resource>, last_seen: Duration) -> Self {
        Self {
            nodes: Vec::new(),
            tools: SeenTools::default(),
            scope_cache: ScopeCache::default(),
            genai: false,
            resource,
            last_seen,
            root_ended: None,
            lossy: false,
            kept_for_failure: false,
            sources: 0,
            weight: size_of::<Self>(),
            places: HashMap::new(),
        }
    }

    /// Adds a span. `begins` is true if nothing above it was collected with this run, `joined` is its parent in another
    /// process.
    pub(crate) fn add<V: SpanView>(
        &mut self,
        span: &V,
        starts_run: bool,
        joined: Option<RemoteParent>,
        resource: &Arc<Resource>,
        options: &Options,
        now: Duration,
    ) {
        let reader = SpanReader::new(span);
        let kept = options.selection.selects(&reader);
        self.genai |= kept;
        self.last_seen = now;
        self.sources += 1;
        if starts_run {
            self.root_ended.get_or_insert(now);
            self.resource = Arc::clone(resource);
        }

        let by = SourceCall { span_id: span.span_id(), start: span.start_unix_nanos() };
        let mut seen = 0;
        let (tools, scope_cache) = (&mut self.tools, &mut self.scope_cache);
        let builder = (kept || starts_run).then(|| {
            reader.build(options, scope_cache, |tool, at| seen += tools.note(&tool, by, at, options.capture_content))
        });
        self.weight += seen;
        self.push(Node { starts_run, joined: joined.map(Box::new), ..Node::new(span, &reader, builder, kept) });
    }

    fn push(&mut self, node: Node) {
        if let Some(old) = self.places.get(&node.span_id).and_then(|at| self.nodes.get_mut(*at))
            && old.is_repeated_by(&node)
        {
            old.sources += node.sources;
            return;
        }
        self.weight += node.weight();
        self.places.entry(node.span_id).or_insert(self.nodes.len());
        self.nodes.push(node);
    }

    /// Returns true if the run has the span.
    pub(crate) fn has(&self, span_id: &[u8; 8]) -> bool {
        self.places.contains_key(span_id)
    }

    /// Returns the root: of the spans that start the run the one without a parent, else the one that began first.
    pub(crate) fn root(&self) -> Option<usize> {
        let roots = self.nodes.iter().enumerate().filter(|(_, node)| node.starts_run);
        let (at, _) = roots.min_by_key(|(_, node)| (node.parent != Parent::None, node.start))?;
        Some(at)
    }

    /// Returns the parent in another process, if the run belongs to that process.
    pub(crate) fn joined(&self) -> Option<RemoteParent> {
        self.nodes.get(self.root()?)?.joined.as_deref().cloned()
    }

    /// Returns the span from which the run's id is derived: its root, else the span that began first.
    pub(crate) fn first_span(&self) -> Option<[u8; 8]> {
        let first = || self.nodes.iter().min_by_key(|node| (node.start, node.span_id));
        Some(self.root().and_then(|at| self.nodes.get(at)).or_else(first)?.span_id)
    }

    /// Splits the run into the descendants of ended roots, and the rest: spans below one that is still open.
    pub(crate) fn split_connected(self) -> (Self, Option<Self>) {
        let connected = {
            let tree = Tree::new(&self.nodes, None);
            let starts_run = |at: usize| self.nodes.get(at).is_some_and(|node| node.starts_run);
            (0..self.nodes.len()).map(|at| starts_run(at) || tree.above(at).any(starts_run)).collect::<Vec<_>>()
        };
        if connected.iter().all(|connected| *connected) {
            return (self, None);
        }
        let mut ended = Self::new(Arc::clone(&self.resource), self.last_seen);
        let mut open = Self::new(self.resource, self.last_seen);
        ended.root_ended = self.root_ended;
        (ended.lossy, open.lossy) = (self.lossy, self.lossy);
        (ended.kept_for_failure, open.kept_for_failure) = (self.kept_for_failure, self.kept_for_failure);
        for (node, connected) in self.nodes.into_iter().zip(connected) {
            let run = if connected { &mut ended } else { &mut open };
            run.genai |= node.kept;
            run.sources += u64::from(node.sources);
            run.push(node);
        }
        (ended.tools, open.tools) = self.tools.split(|span_id| open.places.contains_key(span_id));
        ended.weight += ended.tools.weight();
        open.weight += open.tools.weight();
        (ended, Some(open))
    }
}
