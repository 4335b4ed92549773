//! AgentOps: `agentops.*`, beside OpenLLMetry's flattened messages.
//!
//! Keys follow `agentops/semconv/span_attributes.py`. A decorator writes its input and output under the kind of its span. A tool
//! call in a response of OpenAI is a span of its own, [`CALLED`], which executes nothing.

use super::{Class, Dialect, openllmetry};
use crate::fields::Field;
use crate::fields::{FlattenedKey, LeafType};

/// Beginning of the name of a span that announces a tool call.
pub(crate) const CALLED: &str = "tool_call.";
/// Beginning of the kind of such a span.
pub(crate) const CALLED_KIND: &str = "AgentOpsSpanKindValues.";

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("agentops.span.kind", Field::Kind),
        ("agentops.entity.name", Field::EntityName),
        ("agentops.entity.input", Field::Input),
        ("agentops.entity.output", Field::Output),
        ("agentops.agent.input", Field::Input),
        ("agentops.agent.output", Field::Output),
        ("agentops.chain.input", Field::Input),
        ("agentops.chain.output", Field::Output),
        ("agentops.guardrail.input", Field::Input),
        ("agentops.guardrail.output", Field::Output),
        ("agentops.operation.input", Field::Input),
        ("agentops.operation.output", Field::Output),
        ("agentops.session.input", Field::Input),
        ("agentops.session.output", Field::Output),
        ("agentops.task.input", Field::Input),
        ("agentops.task.output", Field::Output),
        ("agentops.tool.input", Field::Input),
        ("agentops.tool.output", Field::Output),
        ("agentops.workflow.input", Field::Input),
        ("agentops.workflow.output", Field::Output),
        ("agentops.tags", Field::Tags),
        ("gen_ai.request.streaming", Field::Streaming),
    ],
    spans: &[CALLED],
    scopes: &["agentops"],
    own: &[
        ("operation.name", Field::EntityName),
        ("tool.parameters", Field::ToolArguments),
        ("tool.call.id", Field::ToolCallId),
    ],
    flattened: &[FlattenedKey {
        prefix: "gen_ai.request.functions.",
        field: Field::ToolDefinitions,
        paths: &[("N.name", LeafType::Label), ("N.description", LeafType::Label), ("N.parameters", LeafType::Json)],
    }],
    marks: &["agentops."],
    operation,
    unwrapped: openllmetry::unwrapped,
    ..Dialect::EMPTY
};

fn operation(kind: &str) -> Option<Class> {
    Some(match kind.strip_prefix(CALLED_KIND).unwrap_or(kind).to_ascii_lowercase().as_str() {
        "session" | "workflow" | "agent" | "task" | "operation" | "chain" => Class::Agent,
        "tool" => Class::Tool,
        "llm" => Class::Model,
        "guardrail" => Class::Action,
        _ => return None,
    })
}
