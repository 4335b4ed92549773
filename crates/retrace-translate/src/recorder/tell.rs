//! From collected spans to a run as Retrace wants it told.

use std::borrow::Cow;

use retrace_protocol::metadata::{SpanMetadata, TraceMetadata, TraceOrigin};
use retrace_protocol::{Id, Json, Span, SpanType, Status, Timestamp, Trace};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cost::without_noise;
use crate::hex;
use crate::options::Options;
use crate::recorder::node::Node;
use crate::recorder::run::OpenRun;
use crate::recorder::tools::{Call, Executed, derived_id, missing};
use crate::recorder::totals::{counted, settle};
use crate::recorder::tree::Tree;
use crate::recorder::{Recorded, Run};
use crate::view::Parent;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// Under which id, and how, a run is told.
#[derive(Clone, Debug)]
pub(crate) struct Telling<'o> {
    /// The OpenTelemetry trace.
    pub trace_id: [u8; 16],
    /// The Retrace trace.
    pub id: Id,
    /// The Retrace trace that holds what came before.
    pub continues: Option<Id>,
    /// Whether the run is told as ended; otherwise it is told as far as it came.
    pub ended: bool,
    pub options: &'o Options,
}

/// What the place of a span in its run tells of it.
struct Place {
    parent: Option<usize>,
    agent_id: Option<String>,
    agent_role: Option<String>,
    parent_agent_id: Option<String>,
    remote_parent: Option<String>,
}

