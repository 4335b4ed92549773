//! Span attributes by which an application states what Retrace is to show, whatever a library recorded.
//!
//! | attribute | meaning | value |
//! |---|---|---|
//! | `retrace.span_type` | Type of the span in Retrace, in any case. | `llm_call`, `tool_call`, `tool_result`, `reasoning`, `action`, `error`, `fork_point` |
//! | `retrace.name` | Name of the span in Retrace. | text |
//! | `retrace.trace.name` | Name of the run. | text |
//! | `retrace.session_id` | Session of the run, such as a conversation. | text |
//! | `retrace.user_id` | User on whose behalf the run works. | text |
//! | `retrace.tags` | Labels of the run. | an array of texts |
//! | `retrace.input` | Input of the span; on a root, of the run. | text; JSON is read as such |
//! | `retrace.output` | Output of the span; on a root, of the run. | text; JSON is read as such |
//! | `retrace.model` | Model that answered. | text |
//! | `retrace.input_tokens` | Tokens of the input, those from a cache included. | a number |
//! | `retrace.output_tokens` | Tokens of the output, those of thinking included. | a number |
//! | `retrace.cost` | Cost in US dollars. It replaces the price list. | a number |
//! | `retrace.agent_id` | Agent that acts. | text |
//! | `retrace.agent_role` | Role or name of that agent. | text |
//! | `retrace.parent_agent_id` | Agent that called it; by default the agent around. | text |
//! | `retrace.status` | Ending of the span. Any other value is metadata of the run. | `completed`, `failed` |
//! | `retrace.error` | Error text. The span has failed. | text |
//! | `retrace.metadata` | Metadata of the run on a root, of the span elsewhere. | a JSON object as text |
//! | `retrace.metadata.…` | One key of that metadata follows the prefix. `environment`, `user_id` and `tags` have their own places in a run. | any value |
//! | `retrace.partial` | The output is a part: the stream was dropped. | `true` |
//! | `retrace.replayed` | A recording has answered what the span records: its usage was not spent again. | `true` |
//! | `retrace.truncated` | A value was cut. | `true` |
//! | `retrace.tool_call_id` | The provider's id of the tool call that the span executes. | text |
//! | `retrace.outgoing_call` | The span calls a service that joins the run. `RetracePropagator` sets it. | `true` |
//! | `retrace.token_ids` | Ids of the tokens of the output. | an array of numbers |
//! | `retrace.logprobs` | Logarithms of their probabilities. | an array of numbers |
//!
//! They come before every other convention. On a span without any, the GenAI conventions and those of the libraries decide.

/// Type of the span in Retrace, in any case. Value: `llm_call`, `tool_call`, `tool_result`, `reasoning`, `action`, `error`, `fork_point`.
pub const SPAN_TYPE: &str = "retrace.span_type";
/// Name of the span in Retrace. Value: text.
pub const NAME: &str = "retrace.name";
/// Name of the run. Value: text.
pub const TRACE_NAME: &str = "retrace.trace.name";
/// Session of the run, such as a conversation. Value: text.
pub const SESSION_ID: &str = "retrace.session_id";
/// User on whose behalf the run works. Value: text.
pub const USER_ID: &str = "retrace.user_id";
/// Labels of the run. Value: an array of texts.
pub const TAGS: &str = "retrace.tags";
/// Input of the span; on a root, of the run. Value: text; JSON is read as such.
pub const INPUT: &str = "retrace.input";
/// Output of the span; on a root, of the run. Value: text; JSON is read as such.
pub const OUTPUT: &str = "retrace.output";
/// Model that answered. Value: text.
pub const MODEL: &str = "retrace.model";
/// Tokens of the input, those from a cache included. Value: a number.
pub const INPUT_TOKENS: &str = "retrace.input_tokens";
/// Tokens of the output, those of thinking included. Value: a number.
pub const OUTPUT_TOKENS: &str = "retrace.output_tokens";
/// Cost in US dollars. It replaces the price list. Value: a number.
pub const COST: &str = "retrace.cost";
/// Agent that acts. Value: text.
pub const AGENT_ID: &str = "retrace.agent_id";
/// Role or name of that agent. Value: text.
pub const AGENT_ROLE: &str = "retrace.agent_role";
/// Agent that called it; by default the agent around. Value: text.
pub const PARENT_AGENT_ID: &str = "retrace.parent_agent_id";
/// Ending of the span. Any other value is metadata of the run. Value: `completed`, `failed`.
pub const STATUS: &str = "retrace.status";
/// Error text. The span has failed. Value: text.
pub const ERROR: &str = "retrace.error";
/// Metadata of the run on a root, of the span elsewhere. Value: a JSON object as text.
pub const METADATA: &str = "retrace.metadata";
/// One key of that metadata follows the prefix. `environment`, `user_id` and `tags` have their own places in a run. Value: any value.
pub const METADATA_PREFIX: &str = "retrace.metadata.";
/// The output is a part: the stream was dropped. Value: `true`.
pub const PARTIAL: &str = "retrace.partial";
/// A recording has answered what the span records: its usage was not spent again. Value: `true`.
pub const REPLAYED: &str = "retrace.replayed";
/// A value was cut. Value: `true`.
pub const TRUNCATED: &str = "retrace.truncated";
/// The provider's id of the tool call that the span executes. Value: text.
pub const TOOL_CALL_ID: &str = "retrace.tool_call_id";
/// The span calls a service that joins the run. `RetracePropagator` sets it. Value: `true`.
pub const OUTGOING_CALL: &str = "retrace.outgoing_call";
/// Ids of the tokens of the output. Value: an array of numbers.
pub const TOKEN_IDS: &str = "retrace.token_ids";
/// Logarithms of their probabilities. Value: an array of numbers.
pub const LOGPROBS: &str = "retrace.logprobs";
