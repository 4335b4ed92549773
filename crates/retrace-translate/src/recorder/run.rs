//! An open run: the spans of a trace that were seen and have not all come out.

use foldhash::{HashMap, HashMapExt as _};
use std::sync::Arc;
use std::time::Duration;

use crate::options::Options;
use crate::recorder::RecorderLimits;
use crate::recorder::live_run::Live;
use crate::recorder::node::{Body, Node};
use crate::recorder::remote_parent::RemoteParent;
use crate::recorder::runs::RunStats;
use crate::recorder::tools::{SeenTools, SourceCall};
use crate::recorder::tree::Tree;
use crate::resource::Resource;
use crate::span_reader::ScopeCache;
use crate::span_reader::SpanReader;
use crate::view::{Parent, SpanView};

/// Spans of one OpenTelemetry trace, from the first one until the run is emitted as ended.
#[derive(Debug)]
pub(crate) struct OpenRun {
    pub nodes: Vec<Node>,
    pub tools: SeenTools,
    pub scope_cache: ScopeCache,
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
    /// Number of accepted spans that have not come out.
    pub sources: u64,
    /// Approximate size in bytes.
    pub weight: usize,
    /// Emitted state, if the run is emitted while it happens.
    pub live: Option<Box<Live>>,
    places: HashMap<[u8; 8], Place>,
    ended: u32,
}

/// Nodes of one span id.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Index of the first one.
    at: usize,
    /// Number of further ones.
    copies: u32,
}

/// Facts about a span that follow from the spans that were emitted before it.
#[derive(Debug)]
pub(crate) struct SpanContext {
    /// True if nothing above it was collected with this run.
    pub starts_run: bool,
    /// Its parent in another process.
    pub joined: Option<RemoteParent>,
}

