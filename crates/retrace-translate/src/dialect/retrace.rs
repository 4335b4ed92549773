//! `retrace.*`: what an application states outright. It outweighs everything a library recorded.

use super::Dialect;
use crate::attributes;
use crate::fields::Slot;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        (attributes::SPAN_TYPE, Slot::SpanType),
        (attributes::NAME, Slot::Name),
        (attributes::TRACE_NAME, Slot::TraceName),
        (attributes::SESSION_ID, Slot::SessionId),
        (attributes::USER_ID, Slot::UserId),
        (attributes::TAGS, Slot::Tags),
        // Keys of a run's metadata that have a place of their own.
        ("retrace.metadata.user_id", Slot::UserId),
        ("retrace.metadata.tags", Slot::Tags),
        (attributes::INPUT, Slot::Input),
        (attributes::OUTPUT, Slot::Output),
        (attributes::MODEL, Slot::ResponseModel),
        (attributes::INPUT_TOKENS, Slot::InputTokens),
        (attributes::OUTPUT_TOKENS, Slot::OutputTokens),
        (attributes::COST, Slot::Cost),
        (attributes::AGENT_ID, Slot::AgentId),
        (attributes::AGENT_ROLE, Slot::AgentName),
        (attributes::PARENT_AGENT_ID, Slot::ParentAgentId),
        (attributes::STATUS, Slot::Status),
        (attributes::ERROR, Slot::StatedError),
        (attributes::METADATA, Slot::StatedMetadata),
        (attributes::PARTIAL, Slot::Partial),
        (attributes::TRUNCATED, Slot::Truncated),
        (attributes::TOOL_CALL_ID, Slot::ToolCallId),
        (attributes::TOKEN_IDS, Slot::TokenIds),
        (attributes::LOGPROBS, Slot::Logprobs),
    ],
    prefixes: &[(attributes::METADATA_PREFIX, Slot::UserMetadata)],
    marks: &["retrace."],
    ..Dialect::SILENT
};
