//! Genkit: `genkit:*`.
//!
//! Keys follow the tracing of its SDKs. An action is of a type, such as `flow`, `model` or `tool`, and has one input and one
//! output; those of a model are a request and an answer of Genkit's own, which it makes of those of every provider.

use super::{Class, Dialect};
use crate::fields::Slot;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("genkit:type", Slot::Kind),
        ("genkit:metadata:subtype", Slot::Operation),
        ("genkit:name", Slot::Callee),
        ("genkit:input", Slot::Input),
        ("genkit:output", Slot::Output),
        ("genkit:sessionId", Slot::SessionId),
    ],
    marks: &["genkit:"],
    operation,
    ..Dialect::SILENT
};

fn operation(name: &str) -> Option<Class> {
    Some(match name {
        "model" | "background-model" | "embedder" => Class::Model,
        "tool" | "tool.v2" => Class::Tool,
        "flow" | "agent" => Class::Agent,
        "flowStep" | "prompt" | "executable-prompt" | "promptTemplate" | "util" | "retriever" | "indexer"
        | "reranker" | "evaluator" | "resource" => Class::Action,
        _ => return None,
    })
}
