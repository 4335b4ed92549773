//! OpenLLMetry (Traceloop): `traceloop.*`, `llm.*`, and messages flattened into `gen_ai.prompt.N.*` and
//! `gen_ai.completion.N.*`.
//!
//! Keys follow `opentelemetry-semantic-conventions-ai`, those that it has and those that it had: its releases write
//! `gen_ai.*` where they wrote `llm.*`, and messages as OpenTelemetry has them now.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Class, Dialect};
use crate::fields::Slot;
use crate::fields::{Indexed, Leaf};
use crate::messages::provider_message;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("llm.request.type", Slot::Operation),
        ("traceloop.span.kind", Slot::Kind),
        ("traceloop.entity.name", Slot::EntityName),
        ("traceloop.workflow.name", Slot::WorkflowName),
        ("traceloop.entity.input", Slot::Input),
        ("traceloop.entity.output", Slot::Output),
        ("traceloop.association.properties.session_id", Slot::SessionId),
        ("traceloop.association.properties.user_id", Slot::UserId),
        ("gen_ai.task.input", Slot::Input),
        ("gen_ai.task.output", Slot::Output),
        ("gen_ai.user", Slot::UserId),
        ("llm.user", Slot::UserId),
        ("gen_ai.is_streaming", Slot::Streaming),
        ("llm.is_streaming", Slot::Streaming),
        ("llm.vendor", Slot::Provider),
        ("llm.request.model", Slot::RequestModel),
        ("llm.response.model", Slot::ResponseModel),
        ("llm.response.id", Slot::ResponseId),
        ("gen_ai.response.finish_reason", Slot::FinishReasons),
        ("gen_ai.response.stop_reason", Slot::FinishReasons),
        ("llm.response.finish_reason", Slot::FinishReasons),
        ("llm.response.stop_reason", Slot::FinishReasons),
        ("gen_ai.request.max_completion_tokens", Slot::MaxTokens),
        ("llm.request.max_tokens", Slot::MaxTokens),
        ("llm.watsonx.max_new_tokens", Slot::MaxTokens),
        ("gen_ai.request.n", Slot::ChoiceCount),
        ("llm.temperature", Slot::Temperature),
        ("llm.request.temperature", Slot::Temperature),
        ("llm.top_p", Slot::TopP),
        ("llm.request.top_p", Slot::TopP),
        ("llm.top_k", Slot::TopK),
        ("llm.frequency_penalty", Slot::FrequencyPenalty),
        ("llm.presence_penalty", Slot::PresencePenalty),
        ("llm.chat.stop_sequences", Slot::StopSequences),
        ("llm.watsonx.random_seed", Slot::Seed),
        ("llm.usage.total_tokens", Slot::TotalTokens),
        ("gen_ai.usage.total_tokens", Slot::TotalTokens),
        ("llm.usage.prompt_tokens", Slot::InputTokens),
        ("llm.usage.completion_tokens", Slot::OutputTokens),
        ("llm.usage.reasoning_tokens", Slot::ReasoningTokens),
        ("llm.usage.cache_read_input_tokens", Slot::CacheReadTokens),
        ("llm.usage.cache_creation_input_tokens", Slot::CacheCreationTokens),
        // Flattened keys of their own hold these; maps and JSON texts are as good.
        ("llm.completions", Slot::OutputMessages),
        ("llm.request.functions", Slot::ToolDefinitions),
    ],
    prefixes: &[("traceloop.association.properties.", Slot::UserMetadata)],
    indexed: &[
        Indexed { prefix: "gen_ai.prompt.", slot: Slot::InputMessages, paths: ASKED },
        Indexed { prefix: "gen_ai.completion.", slot: Slot::OutputMessages, paths: ANSWERED },
        Indexed { prefix: "llm.completions.", slot: Slot::OutputMessages, paths: ANSWERED },
        Indexed {
            prefix: "llm.request.functions.",
            slot: Slot::ToolDefinitions,
            paths: &[("N.name", Leaf::Label), ("N.description", Leaf::Label), ("N.parameters", Leaf::Json)],
        },
    ],
    marks: &["traceloop.", "llm."],
    operation,
    turns: provider_message::messages,
    unwrapped,
    ..Dialect::SILENT
};

const ASKED: &[(&str, Leaf)] = &[
    ("N.role", Leaf::Label),
    ("N.content", Leaf::Parts),
    ("N.user", Leaf::Any),
    ("N.tool_call_id", Leaf::Label),
    ("N.tool_calls.N.id", Leaf::Label),
    ("N.tool_calls.N.name", Leaf::Label),
    ("N.tool_calls.N.arguments", Leaf::Any),
];

const ANSWERED: &[(&str, Leaf)] = &[
    ("N.role", Leaf::Assistant),
    ("N.content", Leaf::Parts),
    ("N.refusal", Leaf::Any),
    ("N.reasoning", Leaf::Any),
    ("N.finish_reason", Leaf::Label),
    ("N.tool_calls.N.id", Leaf::Label),
    ("N.tool_calls.N.name", Leaf::Label),
    ("N.tool_calls.N.arguments", Leaf::Any),
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

/// What a function was given, `{"args": […], "kwargs": {…}}`, without what is empty.
fn unwrapped(json: &str) -> Option<&RawValue> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Given<'a> {
        #[serde(borrow)]
        args: Vec<&'a RawValue>,
        #[serde(borrow)]
        kwargs: &'a RawValue,
    }
    let given: Given<'_> = serde_json::from_str(json).ok()?;
    let is_empty =
        |raw: &RawValue| matches!(raw.get().as_bytes(), [b'{', between @ .., b'}'] if between.trim_ascii().is_empty());
    match given.args.as_slice() {
        [] => Some(given.kwargs),
        [one] if is_empty(given.kwargs) => Some(one),
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
            assert_eq!(unwrapped(wrapped).map(RawValue::get), plain, "{wrapped}");
        }
    }
}
