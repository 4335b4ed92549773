//! A translated span before its position in the run is known.

use retrace_protocol::metadata::SpanMetadata;
use retrace_protocol::{Json, Span};
use serde_json::Value as JsonValue;

use crate::dialect::Class;

/// A span in Retrace's terms, but for what only its place in the run can tell.
#[derive(Debug)]
pub(crate) struct SpanBuilder {
    /// The span, without metadata, parent and agents.
    pub span: Span,
    pub metadata: SpanMetadata,
    /// What it is, so that its tokens are counted once.
    pub class: Option<Class>,
    /// It states that it is a run: what it states holds for the run if the root does not state it.
    pub is_run: bool,
    /// What a run that begins with this span is called, where that is not the span's name.
    pub trace_name: Option<String>,
    /// What the run is called if anybody says so.
    pub stated_trace_name: Option<String>,
    pub tags: Option<Json>,
    /// The input is a conversation, as this crate writes it.
    pub has_conversation: bool,
    /// What the user added, keys without their prefix.
    pub user_metadata: serde_json::Map<String, JsonValue>,
}
