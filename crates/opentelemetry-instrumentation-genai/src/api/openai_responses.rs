//! Responses: <https://platform.openai.com/docs/api-reference/responses>.

use serde_json::Value;

use super::openai::{self, head, logprobs};
use super::{Api, Route, filled_of, owned};
use crate::json::Json;
use crate::json::UnreadPath;
use crate::message::{Message, Part, role};
use crate::request::{Operation, RequestFacts};
use crate::response::{Kind, MAX_PARTS, ResponseFacts};
use crate::url::Target;

/// Alternatives to tokens, in the response and in each event that has some.
const UNREAD: &[UnreadPath] = &[
    &["logprobs", "*", "bytes"],
    &["logprobs", "*", "top_logprobs"],
    &["part", "logprobs", "*", "bytes"],
    &["part", "logprobs", "*", "top_logprobs"],
    &["item", "content", "*", "logprobs", "*", "bytes"],
    &["item", "content", "*", "logprobs", "*", "top_logprobs"],
    &["output", "*", "content", "*", "logprobs", "*", "bytes"],
    &["output", "*", "content", "*", "logprobs", "*", "top_logprobs"],
    &["response", "output", "*", "content", "*", "logprobs", "*", "bytes"],
    &["response", "output", "*", "content", "*", "logprobs", "*", "top_logprobs"],
];

#[derive(Debug)]
pub(super) struct Responses;

impl Api for Responses {
    fn name(&self) -> &'static str {
        "openai.responses"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let compact = target.from_end(0) == "compact" && target.from_end(1) == "responses";
        (target.from_end(0) == "responses" || compact).then(|| Route::new(Operation::Chat, "openai"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        !body.first(&["input", "prompt"]).is_null() && !body.first(&["model", "prompt"]).is_null()
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        openai::parameters(target, body, facts);
        facts.openai_api = Some("responses");
        facts.output_type = openai::output_type(body.get("text").get("format"));
        let conversation = body.get("conversation");
        facts.conversation_id = owned(conversation).or_else(|| owned(conversation.get("id")));
        if let Some(instructions) = body.get("instructions").filled() {
            facts.system.push(Part::Text(instructions.to_owned()));
        }
        let input = body.get("input");
        match input.as_str() {
            Some(text) => facts.messages.push(Message::text("user", text)),
            None => facts.messages.extend(input.items().iter().filter_map(item)),
        }
        facts.tools = openai::tools(body.get("tools"));
    }

    fn unread(&self) -> &'static [UnreadPath] {
        UNREAD
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        match document.get("type").as_str() {
            Some(event) => read_event(event, document, facts),
            None => read_response(document, facts),
        }
    }
}

/// Reads an item of the input.
///
/// Returns `None` for reasoning without text and for null.
fn item(item: &Json<'_>) -> Option<Message> {
    if let Some(text) = item.as_str() {
        return Some(Message::text("user", text));
    }
    Some(match item.get("type").as_str() {
        None if item.is_null() => return None,
        None if item.first(&["role", "content"]).is_null() => {
            let kind = item.get("type").as_str().unwrap_or("item");
            Message::of("user", vec![Part::other(item, kind)])
        }
        None | Some("message") => {
            let mut parts = Vec::new();
            openai::content(item.get("content"), &mut parts);
            Message::of(role(item.get("role").as_str()), parts)
        }
        Some(kind) if kind.ends_with("_output") => {
            let id = call_id(item).map(ToOwned::to_owned);
            Message::of("tool", vec![Part::ToolResponse { id, response: found(item) }])
        }
        // What the caller sends of its own: an approval, an earlier item by its id.
        Some(kind) if kind.ends_with("_response") || kind == "item_reference" => Message::of("user", vec![part(item)?]),
        Some(_) => Message::of("assistant", vec![part(item)?]),
    })
}

/// Returns the call id of an item. Some servers leave `call_id` empty.
fn call_id<'a>(item: &'a Json<'_>) -> Option<&'a str> {
    filled_of(item, &["call_id", "id"])
}

/// Returns the result in an item: its output, its findings, or the whole item.
fn found(item: &Json<'_>) -> Value {
    match item.first(&["output", "tools", "results", "result", "content"]) {
        Json::Null => item.to_value(),
        output => openai::result(output),
    }
}

