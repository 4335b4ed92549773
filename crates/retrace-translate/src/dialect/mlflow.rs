//! MLflow: `mlflow.*`, every value a JSON text.
//!
//! Keys follow `mlflow.tracing.constant`. Inputs and outputs are those of the traced function; those of a model call have the
//! form of the provider's API.

use super::{Class, Dialect};
use crate::fields::Field;
use crate::fields::Nested;
use crate::messages::Turn;
use crate::messages::provider_body;
use crate::messages::provider_message;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    quoted: true,
    keys: &[
        ("mlflow.spanType", Field::Kind),
        ("mlflow.spanInputs", Field::Input),
        ("mlflow.spanOutputs", Field::Output),
        ("mlflow.chat.messages", Field::Conversation),
        ("mlflow.chat.tools", Field::ToolDefinitions),
        ("mlflow.llm.model", Field::RequestModel),
        ("mlflow.llm.provider", Field::Provider),
        ("mlflow.trace.session", Field::SessionId),
        ("mlflow.trace.user", Field::UserId),
        ("mlflow.traceName", Field::TraceName),
    ],
    nested: &[
        Nested {
            key: "mlflow.chat.tokenUsage",
            members: &[
                ("input_tokens", Field::InputTokens),
                ("output_tokens", Field::OutputTokens),
                ("total_tokens", Field::TotalTokens),
                ("cache_read_input_tokens", Field::CacheReadTokens),
                ("cache_creation_input_tokens", Field::CacheCreationTokens),
            ],
        },
        Nested { key: "mlflow.llm.cost", members: &[("total_cost", Field::Cost)] },
    ],
    prefixes: &[("mlflow.traceTag.", Field::UserMetadata)],
    marks: &["mlflow."],
    operation,
    turns,
    ..Dialect::EMPTY
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
