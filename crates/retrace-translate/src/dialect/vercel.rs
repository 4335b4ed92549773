//! Vercel AI SDK: `ai.*`, from its third major version to the legacy integration of its seventh.
//!
//! Keys follow the telemetry of `ai` and of `@ai-sdk/otel`. An outer span, such as `ai.generateText`, repeats the content of
//! the calls below it and sums up their usage.

use std::borrow::Cow;

use retrace_protocol::message::{Text, decode};
use retrace_protocol::parse;
use serde_json::value::RawValue;
use smallvec::smallvec;

use super::{Class, Dialect};
use crate::fields::Field;
use crate::fields::{FlattenedKey, LeafType};
use crate::json::{JsonObject, elements};
use crate::json::{label_of, text_of};
use crate::messages::lists;
use crate::messages::provider_message::sdk_result;
use crate::messages::{Parts, Source, Turn, TurnPart, role_label};

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("ai.operationId", Field::Operation),
        ("ai.telemetry.functionId", Field::AgentName),
        ("ai.model.provider", Field::Provider),
        ("ai.model.id", Field::RequestModel),
        ("ai.response.model", Field::ResponseModel),
        ("ai.response.id", Field::ResponseId),
        ("ai.response.finishReason", Field::FinishReasons),
        ("ai.finishReason", Field::FinishReasons),
        ("ai.response.providerMetadata", Field::ProviderUsage),
        ("ai.response.msToFirstChunk", Field::FirstChunkMillis),
        ("ai.stream.msToFirstChunk", Field::FirstChunkMillis),
        ("ai.usage.promptTokens", Field::InputTokens),
        ("ai.usage.inputTokens", Field::InputTokens),
        ("ai.usage.tokens", Field::InputTokens),
        ("ai.usage.completionTokens", Field::OutputTokens),
        ("ai.usage.outputTokens", Field::OutputTokens),
        ("ai.usage.totalTokens", Field::TotalTokens),
        ("ai.usage.cachedInputTokens", Field::CacheReadTokens),
        ("ai.usage.inputTokenDetails.cacheReadTokens", Field::CacheReadTokens),
        ("ai.usage.inputTokenDetails.cacheWriteTokens", Field::CacheCreationTokens),
        ("ai.usage.reasoningTokens", Field::ReasoningTokens),
        ("ai.usage.outputTokenDetails.reasoningTokens", Field::ReasoningTokens),
        ("ai.settings.maxTokens", Field::MaxTokens),
        ("ai.settings.maxOutputTokens", Field::MaxTokens),
        ("ai.settings.temperature", Field::Temperature),
        ("ai.settings.topP", Field::TopP),
        ("ai.settings.topK", Field::TopK),
        ("ai.settings.seed", Field::Seed),
        ("ai.settings.frequencyPenalty", Field::FrequencyPenalty),
        ("ai.settings.presencePenalty", Field::PresencePenalty),
        ("ai.settings.stopSequences", Field::StopSequences),
        ("ai.settings.output", Field::OutputType),
        ("ai.prompt", Field::InputMessages),
        ("ai.prompt.messages", Field::InputMessages),
        ("ai.prompt.tools", Field::ToolDefinitions),
        ("ai.value", Field::InputMessages),
        ("ai.values", Field::InputMessages),
        ("ai.embedding", Field::Output),
        ("ai.embeddings", Field::Output),
        ("ai.documents", Field::Input),
        ("ai.ranking", Field::Output),
        ("ai.toolCall.name", Field::ToolName),
        ("ai.toolCall.id", Field::ToolCallId),
        ("ai.toolCall.args", Field::ToolArguments),
        ("ai.toolCall.result", Field::ToolResult),
        ("ai.telemetry.metadata.sessionId", Field::SessionId),
        ("ai.telemetry.metadata.session_id", Field::SessionId),
        ("ai.telemetry.metadata.conversationId", Field::SessionId),
        ("ai.telemetry.metadata.userId", Field::UserId),
        ("ai.telemetry.metadata.user_id", Field::UserId),
        ("ai.telemetry.metadata.tags", Field::Tags),
        ("ai.settings.context.sessionId", Field::SessionId),
        ("ai.settings.context.session_id", Field::SessionId),
        ("ai.settings.context.conversationId", Field::SessionId),
        ("ai.settings.context.userId", Field::UserId),
        ("ai.settings.context.user_id", Field::UserId),
        ("ai.settings.context.tags", Field::Tags),
    ],
    prefixes: &[("ai.telemetry.metadata.", Field::UserMetadata), ("ai.settings.context.", Field::UserMetadata)],
    flattened: &[
        FlattenedKey { prefix: "ai.response.", field: Field::OutputMessages, paths: ANSWERED },
        FlattenedKey { prefix: "ai.result.", field: Field::OutputMessages, paths: ANSWERED },
    ],
    marks: &["ai."],
    operation,
    streams: |operation| operation.ends_with(".doStream") || operation.starts_with("ai.stream"),
    turns,
    ..Dialect::EMPTY
};