/// Reads an item that the model made as a part; a message has several.
fn part(item: &Json<'_>) -> Option<Part> {
    if !item.is_object() {
        return None;
    }
    let kind = item.get("type").as_str().unwrap_or("item");
    let id = || call_id(item).map(ToOwned::to_owned);
    Some(match kind {
        "function_call" | "custom_tool_call" => Part::ToolCall {
            id: id(),
            name: owned(item.get("name")).unwrap_or_default(),
            arguments: openai::arguments(item.first(&["arguments", "input"])),
        },
        "reasoning" => {
            let content = openai::joined(item.get("content"));
            let text = if content.is_empty() { openai::joined(item.get("summary")) } else { content };
            if text.is_empty() {
                return None;
            }
            Part::Reasoning(text)
        }
        "image_generation_call" if item.get("result").filled().is_some() => {
            let format = item.get("output_format").as_str().unwrap_or("png");
            let data = item.get("result").as_str().unwrap_or_default();
            Part::blob(Some(&format!("image/{format}")), Some("image"), data)
        }
        kind if kind.ends_with("_call") => Part::ServerToolCall {
            id: id(),
            name: owned(item.get("name")).unwrap_or_else(|| kind.trim_end_matches("_call").to_owned()),
            call: item.to_value(),
        },
        kind if kind.ends_with("_output") => Part::ServerToolResponse { id: id(), response: found(item) },
        kind => Part::other(item, kind),
    })
}

/// Keys of parts: the place of the item, and the place in the item.
fn key(item: u64, inner: &Json<'_>) -> u64 {
    (item << 16) | inner.as_u64().unwrap_or(0).min(MAX_INDEX)
}

const MAX_INDEX: u64 = 0xFFFF;

/// The place of an item: that of its id, else that of its index. Gateways give several items one index, begin to count anew
/// in the last event, or give each event another id; so an item `begins` a place of its own where its index has one already.
fn place(index: Option<u64>, id: Option<&str>, begins: bool, facts: &mut ResponseFacts) -> u64 {
    let items = &mut facts.items;
    let of_id = id.and_then(|id| items.iter().rfind(|(_, _, own)| own == id));
    if let Some((place, _, _)) = of_id {
        return *place;
    }
    let of_index = items.iter().rfind(|(_, own, _)| *own == index).filter(|_| !begins || id.is_none());
    let wanted = index.unwrap_or(0).min(MAX_INDEX);
    let place = match of_index {
        Some((place, _, _)) => *place,
        None if items.iter().any(|(place, _, _)| *place == wanted) => MAX_INDEX + 1 + items.len() as u64,
        None => wanted,
    };
    if let Some(id) = id.filter(|_| items.len() < MAX_PARTS) {
        items.push((place, index, id.to_owned()));
    }
    place
}

/// The place of a whole item. What stands at its index is another item where it is of another kind.
fn place_of(item: &Json<'_>, index: Option<u64>, facts: &mut ResponseFacts) -> u64 {
    let id = item.get("id").filled();
    let at_index = facts.items.iter().rfind(|(_, own, _)| *own == index).map(|(place, _, _)| *place);
    let found = at_index.or(index).unwrap_or(0);
    let is_it = match (facts.choice(0).get(found << 16), item.get("type").as_str()) {
        (None, _) | (Some(Part::Text(_) | Part::Refusal(_)), Some("message")) => true,
        (Some(Part::ToolCall { id, .. }), Some("function_call" | "custom_tool_call")) => {
            id.is_none() || id.as_deref() == call_id(item)
        }
        (Some(Part::ToolCall { .. } | Part::Text(_) | Part::Refusal(_)), _) => false,
        (_, kind) => !matches!(kind, Some("message" | "function_call" | "custom_tool_call")),
    };
    place(index, id, !is_it, facts)
}

const SUMMARY: u64 = 1 << 40; // a reasoning item may have a summary and content

