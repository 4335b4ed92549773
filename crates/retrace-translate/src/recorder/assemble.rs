//! Assembles a run into its records when it is emitted as ended or incomplete.

use retrace_protocol::metadata::TraceMetadata;
use retrace_protocol::{Id, Json, Span, Trace};

use crate::options::Options;
use crate::recorder::RecordedSpan;
use crate::recorder::emitted_runs::EmittedTrace;
use crate::recorder::infer_io::{infer_io, last_user_message};
use crate::recorder::match_tool_calls::match_tool_calls;
use crate::recorder::node::{Body, Node};
use crate::recorder::record::{RootFacts, RunEnd, RunIdentity, RunLabels, TreePosition, outlived_id, under_way};
use crate::recorder::run::OpenRun;
use crate::recorder::run_name::{FirstCall, RunName};
use crate::recorder::tools::{PlacedSpan, Synthesized, derived_id, synthesize_missing};
use crate::recorder::totals::{Totals, counting_nodes, sum};
use crate::recorder::tree::Tree;
use crate::recorder::verdict::{RunFacts, Verdict};
use crate::view::Parent;

/// Assembles one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunAssembler<'o> {
    pub origin: &'o RunIdentity,
    /// Emitted state of the trace before this run.
    pub before: Option<&'o EmittedTrace>,
    /// True if the run is emitted as ended; otherwise it is emitted incomplete.
    pub ended: bool,
    pub options: &'o Options,
}

/// A run in its records.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub trace: Trace,
    /// Running spans whose start was not emitted although spans below them were; parents first.
    pub begun: Vec<Span>,
    /// The spans that were not emitted as they are now, ordered by start. One that was emitted before has no sources.
    pub spans: Vec<RecordedSpan>,
    /// Number of accepted spans that are not sent.
    pub set_aside: u64,
}