/// Parts of a response.
const ANSWERED: &[(&str, LeafType)] = &[
    ("text", LeafType::Any),
    ("reasoning", LeafType::Any),
    ("object", LeafType::Any),
    ("toolCalls", LeafType::Json),
    ("files", LeafType::Json),
];

fn operation(id: &str) -> Option<Class> {
    let id = id.strip_prefix("ai.")?;
    Some(match id.rsplit_once('.') {
        _ if id == "toolCall" => Class::Tool,
        Some((_, "doRerank")) => Class::Action,
        Some((_, call)) if call.starts_with("do") => Class::Model,
        _ => Class::Agent,
    })
}

/// Reads a prompt, its messages, texts to embed, or the parts of a response.
pub(super) fn turns(json: &str) -> Option<Vec<Turn<'_>>> {
    if let Some(members) = JsonObject::read(json) {
        return prompt(&members).or_else(|| Some(vec![answer(&members)?]));
    }
    let raw: &RawValue = parse::from_str(json)?;
    if let Some(text) = text_of(raw) {
        return Some(vec![messages("user", smallvec![TurnPart::Text(text)])]);
    }
    let listed = elements(raw).filter(|listed| !listed.is_empty())?;
    if listed.iter().all(|raw| raw.get().starts_with('"')) {
        return Some(
            listed.into_iter().map(|raw| messages("user", smallvec![TurnPart::Text(embedded_text(raw))])).collect(),
        );
    }
    lists::each(listed, message)
}

/// Reads a text to embed: a JSON text in a text.
fn embedded_text(raw: &RawValue) -> Text<'_> {
    let text = decode(raw);
    Text::Plain(serde_json::from_str::<String>(&text).map_or(text, Cow::Owned))
}

fn messages<'a>(role: &'static str, parts: Parts<'a>) -> Turn<'a> {
    Turn { role: Cow::Borrowed(role), parts, ..Turn::default() }
}

/// Reads the arguments of a call: instructions, and a prompt or messages.
fn prompt<'a>(members: &JsonObject<'a>) -> Option<Vec<Turn<'a>>> {
    let content = |names: &[&str]| Some(parts(members.get(names)?));
    let mut turns = Vec::new();
    turns.extend(content(&["system", "instructions"]).map(|parts| messages("system", parts)));
    let request = members.get(&["prompt", "messages"]);
    match request.and_then(elements) {
        Some(messages) => turns.extend(lists::each(messages, message)?),
        None => turns.extend(request.map(|raw| messages("user", parts(raw)))),
    }
    (!turns.is_empty()).then_some(turns)
}

