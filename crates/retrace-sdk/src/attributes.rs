//! Names of the attributes by which spans of this crate state what they are.

pub(crate) const SPAN_TYPE: &str = "retrace.span_type";
pub(crate) const NAME: &str = "retrace.name";
pub(crate) const TRACE_NAME: &str = "retrace.trace.name";
pub(crate) const SESSION_ID: &str = "retrace.session_id";
pub(crate) const USER_ID: &str = "retrace.user_id";
pub(crate) const TAGS: &str = "retrace.tags";
pub(crate) const INPUT: &str = "retrace.input";
pub(crate) const OUTPUT: &str = "retrace.output";
pub(crate) const STATUS: &str = "retrace.status";
pub(crate) const MODEL: &str = "retrace.model";
pub(crate) const INPUT_TOKENS: &str = "retrace.input_tokens";
pub(crate) const OUTPUT_TOKENS: &str = "retrace.output_tokens";
pub(crate) const COST: &str = "retrace.cost";
pub(crate) const AGENT_ID: &str = "retrace.agent_id";
pub(crate) const AGENT_ROLE: &str = "retrace.agent_role";
pub(crate) const PARENT_AGENT_ID: &str = "retrace.parent_agent_id";
pub(crate) const TOOL_CALL_ID: &str = "retrace.tool_call_id";
pub(crate) const TOKEN_IDS: &str = "retrace.token_ids";
pub(crate) const LOGPROBS: &str = "retrace.logprobs";
pub(crate) const METADATA: &str = "retrace.metadata";
pub(crate) const TRUNCATED: &str = "retrace.truncated";
pub(crate) const ERROR_TYPE: &str = "error.type";
