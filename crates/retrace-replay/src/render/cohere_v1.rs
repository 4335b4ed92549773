//! Cohere's chat, version 1: <https://docs.cohere.com/v1/reference/chat>.

use serde_json::{Value, json};

use super::text::{count, object, pieces, text};
use super::{Answer, ChoicePart, Documents, NotReplayable};

pub(super) fn render(answer: &Answer, streamed: bool) -> Result<Documents, NotReplayable> {
    let choice = answer.only_choice()?;
    let (mut written, mut calls): (Option<&str>, Vec<Value>) = Default::default();
    for part in &choice.parts {
        match part {
            ChoicePart::Text(_) if written.is_some() => {
                return Err(NotReplayable::new("the answer has several texts, and a message has one"));
            }
            ChoicePart::Text(text) => written = Some(text),
            ChoicePart::ToolCall { id: Some(_), .. } => {
                return Err(NotReplayable::new("the calls of tools have ids, and this API has none"));
            }
            ChoicePart::ToolCall { name, arguments: Some(arguments), .. } if arguments.is_object() => {
                calls.push(json!({ "name": name, "parameters": arguments }));
            }
            ChoicePart::ToolCall { name, .. } => {
                return Err(NotReplayable::new(format!("the arguments of the call of `{name}` are not recorded")));
            }
            ChoicePart::Provider(part) => return Err(part.refusal()),
            ChoicePart::Reasoning(_) | ChoicePart::Refusal(_) => {
                return Err(NotReplayable::new(
                    "the answer has more than a text and calls, and a message has no place for it",
                ));
            }
        }
    }
    let usage = &answer.usage;
    let meta = (usage.input.is_some() || usage.output.is_some()).then(|| {
        let tokens = object([("input_tokens", count(usage.input)), ("output_tokens", count(usage.output))]);
        object([("tokens", Some(tokens)), ("cached_tokens", count(usage.cache_read))])
    });
    let id = || Some(Value::from(answer.id.clone().unwrap_or_default()));
    let listed = (!calls.is_empty()).then(|| Value::from(calls));
    let reason = text(choice.finish_reason.as_ref());
    let whole = object([
        ("response_id", id()),
        ("generation_id", Some("".into())),
        ("text", Some(written.unwrap_or_default().into())),
        ("tool_calls", listed.clone()),
        ("finish_reason", reason.clone()),
        ("meta", meta),
    ]);
    if !streamed {
        return Ok(Documents::whole(&whole));
    }
    let mut events = vec![json!({ "is_finished": false, "event_type": "stream-start", "generation_id": "" })];
    let piece = |piece| json!({ "is_finished": false, "event_type": "text-generation", "text": piece });
    events.extend(pieces(written.unwrap_or_default()).map(piece));
    if let Some(calls) = listed {
        events.push(json!({ "is_finished": false, "event_type": "tool-calls-generation", "tool_calls": calls }));
    }
    events.push(object([
        ("is_finished", Some(true.into())),
        ("event_type", Some("stream-end".into())),
        ("finish_reason", reason),
        ("response", Some(whole)),
    ]));
    Ok(Documents { content_type: "application/stream+json", ..Documents::lines(&events) })
}
