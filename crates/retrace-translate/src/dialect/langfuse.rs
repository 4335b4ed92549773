//! Langfuse: `langfuse.observation.*` of a span, `langfuse.trace.*` of the run.
//!
//! Keys follow the attributes of its SDKs. An observation has any input and output; those of a generation mostly have the form
//! of the provider's API.

use super::{Class, Dialect};
use crate::fields::Field;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("langfuse.observation.type", Field::Kind),
        ("langfuse.observation.input", Field::Input),
        ("langfuse.observation.output", Field::Output),
        ("langfuse.observation.model.name", Field::RequestModel),
        // As documented for languages without an SDK.
        ("langfuse.observation.model", Field::RequestModel),
        ("langfuse.observation.model.parameters", Field::Parameters),
        // Metadata of LangChain and of its models' responses.
        ("langfuse.observation.metadata.ls_provider", Field::Provider),
        ("langfuse.observation.metadata.finish_reason", Field::FinishReasons),
        ("langfuse.observation.usage_details", Field::UsageByKind),
        ("langfuse.observation.cost_details", Field::CostByKind),
        ("langfuse.observation.level", Field::Level),
        ("langfuse.observation.status_message", Field::StatusMessage),
        ("langfuse.trace.name", Field::TraceName),
        ("langfuse.trace.input", Field::RunInput),
        ("langfuse.trace.output", Field::RunOutput),
        ("langfuse.trace.tags", Field::Tags),
        ("langfuse.tags", Field::Tags),
        ("langfuse.session.id", Field::SessionId),
        ("langfuse.user.id", Field::UserId),
    ],
    prefixes: &[
        ("langfuse.trace.metadata.", Field::UserMetadata),
        ("langfuse.observation.metadata.", Field::UserMetadata),
    ],
    offers_as_messages: true,
    marks: &["langfuse."],
    operation,
    unwrapped: super::openllmetry::unwrapped,
    hints: &[("langfuse.observation.usage_details", Class::Model), ("langfuse.observation.model.name", Class::Model)],
    ..Dialect::EMPTY
};

fn operation(kind: &str) -> Option<Class> {
    Some(match kind.to_ascii_lowercase().as_str() {
        "generation" | "embedding" => Class::Model,
        "tool" => Class::Tool,
        "agent" | "chain" => Class::Agent,
        "retriever" | "guardrail" | "evaluator" => Class::Action,
        _ => return None,
    })
}
