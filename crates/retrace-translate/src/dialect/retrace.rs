//! `retrace.*`: attributes that an application sets itself. They take precedence over everything a library recorded.

use super::Dialect;
use crate::attributes;
use crate::fields::Field;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    is_exact: true,
    spans: &["retrace."],
    keys: &[
        (attributes::SPAN_TYPE, Field::SpanType),
        (attributes::NAME, Field::Name),
        (attributes::TRACE_NAME, Field::TraceName),
        (attributes::SESSION_ID, Field::SessionId),
        (attributes::USER_ID, Field::UserId),
        (attributes::TAGS, Field::Tags),
        // Metadata keys of a run that have fields of their own.
        ("retrace.metadata.user_id", Field::UserId),
        ("retrace.metadata.tags", Field::Tags),
        (attributes::INPUT, Field::Input),
        (attributes::OUTPUT, Field::Output),
        (attributes::MODEL, Field::ResponseModel),
        (attributes::INPUT_TOKENS, Field::InputTokens),
        (attributes::OUTPUT_TOKENS, Field::OutputTokens),
        (attributes::COST, Field::Cost),
        (attributes::AGENT_ID, Field::AgentId),
        (attributes::AGENT_ROLE, Field::AgentName),
        (attributes::PARENT_AGENT_ID, Field::ParentAgentId),
        (attributes::STATUS, Field::Status),
        (attributes::ERROR, Field::StatedError),
        (attributes::METADATA, Field::StatedMetadata),
        (attributes::PARTIAL, Field::Partial),
        (attributes::REPLAYED, Field::Replayed),
        (attributes::TRUNCATED, Field::Truncated),
        (attributes::TOOL_CALL_ID, Field::ToolCallId),
        (attributes::TOKEN_IDS, Field::TokenIds),
        (attributes::LOGPROBS, Field::Logprobs),
    ],
    prefixes: &[(attributes::METADATA_PREFIX, Field::UserMetadata)],
    marks: &["retrace."],
    ..Dialect::EMPTY
};
