//! A span of an open run.

use std::borrow::Cow;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::FixedState;
use retrace_protocol::{Json, Span, SpanType};
use serde_json::Value as JsonValue;

use crate::dialect::{Class, agentops};
use crate::recorder::remote_parent::RemoteParent;
use crate::recorder::same_call::{CallIdentity, Interval};
use crate::span_reader::{Agent, SpanBuilder, SpanReader};
use crate::view::{Kind, Parent, SpanView};

/// A span of an open run. Spans that are not sent stay as links between those that are.
#[derive(Debug)]
pub(crate) struct Node {
    pub span_id: [u8; 8],
    /// Number of other spans with the same id that were added before it.
    pub copy: u32,
    pub parent: Parent,
    pub start: u64,
    pub end: u64,
    /// Position among the ended spans of the run; `None` while it is running.
    pub ended: Option<u32>,
    pub agent: Option<Agent>,
    pub session: Option<String>,
    pub user: Option<String>,
    /// Response id of the provider, if no builder has it.
    pub response_id: Option<String>,
    /// Id under which a server handled the request.
    pub request_id: Option<String>,
    /// Hash of the name of its instrumentation scope.
    pub scope: u64,
    /// The span is of kind SERVER.
    pub is_server: bool,
    /// A recording has answered what it records.
    pub is_replayed: bool,
    pub operation: Option<Cow<'static, str>>,
    pub executed_call: Option<String>,
    /// Class of the span, sent or not.
    pub class: Option<Class>,
    pub body: Body,
    /// Size of the body in bytes, once the node is part of a run.
    pub body_weight: usize,
    /// True if the span is selected.
    pub kept: bool,
    /// True if nothing above it belongs to its run, as far as this process knows.
    pub starts_run: bool,
    /// Its parent in another process.
    pub joined: Option<Box<RemoteParent>>,
    /// Number of accepted spans that it stands for.
    pub sources: u32,
    /// Hash of what its last event stated beside the content; `None` if none was emitted.
    pub emitted: Option<u64>,
    /// True if a span was emitted as its child.
    pub has_emitted_child: bool,
    /// True if a span below it has reported usage, and true if that was the same call.
    pub has_usage_below: [bool; 2],
}

/// Translation of a span.
#[derive(Debug)]
pub(crate) enum Body {
    /// The span is not sent.
    Absent,
    /// The whole translation.
    Whole(Box<SpanBuilder>),
    /// Summary of a span that was emitted.
    Summary(Box<Summary>),
}

/// Facts about a span that was emitted and whose content is not kept.
#[derive(Debug)]
pub(crate) struct Summary {
    /// The span without content.
    pub span: Span,
    request_model: Option<String>,
    trace_name: Option<String>,
    stated_trace_name: Option<String>,
    tags: Option<Json>,
    has_content: bool,
    pub has_result: bool,
    /// Last message of the user, if it is the first model call of the run so far.
    pub input_message: Option<Json>,
    /// Output, if it is the last model call of the run so far.
    pub output: Option<Json>,
}

impl Node {
    pub(crate) fn new<V: SpanView>(
        span: &V,
        reader: &SpanReader<'_, V>,
        builder: Option<Box<SpanBuilder>>,
        kept: bool,
    ) -> Self {
        Self {
            span_id: span.span_id(),
            copy: 0,
            parent: span.parent(),
            start: span.start_unix_nanos(),
            end: span.end_unix_nanos(),
            ended: None,
            agent: reader.agent(),
            session: reader.session(),
            user: reader.user(),
            response_id: if builder.is_some() { None } else { reader.response_id() },
            request_id: reader.request_id(),
            scope: FixedState::default().hash_one(span.scope().name),
            is_server: span.kind() == Kind::Server,
            is_replayed: builder.as_ref().is_some_and(|builder| builder.metadata.replayed == Some(true)),
            operation: reader.operation(),
            executed_call: reader.executed_call(),
            class: reader.class(),
            body: builder.map_or(Body::Absent, Body::Whole),
            body_weight: 0,
            kept,
            starts_run: false,
            joined: None,
            sources: 1,
            emitted: None,
            has_emitted_child: false,
            has_usage_below: [false; 2],
        }
    }

    /// Returns the whole translation.
    pub(crate) fn builder(&self) -> Option<&SpanBuilder> {
        match &self.body {
            Body::Whole(builder) => Some(builder),
            Body::Absent | Body::Summary(_) => None,
        }
    }

    pub(crate) fn summary(&self) -> Option<&Summary> {
        match &self.body {
            Body::Summary(summary) => Some(summary),
            Body::Absent | Body::Whole(_) => None,
        }
    }

