//! OpenLLMetry (Traceloop): `traceloop.*`, `llm.*`, and messages flattened into `gen_ai.prompt.N.*` and
//! `gen_ai.completion.N.*`.
//!
//! Keys follow `opentelemetry-semantic-conventions-ai`, in current and earlier releases: newer ones write `gen_ai.*` instead of
//! `llm.*`, and messages in OpenTelemetry's current form.

use retrace_protocol::parse;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Class, Dialect};
use crate::fields::Field;
use crate::fields::{FlattenedKey, LeafType};
use crate::messages::provider_message;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("llm.request.type", Field::Operation),
        ("traceloop.span.kind", Field::Kind),
        ("traceloop.entity.name", Field::EntityName),
        ("traceloop.workflow.name", Field::WorkflowName),
        ("traceloop.entity.input", Field::Input),
        ("traceloop.entity.output", Field::Output),
        ("traceloop.association.properties.session_id", Field::SessionId),
        ("traceloop.association.properties.user_id", Field::UserId),
        ("gen_ai.task.input", Field::Input),
        ("gen_ai.task.output", Field::Output),
        ("gen_ai.user", Field::UserId),
        ("llm.user", Field::UserId),
        ("gen_ai.is_streaming", Field::Streaming),
        ("llm.is_streaming", Field::Streaming),
        ("llm.vendor", Field::Provider),
        ("llm.request.model", Field::RequestModel),
        ("llm.response.model", Field::ResponseModel),
        ("llm.response.id", Field::ResponseId),
        ("gen_ai.response.finish_reason", Field::FinishReasons),
        ("gen_ai.response.stop_reason", Field::FinishReasons),
        ("llm.response.finish_reason", Field::FinishReasons),
        ("llm.response.stop_reason", Field::FinishReasons),
        ("gen_ai.request.max_completion_tokens", Field::MaxTokens),
        ("llm.request.max_tokens", Field::MaxTokens),
        ("llm.watsonx.max_new_tokens", Field::MaxTokens),
        ("gen_ai.request.n", Field::ChoiceCount),
        ("llm.temperature", Field::Temperature),
        ("llm.request.temperature", Field::Temperature),
        ("llm.top_p", Field::TopP),
        ("llm.request.top_p", Field::TopP),
        ("llm.top_k", Field::TopK),
        ("llm.frequency_penalty", Field::FrequencyPenalty),
        ("llm.presence_penalty", Field::PresencePenalty),
        ("llm.chat.stop_sequences", Field::StopSequences),
        ("llm.watsonx.random_seed", Field::Seed),
        ("llm.usage.total_tokens", Field::TotalTokens),
        ("gen_ai.usage.total_tokens", Field::TotalTokens),
        ("llm.usage.prompt_tokens", Field::InputTokens),
        ("llm.usage.completion_tokens", Field::OutputTokens),
        ("llm.usage.reasoning_tokens", Field::ReasoningTokens),
        ("llm.usage.cache_read_input_tokens", Field::CacheReadTokens),
        ("llm.usage.cache_creation_input_tokens", Field::CacheCreationTokens),
        // The same value may be flattened keys, a map or a JSON text.
        ("llm.completions", Field::OutputMessages),
        ("llm.request.functions", Field::ToolDefinitions),
    ],
    prefixes: &[("traceloop.association.properties.", Field::UserMetadata)],
    flattened: &[
        FlattenedKey { prefix: "gen_ai.prompt.", field: Field::InputMessages, paths: ASKED },
        FlattenedKey { prefix: "gen_ai.completion.", field: Field::OutputMessages, paths: ANSWERED },
        FlattenedKey { prefix: "llm.completions.", field: Field::OutputMessages, paths: ANSWERED },
        FlattenedKey {
            prefix: "llm.request.functions.",
            field: Field::ToolDefinitions,
            paths: &[("N.name", LeafType::Label), ("N.description", LeafType::Label), ("N.parameters", LeafType::Json)],
        },
    ],
    marks: &["traceloop.", "llm."],
    operation,
    turns: provider_message::messages,
    unwrapped,
    ..Dialect::EMPTY
};

const ASKED: &[(&str, LeafType)] = &[
    ("N.role", LeafType::Label),
    ("N.content", LeafType::Parts),
    ("N.user", LeafType::Any),
    ("N.tool_call_id", LeafType::Label),
    ("N.tool_calls.N.id", LeafType::Label),
    ("N.tool_calls.N.name", LeafType::Label),
    ("N.tool_calls.N.arguments", LeafType::Any),
];

const ANSWERED: &[(&str, LeafType)] = &[
    ("N.role", LeafType::Assistant),
    ("N.content", LeafType::Parts),
    ("N.refusal", LeafType::Any),
    ("N.reasoning", LeafType::Any),
    ("N.finish_reason", LeafType::Label),
    ("N.tool_calls.N.id", LeafType::Label),
    ("N.tool_calls.N.name", LeafType::Label),
    ("N.tool_calls.N.arguments", LeafType::Any),
];

fn operation(name: &str) -> Option<Class> {
    Some(match name {
        "chat" | "completion" | "embedding" | "llm_request" => Class::Model,
        "tool" => Class::Tool,
        "workflow" | "task" | "agent" | "execute_task" => Class::Agent,
        "rerank" | "vector_db_retrieve" => Class::Action,
        _ => return None,
    })
}

/// Returns the arguments of a function, `{"args": […], "kwargs": {…}}`, without the empty ones.
pub(super) fn unwrapped(_: Field, json: &str) -> Option<&RawValue> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Given<'a> {
        #[serde(borrow)]
        args: Vec<&'a RawValue>,
        #[serde(borrow)]
        kwargs: &'a RawValue,
    }
    let input: Given<'_> = parse::from_str(json)?;
    let is_empty =
        |raw: &RawValue| matches!(raw.get().as_bytes(), [b'{', between @ .., b'}'] if between.trim_ascii().is_empty());
    match input.args.as_slice() {
        [] => Some(input.kwargs),
        [one] if is_empty(input.kwargs) => Some(one),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_function_was_given_is_told_without_wrapping() {
        for (wrapped, plain) in [
            (r#"{"args": [], "kwargs": {"city": "Paris"}}"#, Some(r#"{"city": "Paris"}"#)),
            (r#"{"args": ["Who?"], "kwargs": {}}"#, Some(r#""Who?""#)),
            (r#"{"args": ["Who?", 2], "kwargs": {}}"#, None),
            (r#"{"args": ["Who?"], "kwargs": {"loud": true}}"#, None),
            (r#"{"inputs": {"a": 1}, "kwargs": {}}"#, None),
            (r#"{"args": [], "kwargs": {}, "more": 1}"#, None),
            ("plain", None),
        ] {
            assert_eq!(unwrapped(Field::Input, wrapped).map(RawValue::get), plain, "{wrapped}");
        }
    }
}
