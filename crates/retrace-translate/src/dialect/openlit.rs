//! OpenLIT: what it writes beside OpenTelemetry's conventions.
//!
//! Keys follow `sdk/python/src/openlit/semcov/__init__.py` of its repository. `gen_ai.server.time_to_first_token` fills no
//! field: OpenLIT writes seconds and Strands milliseconds under that name.

use super::{Class, Dialect};
use crate::fields::Field;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("gen_ai.request.user", Field::UserId),
        ("gen_ai.tool.args", Field::ToolArguments),
        ("gen_ai.agent.role", Field::AgentName),
        ("gen_ai.agent.task", Field::Input),
        ("gen_ai.agent.actual_output", Field::Output),
    ],
    operation,
    ..Dialect::EMPTY
};

fn operation(name: &str) -> Option<Class> {
    Some(match name {
        "embedding" | "image" | "audio" => Class::Model,
        "agent" | "execute_task" => Class::Agent,
        "vectordb" | "fine_tuning" => Class::Action,
        _ => return None,
    })
}
