//! Names under `gen_ai.*` that no registry ever had: what libraries write where OpenTelemetry's conventions have nothing, or
//! had nothing yet. What a thing costs, above all.

use super::{Dialect, otel_legacy};
use crate::slot::Slot;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("gen_ai.request.id", Slot::RequestId),
        ("gen_ai.usage.cached_tokens", Slot::CacheReadTokens),
        ("gen_ai.usage.cache_read_tokens", Slot::CacheReadTokens),
        ("gen_ai.usage.cache_write_tokens", Slot::CacheCreationTokens),
        ("gen_ai.usage.cache_creation_tokens", Slot::CacheCreationTokens),
        ("gen_ai.usage.cached_input_tokens", Slot::CacheReadTokens),
        ("gen_ai.usage.input_tokens.cached", Slot::CacheReadTokens),
        ("gen_ai.usage.input_tokens.cache_write", Slot::CacheCreationTokens),
        ("gen_ai.usage.cache_write_input_tokens", Slot::CacheCreationTokens),
        ("gen_ai.usage.output_tokens.reasoning", Slot::ReasoningTokens),
        ("gen_ai.usage.input_cache_read_tokens", Slot::CacheReadTokens),
        ("gen_ai.usage.input_cached_tokens", Slot::CacheReadTokens),
        ("gen_ai.usage.cached_prompt_tokens", Slot::CacheReadTokens),
        ("gen_ai.usage.prompt_tokens_cached", Slot::CacheReadTokens),
        ("gen_ai.usage.cache_read", Slot::CacheReadTokens),
        ("gen_ai.usage.input_cache_write_tokens", Slot::CacheCreationTokens),
        ("gen_ai.usage.cache_creation", Slot::CacheCreationTokens),
        ("gen_ai.usage.output_reasoning_tokens", Slot::ReasoningTokens),
        ("gen_ai.usage.thinking_tokens", Slot::ReasoningTokens),
        ("gen_ai.usage.thoughts_tokens", Slot::ReasoningTokens),
        // The usage object of a provider, whole.
        ("gen_ai.usage", Slot::ProviderUsage),
        ("gen_ai.response.usage", Slot::ProviderUsage),
        ("gen_ai.cost.usd", Slot::Cost),
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
    ],
    turns: otel_legacy::turns,
    ..Dialect::SILENT
};

/// Counts in spellings that no table has, with the least trust.
pub(super) static SPELLED: Dialect = Dialect { genai: true, ..Dialect::SILENT };

/// Place of a count that a library spells in a way of its own, by the words of its key: `gen_ai.usage.` and then
/// `input_token_details.cache_read`, `prompt_tokens_details.cached_tokens`, `cache_hit_tokens`, `reasoning_output_tokens`.
///
/// Keys of money, of ratios and of parts of such a count have no place.
pub(super) fn spelled(key: &str) -> Option<Slot> {
    const OTHER: [&str; 16] = [
        "cost",
        "usd",
        "price",
        "ratio",
        "rate",
        "percent",
        "saving",
        "miss",
        "uncached",
        "non_cached",
        "no_cache",
        "audio",
        "image",
        "5m",
        "1h",
        "ephemeral",
    ];
    let name = key.strip_prefix("gen_ai.usage.").or_else(|| key.strip_prefix("llm.usage."))?;
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&OTHER) {
        None
    } else if has(&["reason", "thinking", "thought"]) {
        Some(Slot::ReasoningTokens)
    } else if has(&["cache"]) {
        Some(if has(&["write", "creat"]) { Slot::CacheCreationTokens } else { Slot::CacheReadTokens })
    } else {
        None
    }
}
