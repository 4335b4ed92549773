//! Langfuse: `langfuse.observation.*` of a span, `langfuse.trace.*` of the run.
//!
//! Keys follow the attributes of its SDKs. An observation has any input and output; what a generation was given and
//! answered is in the words of the provider's API, mostly.

use super::{Class, Dialect};
use crate::fields::Slot;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("langfuse.observation.type", Slot::Kind),
        ("langfuse.observation.input", Slot::Input),
        ("langfuse.observation.output", Slot::Output),
        ("langfuse.observation.model.name", Slot::RequestModel),
        // As documented for other languages than those of the SDKs.
        ("langfuse.observation.model", Slot::RequestModel),
        ("langfuse.observation.model.parameters", Slot::Parameters),
        ("langfuse.observation.usage_details", Slot::UsageByKind),
        ("langfuse.observation.cost_details", Slot::CostByKind),
        ("langfuse.observation.level", Slot::Level),
        ("langfuse.observation.status_message", Slot::StatusMessage),
        ("langfuse.trace.name", Slot::TraceName),
        ("langfuse.trace.input", Slot::RunInput),
        ("langfuse.trace.output", Slot::RunOutput),
        ("langfuse.trace.tags", Slot::Tags),
        ("langfuse.tags", Slot::Tags),
        ("langfuse.session.id", Slot::SessionId),
        ("langfuse.user.id", Slot::UserId),
    ],
    prefixes: &[
        ("langfuse.trace.metadata.", Slot::UserMetadata),
        ("langfuse.observation.metadata.", Slot::UserMetadata),
    ],
    marks: &["langfuse."],
    operation,
    hints: &[("langfuse.observation.usage_details", Class::Model), ("langfuse.observation.model.name", Class::Model)],
    ..Dialect::SILENT
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
