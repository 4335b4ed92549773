//! Dify: spans of the nodes of its workflows, in what they have beside OpenTelemetry's conventions.
//!
//! Keys follow `api/extensions/otel/semconv` of its repository, kinds `api/extensions/otel/parser/base.py`.

use super::{Class, Dialect};
use crate::fields::Slot;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("gen_ai.span.kind", Slot::Kind),
        ("gen_ai.user.id", Slot::UserId),
        ("retrieval.query", Slot::RetrievalQuery),
        ("retrieval.document", Slot::RetrievalDocuments),
        ("dify.streaming", Slot::Streaming),
    ],
    marks: &["dify."],
    operation,
    ..Dialect::SILENT
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