fn read_response(response: &Json<'_>, facts: &mut ResponseFacts) {
    head(response, facts);
    facts.conversation_id = owned(response.get("conversation").get("id")).or(facts.conversation_id.take());
    let status = response.get("status").as_str();
    let ended = match status {
        Some("incomplete") => response.get("incomplete_details").get("reason").filled().or(status),
        Some("completed" | "failed" | "cancelled") => status,
        _ => None,
    };
    if let Some(reason) = ended {
        facts.choice(0).finish(Some(reason));
        facts.complete = true;
    }
    if status == Some("failed") && facts.failure.is_none() {
        facts.fail(None, Some("failed"), None);
    }
    if matches!(response.get("object").as_str(), Some("response" | "response.compaction")) {
        for (index, item) in response.get("output").items().iter().enumerate() {
            let place = place_of(item, Some(index as u64), facts);
            read_item(place, item, facts);
        }
    }
}

/// Reads a whole item of the output; parts that arrived in pieces are kept.
fn read_item(place: u64, item: &Json<'_>, facts: &mut ResponseFacts) {
    let base = place << 16;
    match item.get("type").as_str() {
        Some("message") => {
            for (inner, content) in item.get("content").items().iter().enumerate() {
                let key = base | (inner as u64).min(MAX_INDEX);
                if facts.choice(0).has(key) {
                    continue;
                }
                logprobs(content.get("logprobs"), facts);
                match (content.get("text").as_str(), content.get("refusal").as_str()) {
                    (Some(text), _) => facts.choice(0).text(key, Kind::Text, text),
                    (None, Some(text)) => facts.choice(0).text(key, Kind::Refusal, text),
                    (None, None) if content.is_null() => {}
                    (None, None) => {
                        let kind = content.get("type").as_str().unwrap_or("other");
                        facts.choice(0).put(key, Part::other(content, kind));
                    }
                }
            }
        }
        Some("function_call" | "custom_tool_call") => {
            let id = call_id(item);
            facts.choice(0).tool_call(base, id, item.get("name").filled(), None);
            facts.choice(0).whole_arguments(base, &openai::arguments(item.first(&["arguments", "input"])));
        }
        Some("reasoning") => {
            let answer = facts.choice(0);
            let is_known = answer.has(base) || answer.has(base | SUMMARY);
            if let Some(part) = part(item).filter(|_| !is_known) {
                facts.choice(0).put(base, part);
            }
        }
        _ => {
            if let Some(part) = part(item) {
                facts.choice(0).put(base, part);
            }
        }
    }
}

fn read_event(event: &str, document: &Json<'_>, facts: &mut ResponseFacts) {
    let delta = document.get("delta").as_str().unwrap_or_default();
    let index = document.get("output_index").as_u64();
    let item = document.get("item");
    let output = match event {
        "response.output_item.added" => place(index, item.get("id").filled(), true, facts),
        "response.output_item.done" => place_of(item, index, facts),
        event if event.ends_with(".delta") => place(index, document.get("item_id").filled(), false, facts),
        _ => 0,
    };
    let content = key(output, document.get("content_index"));
    let mut answer = facts.choice(0);
    match event {
        "response.output_text.delta" => {
            answer.text(content, Kind::Text, delta);
            logprobs(document.get("logprobs"), facts);
        }
        "response.refusal.delta" => answer.text(content, Kind::Refusal, delta),
        "response.reasoning_text.delta" | "response.reasoning.delta" => answer.text(content, Kind::Reasoning, delta),
        "response.reasoning_summary_text.delta" => {
            answer.text(key(output, document.get("summary_index")) | SUMMARY, Kind::Reasoning, delta);
        }
        "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
            answer.tool_call(key(output, &Json::Null), None, None, Some(delta));
        }
        "response.output_item.added" => {
            if matches!(item.get("type").as_str(), Some("function_call" | "custom_tool_call")) {
                let id = call_id(item);
                answer.tool_call(key(output, &Json::Null), id, item.get("name").filled(), None);
            }
        }
        "response.output_item.done" => read_item(output, item, facts),
        "error" => {
            let nested = document.get("error");
            super::failure(if nested.is_object() { nested } else { document }, facts);
        }
        event if document.get("response").is_object() => {
            // Only items that did not arrive in events are read.
            read_response(document.get("response"), facts);
            facts.complete |= matches!(event, "response.completed" | "response.incomplete" | "response.failed");
        }
        _ => {}
    }
}
