//! Braintrust: `braintrust.*`, most values a JSON text.
//!
//! Keys follow "OpenTelemetry attributes and events" of its documentation
//! (`braintrust.dev/docs/integrations/sdk-integrations/opentelemetry/attributes`) and the instrumentations of
//! `braintrust-sdk-java` and `braintrust-sdk-go`. Inputs and outputs of models have the form of the provider's API.

use super::{Class, Dialect};
use crate::fields::Field;
use crate::fields::Nested;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    quoted: true,
    keys: &[
        ("braintrust.input_json", Field::Input),
        ("braintrust.output_json", Field::Output),
        ("braintrust.input", Field::Input),
        ("braintrust.output", Field::Output),
        ("braintrust.tags", Field::Tags),
        ("braintrust.span_attributes.type", Field::Kind),
        ("braintrust.metadata.model", Field::RequestModel),
        ("braintrust.metadata.provider", Field::Provider),
        ("braintrust.metrics.prompt_tokens", Field::InputTokens),
        ("braintrust.metrics.completion_tokens", Field::OutputTokens),
        ("braintrust.metrics.tokens", Field::TotalTokens),
        ("braintrust.metrics.prompt_cached_tokens", Field::CacheReadTokens),
        ("braintrust.metrics.prompt_cache_creation_tokens", Field::CacheCreationTokens),
        ("braintrust.metrics.completion_reasoning_tokens", Field::ReasoningTokens),
        ("braintrust.metrics.time_to_first_token", Field::TimeToFirstChunk),
    ],
    nested: &[
        Nested { key: "braintrust.span_attributes", members: &[("type", Field::Kind), ("name", Field::EntityName)] },
        Nested {
            key: "braintrust.metadata",
            members: &[
                ("model", Field::RequestModel),
                ("provider", Field::Provider),
                ("tools", Field::ToolDefinitions),
            ],
        },
        Nested {
            key: "braintrust.metrics",
            members: &[
                ("prompt_tokens", Field::InputTokens),
                ("completion_tokens", Field::OutputTokens),
                ("tokens", Field::TotalTokens),
                ("prompt_cached_tokens", Field::CacheReadTokens),
                ("prompt_cache_creation_tokens", Field::CacheCreationTokens),
                ("completion_reasoning_tokens", Field::ReasoningTokens),
                ("time_to_first_token", Field::TimeToFirstChunk),
            ],
        },
    ],
    marks: &["braintrust."],
    operation,
    ..Dialect::EMPTY
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
