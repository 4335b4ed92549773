//! Attributes that OpenTelemetry's GenAI conventions had once, and names that libraries built on them use beside the
//! registry.
//!
//! The deprecated registry of commit 953276ff has what was renamed or removed; real libraries write them to this day.

use super::Dialect;
use crate::messages::Turn;
use crate::slot::Slot;
use crate::{chat, exchange};

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("gen_ai.system", Slot::Provider),
        ("gen_ai.usage.prompt_tokens", Slot::InputTokens),
        ("gen_ai.usage.completion_tokens", Slot::OutputTokens),
        ("gen_ai.usage.reasoning_tokens", Slot::ReasoningTokens),
        ("gen_ai.usage.cache_read_input_tokens", Slot::CacheReadTokens),
        ("gen_ai.usage.cache_creation_input_tokens", Slot::CacheCreationTokens),
        ("gen_ai.usage.cache_write.input_tokens", Slot::CacheCreationTokens),
        // What libraries add where the registry has nothing, or had nothing yet.
        ("gen_ai.usage.cached_tokens", Slot::CacheReadTokens),
        ("gen_ai.usage.cached_input_tokens", Slot::CacheReadTokens),
        ("gen_ai.usage.input_tokens.cached", Slot::CacheReadTokens),
        ("gen_ai.usage.input_tokens.cache_write", Slot::CacheCreationTokens),
        ("gen_ai.usage.output_tokens.reasoning", Slot::ReasoningTokens),
        ("gen_ai.usage.cost", Slot::Cost),
        ("gen_ai.usage.cost.total", Slot::Cost),
        ("gen_ai.usage.cost_usd", Slot::Cost),
        ("gen_ai.usage.total_cost", Slot::Cost),
        ("gen_ai.usage.total_cost_usd", Slot::Cost),
        ("gen_ai.cost.total_tokens", Slot::Cost),
        ("gen_ai.request.is_stream", Slot::Streaming),
        ("gen_ai.response.streaming", Slot::Streaming),
        ("gen_ai.request.available_tools", Slot::ToolDefinitions),
        ("gen_ai.request.messages", Slot::InputMessages),
        ("gen_ai.response.text", Slot::OutputMessages),
        ("gen_ai.tool.input", Slot::ToolArguments),
        ("gen_ai.tool.output", Slot::ToolResult),
        // Once a request and an answer in the words of whoever recorded them.
        ("gen_ai.prompt", Slot::InputMessages),
        ("gen_ai.completion", Slot::OutputMessages),
        ("gen_ai.openai.request.seed", Slot::Seed),
        ("gen_ai.openai.request.response_format", Slot::OutputType),
    ],
    events: &["gen_ai.content.prompt", "gen_ai.content.completion"],
    turns,
    ..Dialect::SILENT
};

/// Messages, or a request or an answer of a provider's API that has them in it.
fn turns(json: &str) -> Option<Vec<Turn<'_>>> {
    chat::messages(json).or_else(|| exchange::request(json)).or_else(|| exchange::response(json))
}
