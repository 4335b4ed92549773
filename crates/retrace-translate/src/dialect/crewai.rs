//! CrewAI: the spans of its own telemetry, whose attributes have no namespace, and `crewai.*` of its instrumentations.
//!
//! The own spans follow `lib/crewai/src/crewai/telemetry/telemetry.py` of its repository: inputs and outputs are there when
//! the crew is shared. `crewai.*` follows `CrewAISpanAttributes` of OpenLLMetry's instrumentation, which AgentOps shares.

use super::{Class, Dialect};
use crate::fields::Slot;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("crewai.crew.result", Slot::Output),
        ("crewai.agent.id", Slot::AgentId),
        ("crewai.agent.role", Slot::AgentName),
        ("crewai.task.description", Slot::Input),
    ],
    scopes: &["crewai.telemetry"],
    own: &[
        ("crew_inputs", Slot::Input),
        ("crew_output", Slot::Output),
        ("formatted_description", Slot::Input),
        ("task_output", Slot::Output),
        ("agent_role", Slot::AgentName),
        ("tool_name", Slot::ToolName),
    ],
    named,
    marks: &["crewai."],
    hints: &[
        ("crewai.crew.result", Class::Agent),
        ("crewai.agent.role", Class::Agent),
        ("crewai.task.description", Class::Agent),
    ],
    ..Dialect::SILENT
};

fn named(span: &str) -> Option<Class> {
    Some(match span.split(' ').next()? {
        "Tool" => Class::Tool,
        "Crew" | "Task" | "Flow" => Class::Agent,
        _ => Class::Action,
    })
}
