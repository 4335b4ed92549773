//! Anthropic's messages: <https://docs.anthropic.com/en/api/messages>, also on Bedrock and Vertex, and what came before.

use serde_json::Value;

use super::{Api, Route, failure_in, openai, owned, texts};
use crate::json::Json;
use crate::message::{Message, Part, role};
use crate::request::{Operation, RequestFacts};
use crate::response::{Kind, PartKey, ResponseFacts, function_tool};
use crate::url::{Target, decoded};

/// The key of a block holds its index in the lower half and, above it, how many blocks with this index came before.
const INDEX: PartKey = 0xFFFF_FFFF;
const NEXT: PartKey = INDEX + 1;

#[derive(Debug)]
pub(super) struct Messages;

impl Api for Messages {
    fn name(&self) -> &'static str {
        "anthropic.messages"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let last = target.from_end(0);
        let messages = last == "messages" && target.from_end(1) == "v1";
        // Vertex: `/publishers/anthropic/models/claude-…:streamRawPredict`
        let vertex = target.from_end(2) == "anthropic"
            && (last.ends_with(":rawPredict") || last.ends_with(":streamRawPredict"))
            && !last.starts_with("count-tokens:");
        (messages || vertex).then(|| Route::new(Operation::Chat, "anthropic"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        body.get("messages").is_array()
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        request(body, facts);
        let last = target.from_end(0);
        if facts.model.is_none() && last.contains(':') {
            facts.model = last.rsplit_once(':').map(|(model, _)| decoded(model).into_owned());
        }
        facts.stream |= last.ends_with(":streamRawPredict");
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        response(document, facts);
    }
}

pub(super) fn request(body: &Json<'_>, facts: &mut RequestFacts) {
    facts.model = owned(body.get("model"));
    facts.stream = body.get("stream").as_bool() == Some(true);
    facts.max_tokens = body.first(&["max_tokens", "max_tokens_to_sample"]).as_i64();
    facts.temperature = body.get("temperature").as_f64();
    facts.top_p = body.get("top_p").as_f64();
    facts.top_k = body.get("top_k").as_f64();
    facts.stop_sequences = texts(body.get("stop_sequences"));
    let format = body.first(&["output_format"]);
    let format = if format.is_null() { body.get("output_config").get("format") } else { format };
    facts.output_type = openai::output_type(format);
    content(body.get("system"), &mut facts.system);
    for message in body.get("messages").items().iter().filter(|message| !message.is_null()) {
        let mut parts = Vec::new();
        content(message.get("content"), &mut parts);
        if parts.is_empty() && message.get("role").is_null() && message.is_object() {
            parts.push(Part::other(message, "message"));
        }
        facts.messages.push(Message::of(role(message.get("role").as_str()), parts));
    }
    facts.tools = body.get("tools").items().iter().filter(|tool| !tool.is_null()).map(tool).collect();
}

fn tool(tool: &Json<'_>) -> Value {
    let name = tool.get("name").as_str();
    match (tool.get("type").as_str(), name) {
        (None | Some("custom"), Some(name)) => {
            function_tool(name, tool.get("description").as_str(), Some(tool.get("input_schema").to_value()))
        }
        (kind, name) => openai::named(tool, kind.unwrap_or("tool"), name),
    }
}

fn content(json: &Json<'_>, parts: &mut Vec<Part>) {
    if let Some(text) = json.as_str() {
        parts.push(Part::Text(text.to_owned()));
    }
    parts.extend(json.items().iter().filter(|block| !block.is_null()).map(block));
}

fn block(block: &Json<'_>) -> Part {
    let text = |key: &str| block.get(key).as_str().unwrap_or_default().to_owned();
    if let Some(text) = block.as_str() {
        return Part::Text(text.to_owned());
    }
    match block.get("type").as_str() {
        Some("text") => Part::Text(text("text")),
        Some("thinking") => Part::Reasoning(text("thinking")),
        Some("tool_use") => Part::ToolCall {
            id: owned(block.get("id")),
            name: text("name"),
            arguments: openai::arguments(block.get("input")),
        },
        Some("tool_result") => {
            Part::ToolResponse { id: owned(block.get("tool_use_id")), response: openai::result(block.get("content")) }
        }
        Some(kind) if kind.ends_with("_tool_use") => {
            Part::ServerToolCall { id: owned(block.get("id")), name: text("name"), call: block.to_value() }
        }
        Some(kind) if kind.ends_with("_tool_result") => {
            Part::ServerToolResponse { id: owned(block.get("tool_use_id")), response: block.to_value() }
        }
        Some(kind @ ("image" | "document")) => {
            let source = block.get("source");
            let mime = source.get("media_type").as_str();
            let modality = if kind == "image" { "image" } else { "document" };
            match source.get("type").as_str() {
                Some("base64") => Part::blob(mime, Some(modality), source.get("data").as_str().unwrap_or_default()),
                Some("url") => Part::media_at(source.get("url").as_str().unwrap_or_default(), modality),
                Some("file") => Part::File {
                    modality: modality.to_owned(),
                    mime_type: mime.map(ToOwned::to_owned),
                    file_id: source.get("file_id").as_str().unwrap_or_default().to_owned(),
                },
                Some("text") => Part::Text(source.get("data").as_str().unwrap_or_default().to_owned()),
                _ => Part::other(block, kind),
            }
        }
        kind => Part::other(block, kind.unwrap_or("other")),
    }
}

/// Reads a whole response or an event of a stream, by the `type` that it states.
pub(super) fn response(document: &Json<'_>, facts: &mut ResponseFacts) {
    match document.get("type").as_str() {
        Some("message_start") => message(document.get("message"), facts),
        Some("content_block_start") => {
            let index = index(document);
            // Proxies give several blocks one index.
            let last = facts.choice(0).keys().filter(|key| key & INDEX == index).max();
            begin(last.map_or(index, |last| last + NEXT), document.get("content_block"), facts);
        }
        Some("content_block_delta") => {
            delta(latest(document, facts), document.get("delta"), facts);
        }
        Some("message_delta") => {
            facts.choice(0).finish(document.get("delta").get("stop_reason").as_str());
            super::usage(document.get("usage"), facts);
        }
        Some("message_stop") => facts.complete = true,
        Some("content_block_stop") => {
            let key = latest(document, facts);
            facts.choice(0).close(key);
        }
        Some("ping") => {}
        Some("error") => failure_in(document, facts),
        Some("completion") => {
            facts.set_id(document.get("id").as_str());
            facts.set_model(document.get("model").as_str());
            facts.choice(0).append(Kind::Text, document.get("completion").as_str().unwrap_or_default());
            facts.choice(0).finish(document.get("stop_reason").as_str());
            facts.complete |= !document.get("stop_reason").is_null();
        }
        // An event of an unknown kind.
        Some(kind) if kind != "message" && !document.get("content").is_array() => failure_in(document, facts),
        _ => {
            message(document, facts);
            failure_in(document, facts);
            // A whole response: no arguments follow.
            for (key, block) in document.get("content").items().iter().enumerate() {
                if block.get("input").is_object() {
                    facts.choice(0).close(key as u64);
                }
            }
        }
    }
}

fn index(event: &Json<'_>) -> PartKey {
    event.get("index").as_u64().unwrap_or(0).min(INDEX)
}

/// The block with the index of this event that began last.
fn latest(event: &Json<'_>, facts: &mut ResponseFacts) -> PartKey {
    let index = index(event);
    facts.choice(0).keys().filter(|key| key & INDEX == index).max().unwrap_or(index)
}

fn message(message: &Json<'_>, facts: &mut ResponseFacts) {
    facts.set_id(message.get("id").as_str());
    facts.set_model(message.get("model").as_str());
    super::usage(message.get("usage"), facts);
    for (key, block) in message.get("content").items().iter().enumerate().filter(|(_, block)| !block.is_null()) {
        begin(key as u64, block, facts);
    }
    facts.choice(0).finish(message.get("stop_reason").as_str());
}

/// Begins a block, or reads a whole one.
fn begin(key: u64, json: &Json<'_>, facts: &mut ResponseFacts) {
    let mut answer = facts.choice(0);
    match block(json) {
        Part::Text(text) => answer.text(key, Kind::Text, &text),
        Part::Reasoning(text) => answer.text(key, Kind::Reasoning, &text),
        Part::ToolCall { id, name, arguments } => {
            // A stream begins with an empty object and sends the text of the real one.
            let arguments = Some(&*arguments).filter(|arguments| *arguments != "{}");
            answer.tool_call(key, id.as_deref(), Some(&name), arguments);
        }
        part => answer.put(key, part),
    }
}

fn delta(key: u64, delta: &Json<'_>, facts: &mut ResponseFacts) {
    let mut answer = facts.choice(0);
    match delta.get("type").as_str() {
        Some("text_delta") => answer.text(key, Kind::Text, delta.get("text").as_str().unwrap_or_default()),
        Some("thinking_delta") => answer.text(key, Kind::Reasoning, delta.get("thinking").as_str().unwrap_or_default()),
        Some("input_json_delta") => answer.input(key, delta.get("partial_json").as_str().unwrap_or_default()),
        // Signatures and citations are not kept; the rest belongs to blocks that are kept unchanged.
        _ => {
            for (member, value) in delta.members().iter().filter(|(member, _)| member != "type") {
                if let Some(text) = value.as_str() {
                    answer.extend(key, member, text);
                }
            }
        }
    }
}

/// The text completions that preceded messages.
#[derive(Debug)]
pub(super) struct Complete;

impl Api for Complete {
    fn name(&self) -> &'static str {
        "anthropic.complete"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let here = target.from_end(0) == "complete" && target.from_end(1) == "v1";
        here.then(|| Route::new(Operation::TextCompletion, "anthropic"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        !body.get("prompt").is_null() && !body.get("max_tokens_to_sample").is_null()
    }

    fn request(&self, _: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        request(body, facts);
        facts.messages.extend(body.get("prompt").as_str().map(|prompt| Message::text("user", prompt)));
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        response(document, facts);
    }
}
