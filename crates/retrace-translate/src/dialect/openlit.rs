//! OpenLIT, in what it writes beside OpenTelemetry's conventions.
//!
//! Keys follow `sdk/python/src/openlit/semcov/__init__.py` of its repository.
//! `gen_ai.server.time_to_first_token` has no place: OpenLIT writes seconds and Strands milliseconds under that name.

use super::{Class, Dialect};
use crate::fields::Slot;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("gen_ai.request.user", Slot::UserId),
        ("gen_ai.tool.args", Slot::ToolArguments),
        ("gen_ai.agent.role", Slot::AgentName),
        ("gen_ai.agent.task", Slot::Input),
        ("gen_ai.agent.actual_output", Slot::Output),
    ],
    operation,
    ..Dialect::SILENT
};

fn operation(name: &str) -> Option<Class> {
    Some(match name {
        "embedding" | "image" | "audio" => Class::Model,
        "agent" | "execute_task" => Class::Agent,
        "vectordb" | "fine_tuning" => Class::Action,
        _ => return None,
    })
}