impl RunAssembler<'_> {
    pub(crate) fn assemble(&self, run: &mut OpenRun) -> Assembled {
        run.keep_tops(self.origin.joined);
        let root = run.root();
        let tree = Tree::new(&run.nodes, root);
        let order = order(&run.nodes, &tree);
        let counts = counting_nodes(&run.nodes, &tree);
        let matches = match_tool_calls(&run.nodes, &order, &run.tools);
        let (mut trace, labels) = self.head(run, root, &tree, &order, sum(&run.nodes, &counts));
        let is_joined = run.joined().is_some();
        // Labels of a run of another process are known only as far as its caller states them.
        let labels = run.joined().map_or(labels, RunLabels::of_caller);
        let mut verdicts: Vec<Option<Verdict<'_>>> = Vec::new();
        verdicts.resize_with(run.nodes.len(), || None);
        for at in &order {
            if let Some(verdict) = verdicts.get_mut(*at) {
                *verdict = Some(Verdict {
                    place: self.place(&run.nodes, *at, &tree.above(*at)),
                    counts: counts.get(*at) == Some(&true),
                    matched_call: matches.get(at).map(String::as_str),
                    labels: &labels,
                });
            }
        }

        let mut positions = vec![0; run.nodes.len()];
        for (position, at) in order.iter().enumerate() {
            positions.get_mut(*at).into_iter().for_each(|of_node| *of_node = position);
        }
        let placed = |at: usize| {
            let (node, verdict) = (run.nodes.get(at)?, verdicts.get(at)?.as_ref()?);
            let had_result = node.summary().is_some_and(|summary| summary.has_result);
            let (start, place, position) = (node.start, &verdict.place, *positions.get(at)?);
            Some(PlacedSpan { span: node.span()?, start, place, position, had_result })
        };
        let executed = order.iter().filter_map(|at| {
            let stated = run.nodes.get(*at)?.executed_call.as_deref();
            Some((stated.or(matches.get(at).map(String::as_str))?, placed(*at)?))
        });
        let shows_calls = |at: &usize| run.nodes.get(*at).is_some_and(Node::shows_calls);
        let source_call = |span_id| tree.find(&span_id).filter(shows_calls).and_then(placed);
        let is_sent = |call_id: &str, span| run.live.as_ref().is_some_and(|live| live.has_sent(call_id, span));
        let (mut synthesized, sent) = synthesize_missing(self.origin, &run.tools, executed, source_call, is_sent);

        let needed = parents_of_emitted(&run.nodes, &tree, &order);
        let facts = RunFacts { origin: self.origin, resource: &run.resource, is_joined };
        let (mut begun, mut spans) = (Vec::new(), Vec::with_capacity(order.len() + synthesized.len()));
        let (mut count, mut kept_sources) = (sent + synthesized.len() as u64, 0);
        // The next one is the last.
        synthesized.sort_by_cached_key(Synthesized::order);
        synthesized.reverse();
        for (position, at) in order.into_iter().enumerate() {
            let (Some(node), Some(verdict)) = (run.nodes.get_mut(at), verdicts.get_mut(at).and_then(Option::take))
            else {
                continue;
            };
            let is_running = node.ended.is_none();
            if is_running && node.emitted.is_none() && !needed.contains(&at) {
                continue;
            }
            count += 1;
            let sources = if is_running || node.emitted.is_some() { 0 } else { node.sources };
            kept_sources += u64::from(sources);
            if node.emitted.is_some_and(|emitted| is_running || emitted == verdict.fingerprint(node)) {
                continue;
            }
            let Body::Whole(mut builder) = std::mem::replace(&mut node.body, Body::Absent) else { continue };
            if is_running {
                node.emitted = Some(0);
                under_way(&mut builder);
                begun.push(verdict.write(facts, node, root == Some(at), builder));
            } else {
                let span = verdict.write(facts, node, root == Some(at), builder);
                let own = (span.started_at.unix_micros(), position);
                spans.extend(take_before(&mut synthesized, own));
                spans.push(RecordedSpan { span, sources });
            }
        }
        spans.extend(synthesized.into_iter().rev().map(|added| RecordedSpan { span: added.span, sources: 0 }));
        if self.ended {
            trace.span_count = Some(count);
        }
        Assembled { trace, begun, spans, set_aside: run.sources - kept_sources }
    }

    /// Returns the trace, as far as it is known, and the labels of the run.
    pub(crate) fn head(
        &self,
        run: &OpenRun,
        root: Option<usize>,
        tree: &Tree,
        order: &[usize],
        totals: Totals,
    ) -> (Trace, RunLabels) {
        let nodes = &run.nodes;
        let labels = RunLabels {
            session: root_down(nodes, tree, root, |node| node.session.as_ref()),
            user: root_down(nodes, tree, root, |node| node.user.as_ref()),
            name: root_down(nodes, tree, root, Node::stated_trace_name),
            tags: tags(nodes, root),
        };
        let stated_run = stated_run(nodes, tree, root);
        let is_entry = root.and_then(|at| nodes.get(at)).is_some_and(is_entry);
        let first_call = if is_entry { first_call(nodes, tree, root) } else { FirstCall::default() };
        let top = self.top(nodes, root, order).or(stated_run.as_ref());
        let name = RunName::new(labels.name.as_deref(), top.name.as_deref(), is_entry, &first_call);
        let mut trace = self.origin.trace(&top, &name, &labels, totals, self.options);
        let mut metadata = self.origin.trace_metadata(&top, &name, &labels, &run.resource, self.options);
        metadata.kept_for_failure = run.kept_for_failure;
        metadata.replayed = nodes.iter().any(|node| node.kept && node.is_replayed);
        let calls =
            || order.iter().filter_map(|at| nodes.get(*at)).filter(|node| node.is_model_call() && node.ended.is_some());
        metadata.inferred_io = infer_io(
            &mut trace,
            || {
                let call = calls().next()?;
                call.builder().map_or_else(|| call.summary()?.input_message.clone(), last_user_message)
            },
            || {
                let call = calls().max_by_key(|node| node.end)?;
                call.builder().map_or_else(|| call.summary()?.output.clone(), |builder| builder.span.output.clone())
            },
        );
        trace.metadata = (metadata != TraceMetadata::default()).then(|| Json::from_serialize(&metadata));
        trace.lossy = run.lossy.then_some(true);
        (trace, labels)
    }

    /// Returns the facts that the run states about itself. Without a root that is only its name, from the span that began
    /// first.
    fn top(&self, nodes: &[Node], root: Option<usize>, order: &[usize]) -> RootFacts {
        let Some(node) = root.or(order.first().copied()).and_then(|at| nodes.get(at)) else {
            return RootFacts::default();
        };
        let mut top = RootFacts::new(node.start, node.builder());
        if root.is_none() {
            (top.input, top.user_metadata) = (None, serde_json::Map::new());
        } else if self.ended {
            top.end = Some(RunEnd::new(node.end, node.builder()));
        }
        top
    }

    /// Returns the position of a node with these ancestors, nearest first.
    pub(crate) fn place(
        &self,
        nodes: &[Node],
        at: usize,
        above: &(impl Iterator<Item = usize> + Clone),
    ) -> TreePosition {
        let trace_id = self.origin.trace_id;
        let ancestors = || above.clone().filter_map(|at| nodes.get(at));
        let Some(node) = nodes.get(at) else {
            return TreePosition::new("".into(), trace_id, None, Parent::None, None, None);
        };
        let mut named = std::iter::once(node).chain(ancestors()).filter_map(|node| node.agent.as_ref());
        let agents = named.next().map(|own| (own, named.find(|other| other.id != own.id)));
        let joined = || ancestors().last().unwrap_or(node).joined.as_deref();
        TreePosition::new(
            self.id(node),
            trace_id,
            ancestors().find(|node| node.kept).map(|parent| self.id(parent)),
            node.parent,
            agents,
            joined(),
        )
    }

    /// Returns the Retrace id of a node. Of several spans with one id, the later ones get a derived id.
    fn id(&self, node: &Node) -> Id {
        let trace_id = self.origin.trace_id;
        if node.copy > 0 {
            derived_id(&[&trace_id, b"again:", &node.span_id, &node.copy.to_be_bytes()])
        } else if self.before.is_some_and(|before| before.has_begun(&node.span_id)) {
            outlived_id(trace_id, node.span_id)
        } else {
            Id::from_otel_span(trace_id, node.span_id)
        }
    }
}