impl OpenRun {
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
            weight: size_of::<Self>() + size_of::<RunStats>(),
            live: None,
            places: HashMap::new(),
            ended: 0,
        }
    }

    /// Returns the values by which the recorder orders open runs, and which it sums up.
    pub(crate) fn stats(&self, limits: &RecorderLimits) -> RunStats {
        let (over, lingers) = match &self.live {
            Some(live) => (live.over, live.only_lingers()),
            None => (self.root_ended, true),
        };
        let wait = if lingers { limits.linger } else { limits.linger.max(limits.outlive) };
        let spare = (self.nodes.capacity() - self.nodes.len()) * size_of::<Node>();
        let places = self.places.capacity() * 2 * size_of::<([u8; 8], Place)>();
        let weight = self.weight + spare + places + self.live.as_ref().map_or(0, |live| live.weight());
        let due = over.map(|over| over.saturating_add(wait));
        RunStats { last_seen: self.last_seen, due, lingers, sources: self.sources, weight }
    }

    /// Takes a span that has ended; returns its index, or that of the span that it repeats.
    pub(crate) fn record<V: SpanView>(
        &mut self,
        span: &V,
        context: SpanContext,
        resource: &Arc<Resource>,
        options: &Options,
        now: Duration,
    ) -> Result<usize, usize> {
        let reader = SpanReader::new(span);
        let selected = options.selection.selects(&reader);
        let SpanContext { starts_run, joined } = context;
        self.genai |= selected;
        self.last_seen = now;
        self.sources += 1;
        if starts_run {
            self.root_ended.get_or_insert(now);
            self.resource = Arc::clone(resource);
        }
        let running = self.find(&span.span_id()).and_then(|at| self.nodes.get(at)).filter(|node| node.ended.is_none());
        let kept = selected || running.is_some_and(|node| node.kept);
        let by = SourceCall { span_id: span.span_id(), start: span.start_unix_nanos() };
        let mut seen = 0;
        let (tools, scope_cache, live) = (&mut self.tools, &mut self.scope_cache, &mut self.live);
        let builder = (kept || starts_run).then(|| {
            reader.build(options, scope_cache, |tool, at| {
                let bytes = tools.note(&tool, by, at, options.capture_content);
                seen += bytes;
                if let Some(live) = live.as_mut().filter(|_| bytes > 0) {
                    live.calls.note(tools, &tool);
                }
            })
        });
        self.weight += seen;
        let joined = joined.map(Box::new);
        self.put(Node { ended: Some(0), starts_run, joined, ..Node::new(span, &reader, builder, kept) })
    }

    /// Adds a span, the end of one that is running, or another one under the id of one that has ended; returns its index, or that of
    /// the span that it repeats.
    pub(crate) fn put(&mut self, mut node: Node) -> Result<usize, usize> {
        let next = self.nodes.len();
        let place = self.places.entry(node.span_id).or_insert(Place { at: next, copies: 0 });
        let at = place.at;
        node.body_weight = node.body.weight();
        if let Some(position) = &mut node.ended {
            *position = self.ended;
            self.ended += 1;
        }
        if let Some(known) = self.nodes.get_mut(at) {
            if known.ended.is_none() {
                (node.emitted, node.has_usage_below) = (known.emitted, known.has_usage_below);
                node.has_emitted_child = known.has_emitted_child;
                self.weight = self.weight - known.weight() + node.weight();
                *known = node;
                return Ok(at);
            }
            if known.is_repeated_by(&node) {
                known.sources += node.sources;
                return Err(at);
            }
            place.copies += 1;
            node.copy = place.copies;
        }
        self.weight += node.weight();
        self.nodes.push(node);
        Ok(next)
    }

    /// Returns the index of the first span with this id.
    pub(crate) fn find(&self, span_id: &[u8; 8]) -> Option<usize> {
        self.places.get(span_id).map(|place| place.at)
    }

    /// Changes the translation of a span, and the size of the run by it.
    pub(crate) fn change_body<T>(&mut self, at: usize, change: impl FnOnce(&mut Node) -> T) -> Option<T> {
        let node = self.nodes.get_mut(at)?;
        let before = node.weight();
        let changed = change(node);
        node.body_weight = node.body.weight();
        self.weight = self.weight - before + node.weight();
        Some(changed)
    }

    /// Returns the root. In a run that is emitted while it happens that is the span that began first; else, of the spans that start
    /// the run, the one without a parent, else the one that began first.
    pub(crate) fn root(&self) -> Option<usize> {
        if let Some(live) = &self.live {
            return live.root_at;
        }
        let roots = self.nodes.iter().enumerate().filter(|(_, node)| node.starts_run);
        let (at, _) = roots.min_by_key(|(_, node)| (node.parent != Parent::None, node.start))?;
        Some(at)
    }

    /// Returns the parent in another process, if the run belongs to that process.
    pub(crate) fn joined(&self) -> Option<&RemoteParent> {
        self.nodes.get(self.root()?)?.joined.as_deref()
    }

    /// Returns the span from which the run's id is derived: its root, else the span that began first.
    pub(crate) fn first_span(&self) -> Option<[u8; 8]> {
        let first = || self.nodes.iter().min_by_key(|node| (node.start, node.span_id));
        Some(self.root().and_then(|at| self.nodes.get(at)).or_else(first)?.span_id)
    }

    /// Marks the spans as sent that are sent whatever they are: the root, and in a run of another process each span where it enters
    /// this one. Returns the number of those among them that are running.
    pub(crate) fn keep_tops(&mut self, joined: bool) -> usize {
        let root = self.root();
        let is_top = |at: usize, node: &Node| root == Some(at) || (joined && node.starts_run);
        let mut running = 0;
        for (at, node) in self.nodes.iter_mut().enumerate() {
            if !node.kept && is_top(at, node) && !matches!(node.body, Body::Absent) {
                node.kept = true;
                running += usize::from(node.ended.is_none());
            }
        }
        running
    }

    /// Puts the ended spans of a run that is emitted while it happens into the order in which they ended, before those that are
    /// running: that of a run that is collected. No span can be found by its id any more.
    pub(crate) fn sort_by_end(&mut self) {
        let Some(live) = &mut self.live else { return };
        self.nodes.sort_by_cached_key(|node| node.ended.unwrap_or(u32::MAX));
        live.root_at = self.nodes.iter().position(|node| node.copy == 0 && node.span_id == live.root);
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
            // A span and its copies may be apart now.
            let _ = run.put(Node { copy: 0, ..node });
        }
        (ended.tools, open.tools) = self.tools.split(|span_id| open.places.contains_key(span_id));
        ended.weight += ended.tools.weight();
        open.weight += open.tools.weight();
        (ended, Some(open))
    }
}
