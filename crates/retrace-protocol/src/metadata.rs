//! The metadata keys that have a meaning (PROTOCOL.md section 13, and MAPPING.md for those this project adds).
//!
//! Everything else in `metadata` is the user's. Keys that begin with `_` are reserved for Retrace.

/// On a trace: the deployment environment, which routes the run to a data namespace.
pub const ENVIRONMENT: &str = "environment";
/// On a trace: `true` when it can be forked and replayed.
pub const RESUMABLE: &str = "_resumable";
/// On a trace: the fork that made it.
pub const FORK_ID: &str = "_fork_id";
/// On a trace: the trace it was forked from.
pub const FORK_OF: &str = "_fork_of";
/// On a trace: the span it was forked at.
pub const FORK_POINT: &str = "_fork_point";
/// On a trace: the lease under which the fork ran; may be null.
pub const FORK_EXECUTION_ID: &str = "_fork_execution_id";
/// On a trace: `true` when the fork re-ran everything after the fork point.
pub const CASCADE_REPLAY: &str = "_cascade_replay";
/// On a trace: the trace that was replayed.
pub const REPLAY_OF: &str = "_replay_of";
/// On a trace: `true` for a replay from a cassette.
pub const DETERMINISTIC_REPLAY: &str = "_deterministic_replay";
/// On a trace: entries of that cassette.
pub const CASSETTE_SIZE: &str = "_cassette_size";

/// On a `tool_call` and a `tool_result`: the provider's id of the call; joins the two.
pub const TOOL_CALL_ID: &str = "tool_call_id";
/// On an `llm_call`: an object from tool name to the JSON Schema of its parameters.
pub const TOOL_SCHEMAS: &str = "tool_schemas";
/// On an `llm_call`: temperature, `top_p`, `top_k`, seed, `max_tokens` and their like.
pub const SAMPLING: &str = "sampling";
/// On an `llm_call`: `true` when the answer was streamed.
pub const STREAMING: &str = "streaming";
/// On an `llm_call`: `true` when output text was cut.
pub const TRUNCATED: &str = "truncated";
/// On an `llm_call`: `true` when the stream was not seen to its end.
pub const PARTIAL: &str = "partial";
/// On an `llm_call`: whether the stream was seen to its end.
pub const CAPTURE_COMPLETE: &str = "capture_complete";
/// On an `llm_call`: `true` when images were part of the input.
pub const VISION: &str = "vision";
/// On an `llm_call`: `true` when a response format was asked for.
pub const STRUCTURED_OUTPUT: &str = "structured_output";
