//! Converse of Amazon Bedrock: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>.

use serde_json::{Value, json};

use super::text::{arguments, count, input, object, pieces, text};
use super::{Answer, ChoicePart, Documents, NotReplayable, ProviderPart, Usage};

fn usage(usage: &Usage) -> Value {
    object([
        ("inputTokens", count(usage.uncached_input())),
        ("outputTokens", count(usage.output)),
        ("totalTokens", count(usage.total())),
        ("cacheReadInputTokens", count(usage.cache_read)),
        ("cacheWriteInputTokens", count(usage.cache_creation)),
    ])
}

fn refuse(part: &ChoicePart) -> Result<(), NotReplayable> {
    match part {
        ChoicePart::Refusal(_) => Err(NotReplayable::new("the answer has a refusal as a part, and a message has none")),
        ChoicePart::ToolCall { name, arguments: None, .. } => {
            Err(NotReplayable::new(format!("the arguments of the call of `{name}` are not recorded")))
        }
        ChoicePart::Provider(part @ ProviderPart::Media { .. }) => Err(part.refusal()),
        _ => Ok(()),
    }
}

fn block(part: &ChoicePart) -> Value {
    match part {
        ChoicePart::Text(text) | ChoicePart::Refusal(text) => json!({ "text": text }),
        ChoicePart::Reasoning(text) => {
            json!({ "reasoningContent": { "reasoningText": { "text": text, "signature": "" } } })
        }
        ChoicePart::ToolCall { id, name, arguments } => json!({ "toolUse": object([
            ("toolUseId", text(id.as_ref())),
            ("name", Some(name.as_str().into())),
            ("input", arguments.as_ref().map(input)),
        ]) }),
        ChoicePart::Provider(ProviderPart::ToolCall { call, .. }) => json!({ "toolUse": call }),
        ChoicePart::Provider(ProviderPart::ToolResult { result, .. }) => json!({ "toolResult": result }),
        ChoicePart::Provider(ProviderPart::Media { .. }) => Value::Null,
    }
}

pub(super) fn render(answer: &Answer, streamed: bool) -> Result<Documents, NotReplayable> {
    let choice = answer.only_choice()?;
    choice.parts.iter().try_for_each(refuse)?;
    let reason = choice.finish_reason.as_ref();
    if streamed {
        return stream(answer);
    }
    let content: Vec<Value> = choice.parts.iter().map(block).collect();
    Ok(Documents::whole(&object([
        ("output", Some(json!({ "message": { "role": "assistant", "content": content } }))),
        ("stopReason", text(reason)),
        ("usage", Some(usage(&answer.usage))),
        ("metrics", Some(json!({ "latencyMs": 0 }))),
    ])))
}

#[cfg(not(feature = "bedrock"))]
fn stream(_: &Answer) -> Result<Documents, NotReplayable> {
    Err(NotReplayable::new("streams of Bedrock are rebuilt with the feature `bedrock` of `retrace-replay` only"))
}

#[cfg(feature = "bedrock")]
fn stream(answer: &Answer) -> Result<Documents, NotReplayable> {
    let events = events(answer)?;
    let chunks = events.iter().map(|(kind, event)| super::frames::event(kind, event)).collect();
    Ok(Documents { content_type: "application/vnd.amazon.eventstream", chunks })
}

/// The events of a stream, each with its type.
pub(super) fn events(answer: &Answer) -> Result<Vec<(&'static str, Value)>, NotReplayable> {
    let choice = answer.only_choice()?;
    choice.parts.iter().try_for_each(refuse)?;
    let mut events = vec![("messageStart", json!({ "role": "assistant" }))];
    for (index, part) in choice.parts.iter().enumerate() {
        let given;
        let (whole, delta): (&str, fn(&str) -> Value) = match part {
            ChoicePart::Text(text) | ChoicePart::Refusal(text) => (text, |piece| json!({ "text": piece })),
            ChoicePart::Reasoning(text) => (text, |piece| json!({ "reasoningContent": { "text": piece } })),
            ChoicePart::ToolCall { id, name, arguments: value } => {
                let call = object([("toolUseId", text(id.as_ref())), ("name", Some(name.as_str().into()))]);
                let begin = json!({ "contentBlockIndex": index, "start": { "toolUse": call } });
                events.push(("contentBlockStart", begin));
                given = arguments(value.as_ref());
                (&given, |piece| json!({ "toolUse": { "input": piece } }))
            }
            ChoicePart::Provider(ProviderPart::ToolCall { call, .. }) => {
                let mut begun = call.clone();
                begun.as_object_mut().map(|members| members.remove("input"));
                events
                    .push(("contentBlockStart", json!({ "contentBlockIndex": index, "start": { "toolUse": begun } })));
                given = arguments(call.get("input"));
                (&given, |piece| json!({ "toolUse": { "input": piece } }))
            }
            ChoicePart::Provider(part) => return Err(part.refusal()),
        };
        let piece = |piece| ("contentBlockDelta", json!({ "contentBlockIndex": index, "delta": delta(piece) }));
        events.extend(pieces(whole).map(piece));
        events.push(("contentBlockStop", json!({ "contentBlockIndex": index })));
    }
    events.push(("messageStop", object([("stopReason", text(choice.finish_reason.as_ref()))])));
    let metadata = json!({ "usage": usage(&answer.usage), "metrics": { "latencyMs": 0 } });
    events.push(("metadata", metadata));
    Ok(events)
}