    /// Returns the translated span; its content may be gone.
    pub(crate) fn span(&self) -> Option<&Span> {
        self.builder().map(|builder| &builder.span).or_else(|| Some(&self.summary()?.span))
    }

    /// Returns the name of a run that begins with this span.
    pub(crate) fn name_of_run(&self) -> Option<&str> {
        let named = match &self.body {
            Body::Absent => None,
            Body::Whole(builder) => builder.trace_name.as_ref(),
            Body::Summary(summary) => summary.trace_name.as_ref(),
        };
        named.or_else(|| Some(&self.span()?.name)).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Returns true if a name of a run that begins with this span differs from its own.
    pub(crate) fn has_trace_name(&self) -> bool {
        self.builder().is_some_and(|builder| builder.trace_name.is_some())
    }

    /// Returns the name of the run that the span states.
    pub(crate) fn stated_trace_name(&self) -> Option<&String> {
        match &self.body {
            Body::Absent => None,
            Body::Whole(builder) => builder.stated_trace_name.as_ref(),
            Body::Summary(summary) => summary.stated_trace_name.as_ref(),
        }
    }

    pub(crate) fn tags(&self) -> Option<&Json> {
        match &self.body {
            Body::Absent => None,
            Body::Whole(builder) => builder.tags.as_ref(),
            Body::Summary(summary) => summary.tags.as_ref(),
        }
    }

    /// Returns true if the span has input or output.
    pub(crate) fn has_content(&self) -> bool {
        self.summary().is_some_and(|summary| summary.has_content)
            || self.builder().is_some_and(|builder| builder.span.input.is_some() || builder.span.output.is_some())
    }

    /// Returns the response id of the provider.
    pub(crate) fn response_id(&self) -> Option<&str> {
        self.builder().map_or(&self.response_id, |builder| &builder.metadata.response_id).as_deref()
    }

    pub(crate) fn interval(&self) -> Interval {
        (self.start, self.end)
    }

    /// Returns true for a span whose calls of tools are shown below it: a model call, or AgentOps's span of one call.
    pub(crate) fn shows_calls(&self) -> bool {
        let announces = |span: &Span| span.name.starts_with(agentops::CALLED);
        self.is_model_call() || (self.class == Some(Class::Action) && self.span().is_some_and(announces))
    }

    /// Returns the features by which the span is compared with its ancestors and descendants.
    pub(crate) fn identity(&self) -> CallIdentity<'_> {
        let requested = match &self.body {
            Body::Absent => None,
            Body::Whole(builder) => builder.metadata.request_model.as_deref(),
            Body::Summary(summary) => summary.request_model.as_deref(),
        };
        let span = self.span();
        CallIdentity {
            is_server: self.is_server,
            ids: [self.response_id(), self.request_id.as_deref()],
            models: [span.and_then(|span| span.model.as_deref()), requested],
            operation: self.operation.as_deref(),
            tokens: [span.and_then(|span| span.input_tokens), span.and_then(|span| span.output_tokens)],
        }
    }

    pub(crate) fn is_model_call(&self) -> bool {
        self.span().is_some_and(|span| span.span_type == SpanType::LlmCall)
    }

    /// Returns true for a tool span that does not state which call it executes.
    pub(crate) fn is_unmatched_tool(&self) -> bool {
        let is_tool = self.builder().is_some_and(|builder| builder.span.span_type == SpanType::ToolCall);
        self.kept && is_tool && self.executed_call.is_none()
    }

    /// Returns true if the other node is a duplicate.
    pub(crate) fn is_repeated_by(&self, other: &Self) -> bool {
        let name = |node: &Self| node.span().map(|span| span.name.clone());
        (self.start, self.end, self.parent) == (other.start, other.end, other.parent) && name(self) == name(other)
    }

    /// Takes the whole translation; only a summary of it stays.
    pub(crate) fn summarize(&mut self) -> Option<Box<SpanBuilder>> {
        let Body::Whole(builder) = std::mem::replace(&mut self.body, Body::Absent) else { return None };
        self.response_id.clone_from(&builder.metadata.response_id);
        let source = &builder.span;
        let mut span = Span::new(
            source.id.clone(),
            source.trace_id.clone(),
            source.span_type,
            source.name.as_str(),
            source.started_at.clone(),
        );
        span.model.clone_from(&source.model);
        let has_ended = self.ended.is_some();
        span.ended_at = source.ended_at.clone().filter(|_| has_ended);
        span.error = source.error.clone().filter(|_| has_ended);
        (span.input_tokens, span.output_tokens, span.cost) = (source.input_tokens, source.output_tokens, source.cost);
        self.body = Body::Summary(Box::new(Summary {
            has_content: source.input.is_some() || source.output.is_some(),
            has_result: has_ended && source.error.is_none() && source.output.is_some(),
            request_model: builder.metadata.request_model.clone(),
            trace_name: builder.trace_name.clone(),
            stated_trace_name: builder.stated_trace_name.clone(),
            tags: builder.tags.clone(),
            input_message: None,
            output: None,
            span,
        }));
        Some(builder)
    }