/// Returns the running spans that have to exist because a span below them was emitted.
fn parents_of_emitted(nodes: &[Node], tree: &Tree, order: &[usize]) -> Vec<usize> {
    let is = |at: &usize, is_so: fn(&Node) -> bool| nodes.get(*at).is_some_and(is_so);
    let is_running = |at: &usize| is(at, |node| node.ended.is_none());
    let mut needed = Vec::new();
    if !order.iter().any(is_running) {
        return needed;
    }
    for at in order {
        let has_child = is(at, |node| node.has_emitted_child);
        if has_child || is(at, |node| node.ended.is_some() || node.emitted.is_some()) {
            let above = tree.above(*at).filter(|above| is(above, |node| node.kept));
            needed.extend(above.take_while(is_running));
        }
        needed.extend(Some(*at).filter(|_| has_child));
    }
    needed
}

/// Returns true for a server span that is no GenAI span and states no name for its run.
fn is_entry(node: &Node) -> bool {
    node.is_server && node.class.is_none() && !node.has_trace_name()
}

fn first_call(nodes: &[Node], tree: &Tree, root: Option<usize>) -> FirstCall {
    let mut first = FirstCall::default();
    for (at, node) in nodes.iter().enumerate().filter(|(at, node)| root != Some(*at) && node.class.is_some()) {
        if let Some(name) = node.name_of_run() {
            first.note((node.start, tree.depth(at), at), name);
        }
    }
    first
}

/// Returns the facts of the span nearest to the root that states that it is a run.
fn stated_run(nodes: &[Node], tree: &Tree, root: Option<usize>) -> Option<RootFacts> {
    let is_run = |node: &Node| node.builder().is_some_and(|builder| builder.is_run);
    let stating = nodes.iter().enumerate().filter(|(at, node)| root != Some(*at) && is_run(node));
    let (_, node) = stating.min_by_key(|(at, node)| (tree.depth(*at), node.start, *at))?;
    let mut top = RootFacts::new(node.start, node.builder());
    top.end = node.ended.map(|_| RunEnd::new(node.end, node.builder()));
    Some(top)
}

/// Returns the tags of the root, else the first tags.
fn tags(nodes: &[Node], root: Option<usize>) -> Option<Json> {
    let of_root = root.and_then(|at| nodes.get(at)).and_then(Node::tags);
    of_root.or_else(|| nodes.iter().find_map(Node::tags)).cloned()
}

/// Returns the indexes of the kept spans, ordered by start, parents before children.
pub(crate) fn order(nodes: &[Node], tree: &Tree) -> Vec<usize> {
    let mut order = Vec::with_capacity(nodes.len());
    order.extend(nodes.iter().enumerate().filter(|(_, node)| node.kept).map(|(at, _)| at));
    order.sort_by_cached_key(|at| (nodes.get(*at).map(|node| node.start), tree.depth(*at), *at));
    order
}

/// Takes the synthesized spans that stand before a span with this start and position. Of those that start in the same microsecond
/// a synthesized one comes after its source, and before the spans that come after that one.
fn take_before(synthesized: &mut Vec<Synthesized>, own: (Option<u64>, usize)) -> impl Iterator<Item = RecordedSpan> {
    std::iter::from_fn(move || {
        synthesized.last().filter(|added| added.order() < own)?;
        synthesized.pop().map(|added| RecordedSpan { span: added.span, sources: 0 })
    })
}

/// Returns the value of the root, else that of the span nearest to it.
fn root_down<'n>(
    nodes: &'n [Node],
    tree: &Tree,
    root: Option<usize>,
    value_of: impl Fn(&'n Node) -> Option<&'n String>,
) -> Option<String> {
    let of_root = root.and_then(|at| nodes.get(at)).and_then(&value_of);
    let all = || nodes.iter().enumerate().filter_map(|(at, node)| Some((tree.depth(at), node.start, value_of(node)?)));
    of_root.or_else(|| all().min().map(|(.., value)| value)).cloned()
}
