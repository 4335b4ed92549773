//! Conversations of model calls and runs: messages in one shape for all recorders, and Markdown as a tree of known
//! elements. Pure.
//!
//! The result contains no HTML. The page creates elements from the tree, so that content of an agent or a model never
//! becomes markup.

mod markdown;
mod messages;
mod shape;

pub(crate) use markdown::nodes;
pub(crate) use messages::Answered;
pub(crate) use shape::Conversation;
use shape::Message;

use messages::{input, output};
use retrace_protocol::{Json, SpanType};
use serde_json::Value;

/// Record whose input and output are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A run or a model call: texts are messages of a user and an assistant.
    Conversation,
    /// A call of a tool: its arguments and its result.
    Tool,
    /// Any other span.
    Step,
}

impl Subject {
    /// Returns the subject of a span of this type.
    pub(crate) const fn of(span_type: &SpanType) -> Self {
        match span_type {
            SpanType::LlmCall => Self::Conversation,
            SpanType::ToolCall | SpanType::ToolResult => Self::Tool,
            _ => Self::Step,
        }
    }

    /// Returns the role of content that is not a conversation. Data is never something that a person or a model wrote.
    const fn roles(self, is_text: bool) -> [&'static str; 2] {
        match self {
            Self::Conversation if is_text => ["user", "assistant"],
            Self::Tool => ["arguments", "result"],
            Self::Conversation | Self::Step => ["input", "output"],
        }
    }
}

/// Largest content that is parsed, in bytes; larger content is shown as text.
const READ_BYTES: usize = 4 * 1024 * 1024;

impl Conversation {
    /// Converts the input and output of a run or a span. `answers` are the results of tools from other spans of the run.
    pub(crate) fn of(
        subject: Subject,
        given: Option<&Json>,
        returned: Option<&Json>,
        metadata: Option<&Json>,
        answers: &[Answered],
    ) -> Self {
        let metadata = metadata.and_then(value).unwrap_or_default();
        let mut conversation = Self::default();
        match given.map(|json| (json, value(json))) {
            Some((_, Some(given))) => conversation.messages.extend(input(subject, &given)),
            Some((json, None)) => conversation.messages.push(Message::large(subject.roles(true)[0], json)),
            None => {}
        }
        match returned.map(|json| (json, value(json))) {
            Some((json, Some(returned))) if !json.is_null() => {
                conversation.messages.extend(output(subject, &returned, &metadata));
            }
            Some((json, None)) => conversation.messages.push(Message::large(subject.roles(true)[1], json).of_output()),
            _ => conversation.messages.extend(output(subject, &Value::Null, &metadata)),
        }
        messages::join(&mut conversation.messages, answers);
        conversation
    }
}

/// Parses a JSON text within the size limit.
fn value(json: &Json) -> Option<Value> {
    (json.as_str().len() <= READ_BYTES).then(|| json.to_value().ok()).flatten()
}
