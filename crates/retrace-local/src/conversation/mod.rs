//! A model call, or a run, as a conversation: messages in one shape whoever recorded them, and Markdown as a tree of known
//! elements. Pure.
//!
//! No HTML leaves here. A page makes elements from the tree, so that nothing which an agent or a model wrote can become markup.

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

/// Content that is read for messages, in bytes; more of it is shown as it is.
const READ_BYTES: usize = 4 * 1024 * 1024;

impl Conversation {
    /// What a step was given and returned. `answers` are what tools answered elsewhere in the run.
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

/// A JSON text that is small enough to be read.
fn value(json: &Json) -> Option<Value> {
    (json.as_str().len() <= READ_BYTES).then(|| json.to_value().ok()).flatten()
}
