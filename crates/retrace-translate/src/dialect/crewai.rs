//! CrewAI: spans of its own telemetry, whose attributes have no namespace, and `crewai.*` of its instrumentations.
//!
//! The own spans follow `lib/crewai/src/crewai/telemetry/telemetry.py` of its repository; they have inputs and outputs if the
//! crew is shared. `crewai.*` follows `CrewAISpanAttributes` of OpenLLMetry's instrumentation, which AgentOps shares.

use super::{Class, Dialect};
use crate::fields::Field;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("crewai.crew.name", Field::WorkflowName),
        ("crewai.crew.result", Field::Output),
        ("crewai.agent.id", Field::AgentId),
        ("crewai.agent.role", Field::AgentName),
        ("crewai.task.description", Field::Input),
    ],
    scopes: &["crewai.telemetry"],
    own: &[
        ("crew_inputs", Field::Input),
        ("crew_output", Field::Output),
        ("formatted_description", Field::Input),
        ("task_output", Field::Output),
        ("agent_role", Field::AgentName),
        ("tool_name", Field::ToolName),
    ],
    named,
    marks: &["crewai."],
    hints: &[
        ("crewai.crew.result", Class::Agent),
        ("crewai.agent.role", Class::Agent),
        ("crewai.task.description", Class::Agent),
    ],
    ..Dialect::EMPTY
};

fn named(span: &str) -> Option<Class> {
    Some(match span.split(' ').next()? {
        "Tool" => Class::Tool,
        "Crew" | "Task" | "Flow" => Class::Agent,
        _ => Class::Action,
    })
}
