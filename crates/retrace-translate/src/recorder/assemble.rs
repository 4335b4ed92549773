//! Assembles a collected run into its records.

use foldhash::{HashSet, HashSetExt as _};
use retrace_protocol::metadata::TraceMetadata;
use retrace_protocol::{Id, Json};

use crate::options::Options;
use crate::recorder::emitted_runs::EmittedTrace;
use crate::recorder::infer_io::{infer_io, last_user_message};
use crate::recorder::match_tool_calls::match_tool_calls;
use crate::recorder::node::Node;
use crate::recorder::record::{RootFacts, RunEnd, RunIdentity, RunLabels, SpanDetails, TreePosition, outlived_id};
use crate::recorder::run::OpenRun;
use crate::recorder::run_name::{FirstCall, RunName};
use crate::recorder::tools::{ExecutedCall, ModelCall, derived_id, synthesize_missing};
use crate::recorder::totals::{apply_counts, counting_nodes};
use crate::recorder::tree::Tree;
use crate::recorder::{RecordedSpan, Run};
use crate::view::Parent;

/// Assembles one run.
#[derive(Clone, Debug)]
pub(crate) struct RunAssembler<'o> {
    pub origin: RunIdentity,
    /// Emitted state of the trace before this run.
    pub before: Option<&'o EmittedTrace>,
    /// True if the run is emitted as ended; otherwise it is emitted incomplete.
    pub ended: bool,
    pub options: &'o Options,
}

impl RunAssembler<'_> {
    pub(crate) fn assemble(&self, mut run: OpenRun) -> Run {
        let root = run.root();
        let is_top = |at: usize, node: &Node| root == Some(at) || (self.origin.joined && node.starts_run);
        for (_, top) in run.nodes.iter_mut().enumerate().filter(|(at, node)| is_top(*at, node)) {
            top.kept = top.builder.is_some();
        }
        let tree = Tree::new(&run.nodes, root);
        let counts = counting_nodes(&run.nodes, &tree);
        let ids = self.ids(&run.nodes);
        let places: Vec<TreePosition> =
            (0..run.nodes.len()).map(|at| self.place(&run.nodes, &tree, &ids, at)).collect();
        let order = order(&run.nodes, &tree);
        let labels = RunLabels {
            session: root_down(&run.nodes, &tree, root, |node| node.session.clone()),
            user: root_down(&run.nodes, &tree, root, |node| node.user.clone()),
            name: root_down(&run.nodes, &tree, root, |node| node.builder.as_ref()?.stated_trace_name.clone()),
            tags: tags(&run, root),
        };
        let stated_run = stated_run(&run.nodes, &tree, root);
        let is_entry = root.and_then(|at| run.nodes.get(at)).is_some_and(is_entry);
        let first_call = if is_entry { first_call(&run.nodes, &tree, root) } else { FirstCall::default() };
        drop(tree);
        let joined = run.joined();
        // Labels of a run of another process are known only as far as its caller states them.
        let labels_of_run = match &joined {
            Some(joined) => RunLabels { session: joined.session.clone(), ..RunLabels::default() },
            None => labels.clone(),
        };
        let totals = apply_counts(&mut run.nodes, &counts);
        match_tool_calls(&mut run.nodes, &order, &run.tools);

        let top = self.top(&run, root, &order).or(stated_run.as_ref());
        let name = RunName::new(labels.name.as_deref(), top.name.as_deref(), is_entry, &first_call);
        let mut trace = self.origin.trace(&top, &name, &labels, totals, self.options);
        let mut metadata = self.origin.trace_metadata(&top, &name, &labels, &run.resource, self.options);
        let calls = || order.iter().filter_map(|at| run.nodes.get(*at)).filter(|node| node.is_model_call());
        metadata.kept_for_failure = run.kept_for_failure;
        metadata.inferred_io = infer_io(
            &mut trace,
            || last_user_message(calls().next()?.builder.as_ref()?),
            || calls().max_by_key(|node| node.end)?.builder.as_ref()?.span.output.clone(),
        );

        let mut spans: Vec<RecordedSpan> = Vec::with_capacity(order.len());
        let mut executed_calls = Vec::new();
        let mut model_calls = Vec::new();
        let mut kept_sources = 0;
        let mut places: Vec<Option<TreePosition>> = places.into_iter().map(Some).collect();
        for at in order {
            let (Some(node), Some(place)) = (run.nodes.get_mut(at), places.get_mut(at).and_then(Option::take)) else {
                continue;
            };
            let is_model_call = node.is_model_call();
            let Some(builder) = node.builder.take() else { continue };
            let joins = joined.is_some() && node.starts_run;
            let own = SpanDetails {
                span_id: node.span_id,
                is_root: root == Some(at),
                joins,
                service: joins.then_some(&run.resource.service),
                session: node.session.as_deref(),
                user: node.user.as_deref(),
            };
            let span = self.origin.span(*builder, own, place, &labels_of_run);
            if let Some(call_id) = node.executed_call.take() {
                executed_calls.push((call_id, spans.len()));
            }
            if is_model_call {
                model_calls.push((node.span_id, spans.len()));
            }
            kept_sources += u64::from(node.sources);
            spans.push(RecordedSpan { span, sources: node.sources });
        }
        let synthesized = {
            let span_at = |at: usize| spans.get(at).map(|recorded| &recorded.span);
            let executed: Vec<_> = executed_calls
                .iter()
                .filter_map(|(call_id, at)| Some(ExecutedCall { call_id, span: span_at(*at)? }))
                .collect();
            let calls: Vec<_> = model_calls
                .iter()
                .filter_map(|(span_id, at)| Some(ModelCall { span_id: *span_id, span: span_at(*at)? }))
                .collect();
            synthesize_missing(self.origin.trace_id, &run.tools, &executed, &calls)
        };
        spans.extend(synthesized.into_iter().map(|span| RecordedSpan { span, sources: 0 }));
        sort_by_start(&mut spans);

        trace.metadata = (metadata != TraceMetadata::default()).then(|| Json::from_serialize(&metadata));
        trace.lossy = run.lossy.then_some(true);
        if self.ended {
            trace.span_count = Some(spans.len() as u64);
        }
        Run { trace, spans, set_aside: run.sources - kept_sources, joined: self.origin.joined }
    }

    /// Returns the facts that the run states about itself. Without a root that is only its name, from the span that began
    /// first.
    fn top(&self, run: &OpenRun, root: Option<usize>, order: &[usize]) -> RootFacts {
        let Some(node) = root.or(order.first().copied()).and_then(|at| run.nodes.get(at)) else {
            return RootFacts::default();
        };
        let mut top = RootFacts::new(node.start, node.builder.as_deref());
        if root.is_none() {
            (top.input, top.user_metadata) = (None, serde_json::Map::new());
        } else if self.ended {
            top.end = Some(RunEnd::new(node.end, node.builder.as_deref()));
        }
        top
    }

    fn place(&self, nodes: &[Node], tree: &Tree<'_>, ids: &[Id], at: usize) -> TreePosition {
        let kept = |at: usize| nodes.get(at).is_some_and(|node| node.kept);
        let topmost = nodes.get(tree.above(at).last().unwrap_or(at));
        TreePosition::new(
            ids.get(at).cloned().unwrap_or_else(|| "".into()),
            self.origin.trace_id,
            tree.kept_parent(at, kept).and_then(|parent| ids.get(parent)).cloned(),
            nodes.get(at).map_or(Parent::None, |node| node.parent),
            tree.agents(at),
            topmost.and_then(|node| node.joined.as_deref()),
        )
    }

    /// Returns the Retrace id of each node. Of several spans with one id, the later ones get a derived id.
    fn ids(&self, nodes: &[Node]) -> Vec<Id> {
        let trace_id = self.origin.trace_id;
        let mut taken = HashSet::with_capacity(nodes.len());
        nodes
            .iter()
            .enumerate()
            .map(|(at, node)| {
                if !taken.insert(node.span_id) {
                    derived_id(&[&trace_id, b"again:", &node.span_id, &at.to_be_bytes()])
                } else if self.before.is_some_and(|before| before.has_begun(&node.span_id)) {
                    outlived_id(trace_id, node.span_id)
                } else {
                    Id::from_otel_span(trace_id, node.span_id)
                }
            })
            .collect()
    }
}

