//! A span in its run: what is known of it before the run is told.

use std::borrow::Cow;

use retrace_protocol::{Json, SpanType};

use crate::dialect::Class;
use crate::reading::{Agent, Draft, Reading};
use crate::recorder::joined::Joined;
use crate::view::{Parent, SpanView};

/// A span of an open run. Spans that will not be sent are kept as the links between those that will.
#[derive(Debug)]
pub(crate) struct Node {
    pub span_id: [u8; 8],
    pub parent: Parent,
    pub start: u64,
    pub end: u64,
    pub agent: Option<Agent>,
    pub session: Option<String>,
    pub user: Option<String>,
    pub response_id: Option<String>,
    pub operation: Option<Cow<'static, str>>,
    pub executed_call: Option<String>,
    /// What it is, sent or not.
    pub class: Option<Class>,
    /// There for spans that may be sent.
    pub draft: Option<Box<Draft>>,
    /// A GenAI span, or one of a run of which every span is wanted.
    pub kept: bool,
    /// Nothing above it belongs to its run, as far as this process knows.
    pub begins: bool,
    /// What stands above it in another process.
    pub joined: Option<Box<Joined>>,
    /// Spans that were accepted and are told as this one.
    pub sources: u32,
}

impl Node {
    pub(crate) fn new<V: SpanView>(span: &V, reading: &Reading<'_, V>, draft: Option<Box<Draft>>, kept: bool) -> Self {
        Self {
            span_id: span.span_id(),
            parent: span.parent(),
            start: span.start_unix_nanos(),
            end: span.end_unix_nanos(),
            agent: reading.agent(),
            session: reading.session(),
            user: reading.user(),
            response_id: reading.response_id(),
            operation: reading.operation(),
            executed_call: reading.executed_call(),
            class: reading.class(),
            draft,
            kept,
            begins: false,
            joined: None,
            sources: 1,
        }
    }

    pub(crate) fn is_model_call(&self) -> bool {
        self.draft.as_ref().is_some_and(|draft| draft.span.span_type == SpanType::LlmCall)
    }

    /// Whether the other is the same span once more.
    pub(crate) fn is_repeated_by(&self, other: &Self) -> bool {
        let name = |node: &Self| node.draft.as_ref().map(|draft| draft.span.name.clone());
        (self.start, self.end, self.parent) == (other.start, other.end, other.parent) && name(self) == name(other)
    }

    /// Bytes that it takes, roughly.
    pub(crate) fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let labels = text(&self.session)
            + text(&self.user)
            + text(&self.response_id)
            + self.operation.as_ref().map_or(0, |own| own.len());
        let joined = self.joined.as_ref().map_or(0, |joined| joined.weight());
        size_of::<Self>() + labels + joined + self.draft.as_ref().map_or(0, |draft| draft.weight())
    }
}

impl Draft {
    /// Bytes that it takes, roughly.
    pub(crate) fn weight(&self) -> usize {
        let json = |json: &Option<Json>| json.as_ref().map_or(0, |json| json.as_str().len());
        let (span, metadata) = (&self.span, &self.metadata);
        let events: usize = metadata.events.iter().map(|event| event.name.len() + json(&event.attributes)).sum();
        size_of::<Self>()
            + span.name.len()
            + span.error.as_ref().map_or(0, String::len)
            + json(&span.input)
            + json(&span.output)
            + json(&metadata.attributes)
            + json(&metadata.tool_calls)
            + json(&metadata.tool_schemas)
            + json(&metadata.tool_descriptions)
            + json(&metadata.provider_tools)
            + json(&metadata.reasoning)
            + span.token_ids.as_ref().map_or(0, |ids| size_of_val(ids.as_slice()))
            + span.logprobs.as_ref().map_or(0, |logprobs| size_of_val(logprobs.as_slice()))
            + events
    }
}
