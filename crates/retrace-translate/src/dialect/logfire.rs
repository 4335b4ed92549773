//! Logfire's spans of the OpenAI Agents SDK, which are named by the template of their message.
//!
//! Model calls follow OpenTelemetry's conventions and are read as such. The other spans have keys without a namespace: `name` is
//! that of the run, of an agent or of a tool.

use super::{Class, Dialect};
use crate::fields::Field;

/// The span of a run.
pub(super) static TRACE: Dialect = Dialect {
    genai: true,
    spans: &["OpenAI Agents trace:"],
    own: &[("name", Field::TraceName), ("group_id", Field::SessionId)],
    named: |_| Some(Class::Agent),
    ..Dialect::EMPTY
};

/// The span of an agent.
pub(super) static AGENT: Dialect = Dialect {
    genai: true,
    spans: &["Agent run:"],
    own: &[("name", Field::AgentName)],
    named: |_| Some(Class::Agent),
    ..Dialect::EMPTY
};

/// The span of a tool.
pub(super) static FUNCTION: Dialect = Dialect {
    genai: true,
    spans: &["Function: {name}"],
    own: &[("name", Field::ToolName), ("input", Field::ToolArguments), ("output", Field::ToolResult)],
    named: |_| Some(Class::Tool),
    ..Dialect::EMPTY
};
