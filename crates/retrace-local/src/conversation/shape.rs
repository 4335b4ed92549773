//! The shape of a conversation on its way to the page.

use retrace_protocol::Json;
use serde::Serialize;
use serde_json::Value;

use super::markdown::{Node, nodes};

/// Longest part of a text that is shown, in bytes; the rest is in the span as it was sent.
pub(super) const TEXT_BYTES: usize = 100_000;
/// Longest text that is read as Markdown.
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
    /// It is what the step returned.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_output: bool,
    pub(crate) parts: Vec<Part>,
    /// Which tool call it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answers: Option<String>,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Part {
    /// A text, as a tree and with the bytes that are left out.
    Text {
        nodes: Vec<Node>,
        #[serde(skip_serializing_if = "is_none")]
        cut: usize,
    },
    /// What a model thought.
    Reasoning { nodes: Vec<Node> },
    /// A call of a tool, with what it answered where that is known.
    ToolCall {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        name: String,
        arguments: Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// The span that ran it.
        #[serde(skip_serializing_if = "Option::is_none")]
        span_id: Option<String>,
    },
    /// An image within the content, in base64.
    Image { mime_type: String, data: String },
    /// An image, a sound or a file that is elsewhere: never fetched.
    Media { kind: String, reference: String },
    /// Anything else.
    Json { value: Value },
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
const fn is_none(cut: &usize) -> bool {
    *cut == 0
}

impl Message {
    pub(super) fn new(role: &str, parts: Vec<Part>) -> Self {
        Self { role: role.to_owned(), parts, ..Self::default() }
    }

    /// Content that is too large to be read.
    pub(super) fn large(role: &str, json: &Json) -> Self {
        Self::new(role, vec![Part::plain(json.as_str())])
    }

    pub(super) fn of_output(mut self) -> Self {
        self.is_output = true;
        self
    }
}

impl Part {
    /// A text, read as Markdown unless it is very long.
    pub(super) fn text(text: &str) -> Self {
        if text.len() > MARKDOWN_BYTES {
            return Self::plain(text);
        }
        Self::Text { nodes: nodes(text), cut: 0 }
    }

    /// A text as it stands.
    fn plain(text: &str) -> Self {
        let shown = text.get(..text.floor_char_boundary(TEXT_BYTES)).unwrap_or(text);
        Self::Text { nodes: vec![Node::preformatted(shown)], cut: text.len() - shown.len() }
    }
}
