//! Anthropic's messages: <https://docs.claude.com/en/api/messages>.

use serde_json::{Value, json};

use super::text::{arguments, count, input, object, pieces, set, text};
use super::{Answer, ChoicePart, Documents, NotReplayable, ProviderPart};

/// A block, whole.
fn block(part: &ChoicePart) -> Result<Value, NotReplayable> {
    Ok(match part {
        ChoicePart::Text(text) => json!({ "type": "text", "text": text }),
        ChoicePart::Reasoning(text) => json!({ "type": "thinking", "thinking": text, "signature": "" }),
        ChoicePart::Refusal(_) => {
            return Err(NotReplayable::new("the answer has a refusal as a part, and a message has none"));
        }
        ChoicePart::ToolCall { id, name, arguments: given } => {
            let Some(given) = given else {
                return Err(NotReplayable::new(format!("the arguments of the call of `{name}` are not recorded")));
            };
            object([
                ("type", Some("tool_use".into())),
                ("id", text(id.as_ref())),
                ("name", Some(name.as_str().into())),
                ("input", Some(input(given))),
            ])
        }
        ChoicePart::Provider(part) => {
            part.tool_of_type("_tool_use", "_tool_result").cloned().ok_or_else(|| part.refusal())?
        }
    })
}

pub(super) fn render(answer: &Answer, streamed: bool) -> Result<Documents, NotReplayable> {
    let choice = answer.only_choice()?;
    let usage = &answer.usage;
    // Part of the count of the output.
    let reasoning = usage.reasoning.map(|tokens| json!({ "thinking_tokens": tokens }));
    let counts = |output: Option<u64>| {
        object([
            ("input_tokens", count(usage.uncached_input())),
            ("cache_creation_input_tokens", count(usage.cache_creation)),
            ("cache_read_input_tokens", count(usage.cache_read)),
            ("output_tokens", count(output)),
        ])
    };
    let message = |content: Vec<Value>, reason: Option<&String>, usage: Value| {
        object([
            ("id", Some(answer.id.clone().unwrap_or_default().into())),
            ("type", Some("message".into())),
            ("role", Some("assistant".into())),
            ("model", Some(answer.model.clone().unwrap_or_default().into())),
            ("content", Some(content.into())),
            ("stop_reason", Some(reason.map_or(Value::Null, |reason| reason.as_str().into()))),
            ("stop_sequence", Some(Value::Null)),
            ("usage", Some(usage)),
        ])
    };
    let blocks = choice.parts.iter().map(block).collect::<Result<Vec<_>, _>>()?;
    if !streamed {
        let mut whole = counts(usage.output);
        if let Some(reasoning) = reasoning {
            set(&mut whole, "output_tokens_details", reasoning);
        }
        return Ok(Documents::whole(&message(blocks, choice.finish_reason.as_ref(), whole)));
    }
    // Clients add up from the first count of the output, so it is there.
    let first = counts(usage.output.map(|output| output.min(1)));
    let mut events = vec![json!({ "type": "message_start", "message": message(Vec::new(), None, first) })];
    for (index, (part, mut begun)) in choice.parts.iter().zip(blocks).enumerate() {
        let (given, kind, member) = match part {
            ChoicePart::ToolCall { arguments: given, .. } => {
                (arguments(given.as_ref()), "input_json_delta", "partial_json")
            }
            ChoicePart::Reasoning(text) => (text.clone(), "thinking_delta", "thinking"),
            ChoicePart::Text(text) | ChoicePart::Refusal(text) => (text.clone(), "text_delta", "text"),
            ChoicePart::Provider(ProviderPart::ToolCall { call, .. }) => {
                (arguments(call.get("input")), "input_json_delta", "partial_json")
            }
            ChoicePart::Provider(_) => {
                events.push(json!({ "type": "content_block_start", "index": index, "content_block": begun }));
                events.push(json!({ "type": "content_block_stop", "index": index }));
                continue;
            }
        };
        for (member, empty) in [("input", json!({})), ("thinking", json!("")), ("text", json!(""))] {
            if let Some(value) = begun.get_mut(member) {
                *value = empty;
            }
        }
        events.push(json!({ "type": "content_block_start", "index": index, "content_block": begun }));
        events.extend(pieces(&given).map(
            |piece| json!({ "type": "content_block_delta", "index": index, "delta": { "type": kind, member: piece } }),
        ));
        events.push(json!({ "type": "content_block_stop", "index": index }));
    }
    let delta = json!({ "stop_reason": choice.finish_reason, "stop_sequence": null });
    let last = object([("output_tokens", count(usage.output)), ("output_tokens_details", reasoning)]);
    events.push(json!({ "type": "message_delta", "delta": delta, "usage": last }));
    events.push(json!({ "type": "message_stop" }));
    Ok(Documents::events(&events, true))
}