    /// Approximate size in bytes.
    pub(crate) fn weight(&self) -> usize {
        let labels = [&self.session, &self.user, &self.response_id, &self.request_id, &self.executed_call];
        let operation = self.operation.as_ref().map_or(0, |operation| operation.len());
        let joined = self.joined.as_ref().map_or(0, |joined| joined.weight());
        let agent = self.agent.as_ref().map_or(0, Agent::weight);
        size_of::<Self>() + texts(labels) + operation + joined + agent + self.body_weight
    }
}

impl Body {
    /// Approximate size in bytes beside the node.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Whole(builder) => builder.weight(),
            Self::Summary(summary) => {
                let Summary { span, request_model, trace_name, stated_trace_name, .. } = &**summary;
                let own = texts([request_model, trace_name, stated_trace_name, &span.model, &span.error]);
                let kept =
                    [&summary.tags, &summary.input_message, &summary.output].into_iter().map(json).sum::<usize>();
                size_of::<Summary>() + span.name.len() + own + kept
            }
        }
    }
}

impl Agent {
    /// Size of its names in bytes.
    pub(crate) fn weight(&self) -> usize {
        let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        self.id.len() + text(&self.role) + text(&self.parent)
    }
}

impl SpanBuilder {
    /// Approximate size in bytes of everything of variable length.
    pub(crate) fn weight(&self) -> usize {
        let (span, metadata) = (&self.span, &self.metadata);
        let origin = &metadata.otel;
        let texts = texts([
            &span.model,
            &span.error,
            &self.trace_name,
            &self.stated_trace_name,
            &metadata.tool_call_id,
            &metadata.request_model,
            &metadata.response_id,
            &origin.name,
            &origin.status_description,
        ]);
        let words = [&metadata.operation, &metadata.provider].into_iter().flatten().map(|words| words.len());
        let contents = [
            &span.input,
            &span.output,
            &self.tags,
            &metadata.attributes,
            &metadata.tool_calls,
            &metadata.tool_schemas,
            &metadata.tool_descriptions,
            &metadata.provider_tools,
            &metadata.reasoning,
            &metadata.other_output,
            &metadata.sampling.stop,
        ];
        let events =
            metadata.events.iter().map(|event| size_of_val(event) + event.name.len() + json(&event.attributes));
        let links = origin.links.iter().map(|link| size_of_val(link) + json(&link.attributes));
        let reasons = metadata.finish_reasons.iter().flatten().map(|reason| size_of_val(reason) + reason.len());
        let scope = origin.scope.as_ref().map_or(0, |scope| scope.name.len() + text(&scope.version));
        let numbers = span.token_ids.as_ref().map_or(0, |ids| size_of_val(ids.as_slice()))
            + span.logprobs.as_ref().map_or(0, |logprobs| size_of_val(logprobs.as_slice()));
        size_of::<Self>()
            + span.name.len()
            + texts
            + words.sum::<usize>()
            + contents.into_iter().map(json).sum::<usize>()
            + events.chain(links).chain(reasons).sum::<usize>()
            + scope
            + numbers
            + members(&self.user_metadata)
    }
}

fn texts<const N: usize>(texts: [&Option<String>; N]) -> usize {
    texts.into_iter().map(text).sum()
}

fn text(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}

fn json(json: &Option<Json>) -> usize {
    json.as_ref().map_or(0, |json| json.as_str().len())
}

/// Approximate size in bytes of the members of an object.
pub(crate) fn members(members: &serde_json::Map<String, JsonValue>) -> usize {
    members.iter().map(|(key, value)| key.len() + tree(value)).sum()
}

fn tree(value: &JsonValue) -> usize {
    let inside = match value {
        JsonValue::String(text) => text.len(),
        JsonValue::Array(list) => list.iter().map(tree).sum(),
        JsonValue::Object(object) => members(object),
        JsonValue::Null | JsonValue::Bool(_) | JsonValue::Number(_) => 0,
    };
    size_of_val(value) + inside
}
