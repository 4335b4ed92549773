//! Genkit: `genkit:*`.
//!
//! Keys follow the tracing of its SDKs. An action has a type, such as `flow`, `model` or `tool`, one input and one output.
//! Those of a model are a request and a response in Genkit's own form, whatever the provider.

use super::{Class, Dialect};
use crate::fields::Field;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("genkit:type", Field::Kind),
        ("genkit:metadata:subtype", Field::Operation),
        ("genkit:name", Field::Callee),
        ("genkit:input", Field::Input),
        ("genkit:output", Field::Output),
        ("genkit:sessionId", Field::SessionId),
    ],
    marks: &["genkit:"],
    operation,
    ..Dialect::EMPTY
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
