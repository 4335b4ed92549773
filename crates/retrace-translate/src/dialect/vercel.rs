//! The Vercel AI SDK: `ai.*`, from its third major version to the legacy integration of its seventh.
//!
//! Keys follow the telemetry of `ai` and of `@ai-sdk/otel`. An outer span, such as `ai.generateText`, repeats what the
//! calls below it say and sums up what they used.

use std::borrow::Cow;

use retrace_protocol::message::{Text, decode};
use serde_json::value::RawValue;
use smallvec::smallvec;

use super::{Class, Dialect};
use crate::fields::Slot;
use crate::fields::{Indexed, Leaf};
use crate::json::{Members, elements};
use crate::json::{label_of, text_of};
use crate::messages::lists;
use crate::messages::{Part, Parts, Source, Turn, role_label};

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("ai.operationId", Slot::Operation),
        ("ai.telemetry.functionId", Slot::AgentName),
        ("ai.model.provider", Slot::Provider),
        ("ai.model.id", Slot::RequestModel),
        ("ai.response.model", Slot::ResponseModel),
        ("ai.response.id", Slot::ResponseId),
        ("ai.response.finishReason", Slot::FinishReasons),
        ("ai.finishReason", Slot::FinishReasons),
        ("ai.response.providerMetadata", Slot::ProviderUsage),
        ("ai.response.msToFirstChunk", Slot::FirstChunkMillis),
        ("ai.stream.msToFirstChunk", Slot::FirstChunkMillis),
        ("ai.usage.promptTokens", Slot::InputTokens),
        ("ai.usage.inputTokens", Slot::InputTokens),
        ("ai.usage.tokens", Slot::InputTokens),
        ("ai.usage.completionTokens", Slot::OutputTokens),
        ("ai.usage.outputTokens", Slot::OutputTokens),
        ("ai.usage.totalTokens", Slot::TotalTokens),
        ("ai.usage.cachedInputTokens", Slot::CacheReadTokens),
        ("ai.usage.inputTokenDetails.cacheReadTokens", Slot::CacheReadTokens),
        ("ai.usage.inputTokenDetails.cacheWriteTokens", Slot::CacheCreationTokens),
        ("ai.usage.reasoningTokens", Slot::ReasoningTokens),
        ("ai.usage.outputTokenDetails.reasoningTokens", Slot::ReasoningTokens),
        ("ai.settings.maxTokens", Slot::MaxTokens),
        ("ai.settings.maxOutputTokens", Slot::MaxTokens),
        ("ai.settings.temperature", Slot::Temperature),
        ("ai.settings.topP", Slot::TopP),
        ("ai.settings.topK", Slot::TopK),
        ("ai.settings.seed", Slot::Seed),
        ("ai.settings.frequencyPenalty", Slot::FrequencyPenalty),
        ("ai.settings.presencePenalty", Slot::PresencePenalty),
        ("ai.settings.stopSequences", Slot::StopSequences),
        ("ai.settings.output", Slot::OutputType),
        ("ai.prompt", Slot::InputMessages),
        ("ai.prompt.messages", Slot::InputMessages),
        ("ai.prompt.tools", Slot::ToolDefinitions),
        ("ai.value", Slot::InputMessages),
        ("ai.values", Slot::InputMessages),
        ("ai.embedding", Slot::Output),
        ("ai.embeddings", Slot::Output),
        ("ai.documents", Slot::Input),
        ("ai.ranking", Slot::Output),
        ("ai.toolCall.name", Slot::ToolName),
        ("ai.toolCall.id", Slot::ToolCallId),
        ("ai.toolCall.args", Slot::ToolArguments),
        ("ai.toolCall.result", Slot::ToolResult),
        ("ai.telemetry.metadata.sessionId", Slot::SessionId),
        ("ai.telemetry.metadata.session_id", Slot::SessionId),
        ("ai.telemetry.metadata.conversationId", Slot::SessionId),
        ("ai.telemetry.metadata.userId", Slot::UserId),
        ("ai.telemetry.metadata.user_id", Slot::UserId),
        ("ai.telemetry.metadata.tags", Slot::Tags),
        ("ai.settings.context.sessionId", Slot::SessionId),
        ("ai.settings.context.session_id", Slot::SessionId),
        ("ai.settings.context.conversationId", Slot::SessionId),
        ("ai.settings.context.userId", Slot::UserId),
        ("ai.settings.context.user_id", Slot::UserId),
        ("ai.settings.context.tags", Slot::Tags),
    ],
    prefixes: &[("ai.telemetry.metadata.", Slot::UserMetadata), ("ai.settings.context.", Slot::UserMetadata)],
    indexed: &[
        Indexed { prefix: "ai.response.", slot: Slot::OutputMessages, paths: ANSWERED },
        Indexed { prefix: "ai.result.", slot: Slot::OutputMessages, paths: ANSWERED },
    ],
    marks: &["ai."],
    operation,
    streams: |operation| operation.ends_with(".doStream") || operation.starts_with("ai.stream"),
    turns,
    ..Dialect::SILENT
};

/// The pieces of one answer.
const ANSWERED: &[(&str, Leaf)] = &[
    ("text", Leaf::Any),
    ("reasoning", Leaf::Any),
    ("object", Leaf::Any),
    ("toolCalls", Leaf::Json),
    ("files", Leaf::Json),
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

/// Reads a prompt, its messages, texts to embed, or the pieces of an answer.
fn turns(json: &str) -> Option<Vec<Turn<'_>>> {
    if let Some(members) = Members::read(json) {
        return prompt(&members).or_else(|| Some(vec![answer(&members)?]));
    }
    let raw: &RawValue = serde_json::from_str(json).ok()?;
    if let Some(text) = text_of(raw) {
        return Some(vec![said("user", smallvec![Part::Text(text)])]);
    }
    let listed = elements(raw).filter(|listed| !listed.is_empty())?;
    if listed.iter().all(|raw| raw.get().starts_with('"')) {
        return Some(listed.into_iter().map(|raw| said("user", smallvec![Part::Text(embedded_text(raw))])).collect());
    }
    lists::each(listed, message)
}

