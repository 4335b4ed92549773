//! Gemini's interactions: <https://ai.google.dev/api/interactions-api>.

use serde_json::{Value, json};

use super::text::{arguments, count, object, pieces, text};
use super::{Answer, ChoicePart, Documents, MediaSource, NotReplayable, ProviderPart, Usage};

fn usage(usage: &Usage) -> Option<Value> {
    let written = usage.output.map(|output| output.saturating_sub(usage.reasoning.unwrap_or(0)));
    (!usage.is_empty()).then(|| {
        object([
            ("total_input_tokens", count(usage.input)),
            ("total_output_tokens", count(written)),
            ("total_thought_tokens", count(usage.reasoning)),
            ("total_cached_tokens", count(usage.cache_read)),
            ("total_tokens", count(usage.total())),
        ])
    })
}

/// Makes the delta of a piece of text.
type Delta = fn(&str) -> Value;

/// A step of the model, and in a stream its text.
struct Step<'a> {
    whole: Value,
    /// The step as a stream begins it, and the kind of its deltas; `None` for a step that comes whole.
    begun: Option<(Value, Delta)>,
    streamed: std::borrow::Cow<'a, str>,
}

#[allow(clippy::needless_pass_by_value)] // it becomes a part
fn output(content: Value) -> Value {
    json!({ "type": "model_output", "content": [content] })
}

fn step(part: &ChoicePart) -> Result<Step<'_>, NotReplayable> {
    let whole = |whole: Value| Step { whole, begun: None, streamed: "".into() };
    Ok(match part {
        ChoicePart::Text(text) => Step {
            whole: output(json!({ "type": "text", "text": text })),
            begun: Some((json!({ "type": "model_output" }), |piece| json!({ "type": "text", "text": piece }))),
            streamed: text.as_str().into(),
        },
        ChoicePart::Reasoning(text) => Step {
            whole: json!({ "type": "thought", "summary": [{ "type": "text", "text": text }] }),
            begun: Some((
                json!({ "type": "thought" }),
                |piece| json!({ "type": "thought_summary", "content": { "type": "text", "text": piece } }),
            )),
            streamed: text.as_str().into(),
        },
        ChoicePart::Refusal(_) => {
            return Err(NotReplayable::new("the answer has a refusal as a part, and an interaction has none"));
        }
        ChoicePart::ToolCall { id, name, arguments: Some(given @ Value::Object(_)) } => {
            let call = |given: Value| {
                object([
                    ("type", Some("function_call".into())),
                    ("id", text(id.as_ref())),
                    ("name", Some(name.as_str().into())),
                    ("arguments", Some(given)),
                ])
            };
            Step {
                whole: call(given.clone()),
                begun: Some((call(json!({})), |piece| json!({ "type": "arguments_delta", "arguments": piece }))),
                streamed: arguments(Some(given)).into(),
            }
        }
        ChoicePart::ToolCall { name, .. } => {
            return Err(NotReplayable::new(format!("the arguments of the call of `{name}` are no object")));
        }
        ChoicePart::Provider(ProviderPart::Media { mime_type, source }) => {
            let kind = mime_type.as_deref().and_then(|mime_type| mime_type.split('/').next());
            let kind = kind.filter(|kind| ["image", "audio", "video"].contains(kind)).unwrap_or("document");
            let (data, uri) = match source {
                MediaSource::Data(data) => (Some(data.as_str().into()), None),
                MediaSource::Uri(uri) => (None, Some(uri.as_str().into())),
            };
            let mime_type = text(mime_type.as_ref());
            whole(output(object([("type", Some(kind.into())), ("mime_type", mime_type), ("data", data), ("uri", uri)])))
        }
        ChoicePart::Provider(part) => {
            whole(part.tool_of_type("_call", "_result").cloned().ok_or_else(|| part.refusal())?)
        }
    })
}

pub(super) fn render(answer: &Answer, streamed: bool) -> Result<Documents, NotReplayable> {
    let choice = answer.only_choice()?;
    let Some(status) = choice.finish_reason.as_deref().filter(|status| *status != "failed") else {
        return Err(NotReplayable::new("the status of the interaction is not recorded, or is a failure"));
    };
    let steps = choice.parts.iter().map(step).collect::<Result<Vec<_>, _>>()?;
    let interaction = |status: &str, steps: Option<Vec<Value>>, usage: Option<Value>| {
        object([
            ("id", Some(answer.id.clone().unwrap_or_default().into())),
            ("object", Some("interaction".into())),
            ("model", text(answer.model.as_ref())),
            ("status", Some(status.into())),
            ("steps", steps.map(Value::from)),
            ("usage", usage),
        ])
    };
    if !streamed {
        let steps = steps.into_iter().map(|step| step.whole).collect();
        return Ok(Documents::whole(&interaction(status, Some(steps), usage(&answer.usage))));
    }
    let begun = interaction("in_progress", None, None);
    let mut events = vec![json!({ "event_type": "interaction.start", "interaction": begun })];
    for (index, Step { whole, begun, streamed }) in steps.into_iter().enumerate() {
        match begun {
            None => events.push(json!({ "event_type": "step.start", "index": index, "step": whole })),
            Some((begun, delta)) => {
                events.push(json!({ "event_type": "step.start", "index": index, "step": begun }));
                let event = |piece| json!({ "event_type": "step.delta", "index": index, "delta": delta(piece) });
                events.extend(pieces(&streamed).map(event));
            }
        }
        events.push(json!({ "event_type": "step.stop", "index": index }));
    }
    let complete = interaction(status, None, usage(&answer.usage));
    events.push(json!({ "event_type": "interaction.complete", "interaction": complete }));
    Ok(Documents::events(&events, false))
}