/// Reads a response that was recorded in parts.
fn answer<'a>(members: &JsonObject<'a>) -> Option<Turn<'a>> {
    let mut parts = Parts::new();
    parts.extend(members.get(&["reasoning"]).map(|raw| text_of(raw).map_or(TurnPart::Other(raw), TurnPart::Reasoning)));
    for name in ["text", "object"] {
        parts.extend(members.get(&[name]).map(|raw| text_of(raw).map_or(TurnPart::Other(raw), TurnPart::Text)));
    }
    for (name, read) in [("toolCalls", tool_call as fn(&JsonObject<'a>) -> Option<TurnPart<'a>>), ("files", file)] {
        let Some(raw) = members.get(&[name]) else { continue };
        let each =
            |raw: &'a RawValue| JsonObject::read(raw.get()).and_then(|of| read(&of)).unwrap_or(TurnPart::Other(raw));
        parts.extend(elements(raw).unwrap_or_else(|| vec![raw]).into_iter().map(each));
    }
    (!parts.is_empty()).then(|| messages("assistant", parts))
}

fn message(raw: &RawValue) -> Option<Turn<'_>> {
    let members = JsonObject::read(raw.get())?;
    let content = members.get(&["content", "parts"]);
    Some(Turn {
        role: role_label(members.get(&["role"])?)?,
        parts: content.map(parts).unwrap_or_default(),
        ..Turn::default()
    })
}

/// Reads a content: a text, a list of parts, or, for instructions, a message.
fn parts(content: &RawValue) -> Parts<'_> {
    let inner = || JsonObject::read(content.get()).and_then(|message| message.get(&["content"]));
    text_or_list(content).or_else(|| text_or_list(inner()?)).unwrap_or_else(|| smallvec![TurnPart::Other(content)])
}

fn text_or_list(content: &RawValue) -> Option<Parts<'_>> {
    if let Some(text) = text_of(content) {
        return Some(smallvec![TurnPart::Text(text)]);
    }
    let listed = elements(content)?;
    Some(listed.into_iter().map(|raw| part(raw).unwrap_or(TurnPart::Other(raw))).collect())
}

fn part(raw: &RawValue) -> Option<TurnPart<'_>> {
    if let Some(text) = text_of(raw) {
        return Some(TurnPart::Text(text));
    }
    let part = JsonObject::read(raw.get())?;
    let Some(kind) = part.label(&["type"]) else {
        // Instructions may be a list of messages.
        return Some(TurnPart::Text(part.text(&["content"])?));
    };
    Some(match &*kind {
        "text" => TurnPart::Text(part.text(&["text"])?),
        "reasoning" => TurnPart::Reasoning(part.text(&["text"])?),
        "tool-call" => tool_call(&part)?,
        "tool-result" | "tool-error" => sdk_result(&part),
        "image" | "file" | "reasoning-file" => file(&part)?,
        _ => return None,
    })
}

fn tool_call<'a>(call: &JsonObject<'a>) -> Option<TurnPart<'a>> {
    Some(TurnPart::ToolCall {
        id: call.label(&["toolCallId"]),
        name: call.label(&["toolName"])?,
        arguments: call.get(&["input", "args"]),
    })
}

/// Reads an image or a file: base64 or a URL, by itself or in an object.
fn file<'a>(part: &JsonObject<'a>) -> Option<TurnPart<'a>> {
    let data = part.get(&["data", "image", "file", "url"])?;
    let inner = JsonObject::read(data.get());
    let data = inner.map_or_else(|| label_of(data), |inner| inner.label(&["data", "url", "base64"]))?;
    let is_image = part.get(&["image"]).is_some() || part.label(&["type"]).is_some_and(|kind| kind == "image");
    let is_uri = data.starts_with("data:") || data.contains("://");
    Some(TurnPart::Media {
        modality: is_image.then_some(Cow::Borrowed("image")),
        mime_type: part.label(&["mediaType", "mimeType"]),
        source: if is_uri { Source::Uri(data) } else { Source::Base64(data) },
    })
}