impl Telling<'_> {
    pub(crate) fn tell(&self, mut run: OpenRun) -> Run {
        let root = run.root();
        if let Some(root) = root.and_then(|at| run.nodes.get_mut(at)) {
            root.kept = root.draft.is_some();
        }
        let tree = Tree::new(&run.nodes, root);
        let counts = counted(&run.nodes, &tree);
        let places: Vec<Place> = (0..run.nodes.len()).map(|at| place(&run.nodes, &tree, at)).collect();
        let order = order(&run.nodes, &tree);
        let session = root_down(&run.nodes, &tree, root, |node| node.session.clone());
        let user = root_down(&run.nodes, &tree, root, |node| node.user.clone());
        let name = root_down(&run.nodes, &tree, root, |node| node.draft.as_ref()?.stated_trace_name.clone());
        let ids = ids(&run.nodes, self.trace_id);
        drop(tree);
        let totals = settle(&mut run.nodes, &counts);

        let mut trace = self.trace(&run, root, &order);
        trace.session_id.clone_from(&session);
        trace.name = name.or(trace.name);
        trace.total_tokens = Some(totals.tokens);
        trace.total_cost = Some(without_noise(totals.cost));
        let mut metadata = self.trace_metadata(&run, root, user.clone());
        metadata.inferred_io = infer_io(&mut trace, &run, &order);
        let of_run_tags = metadata.tags.clone();

        let mut spans: Vec<Recorded> = Vec::with_capacity(order.len());
        let mut executed_calls = Vec::new();
        let mut model_calls = Vec::new();
        let mut kept_sources = 0;
        for at in order {
            let (Some(node), Some(place), Some(id)) = (run.nodes.get_mut(at), places.get(at), ids.get(at)) else {
                continue;
            };
            let is_model_call = node.is_model_call();
            let Some(draft) = node.draft.take() else { continue };
            let mut span = draft.span;
            span.id = id.clone();
            span.trace_id = self.id.clone();
            span.parent_id = place.parent.and_then(|parent| ids.get(parent)).cloned();
            span.agent_id.clone_from(&place.agent_id);
            span.agent_role.clone_from(&place.agent_role);
            span.parent_agent_id.clone_from(&place.parent_agent_id);
            let mut metadata = draft.metadata;
            metadata.otel.remote_parent.clone_from(&place.remote_parent);
            if span.id.to_otel_span() != Some(node.span_id) {
                metadata.otel.span_id = Some(hex(&node.span_id));
            }
            if root != Some(at) {
                metadata.other = draft.user_metadata;
                // What the run says of all its spans a span repeats only when it differs.
                for (key, own, of_run) in [
                    ("session_id", &node.session, &session),
                    ("user_id", &node.user, &user),
                    ("trace_name", &draft.stated_trace_name, &trace.name),
                ] {
                    if let Some(own) = own.as_ref().filter(|own| of_run.as_ref() != Some(own)) {
                        metadata.other.entry(key).or_insert_with(|| own.as_str().into());
                    }
                }
                if let Some(own) = draft.tags.filter(|own| of_run_tags.as_ref() != Some(own)) {
                    metadata.other.entry("tags").or_insert_with(|| own.to_value().unwrap_or_default());
                }
            }
            if metadata != SpanMetadata::default() {
                span.metadata = Some(Json::from_serialize(&metadata));
            }
            if let Some(call_id) = &node.executed_call {
                executed_calls.push((call_id.clone(), spans.len()));
            }
            if is_model_call {
                model_calls.push((node.span_id, spans.len()));
            }
            kept_sources += u64::from(node.sources);
            spans.push(Recorded { span, sources: node.sources });
        }
        let made = {
            let span_at = |at: usize| spans.get(at).map(|recorded| &recorded.span);
            let executed: Vec<_> = executed_calls
                .iter()
                .filter_map(|(call_id, at)| Some(Executed { call_id, span: span_at(*at)? }))
                .collect();
            let calls: Vec<_> = model_calls
                .iter()
                .filter_map(|(span_id, at)| Some(Call { span_id: *span_id, span: span_at(*at)? }))
                .collect();
            missing(self.trace_id, &run.tools, &executed, &calls)
        };
        spans.extend(made.into_iter().map(|span| Recorded { span, sources: 0 }));
        sort_by_start(&mut spans);

        trace.metadata = (metadata != TraceMetadata::default()).then(|| Json::from_serialize(&metadata));
        trace.lossy = run.lossy.then_some(true);
        if self.ended {
            trace.span_count = Some(spans.len() as u64);
        }
        Run { trace, spans, set_aside: run.sources - kept_sources }
    }

    fn trace(&self, run: &OpenRun, root: Option<usize>, order: &[usize]) -> Trace {
        let node = |at: usize| run.nodes.get(at);
        let top = root.or(order.first().copied()).and_then(node);
        let draft = top.and_then(|node| node.draft.as_ref());
        let started = top.map_or(0, |node| node.start);
        let mut trace = Trace::started(self.id.clone(), Timestamp::from_unix_nanos(started));
        trace.name = draft.map(|draft| draft.trace_name.clone()).filter(|name| !name.is_empty());
        trace.project_id.clone_from(&self.options.project_id);
        let Some(root) = root.and_then(node) else { return trace };
        trace.input = draft.and_then(|draft| draft.span.input.clone());
        if self.ended {
            let ended = root.end.max(root.start);
            trace.ended_at = Some(Timestamp::from_unix_nanos(ended));
            trace.total_duration_ms = Some((ended - root.start) / NANOS_PER_MILLI);
            trace.output = Some(draft.and_then(|draft| draft.span.output.clone()).unwrap_or_else(Json::null));
            trace.error = draft.and_then(|draft| draft.span.error.clone());
            trace.status = Some(if trace.error.is_some() { Status::Failed } else { Status::Completed });
        }
        trace
    }

    fn trace_metadata(&self, run: &OpenRun, root: Option<usize>, user_id: Option<String>) -> TraceMetadata {
        let draft = |at: usize| run.nodes.get(at)?.draft.as_ref();
        let first_tags = || run.nodes.iter().find_map(|node| node.draft.as_ref()?.tags.clone());
        TraceMetadata {
            environment: self.options.environment.clone().or_else(|| run.resource.environment.clone()),
            service: run.resource.service.clone(),
            user_id,
            tags: root.and_then(draft).and_then(|root| root.tags.clone()).or_else(first_tags),
            inferred_io: false,
            otel: (self.id.to_otel_trace() != Some(self.trace_id))
                .then(|| TraceOrigin { trace_id: hex(&self.trace_id), continues: self.continues.clone() }),
            other: root.and_then(draft).map(|root| root.user_metadata.clone()).unwrap_or_default(),
        }
    }
}

