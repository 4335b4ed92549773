//! Attributes that OpenTelemetry's GenAI conventions had once, and the few of their kind that libraries of the corpus write
//! without a registry having had them.
//!
//! The deprecated registry of commit 953276ff has what was renamed or removed; real libraries write them to this day.

use super::{Dialect, langsmith};
use crate::fields::Field;
use crate::messages::Turn;
use crate::messages::provider_body;
use crate::messages::provider_message;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("gen_ai.system", Field::Provider),
        ("gen_ai.usage.prompt_tokens", Field::InputTokens),
        ("gen_ai.usage.completion_tokens", Field::OutputTokens),
        ("gen_ai.usage.reasoning_tokens", Field::ReasoningTokens),
        ("gen_ai.usage.cache_read_input_tokens", Field::CacheReadTokens),
        ("gen_ai.usage.cache_creation_input_tokens", Field::CacheCreationTokens),
        ("gen_ai.usage.cache_write.input_tokens", Field::CacheCreationTokens),
        // Once a request and an answer in the words of whoever recorded them.
        ("gen_ai.prompt", Field::InputMessages),
        ("gen_ai.completion", Field::OutputMessages),
        ("gen_ai.openai.request.seed", Field::Seed),
        ("gen_ai.openai.request.response_format", Field::OutputType),
    ],
    events: &["gen_ai.content.prompt", "gen_ai.content.completion"],
    turns,
    wraps: langsmith::is_serialised,
    ..Dialect::EMPTY
};

/// Messages, or a request or an answer of a provider's API that has them in it.
pub(super) fn turns(json: &str) -> Option<Vec<Turn<'_>>> {
    let read = provider_message::messages(json)
        .or_else(|| provider_body::request(json))
        .or_else(|| provider_body::response(json));
    read.or_else(|| langsmith::turns(json))
}
