//! OpenAI's responses: <https://platform.openai.com/docs/api-reference/responses>.

use serde_json::{Value, json};

use super::openai_chat::tokens;
use super::text::{arguments, count, object, pieces, set, text};
use super::{Answer, ChoicePart, Documents, NotReplayable};

fn usage(answer: &Answer) -> Option<Value> {
    let usage = &answer.usage;
    (!usage.is_empty()).then(|| {
        let details = |members: &[(&str, Option<u64>)]| {
            let members = members.iter().map(|(name, value)| (*name, count(*value)));
            let known: serde_json::Map<_, _> =
                members.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
            (!known.is_empty()).then_some(Value::Object(known))
        };
        let of_input = [("cached_tokens", usage.cache_read), ("cache_write_tokens", usage.cache_creation)];
        object([
            ("input_tokens", count(usage.input)),
            ("input_tokens_details", details(&of_input)),
            ("output_tokens", count(usage.output)),
            ("output_tokens_details", details(&[("reasoning_tokens", usage.reasoning)])),
            ("total_tokens", count(usage.total())),
        ])
    })
}

/// The items of the output. Texts and refusals that follow each other are the contents of one message.
fn items(answer: &Answer, parts: &[ChoicePart]) -> Result<Vec<Value>, NotReplayable> {
    let mut items: Vec<Value> = Vec::new();
    let mut tokens = tokens(answer);
    let mut open = false;
    for part in parts {
        let place = items.len();
        let content = match part {
            ChoicePart::Text(text) => {
                json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": std::mem::take(&mut tokens) })
            }
            ChoicePart::Refusal(text) => json!({ "type": "refusal", "refusal": text }),
            ChoicePart::Reasoning(text) => {
                open = false;
                let summary = [json!({ "type": "summary_text", "text": text })];
                items.push(json!({ "type": "reasoning", "id": format!("rs_{place}"), "summary": summary }));
                continue;
            }
            ChoicePart::Provider(part) => {
                open = false;
                items.push(part.to_response_item(place)?);
                continue;
            }
            ChoicePart::ToolCall { id, name, arguments: given } => {
                open = false;
                items.push(object([
                    ("type", Some("function_call".into())),
                    // Without the id of the call that of the item would stand for it.
                    ("id", id.as_ref().map(|_| format!("fc_{place}").into())),
                    ("call_id", text(id.as_ref())),
                    ("name", Some(name.as_str().into())),
                    ("arguments", Some(arguments(given.as_ref()).into())),
                    ("status", Some("completed".into())),
                ]));
                continue;
            }
        };
        match items.last_mut().filter(|_| open).and_then(|item| item.get_mut("content")?.as_array_mut()) {
            Some(contents) => contents.push(content),
            None => items.push(json!({ "type": "message", "id": format!("msg_{place}"), "status": "completed",
                "role": "assistant", "content": [content] })),
        }
        open = true;
    }
    Ok(items)
}

pub(super) fn render(answer: &Answer, streamed: bool) -> Result<Documents, NotReplayable> {
    let choice = answer.only_choice()?;
    let (status, reason) = match choice.finish_reason.as_deref() {
        Some(status @ ("completed" | "cancelled" | "incomplete")) => (status, None),
        Some("failed") => return Err(NotReplayable::new("the response failed, and its error is not recorded as one")),
        Some(reason) => ("incomplete", Some(reason)),
        None => return Err(NotReplayable::new("the status of the response is not recorded")),
    };
    let response = |status: &str, output: Vec<Value>, usage: Option<Value>| {
        let reason = reason.filter(|_| status == "incomplete").map(|reason| json!({ "reason": reason }));
        object([
            ("id", Some(answer.id.clone().unwrap_or_default().into())),
            ("object", Some("response".into())),
            ("created_at", Some(answer.created.into())),
            ("status", Some(status.into())),
            ("error", Some(Value::Null)),
            ("incomplete_details", Some(reason.unwrap_or(Value::Null))),
            ("instructions", Some(Value::Null)),
            ("metadata", Some(json!({}))),
            ("model", Some(answer.model.clone().unwrap_or_default().into())),
            ("conversation", answer.conversation_id.as_ref().map(|id| json!({ "id": id }))),
            ("service_tier", text(answer.service_tier.as_ref())),
            ("system_fingerprint", text(answer.system_fingerprint.as_ref())),
            ("output", Some(output.into())),
            ("parallel_tool_calls", Some(true.into())),
            ("tool_choice", Some("auto".into())),
            ("tools", Some(json!([]))),
            ("usage", usage),
        ])
    };
    let output = items(answer, &choice.parts)?;
    let complete = response(status, output.clone(), usage(answer));
    if !streamed {
        return Ok(Documents::whole(&complete));
    }
    let begun = response("in_progress", Vec::new(), None);
    let mut events = vec![
        json!({ "type": "response.created", "response": begun }),
        json!({ "type": "response.in_progress", "response": begun }),
    ];
    for (place, item) in output.iter().enumerate() {
        stream_item(place, item, &mut events);
    }
    let last = if status == "incomplete" { "response.incomplete" } else { "response.completed" };
    events.push(json!({ "type": last, "response": complete }));
    for (number, event) in events.iter_mut().enumerate() {
        set(event, "sequence_number", number.into());
    }
    Ok(Documents::events(&events, true))
}

