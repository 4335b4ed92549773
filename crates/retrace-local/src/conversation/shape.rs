//! Types of a conversation, as the page receives them.

use retrace_protocol::Json;
use serde::Serialize;
use serde_json::Value;

use super::markdown::{Node, nodes};

/// Longest shown part of a text, in bytes; the span has the whole text.
pub(super) const TEXT_BYTES: usize = 100_000;
/// Longest text that is parsed as Markdown.
const MARKDOWN_BYTES: usize = 50_000;

/// Messages, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Conversation {
    pub(crate) messages: Vec<Message>,
}

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Message {
    pub(crate) role: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// True if the message is the output of the step.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_output: bool,
    pub(crate) parts: Vec<MessagePart>,
    /// Id of the tool call that the message answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answers: Option<String>,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum MessagePart {
    /// A text as a tree, and the number of omitted bytes.
    Text {
        nodes: Vec<Node>,
        #[serde(skip_serializing_if = "is_none")]
        cut: usize,
    },
    /// Reasoning of a model.
    Reasoning { nodes: Vec<Node> },
    /// A tool call, with its result if that is known.
    ToolCall {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        name: String,
        arguments: Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// The span that executed the call.
        #[serde(skip_serializing_if = "Option::is_none")]
        span_id: Option<String>,
    },
    /// An inline image, in base64.
    Image { mime_type: String, data: String },
    /// A reference to an image, a sound or a file: never fetched.
    Media { kind: String, reference: String },
    /// Any other content.
    Json { value: Value },
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
const fn is_none(cut: &usize) -> bool {
    *cut == 0
}

impl Message {
    pub(super) fn new(role: &str, parts: Vec<MessagePart>) -> Self {
        Self { role: role.to_owned(), parts, ..Self::default() }
    }

    /// Creates a message of content above the size limit.
    pub(super) fn large(role: &str, json: &Json) -> Self {
        Self::new(role, vec![MessagePart::plain(json.as_str())])
    }

    pub(super) fn of_output(mut self) -> Self {
        self.is_output = true;
        self
    }
}

impl MessagePart {
    /// Parses a text as Markdown unless it is very long.
    pub(super) fn text(text: &str) -> Self {
        if text.len() > MARKDOWN_BYTES {
            return Self::plain(text);
        }
        Self::Text { nodes: nodes(text), cut: 0 }
    }

    /// Creates a text without parsing.
    fn plain(text: &str) -> Self {
        let shown = text.get(..text.floor_char_boundary(TEXT_BYTES)).unwrap_or(text);
        Self::Text { nodes: vec![Node::preformatted(shown)], cut: text.len() - shown.len() }
    }
}
