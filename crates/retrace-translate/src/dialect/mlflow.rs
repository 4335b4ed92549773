//! MLflow: `mlflow.*`, every value a JSON text.
//!
//! Keys follow `mlflow.tracing.constant`. Inputs and outputs are those of the function that was traced; of a call of a
//! model they are in the words of the provider's API.

use super::{Class, Dialect};
use crate::fields::Nested;
use crate::fields::Slot;
use crate::messages::Turn;
use crate::messages::provider_body;
use crate::messages::provider_message;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    quoted: true,
    keys: &[
        ("mlflow.spanType", Slot::Kind),
        ("mlflow.spanInputs", Slot::Input),
        ("mlflow.spanOutputs", Slot::Output),
        ("mlflow.chat.messages", Slot::Conversation),
        ("mlflow.chat.tools", Slot::ToolDefinitions),
        ("mlflow.llm.model", Slot::RequestModel),
        ("mlflow.llm.provider", Slot::Provider),
        ("mlflow.trace.session", Slot::SessionId),
        ("mlflow.trace.user", Slot::UserId),
        ("mlflow.traceName", Slot::TraceName),
    ],
    nested: &[
        Nested {
            key: "mlflow.chat.tokenUsage",
            members: &[
                ("input_tokens", Slot::InputTokens),
                ("output_tokens", Slot::OutputTokens),
                ("total_tokens", Slot::TotalTokens),
                ("cache_read_input_tokens", Slot::CacheReadTokens),
                ("cache_creation_input_tokens", Slot::CacheCreationTokens),
            ],
        },
        Nested { key: "mlflow.llm.cost", members: &[("total_cost", Slot::Cost)] },
    ],
    prefixes: &[("mlflow.traceTag.", Slot::UserMetadata)],
    marks: &["mlflow."],
    operation,
    turns,
    ..Dialect::SILENT
};

fn operation(kind: &str) -> Option<Class> {
    Some(match kind {
        "LLM" | "CHAT_MODEL" | "EMBEDDING" => Class::Model,
        "TOOL" => Class::Tool,
        "AGENT" | "CHAIN" | "WORKFLOW" | "TASK" => Class::Agent,
        "RETRIEVER" | "RERANKER" | "PARSER" | "MEMORY" | "GUARDRAIL" | "EVALUATOR" => Class::Action,
        _ => return None,
    })
}

fn turns(json: &str) -> Option<Vec<Turn<'_>>> {
    provider_message::messages(json).or_else(|| provider_body::request(json))
}
