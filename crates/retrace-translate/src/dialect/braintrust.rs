//! Braintrust: `braintrust.*`, most values a JSON text.
//!
//! Keys follow "OpenTelemetry attributes and events" of its documentation
//! (`braintrust.dev/docs/integrations/sdk-integrations/opentelemetry/attributes`) and the instrumentations of
//! `braintrust-sdk-java` and `braintrust-sdk-go`. What a model was given and answered is in the words of the provider's API.

use super::{Class, Dialect};
use crate::fields::Nested;
use crate::fields::Slot;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    quoted: true,
    keys: &[
        ("braintrust.input_json", Slot::Input),
        ("braintrust.output_json", Slot::Output),
        ("braintrust.input", Slot::Input),
        ("braintrust.output", Slot::Output),
        ("braintrust.tags", Slot::Tags),
        ("braintrust.span_attributes.type", Slot::Kind),
        ("braintrust.metadata.model", Slot::RequestModel),
        ("braintrust.metadata.provider", Slot::Provider),
        ("braintrust.metrics.prompt_tokens", Slot::InputTokens),
        ("braintrust.metrics.completion_tokens", Slot::OutputTokens),
        ("braintrust.metrics.tokens", Slot::TotalTokens),
        ("braintrust.metrics.prompt_cached_tokens", Slot::CacheReadTokens),
        ("braintrust.metrics.prompt_cache_creation_tokens", Slot::CacheCreationTokens),
        ("braintrust.metrics.completion_reasoning_tokens", Slot::ReasoningTokens),
        ("braintrust.metrics.time_to_first_token", Slot::TimeToFirstChunk),
    ],
    nested: &[
        Nested { key: "braintrust.span_attributes", members: &[("type", Slot::Kind), ("name", Slot::EntityName)] },
        Nested {
            key: "braintrust.metadata",
            members: &[("model", Slot::RequestModel), ("provider", Slot::Provider), ("tools", Slot::ToolDefinitions)],
        },
        Nested {
            key: "braintrust.metrics",
            members: &[
                ("prompt_tokens", Slot::InputTokens),
                ("completion_tokens", Slot::OutputTokens),
                ("tokens", Slot::TotalTokens),
                ("prompt_cached_tokens", Slot::CacheReadTokens),
                ("prompt_cache_creation_tokens", Slot::CacheCreationTokens),
                ("completion_reasoning_tokens", Slot::ReasoningTokens),
                ("time_to_first_token", Slot::TimeToFirstChunk),
            ],
        },
    ],
    marks: &["braintrust."],
    operation,
    ..Dialect::SILENT
};

fn operation(kind: &str) -> Option<Class> {
    Some(match kind {
        "llm" => Class::Model,
        "tool" | "function" | "function_call" => Class::Tool,
        "task" | "eval" => Class::Agent,
        "score" => Class::Action,
        _ => return None,
    })
}