/// Returns true for a server span that is no GenAI span and states no name for its run.
fn is_entry(node: &Node) -> bool {
    let has_trace_name = || node.builder.as_ref().is_some_and(|builder| builder.trace_name.is_some());
    node.is_server && node.class.is_none() && !has_trace_name()
}

fn first_call(nodes: &[Node], tree: &Tree<'_>, root: Option<usize>) -> FirstCall {
    let mut first = FirstCall::default();
    for (at, node) in nodes.iter().enumerate().filter(|(at, node)| root != Some(*at) && node.class.is_some()) {
        if let Some(builder) = &node.builder {
            first.note((node.start, tree.depth(at), at), builder);
        }
    }
    first
}

/// Returns the facts of the span nearest to the root that states that it is a run.
fn stated_run(nodes: &[Node], tree: &Tree<'_>, root: Option<usize>) -> Option<RootFacts> {
    let stating = nodes
        .iter()
        .enumerate()
        .filter(|(at, node)| root != Some(*at) && node.builder.as_ref().is_some_and(|builder| builder.is_run));
    let (_, node) = stating.min_by_key(|(at, node)| (tree.depth(*at), node.start, *at))?;
    let mut top = RootFacts::new(node.start, node.builder.as_deref());
    top.end = Some(RunEnd::new(node.end, node.builder.as_deref()));
    Some(top)
}

/// Returns the tags of the root, else the first tags.
fn tags(run: &OpenRun, root: Option<usize>) -> Option<Json> {
    let of = |node: &Node| node.builder.as_ref()?.tags.clone();
    root.and_then(|at| run.nodes.get(at)).and_then(of).or_else(|| run.nodes.iter().find_map(of))
}

/// Returns the indexes of the kept spans, ordered by start, parents before children.
fn order(nodes: &[Node], tree: &Tree<'_>) -> Vec<usize> {
    let mut order = Vec::with_capacity(nodes.len());
    order.extend(nodes.iter().enumerate().filter(|(_, node)| node.kept).map(|(at, _)| at));
    order.sort_by_cached_key(|at| (nodes.get(*at).map(|node| node.start), tree.depth(*at), *at));
    order
}

/// Orders spans by their start. The sort is stable, so that synthesized spans stay behind their sources.
fn sort_by_start(spans: &mut [RecordedSpan]) {
    spans.sort_by_cached_key(|recorded| recorded.span.started_at.unix_micros());
}

/// Returns the value of the root, else that of the span nearest to it.
fn root_down(
    nodes: &[Node],
    tree: &Tree<'_>,
    root: Option<usize>,
    value_of: impl Fn(&Node) -> Option<String>,
) -> Option<String> {
    if let Some(stated) = root.and_then(|at| nodes.get(at)).and_then(&value_of) {
        return Some(stated);
    }
    let mut labels: Vec<_> =
        nodes.iter().enumerate().filter_map(|(at, node)| Some((tree.depth(at), node.start, value_of(node)?))).collect();
    labels.sort();
    labels.into_iter().next().map(|(_, _, value)| value)
}