fn stream_item(place: usize, item: &Value, events: &mut Vec<Value>) {
    let id = item.get("id").cloned().unwrap_or_else(|| "".into());
    if !matches!(item.get("type").and_then(Value::as_str), Some("message" | "reasoning" | "function_call")) {
        // An item in the form of the provider, whose own events no run records.
        events.push(json!({ "type": "response.output_item.added", "output_index": place, "item": item }));
        events.push(json!({ "type": "response.output_item.done", "output_index": place, "item": item }));
        return;
    }
    let mut begun = item.clone();
    for (member, empty) in [("content", json!([])), ("arguments", json!("")), ("summary", json!([]))] {
        if let Some(value) = begun.get_mut(member) {
            *value = empty;
        }
    }
    if let Some(status) = begun.get_mut("status") {
        *status = "in_progress".into();
    }
    events.push(json!({ "type": "response.output_item.added", "output_index": place, "item": begun }));
    let parts = |member: &str| item.get(member).and_then(Value::as_array).cloned().unwrap_or_default();
    for (inner, content) in parts("content").into_iter().enumerate() {
        let at = |kind: &str, member: &str, value: Value| json!({ "type": kind, "item_id": id, "output_index": place, "content_index": inner, member: value });
        let (kind, member) = match content.get("refusal") {
            Some(_) => ("response.refusal", "refusal"),
            None => ("response.output_text", "text"),
        };
        let whole = content.get(member).and_then(Value::as_str).unwrap_or_default();
        let mut empty = content.clone();
        set(&mut empty, member, "".into());
        if empty.get("logprobs").is_some() {
            set(&mut empty, "logprobs", json!([]));
        }
        events.push(at("response.content_part.added", "part", empty));
        let mut tokens = content.get("logprobs").cloned();
        for piece in pieces(whole) {
            let mut event = at(&format!("{kind}.delta"), "delta", piece.into());
            if member == "text" {
                set(&mut event, "logprobs", tokens.take().unwrap_or_else(|| json!([])));
            }
            events.push(event);
        }
        let mut event = at(&format!("{kind}.done"), member, whole.into());
        if member == "text" {
            set(&mut event, "logprobs", json!([]));
        }
        events.push(event);
        events.push(at("response.content_part.done", "part", content));
    }
    for (inner, summary) in parts("summary").into_iter().enumerate() {
        let whole = summary.get("text").and_then(Value::as_str).unwrap_or_default();
        let at = |kind: &str, member: &str, value: &str| json!({ "type": kind, "item_id": id, "output_index": place, "summary_index": inner, member: value });
        events.extend(pieces(whole).map(|piece| at("response.reasoning_summary_text.delta", "delta", piece)));
        events.push(at("response.reasoning_summary_text.done", "text", whole));
    }
    if let Some(given) = item.get("arguments").and_then(Value::as_str) {
        let at = |kind: &str, member: &str, value: &str| json!({ "type": kind, "item_id": id, "output_index": place, member: value });
        events.extend(pieces(given).map(|piece| at("response.function_call_arguments.delta", "delta", piece)));
        events.push(at("response.function_call_arguments.done", "arguments", given));
    }
    events.push(json!({ "type": "response.output_item.done", "output_index": place, "item": item }));
}
