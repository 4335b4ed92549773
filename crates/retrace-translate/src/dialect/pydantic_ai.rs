//! pydantic-ai and Logfire: what they write beside the GenAI conventions.
//!
//! Both write the conventions; the keys here are older, or carry more: the conversation of a whole run, the offered tools, the
//! request and the response of an API. Sums over a run, `gen_ai.aggregated_usage.*`, fill no field, because they repeat the
//! usage of its calls, and stay attributes.

use super::{Class, Dialect, otel};
use crate::fields::Field;
use crate::fields::Nested;
use crate::messages::Turn;
use crate::messages::provider_body;
use crate::messages::provider_message;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("pydantic_ai.all_messages", Field::Conversation),
        ("gen_ai.usage.details.reasoning_tokens", Field::ReasoningTokens),
        ("gen_ai.usage.details.cache_read_tokens", Field::CacheReadTokens),
        ("gen_ai.usage.details.cache_read_input_tokens", Field::CacheReadTokens),
        ("gen_ai.usage.details.cached_tokens", Field::CacheReadTokens),
        ("gen_ai.usage.details.cache_write_tokens", Field::CacheCreationTokens),
        ("gen_ai.usage.details.cache_creation_input_tokens", Field::CacheCreationTokens),
    ],
    marks: &["pydantic_ai."],
    turns,
    usual_turns: |json| json.contains(r#""parts""#).then(|| otel::usual_turns(json)).flatten(),
    ..Dialect::EMPTY
};

/// Names without a prefix, which count on GenAI spans only.
pub(super) static PLAIN: Dialect = Dialect {
    genai_spans_only: true,
    keys: &[
        ("agent_name", Field::AgentName),
        ("model_name", Field::RequestModel),
        ("operation.cost", Field::Cost),
        ("events", Field::Conversation),
        ("all_messages_events", Field::Conversation),
        ("final_result", Field::Output),
        ("tool_arguments", Field::ToolArguments),
        ("tool_response", Field::ToolResult),
        ("inputs", Field::InputMessages),
        ("embeddings", Field::Output),
        ("request_data", Field::Input),
        ("response_data", Field::Output),
        ("logfire.tags", Field::Tags),
        ("logfire.json_schema", Field::Bookkeeping),
    ],
    nested: &[
        Nested { key: "model_request_parameters", members: &[("function_tools", Field::ToolDefinitions)] },
        // The response of the Responses API, on Logfire's spans of the OpenAI Agents SDK.
        Nested { key: "response", members: &[("tools", Field::ToolDefinitions), ("id", Field::ResponseId)] },
    ],
    operation: |_| None::<Class>,
    turns,
    ..Dialect::EMPTY
};

/// Reads messages of the conventions, the older events, or texts to embed.
fn turns(json: &str) -> Option<Vec<Turn<'_>>> {
    let of_conventions = json.contains(r#""parts""#).then(|| otel::turns(json)).flatten();
    of_conventions.or_else(|| provider_message::messages(json)).or_else(|| provider_body::request(json))
}