fn place(nodes: &[Node], tree: &Tree<'_>, at: usize) -> Place {
    let kept = |at: usize| nodes.get(at).is_some_and(|node| node.kept);
    let parent = tree.kept_parent(at, kept);
    let agents = tree.agents(at);
    Place {
        parent,
        agent_id: agents.map(|(agent, _)| agent.id.clone()),
        agent_role: agents.and_then(|(agent, _)| agent.role.clone()),
        parent_agent_id: agents.and_then(|(_, above)| above).map(|above| above.id.clone()),
        remote_parent: match nodes.get(at).map(|node| node.parent) {
            Some(Parent::Remote(id)) if parent.is_none() => Some(hex(&id)),
            _ => None,
        },
    }
}

/// The places of the kept spans, in the order in which they began, parents before children.
fn order(nodes: &[Node], tree: &Tree<'_>) -> Vec<usize> {
    let mut order: Vec<usize> = nodes.iter().enumerate().filter(|(_, node)| node.kept).map(|(at, _)| at).collect();
    order.sort_by_cached_key(|at| (nodes.get(*at).map(|node| node.start), tree.depth(*at), *at));
    order
}

/// Orders spans by their start. Made-up spans stay behind what they were made from: the sort is stable.
fn sort_by_start(spans: &mut [Recorded]) {
    spans.sort_by_cached_key(|recorded| recorded.span.started_at.unix_micros());
}

/// What the root says, else what the span nearest to it says.
fn root_down(
    nodes: &[Node],
    tree: &Tree<'_>,
    root: Option<usize>,
    says: impl Fn(&Node) -> Option<String>,
) -> Option<String> {
    if let Some(stated) = root.and_then(|at| nodes.get(at)).and_then(&says) {
        return Some(stated);
    }
    let mut said: Vec<_> =
        nodes.iter().enumerate().filter_map(|(at, node)| Some((tree.depth(at), node.start, says(node)?))).collect();
    said.sort();
    said.into_iter().next().map(|(_, _, value)| value)
}

/// The Retrace id of each node. Of several spans under one id the later ones get another.
fn ids(nodes: &[Node], trace_id: [u8; 16]) -> Vec<Id> {
    let mut taken = std::collections::HashSet::with_capacity(nodes.len());
    nodes
        .iter()
        .enumerate()
        .map(|(at, node)| {
            if taken.insert(node.span_id) {
                Id::from_otel_span(trace_id, node.span_id)
            } else {
                derived_id(&[&trace_id, b"again:", &node.span_id, &at.to_be_bytes()])
            }
        })
        .collect()
}

/// What the root does not say: it was given the last user message of the first model call, and returned the answer of the
/// last. A run that failed, or has not ended, returned nothing.
fn infer_io(trace: &mut Trace, run: &OpenRun, order: &[usize]) -> bool {
    let calls = || {
        order.iter().filter_map(|at| run.nodes.get(*at)).filter_map(|node| {
            let span: &Span = &node.draft.as_ref()?.span;
            (span.span_type == SpanType::LlmCall).then_some((node.end, span))
        })
    };
    let mut inferred = false;
    if !trace.input.as_ref().is_some_and(asks_something)
        && let Some(asked) = calls().next().and_then(|(_, span)| last_user_message(span.input.as_ref()?))
    {
        trace.input = Some(asked);
        inferred = true;
    }
    if trace.status == Some(Status::Completed)
        && trace.output.as_ref().is_none_or(Json::is_null)
        && let Some(answered) = calls().max_by_key(|(end, _)| *end).and_then(|(_, span)| span.output.clone())
    {
        trace.output = Some(answered);
        inferred = true;
    }
    inferred
}

#[derive(Deserialize)]
struct AskedMessages<'a> {
    #[serde(borrow)]
    messages: Vec<AskedMessage<'a>>,
}

#[derive(Deserialize)]
struct AskedMessage<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// Whether an input is more than the instructions of an agent.
fn asks_something(input: &Json) -> bool {
    serde_json::from_str::<AskedMessages<'_>>(input.as_str())
        .map_or(true, |asked| asked.messages.iter().any(|message| message.role != "system"))
}

fn last_user_message(input: &Json) -> Option<Json> {
    let Ok(asked) = serde_json::from_str::<AskedMessages<'_>>(input.as_str()) else { return Some(input.clone()) };
    let is_said = |message: &&AskedMessage<'_>| message.role == "user" && message.content.get() != "\"\"";
    let last = asked.messages.iter().rev().find(is_said)?;
    Some(Json::from(last.content.to_owned()))
}
