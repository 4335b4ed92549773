//! pydantic-ai and Logfire, in what they say beside the GenAI conventions.
//!
//! Both write them; what stands here is older, or more, than the conventions have: the conversation of a whole run, the
//! tools as they are offered, the request and the answer of an API. Sums over a run, `gen_ai.aggregated_usage.*`, have no
//! place: they repeat what its calls used, and stay attributes.

use super::{Class, Dialect, otel};
use crate::fields::Nested;
use crate::fields::Slot;
use crate::messages::Turn;
use crate::messages::provider_body;
use crate::messages::provider_message;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("pydantic_ai.all_messages", Slot::Conversation),
        ("gen_ai.usage.details.reasoning_tokens", Slot::ReasoningTokens),
        ("gen_ai.usage.details.cache_read_tokens", Slot::CacheReadTokens),
        ("gen_ai.usage.details.cache_read_input_tokens", Slot::CacheReadTokens),
        ("gen_ai.usage.details.cached_tokens", Slot::CacheReadTokens),
        ("gen_ai.usage.details.cache_write_tokens", Slot::CacheCreationTokens),
        ("gen_ai.usage.details.cache_creation_input_tokens", Slot::CacheCreationTokens),
    ],
    marks: &["pydantic_ai."],
    turns,
    ..Dialect::SILENT
};

/// Names without a prefix. They say something where the span is a GenAI span.
pub(super) static PLAIN: Dialect = Dialect {
    guest: true,
    keys: &[
        ("agent_name", Slot::AgentName),
        ("model_name", Slot::RequestModel),
        ("operation.cost", Slot::Cost),
        ("events", Slot::Conversation),
        ("all_messages_events", Slot::Conversation),
        ("final_result", Slot::Output),
        ("tool_arguments", Slot::ToolArguments),
        ("tool_response", Slot::ToolResult),
        ("inputs", Slot::InputMessages),
        ("embeddings", Slot::Output),
        ("request_data", Slot::Input),
        ("response_data", Slot::Output),
        ("logfire.tags", Slot::Tags),
        ("logfire.json_schema", Slot::Bookkeeping),
    ],
    nested: &[Nested { key: "model_request_parameters", members: &[("function_tools", Slot::ToolDefinitions)] }],
    operation: |_| None::<Class>,
    turns,
    ..Dialect::SILENT
};

/// Reads messages of the conventions, the events that these were before, or texts to embed.
fn turns(json: &str) -> Option<Vec<Turn<'_>>> {
    let of_conventions = json.contains(r#""parts""#).then(|| otel::turns(json)).flatten();
    of_conventions.or_else(|| provider_message::messages(json)).or_else(|| provider_body::request(json))
}
