//! Cohere's chat, version 2: <https://docs.cohere.com/reference/chat>.

use serde_json::{Value, json};

use super::text::{arguments, count, object, pieces, text};
use super::{Answer, ChoicePart, Documents, NotReplayable};

fn usage(answer: &Answer) -> Option<Value> {
    let usage = &answer.usage;
    (!usage.is_empty()).then(|| {
        let tokens = object([("input_tokens", count(usage.input)), ("output_tokens", count(usage.output))]);
        object([("tokens", Some(tokens)), ("cached_tokens", count(usage.cache_read))])
    })
}

/// Tokens, as chunks of text with their ids and log-probabilities. The texts are not recorded.
fn logprobs(answer: &Answer) -> Option<Value> {
    if answer.logprobs.is_empty() && answer.token_ids.is_empty() {
        return None;
    }
    Some(json!({ "text": "", "token_ids": answer.token_ids, "logprobs": answer.logprobs }))
}

fn call(id: Option<&String>, name: &str, given: &str) -> Value {
    let function = json!({ "name": name, "arguments": given });
    object([("id", text(id)), ("type", Some("function".into())), ("function", Some(function))])
}

pub(super) fn render(answer: &Answer, streamed: bool) -> Result<Documents, NotReplayable> {
    let choice = answer.only_choice()?;
    // What comes before calls is the plan; else it is thinking.
    let is_plan = answer.has_calls();
    let (mut plan, mut content, mut calls): (Option<&str>, Vec<(&str, &str)>, Vec<_>) = Default::default();
    for part in &choice.parts {
        match part {
            ChoicePart::Reasoning(text) if is_plan => {
                if plan.replace(text).is_some() {
                    return Err(NotReplayable::new("the answer has several plans, and a message has one"));
                }
            }
            ChoicePart::Reasoning(text) => content.push(("thinking", text)),
            ChoicePart::Text(text) => content.push(("text", text)),
            ChoicePart::Refusal(_) => {
                return Err(NotReplayable::new("the answer has a refusal as a part, and a message has none"));
            }
            ChoicePart::Provider(part) => return Err(part.refusal()),
            ChoicePart::ToolCall { id, name, arguments: given } => {
                calls.push((id.as_ref(), name, arguments(given.as_ref())));
            }
        }
    }
    if streamed {
        return Ok(stream(answer, plan, &content, calls));
    }
    let contents = content.iter().map(|(kind, text)| json!({ "type": kind, *kind: text }));
    let listed = calls.iter().map(|(id, name, given)| call(*id, name, given));
    let message = object([
        ("role", Some("assistant".into())),
        ("tool_plan", plan.map(Value::from)),
        ("content", (!content.is_empty()).then(|| contents.collect())),
        ("tool_calls", (!calls.is_empty()).then(|| listed.collect())),
    ]);
    Ok(Documents::whole(&object([
        ("id", Some(answer.id.clone().unwrap_or_default().into())),
        ("message", Some(message)),
        ("finish_reason", text(choice.finish_reason.as_ref())),
        ("usage", usage(answer)),
        ("logprobs", logprobs(answer).map(|tokens| json!([tokens]))),
    ])))
}

fn stream(
    answer: &Answer,
    plan: Option<&str>,
    content: &[(&str, &str)],
    calls: Vec<(Option<&String>, &String, String)>,
) -> Documents {
    let start = json!({ "message": { "role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": [] } });
    let id = answer.id.clone().unwrap_or_default();
    let mut events = vec![json!({ "type": "message-start", "id": id, "delta": start })];
    let planned = |piece| json!({ "type": "tool-plan-delta", "delta": { "message": { "tool_plan": piece } } });
    events.extend(pieces(plan.unwrap_or_default()).map(planned));
    let mut tokens = logprobs(answer);
    for (index, (kind, text)) in content.iter().enumerate() {
        let mut at = |event: &str, content: Value, tokens: Option<Value>| {
            let delta = json!({ "message": { "content": content } });
            events.push(object([
                ("type", Some(event.into())),
                ("index", Some(index.into())),
                ("delta", Some(delta)),
                ("logprobs", tokens),
            ]));
        };
        at("content-start", json!({ "type": kind, *kind: "" }), None);
        for piece in pieces(text) {
            at("content-delta", json!({ *kind: piece }), tokens.take());
        }
        events.push(json!({ "type": "content-end", "index": index }));
    }
    // Tokens of calls alone stand beside an empty text.
    if let Some(tokens) = tokens {
        let delta = json!({ "message": { "content": { "text": "" } } });
        events.push(json!({ "type": "content-delta", "index": content.len(), "delta": delta, "logprobs": tokens }));
    }
    for (index, (id, name, given)) in calls.into_iter().enumerate() {
        let mut at = |event: &str, call: Value| {
            events.push(json!({ "type": event, "index": index, "delta": { "message": { "tool_calls": call } } }));
        };
        at("tool-call-start", call(id, name, ""));
        pieces(&given).for_each(|piece| at("tool-call-delta", json!({ "function": { "arguments": piece } })));
        events.push(json!({ "type": "tool-call-end", "index": index }));
    }
    let reason = answer.choices.first().and_then(|choice| choice.finish_reason.as_ref());
    let delta = object([("finish_reason", text(reason)), ("usage", usage(answer))]);
    events.push(json!({ "type": "message-end", "delta": delta }));
    Documents::events(&events, true)
}
