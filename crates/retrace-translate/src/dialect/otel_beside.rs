//! Names under `gen_ai.*` that no registry ever had: what libraries write where OpenTelemetry's conventions had nothing yet,
//! mostly costs.

use super::{Dialect, otel_legacy};
use crate::fields::Field;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("gen_ai.request.id", Field::RequestId),
        ("gen_ai.usage.cached_tokens", Field::CacheReadTokens),
        ("gen_ai.usage.cache_read_tokens", Field::CacheReadTokens),
        ("gen_ai.usage.cache_write_tokens", Field::CacheCreationTokens),
        ("gen_ai.usage.cache_creation_tokens", Field::CacheCreationTokens),
        ("gen_ai.usage.cached_input_tokens", Field::CacheReadTokens),
        ("gen_ai.usage.input_tokens.cached", Field::CacheReadTokens),
        ("gen_ai.usage.input_tokens.cache_write", Field::CacheCreationTokens),
        ("gen_ai.usage.cache_write_input_tokens", Field::CacheCreationTokens),
        ("gen_ai.usage.output_tokens.reasoning", Field::ReasoningTokens),
        ("gen_ai.usage.input_cache_read_tokens", Field::CacheReadTokens),
        ("gen_ai.usage.input_cached_tokens", Field::CacheReadTokens),
        ("gen_ai.usage.cached_prompt_tokens", Field::CacheReadTokens),
        ("gen_ai.usage.prompt_tokens_cached", Field::CacheReadTokens),
        ("gen_ai.usage.cache_read", Field::CacheReadTokens),
        ("gen_ai.usage.input_cache_write_tokens", Field::CacheCreationTokens),
        ("gen_ai.usage.cache_creation", Field::CacheCreationTokens),
        ("gen_ai.usage.output_reasoning_tokens", Field::ReasoningTokens),
        ("gen_ai.usage.thinking_tokens", Field::ReasoningTokens),
        ("gen_ai.usage.thoughts_tokens", Field::ReasoningTokens),
        // The usage object of a provider, whole.
        ("gen_ai.usage", Field::ProviderUsage),
        ("gen_ai.response.usage", Field::ProviderUsage),
        ("gen_ai.usage.raw", Field::ProviderUsage),
        ("gen_ai.cost.usd", Field::Cost),
        ("gen_ai.usage.cost", Field::Cost),
        ("gen_ai.usage.cost.total", Field::Cost),
        ("gen_ai.usage.cost_usd", Field::Cost),
        ("gen_ai.usage.total_cost", Field::Cost),
        ("gen_ai.usage.total_cost_usd", Field::Cost),
        ("gen_ai.cost.total_tokens", Field::Cost),
        ("gen_ai.request.is_stream", Field::Streaming),
        ("gen_ai.response.streaming", Field::Streaming),
        ("gen_ai.request.available_tools", Field::ToolDefinitions),
        ("gen_ai.request.messages", Field::InputMessages),
        ("gen_ai.response.text", Field::OutputMessages),
        ("gen_ai.tool.input", Field::ToolArguments),
        ("gen_ai.tool.output", Field::ToolResult),
        // Tracing of Anthropic's own SDK, beside the conventions.
        ("anthropic.message.stop_reason", Field::FinishReasons),
    ],
    turns: otel_legacy::turns,
    ..Dialect::EMPTY
};

/// Counts in spellings that no table has, at the lowest precedence.
pub(super) static SPELLED: Dialect = Dialect { genai: true, ..Dialect::EMPTY };

/// Returns the field of a count that a library spells in its own way, by the words of its key: `gen_ai.usage.` and then
/// `input_token_details.cache_read`, `prompt_tokens_details.cached_tokens`, `cache_hit_tokens`, `reasoning_output_tokens`.
///
/// Keys of money, of ratios and of parts of such a count fill no field.
pub(super) fn spelled(key: &str) -> Option<Field> {
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
        Some(Field::ReasoningTokens)
    } else if has(&["cache"]) {
        Some(if has(&["write", "creat"]) { Field::CacheCreationTokens } else { Field::CacheReadTokens })
    } else {
        None
    }
}
