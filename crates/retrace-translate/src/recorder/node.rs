//! A span of a run that is being collected.

use std::borrow::Cow;
use std::sync::Arc;

use retrace_protocol::{Json, SpanType};
use serde_json::Value as JsonValue;

use crate::dialect::Class;
use crate::recorder::remote_parent::RemoteParent;
use crate::recorder::same_call::{CallIdentity, Interval};
use crate::span_reader::{Agent, SpanBuilder, SpanReader};
use crate::view::{Kind, Parent, SpanView};

/// A span of an open run. Spans that are not sent stay as links between those that are.
#[derive(Debug)]
pub(crate) struct Node {
    pub span_id: [u8; 8],
    pub parent: Parent,
    pub start: u64,
    pub end: u64,
    pub agent: Option<Agent>,
    pub session: Option<String>,
    pub user: Option<String>,
    /// Response id of the provider, if no builder has it.
    pub response_id: Option<String>,
    /// Id under which a server handled the request.
    pub request_id: Option<String>,
    /// The span is of kind SERVER.
    pub is_server: bool,
    pub operation: Option<Cow<'static, str>>,
    pub executed_call: Option<String>,
    /// Class of the span, sent or not.
    pub class: Option<Class>,
    /// The translated span, if it may be sent.
    pub builder: Option<Box<SpanBuilder>>,
    /// True if the span is selected.
    pub kept: bool,
    /// True if nothing above it belongs to its run, as far as this process knows.
    pub starts_run: bool,
    /// Its parent in another process.
    pub joined: Option<Box<RemoteParent>>,
    /// Number of accepted spans that it stands for.
    pub sources: u32,
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
            parent: span.parent(),
            start: span.start_unix_nanos(),
            end: span.end_unix_nanos(),
            agent: reader.agent(),
            session: reader.session(),
            user: reader.user(),
            response_id: if builder.is_some() { None } else { reader.response_id() },
            request_id: reader.request_id(),
            is_server: span.kind() == Kind::Server,
            operation: reader.operation(),
            executed_call: reader.executed_call(),
            class: reader.class(),
            builder,
            kept,
            starts_run: false,
            joined: None,
            sources: 1,
        }
    }

    /// Returns the response id of the provider.
    pub(crate) fn response_id(&self) -> Option<&str> {
        self.builder.as_ref().map_or(&self.response_id, |builder| &builder.metadata.response_id).as_deref()
    }

    pub(crate) fn interval(&self) -> Interval {
        (self.start, self.end)
    }

    /// Returns the features by which the span is compared with its ancestors and descendants.
    pub(crate) fn identity(&self) -> CallIdentity<'_> {
        let builder = self.builder.as_ref();
        let span = builder.map(|builder| &builder.span);
        let requested = builder.and_then(|builder| builder.metadata.request_model.as_deref());
        CallIdentity {
            is_server: self.is_server,
            ids: [self.response_id().map(Cow::Borrowed), self.request_id.as_deref().map(Cow::Borrowed)],
            models: [span.and_then(|span| span.model.as_deref()), requested].map(|model| model.map(Cow::Borrowed)),
            operation: self.operation.clone(),
            tokens: [span.and_then(|span| span.input_tokens), span.and_then(|span| span.output_tokens)],
        }
    }

    pub(crate) fn is_model_call(&self) -> bool {
        self.builder.as_ref().is_some_and(|builder| builder.span.span_type == SpanType::LlmCall)
    }

    /// Returns true if the other node is a duplicate.
    pub(crate) fn is_repeated_by(&self, other: &Self) -> bool {
        let name = |node: &Self| node.builder.as_ref().map(|builder| builder.span.name.clone());
        (self.start, self.end, self.parent) == (other.start, other.end, other.parent) && name(self) == name(other)
    }

    /// Approximate size in bytes.
    pub(crate) fn weight(&self) -> usize {
        let labels = [&self.session, &self.user, &self.response_id, &self.request_id, &self.executed_call];
        let operation = self.operation.as_ref().map_or(0, |operation| operation.len());
        let joined = self.joined.as_ref().map_or(0, |joined| joined.weight());
        let agent = self.agent.as_ref().map_or(0, Agent::weight);
        let builder = self.builder.as_ref().map_or(0, |builder| builder.weight());
        size_of::<Self>() + texts(labels) + operation + joined + agent + builder
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
