//! Input and output of a run, inferred from its model calls.

use std::borrow::Cow;

use retrace_protocol::{Json, Status, Trace};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::span_reader::SpanBuilder;

/// Sets the input of a run that states none to that of its first model call, and its output to that of the last. A run that
/// failed or has not ended has no inferred output. Returns true if anything was inferred.
pub(crate) fn infer_io(
    trace: &mut Trace,
    first_input: impl FnOnce() -> Option<Json>,
    last_output: impl FnOnce() -> Option<Json>,
) -> bool {
    let mut inferred = false;
    if !trace.input.as_ref().is_some_and(has_request)
        && let Some(found) = first_input()
    {
        trace.input = Some(found);
        inferred = true;
    }
    if trace.status == Some(Status::Completed)
        && trace.output.as_ref().is_none_or(Json::is_null)
        && let Some(found) = last_output()
    {
        trace.output = Some(found);
        inferred = true;
    }
    inferred
}

#[derive(Deserialize)]
struct InputMessages<'a> {
    #[serde(borrow)]
    messages: Vec<InputMessage<'a>>,
}

#[derive(Deserialize)]
struct InputMessage<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: &'a RawValue,
}

impl InputMessage<'_> {
    /// Returns true for a message of the user that is not empty.
    fn is_prompt(&self) -> bool {
        self.role == "user" && self.content.get() != "\"\""
    }
}

/// Returns true if an input has more than the instructions of an agent.
fn has_request(input: &Json) -> bool {
    serde_json::from_str::<InputMessages<'_>>(input.as_str())
        .map_or(true, |parsed| parsed.messages.iter().any(|message| message.role != "system"))
}

/// Returns the last message of the user in the input of a model call.
pub(crate) fn last_user_message(builder: &SpanBuilder) -> Option<Json> {
    let input = builder.span.input.as_ref()?;
    let found = builder.has_conversation.then(|| last_in_conversation(input.as_str())).flatten();
    let last = match found {
        Some(last) => last,
        None => {
            let Ok(parsed) = serde_json::from_str::<InputMessages<'_>>(input.as_str()) else {
                return Some(input.clone());
            };
            parsed.messages.into_iter().rev().find(InputMessage::is_prompt)?
        }
    };
    Some(Json::from(last.content.to_owned()))
}

/// Finds the last message of the user in a [`Conversation`](retrace_protocol::message::Conversation) as this crate writes it.
/// The search runs from the end, because conversations are long; returns `None` if it finds nothing soon.
///
/// The text of a message start is one only if nothing but whole messages and the end of the conversation follow: a list within
/// a message is followed by the rest of that message, and a text has no unescaped quote.
fn last_in_conversation(conversation: &str) -> Option<InputMessage<'_>> {
    const BEGIN: &str = r#"{"role":"user","#;
    /// Number of attempts, each of which may read to the end.
    const TRIES: usize = 3;
    let mut end = conversation.len();
    for _ in 0..TRIES {
        end = conversation.get(..end)?.rfind(BEGIN)?;
        let Some((message, mut rest)) = conversation.get(end..).and_then(first_message) else { continue };
        while let Some((_, next)) = rest.strip_prefix(',').and_then(first_message) {
            rest = next;
        }
        if rest == "]}" && message.is_prompt() {
            return Some(message);
        }
    }
    None
}

/// Reads the message at the start of a text; returns it with the rest of the text.
fn first_message(text: &str) -> Option<(InputMessage<'_>, &str)> {
    let mut messages = serde_json::Deserializer::from_str(text).into_iter();
    let message = messages.next()?.ok()?;
    Some((message, text.get(messages.byte_offset()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use retrace_protocol::message::{Content, Conversation, Message, Text};

    fn message<'a>(role: &'a str, content: Content<'a>) -> Message<'a> {
        Message { role: role.into(), name: None, content, tool_calls: Vec::new(), tool_call_id: None, reasoning: None }
    }

    fn text(text: &str) -> Content<'_> {
        Content::Text(Text::Plain(text.into()))
    }

    fn written(messages: Vec<Message<'_>>) -> Json {
        Json::from_serialize(&Conversation { messages })
    }

    fn found(input: &Json) -> Option<&str> {
        last_in_conversation(input.as_str()).map(|message| message.content.get())
    }

    #[test]
    fn the_last_thing_that_the_user_says_is_found_from_the_end() {
        let input = written(vec![
            message("system", text("be kind")),
            message("user", text("first")),
            message("assistant", text(r#"{"role":"user","content":"no"}]}"#)),
            message("user", text("the\" question")),
            message("user", text("")),
            message("assistant", text("well")),
        ]);
        assert_eq!(found(&input), Some(r#""the\" question""#));
        assert_eq!(found(&written(vec![message("assistant", text("a"))])), None);
        let other = Json::from_serialize(&serde_json::json!({"messages": [{"role": "user"}], "a": 1}));
        assert_eq!(found(&other), None);
    }

    #[test]
    fn what_looks_like_a_message_within_another_is_none() {
        for part in [
            r#"[{"role":"user","content":"no"}]"#,
            r#"{"messages":[{"role":"user","content":"no"}]}"#,
            r#"{"a":{"role":"user","content":"no"},"b":[]}"#,
            r#"{"role":"user","content":"no"}"#,
        ] {
            let part: &RawValue = serde_json::from_str(part).unwrap();
            let parts = || Content::Parts(vec![retrace_protocol::message::ContentPart::Other(part)]);
            let input = written(vec![message("user", text("yes")), message("assistant", parts())]);
            assert_eq!(found(&input), Some("\"yes\""), "{part}");
            let many = (0..9).map(|_| message("assistant", parts()));
            assert_eq!(found(&written(std::iter::once(message("user", text("yes"))).chain(many).collect())), None);
        }
    }

    proptest! {
        /// The search finds what reading the whole conversation finds.
        #[test]
        fn from_the_end_it_is_the_same(
            labels in prop::collection::vec((0_usize..4, 0_usize..7), 0..8),
        ) {
            const ROLES: [&str; 4] = ["system", "user", "assistant", "tool"];
            const PARTS: [&str; 4] = [
                r#"[{"role":"user","content":"no"}]"#,
                r#"{"role":"user","content":"no"}"#,
                r#"{"role":"user","content":[{"role":"user","content":"no"}]}"#,
                r#"{"content":"no","x":[{"role":"user","content":""}]}"#,
            ];
            let parts = PARTS.map(|part| serde_json::from_str::<&RawValue>(part).unwrap());
            let messages = labels.iter().map(|(role, what)| message(ROLES[*role], match what {
                0 => text(""),
                1 => text("hm"),
                2 => text(r#"]},{"role":"user","content":"no"}]}"#),
                part => Content::Parts(vec![retrace_protocol::message::ContentPart::Other(parts[part - 3])]),
            }));
            let input = written(messages.collect());
            let all: InputMessages<'_> = serde_json::from_str(input.as_str()).unwrap();
            let last = all.messages.iter().rev().find(|message| message.is_prompt()).map(|message| message.content.get());
            if let Some(found) = found(&input) {
                prop_assert_eq!(Some(found), last);
            }
        }
    }
}
