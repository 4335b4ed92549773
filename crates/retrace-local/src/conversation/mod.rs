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
use retrace_protocol::Json;
use serde_json::Value;

/// Largest content that is parsed, in bytes; larger content is shown as text.
const READ_BYTES: usize = 4 * 1024 * 1024;

impl Conversation {
    /// Converts the input and output of a step. `answers` are the results of tools from other spans of the run.
    pub(crate) fn of(
        given: Option<&Json>,
        returned: Option<&Json>,
        metadata: Option<&Json>,
        answers: &[Answered],
    ) -> Self {
        let metadata = metadata.and_then(value).unwrap_or_default();
        let mut conversation = Self::default();
        match given.map(|json| (json, value(json))) {
            Some((_, Some(given))) => conversation.messages.extend(input(&given)),
            Some((json, None)) => conversation.messages.push(Message::large("user", json)),
            None => {}
        }
        match returned.map(|json| (json, value(json))) {
            Some((json, Some(returned))) if !json.is_null() => {
                conversation.messages.extend(output(&returned, &metadata));
            }
            Some((json, None)) => conversation.messages.push(Message::large("assistant", json).of_output()),
            _ => conversation.messages.extend(output(&Value::Null, &metadata)),
        }
        messages::join(&mut conversation.messages, answers);
        conversation
    }
}

/// Parses a JSON text within the size limit.
fn value(json: &Json) -> Option<Value> {
    (json.as_str().len() <= READ_BYTES).then(|| json.to_value().ok()).flatten()
}
