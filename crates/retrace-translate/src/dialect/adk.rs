//! Google's Agent Development Kit: `gcp.vertex.agent.*`, beside OpenTelemetry's conventions.
//!
//! Keys follow `google.adk.telemetry`. Requests and responses have Gemini's form, with the names of its Python SDK; on tool
//! spans both are empty objects.

use super::Dialect;
use crate::fields::Field;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("gcp.vertex.agent.llm_request", Field::Input),
        ("gcp.vertex.agent.llm_response", Field::Output),
        ("gcp.vertex.agent.data", Field::InputMessages),
        ("gcp.vertex.agent.tool_call_args", Field::ToolArguments),
        ("gcp.vertex.agent.tool_response", Field::ToolResult),
        ("gcp.vertex.agent.session_id", Field::SessionId),
    ],
    marks: &["gcp.vertex.agent."],
    turns: crate::messages::provider_message::messages,
    ..Dialect::EMPTY
};