/// A text to embed: a JSON text in a text.
fn embedded_text(raw: &RawValue) -> Text<'_> {
    let text = decode(raw);
    Text::Plain(serde_json::from_str::<String>(&text).map_or(text, Cow::Owned))
}

fn said<'a>(role: &'static str, parts: Parts<'a>) -> Turn<'a> {
    Turn { role: Cow::Borrowed(role), parts, ..Turn::default() }
}

/// What a function was called with: instructions, and a prompt or messages.
fn prompt<'a>(members: &Members<'a>) -> Option<Vec<Turn<'a>>> {
    let content = |names: &[&str]| Some(parts(members.get(names)?));
    let mut turns = Vec::new();
    turns.extend(content(&["system", "instructions"]).map(|parts| said("system", parts)));
    let asked = members.get(&["prompt", "messages"]);
    match asked.and_then(elements) {
        Some(messages) => turns.extend(lists::each(messages, message)?),
        None => turns.extend(asked.map(|raw| said("user", parts(raw)))),
    }
    (!turns.is_empty()).then_some(turns)
}

/// An answer that was recorded in pieces.
fn answer<'a>(members: &Members<'a>) -> Option<Turn<'a>> {
    let mut parts = Parts::new();
    parts.extend(members.get(&["reasoning"]).map(|raw| text_of(raw).map_or(Part::Other(raw), Part::Reasoning)));
    for name in ["text", "object"] {
        parts.extend(members.get(&[name]).map(|raw| text_of(raw).map_or(Part::Other(raw), Part::Text)));
    }
    for (name, read) in [("toolCalls", tool_call as fn(&Members<'a>) -> Option<Part<'a>>), ("files", file)] {
        let Some(raw) = members.get(&[name]) else { continue };
        let each = |raw: &'a RawValue| Members::read(raw.get()).and_then(|of| read(&of)).unwrap_or(Part::Other(raw));
        parts.extend(elements(raw).unwrap_or_else(|| vec![raw]).into_iter().map(each));
    }
    (!parts.is_empty()).then(|| said("assistant", parts))
}

fn message(raw: &RawValue) -> Option<Turn<'_>> {
    let members = Members::read(raw.get())?;
    let content = members.get(&["content", "parts"]);
    Some(Turn {
        role: role_label(members.get(&["role"])?)?,
        parts: content.map(parts).unwrap_or_default(),
        ..Turn::default()
    })
}

/// A content: a text, a list of parts, or, as instructions may be, a message.
fn parts(content: &RawValue) -> Parts<'_> {
    if let Some(text) = text_of(content) {
        return smallvec![Part::Text(text)];
    }
    if let Some(listed) = elements(content) {
        return listed.into_iter().map(|raw| part(raw).unwrap_or(Part::Other(raw))).collect();
    }
    let inner = Members::read(content.get()).and_then(|message| message.get(&["content"]));
    inner.map_or_else(|| smallvec![Part::Other(content)], parts)
}

fn part(raw: &RawValue) -> Option<Part<'_>> {
    if let Some(text) = text_of(raw) {
        return Some(Part::Text(text));
    }
    let part = Members::read(raw.get())?;
    let Some(kind) = part.label(&["type"]) else {
        // Instructions may be a list of messages.
        return Some(Part::Text(part.text(&["content"])?));
    };
    Some(match &*kind {
        "text" => Part::Text(part.text(&["text"])?),
        "reasoning" => Part::Reasoning(part.text(&["text"])?),
        "tool-call" => tool_call(&part)?,
        "tool-result" | "tool-error" => Part::ToolResult {
            id: part.label(&["toolCallId"]),
            name: part.label(&["toolName"]),
            result: part.get(&["output", "result", "error"]).map(result),
        },
        "image" | "file" | "reasoning-file" => file(&part)?,
        _ => return None,
    })
}

fn tool_call<'a>(call: &Members<'a>) -> Option<Part<'a>> {
    Some(Part::ToolCall {
        id: call.label(&["toolCallId"]),
        name: call.label(&["toolName"])?,
        arguments: call.get(&["input", "args"]),
    })
}

/// What a tool returned: `{"type":"json","value":…}` or, in older versions, the value itself.
fn result(raw: &RawValue) -> &RawValue {
    let typed = Members::read(raw.get()).filter(|members| members.label(&["type"]).is_some());
    typed.and_then(|members| members.get(&["value"])).unwrap_or(raw)
}

/// An image or a file: content as base64 or a URL, on its own or in an object that says which.
fn file<'a>(part: &Members<'a>) -> Option<Part<'a>> {
    let data = part.get(&["data", "image", "file", "url"])?;
    let inner = Members::read(data.get());
    let data = inner.map_or_else(|| label_of(data), |inner| inner.label(&["data", "url", "base64"]))?;
    let is_image = part.get(&["image"]).is_some() || part.label(&["type"]).is_some_and(|kind| kind == "image");
    let is_uri = data.starts_with("data:") || data.contains("://");
    Some(Part::Media {
        modality: is_image.then_some(Cow::Borrowed("image")),
        mime_type: part.label(&["mediaType", "mimeType"]),
        source: if is_uri { Source::Uri(data) } else { Source::Base64(data) },
    })
}
