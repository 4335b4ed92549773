//! LangSmith's OTLP exporter: `langsmith.*`, beside OpenTelemetry's older conventions.
//!
//! Keys follow `python/langsmith/_internal/otel/_otel_exporter.py` and `js/src/experimental/otel/constants.ts` of its SDK. The
//! operation is derived from the kind of the run, and a retriever or a prompt becomes `embeddings` or `chat`: the kind
//! overrides it. `gen_ai.prompt` and `gen_ai.completion` are the inputs and outputs of any run; those of LangChain's models
//! hold its messages as it serialises them.

use serde_json::value::RawValue;

use super::{Class, Dialect};
use crate::fields::Field;
use crate::fields::Nested;
use crate::json::label_of;
use crate::json::{JsonObject, elements};
use crate::messages::Turn;
use crate::messages::lists;
use crate::messages::provider_body::langchain_finish_reason;
use crate::messages::provider_message;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("langsmith.span.kind", Field::Kind),
        ("langsmith.trace.name", Field::EntityName),
        ("langsmith.span.tags", Field::Tags),
        ("langsmith.request.streaming", Field::Streaming),
        ("langsmith.metadata.ls_provider", Field::Provider),
        ("langsmith.metadata.ls_model_name", Field::RequestModel),
        ("langsmith.metadata.ls_temperature", Field::Temperature),
        ("langsmith.metadata.ls_max_tokens", Field::MaxTokens),
        ("langsmith.metadata.session_id", Field::SessionId),
        ("langsmith.metadata.thread_id", Field::SessionId),
        ("langsmith.metadata.conversation_id", Field::SessionId),
        ("langsmith.metadata.user_id", Field::UserId),
    ],
    kind_leads: true,
    nested: &[
        Nested { key: "langsmith.usage_metadata", members: &[("", Field::ProviderUsage), ("total_cost", Field::Cost)] },
        Nested { key: "langsmith.metadata.usage_metadata", members: &[("", Field::ProviderUsage)] },
        Nested {
            key: "gen_ai.usage.input_token_details",
            members: &[("cache_read", Field::CacheReadTokens), ("cache_creation", Field::CacheCreationTokens)],
        },
        Nested { key: "gen_ai.usage.output_token_details", members: &[("reasoning", Field::ReasoningTokens)] },
    ],
    prefixes: &[("langsmith.metadata.", Field::UserMetadata)],
    marks: &["langsmith."],
    operation,
    ..Dialect::EMPTY
};

fn operation(kind: &str) -> Option<Class> {
    Some(match kind {
        "llm" | "embedding" => Class::Model,
        "tool" => Class::Tool,
        "chain" => Class::Agent,
        "retriever" | "prompt" | "parser" => Class::Action,
        _ => return None,
    })
}

/// Returns the output of a function that returned no object, `{"outputs": …}`.
pub(super) fn unwrapped(field: Field, json: &str) -> Option<&RawValue> {
    let is_output = matches!(field, Field::OutputMessages | Field::Output | Field::ToolResult);
    let members = JsonObject::read(json).filter(|members| is_output && members.len() == 1)?;
    members.get(&["outputs"]).filter(|inner| !inner.get().starts_with('{'))
}

/// Returns true for a JSON text with messages that LangChain serialised. Such a text has more than its messages.
pub(super) fn is_serialised(json: &str) -> bool {
    turns(json).is_some()
}

/// Reads the inputs of a model, `{"messages":[[...]]}`, or its outputs, `{"generations":[[...]]}`, as LangChain serialises
/// them.
pub(super) fn turns(json: &str) -> Option<Vec<Turn<'_>>> {
    if !json.contains("\"lc\"") && !json.contains("\"generations\"") {
        return None;
    }
    let members = JsonObject::read(json)?;
    let list = members.list(&["messages", "generations"])?;
    let flat = list.into_iter().flat_map(|raw| elements(raw).unwrap_or_else(|| vec![raw]));
    lists::each(flat.collect(), message_or_generation)
}

/// Reads one message, or one generation with a message or a text in it.
fn message_or_generation(raw: &RawValue) -> Option<Turn<'_>> {
    let members = JsonObject::read(raw.get())?;
    let mut turn = message(members.get(&["message"]).unwrap_or(raw))?;
    turn.finish_reason = turn.finish_reason.or_else(|| langchain_finish_reason(&members));
    Some(turn)
}

fn message(raw: &RawValue) -> Option<Turn<'_>> {
    let members = JsonObject::read(raw.get())?;
    if let Some(kwargs) = members.get(&["kwargs"]) {
        let class = members.list(&["id"]).and_then(|path| path.last().copied()).and_then(label_of);
        let role = match class.as_deref() {
            Some("AIMessage" | "AIMessageChunk") => "assistant",
            Some("SystemMessage") => "system",
            _ => "user",
        };
        return provider_message::message_of(kwargs, role);
    }
    provider_message::message_of(raw, "assistant")
}
