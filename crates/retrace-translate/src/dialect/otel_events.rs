//! OpenTelemetry's GenAI events before v1.37: one for each message, as span events or as log records.
//!
//! The body of a log record is the message. The attributes of a span event are the keys of that body, or one attribute has the
//! whole body as a JSON text.

use std::borrow::Cow;

use retrace_protocol::parse;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::Dialect;
use crate::fields::Field;
use crate::fields::structured;
use crate::messages::provider_message::{message_of, parts_of};
use crate::messages::{Parts, Turn};
use crate::view::{EventView, Value};

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    events: &[SYSTEM, USER, ASSISTANT, TOOL, CHOICE],
    message_events: &[
        (SYSTEM, Field::InputMessages),
        (USER, Field::InputMessages),
        (ASSISTANT, Field::InputMessages),
        (TOOL, Field::InputMessages),
        (CHOICE, Field::OutputMessages),
    ],
    turns,
    ..Dialect::EMPTY
};

const SYSTEM: &str = "gen_ai.system.message";
const USER: &str = "gen_ai.user.message";
const ASSISTANT: &str = "gen_ai.assistant.message";
const TOOL: &str = "gen_ai.tool.message";
const CHOICE: &str = "gen_ai.choice";

/// Attribute of a span event with the whole body.
const CONTENT: &str = "gen_ai.event.content";
/// Attributes of a span event that are keys of the body.
const KEYS: [&str; 9] =
    ["role", "content", "name", "id", "tool_calls", "tool_call_id", "message", "finish_reason", "index"];

/// Returns true if an attribute of a message event is part of the message.
pub(crate) fn is_message_key(key: &str) -> bool {
    key == CONTENT || KEYS.contains(&key)
}

/// A message event, written as one element of the list that [`turns`] reads.
#[derive(Debug, Serialize)]
pub(crate) struct MessageEvent<'a> {
    event: &'a str,
    body: Body<'a>,
}

#[derive(Debug)]
enum Body<'a> {
    Whole(Value<'a>),
    Keys(Vec<(&'a str, Value<'a>)>),
}

impl<'a> MessageEvent<'a> {
    pub(crate) fn new(event: EventView<'a>) -> Self {
        let whole = match event.body {
            Some(body) => Some(body),
            None => event.attributes.iter().rev().find(|(key, _)| *key == CONTENT).map(|(_, value)| value.clone()),
        };
        let body = match whole {
            Some(body) => Body::Whole(structured(body.readable().unwrapped(), &['{', '['])),
            None => {
                let keys = event.attributes.into_iter().filter(|(key, _)| KEYS.contains(key));
                Body::Keys(
                    keys.map(|(key, value)| (key, structured(value.readable().unwrapped(), &['{', '[']))).collect(),
                )
            }
        };
        Self { event: event.name, body }
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(body) => body.serialize(serializer),
            Self::Keys(keys) => serializer.collect_map(keys.iter().map(|(key, value)| (key, value))),
        }
    }
}

#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    body: &'a RawValue,
}

fn turns(json: &str) -> Option<Vec<Turn<'_>>> {
    let events: Vec<RawEvent<'_>> = parse::from_str(json)?;
    Some(events.iter().map(turn).collect())
}

fn turn<'a>(event: &RawEvent<'a>) -> Turn<'a> {
    let role = match &*event.event {
        SYSTEM => "system",
        USER => "user",
        TOOL => "tool",
        _ => "assistant",
    };
    message_of(event.body, role).unwrap_or_else(|| {
        let parts = if event.body.get() == "{}" { Parts::new() } else { parts_of(event.body) };
        Turn { role: Cow::Borrowed(role), parts, ..Turn::default() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{answer, conversation};

    #[test]
    fn bodies_are_messages_with_a_role_of_their_event() {
        let json = r#"[
            {"event":"gen_ai.system.message","body":{"content":"be terse"}},
            {"event":"gen_ai.user.message","body":"hi"},
            {"event":"gen_ai.assistant.message","body":{"content":null,"tool_calls":[
                {"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}},
            {"event":"gen_ai.tool.message","body":{"id":"c","content":"18"}},
            {"event":"gen_ai.user.message","body":{}}]"#;
        let stated = serde_json::to_value(conversation(Vec::new(), turns(json).unwrap())).unwrap();
        assert_eq!(
            stated["messages"],
            serde_json::json!([
                {"role": "system", "content": "be terse"},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "name": "f", "arguments": {"a": 1}}]},
                {"role": "tool", "content": "18", "tool_call_id": "c"},
                {"role": "user", "content": ""},
            ])
        );
    }

    #[test]
    fn a_choice_has_its_calls_inside_or_beside_its_message() {
        for json in [
            r#"[{"event":"gen_ai.choice","body":{"index":0,"finish_reason":"tool_calls",
                "message":{"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]}}}]"#,
            r#"[{"event":"gen_ai.choice","body":{"index":0,"finish_reason":"tool_calls","message":{"content":null},
                "tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]}}]"#,
        ] {
            let answer = answer(turns(json).unwrap());
            assert_eq!(answer.finish_reasons, ["tool_calls"]);
            assert_eq!(answer.tool_calls.unwrap().as_str(), r#"[{"id":"c","name":"f","arguments":{}}]"#);
        }
        let text = r#"[{"event":"gen_ai.choice","body":{"finish_reason":"stop","message":"yes"}}]"#;
        assert_eq!(answer(turns(text).unwrap()).output.unwrap().as_str(), "\"yes\"");
    }
}
