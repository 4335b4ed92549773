//! Dify: workflow node spans, what they have beside OpenTelemetry's conventions.
//!
//! Keys follow `api/extensions/otel/semconv` of its repository, kinds `api/extensions/otel/parser/base.py`.

use super::{Class, Dialect};
use crate::fields::Field;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("gen_ai.span.kind", Field::Kind),
        ("gen_ai.user.id", Field::UserId),
        ("retrieval.query", Field::RetrievalQuery),
        ("retrieval.document", Field::RetrievalDocuments),
        ("dify.streaming", Field::Streaming),
    ],
    marks: &["dify."],
    operation,
    ..Dialect::EMPTY
};

fn operation(kind: &str) -> Option<Class> {
    Some(match kind {
        "LLM" => Class::Model,
        "TOOL" => Class::Tool,
        "TASK" | "CHAIN" | "WORKFLOW" => Class::Agent,
        "RETRIEVER" => Class::Action,
        _ => return None,
    })
}
