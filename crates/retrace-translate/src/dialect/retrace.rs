//! `retrace.*`: what an application states outright. It outweighs everything a library recorded.

use super::Dialect;
use crate::slot::Slot;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("retrace.span_type", Slot::SpanType),
        ("retrace.name", Slot::Name),
        ("retrace.trace.name", Slot::TraceName),
        ("retrace.session_id", Slot::SessionId),
        ("retrace.user_id", Slot::UserId),
        ("retrace.tags", Slot::Tags),
        // Keys of a run's metadata that have a place of their own.
        ("retrace.metadata.user_id", Slot::UserId),
        ("retrace.metadata.tags", Slot::Tags),
        ("retrace.input", Slot::Input),
        ("retrace.output", Slot::Output),
        ("retrace.model", Slot::ResponseModel),
        ("retrace.input_tokens", Slot::InputTokens),
        ("retrace.output_tokens", Slot::OutputTokens),
        ("retrace.cost", Slot::Cost),
        ("retrace.agent_id", Slot::AgentId),
        ("retrace.agent_role", Slot::AgentName),
        ("retrace.parent_agent_id", Slot::ParentAgentId),
        ("retrace.status", Slot::Status),
        ("retrace.error", Slot::StatedError),
        ("retrace.metadata", Slot::StatedMetadata),
        ("retrace.partial", Slot::Partial),
        ("retrace.truncated", Slot::Truncated),
        ("retrace.tool_call_id", Slot::ToolCallId),
        ("retrace.token_ids", Slot::TokenIds),
        ("retrace.logprobs", Slot::Logprobs),
    ],
    prefixes: &[("retrace.metadata.", Slot::UserMetadata)],
    marks: &["retrace."],
    ..Dialect::SILENT
};
