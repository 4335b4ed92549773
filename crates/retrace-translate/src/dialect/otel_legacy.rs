//! Deprecated attributes of OpenTelemetry's GenAI conventions, and a few like them that libraries write although no registry
//! had them.
//!
//! The deprecated registry of commit 953276ff has what was renamed or removed; current libraries still write them.

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
        // Formerly a request and a response in any form.
        ("gen_ai.prompt", Field::InputMessages),
        ("gen_ai.completion", Field::OutputMessages),
        ("gen_ai.openai.request.seed", Field::Seed),
        ("gen_ai.openai.request.response_format", Field::OutputType),
    ],
    events: &["gen_ai.content.prompt", "gen_ai.content.completion"],
    turns,
    wraps: langsmith::is_serialised,
    unwrapped: langsmith::unwrapped,
    ..Dialect::EMPTY
};

/// Reads messages, or the messages in a request or a response of a provider's API.
pub(super) fn turns(json: &str) -> Option<Vec<Turn<'_>>> {
    let read = provider_message::messages(json)
        .or_else(|| provider_body::request(json))
        .or_else(|| provider_body::response(json));
    read.or_else(|| langsmith::turns(json))
}
