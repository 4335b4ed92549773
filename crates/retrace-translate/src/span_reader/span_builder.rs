//! A translated span before its position in the run is known.

use retrace_protocol::metadata::SpanMetadata;
use retrace_protocol::{Json, Span};
use serde_json::Value as JsonValue;

use crate::dialect::Class;

/// A translated span, without what depends on its position in the run.
#[derive(Clone, Debug)]
pub(crate) struct SpanBuilder {
    /// The span, without metadata, parent and agents.
    pub span: Span,
    pub metadata: SpanMetadata,
    /// Class of the span, by which its tokens are counted once.
    pub class: Option<Class>,
    /// The span states that it is a run: its facts apply to the run unless the root states them.
    pub is_run: bool,
    /// Name of a run that begins with this span, if it differs from the span's name.
    pub trace_name: Option<String>,
    /// Name of the run, if the span states one.
    pub stated_trace_name: Option<String>,
    pub tags: Option<Json>,
    /// The input is a conversation in the form that this crate writes.
    pub has_conversation: bool,
    /// Metadata of the user, keys without their prefix.
    pub user_metadata: serde_json::Map<String, JsonValue>,
}
