//! Keys of `metadata` with a defined meaning: those of the protocol (PROTOCOL.md section 13), and those that this project adds.
//!
//! All other keys belong to the user. Keys that begin with `_` are reserved for Retrace.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Id, Json, Timestamp};

/// On a trace: `true` if it can be forked and replayed.
pub const RESUMABLE: &str = "_resumable";
/// On a trace: the fork that made it.
pub const FORK_ID: &str = "_fork_id";
/// On a trace: the trace it was forked from.
pub const FORK_OF: &str = "_fork_of";
/// On a trace: the span at which it was forked.
pub const FORK_POINT: &str = "_fork_point";
/// On a trace: the lease under which the fork ran; may be null.
pub const FORK_EXECUTION_ID: &str = "_fork_execution_id";
/// On a trace: `true` if the fork re-ran everything after the fork point.
pub const CASCADE_REPLAY: &str = "_cascade_replay";
/// On a trace: the trace that was replayed.
pub const REPLAY_OF: &str = "_replay_of";
/// On a trace: `true` for a replay from a cassette.
pub const DETERMINISTIC_REPLAY: &str = "_deterministic_replay";
/// On a trace: number of entries of that cassette.
pub const CASSETTE_SIZE: &str = "_cassette_size";

/// The metadata of a trace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceMetadata {
    /// Deployment environment, which routes the run to a data namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Service that ran it.
    #[serde(default, skip_serializing_if = "Service::is_empty")]
    pub service: Service,
    /// User on whose behalf it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Json>,
    /// True if input and output come from the first and last model call, because the run states none.
    #[serde(default, skip_serializing_if = "is_false")]
    pub inferred_io: bool,
    /// Name of the server span that the run began with, such as `POST /ask`, if the run has the name of an agent or a model
    /// call below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_span: Option<String>,
    /// True if the run was not sampled, and was sent only because a span of it failed. Such runs are no measure of the share of runs
    /// that fail.
    #[serde(default, skip_serializing_if = "is_false")]
    pub kept_for_failure: bool,
    /// True if a recording has answered calls of the run. They are in none of its totals.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replayed: bool,
    /// The OpenTelemetry trace, if the id of the Retrace trace does not contain its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otel: Option<TraceOrigin>,
    /// Metadata of the user.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl TraceMetadata {
    /// Keys with a defined meaning; any other key belongs to the user.
    pub const KEYS: [&str; 9] = [
        "environment",
        "service",
        "user_id",
        "tags",
        "inferred_io",
        "entry_span",
        "kept_for_failure",
        "replayed",
        "otel",
    ];
}

/// Service that ran a trace, from the OpenTelemetry resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// `service.name`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `service.version`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `service.instance.id`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

impl Service {
    /// Returns true if no field is set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.name.is_none() && self.version.is_none() && self.instance.is_none()
    }
}

/// OpenTelemetry trace of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceOrigin {
    /// Trace id, 32 hex digits.
    pub trace_id: String,
    /// The Retrace trace with the earlier spans, if one was sent already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Id>,
    /// True if the run belongs to another process, which sends its start and its end: these are some of its spans.
    #[serde(default, skip_serializing_if = "is_false")]
    pub joined: bool,
}

/// The metadata of a span.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpanMetadata {
    /// On a `tool_call` and a `tool_result`: the provider's id of the call, which connects the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// Operation by the name of the instrumentation, such as `chat` or `embeddings`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Cow<'static, str>>,
    /// Provider of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Cow<'static, str>>,
    /// Requested model, if another one responded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_model: Option<String>,
    /// Response id of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    /// Sampling parameters of the request.
    #[serde(default, skip_serializing_if = "Sampling::is_empty")]
    pub sampling: Sampling,
    /// Finish reason of each choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reasons: Option<Vec<String>>,
    /// True if the response was streamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streaming: Option<bool>,
    /// Milliseconds from the request to the first chunk of a streamed response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_first_chunk_ms: Option<f64>,
    /// JSON Schemas of the parameters, by tool name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_schemas: Option<Json>,
    /// Descriptions of the tools, by tool name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_descriptions: Option<Json>,
    /// Definitions of offered tools that are no functions, such as a search that the provider runs itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_tools: Option<Json>,
    /// Tool calls that the model requested: a list of [`crate::message::ToolCall`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Json>,
    /// Parts and items of the response that are neither text, media nor calls of offered tools, such as a search that the
    /// provider ran: a list, each unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_output: Option<Json>,
    /// Reasoning of the model before its response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Json>,
    /// True if the response is a refusal.
    #[serde(default, skip_serializing_if = "is_false")]
    pub refusal: bool,
    /// True if a structured output was requested.
    #[serde(default, skip_serializing_if = "is_false")]
    pub structured_output: bool,
    /// True if the input has images.
    #[serde(default, skip_serializing_if = "is_false")]
    pub vision: bool,
    /// Parts of the token counts.
    #[serde(default, skip_serializing_if = "Usage::is_empty")]
    pub usage: Usage,
    /// True if something was cut from the span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<bool>,
    /// Number of bytes that were cut from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated_bytes: Option<u64>,
    /// True if a recording has answered the call: its usage was not spent again, and is in [`SpanMetadata::usage`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<bool>,
    /// True if a streamed response was not recorded to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<bool>,
    /// True if a streamed response was recorded to its end, false if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_complete: Option<bool>,
    /// Facts from OpenTelemetry without a field in Retrace.
    #[serde(default, skip_serializing_if = "SpanOrigin::is_empty")]
    pub otel: SpanOrigin,
    /// Events that fill no other field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<SpanEvent>,
    /// Attributes that fill no other field: an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Json>,
    /// Metadata of the user.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl SpanMetadata {
    /// Keys with a defined meaning; any other key belongs to the user.
    pub const KEYS: [&str; 27] = [
        "tool_call_id",
        "operation",
        "provider",
        "request_model",
        "response_id",
        "sampling",
        "finish_reasons",
        "streaming",
        "time_to_first_chunk_ms",
        "tool_schemas",
        "tool_descriptions",
        "provider_tools",
        "tool_calls",
        "other_output",
        "reasoning",
        "refusal",
        "structured_output",
        "vision",
        "usage",
        "truncated",
        "truncated_bytes",
        "replayed",
        "partial",
        "capture_complete",
        "otel",
        "events",
        "attributes",
    ];
}

/// Sampling parameters of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Temperature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Number of candidates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<f64>,
    /// Seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// Maximum number of output tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Penalty on frequent tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// Penalty on tokens that occurred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// Stop sequences: a list of texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Json>,
    /// Number of choices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
}

impl Sampling {
    /// Returns true if no field is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Parts of token counts. Each part is contained in `input_tokens` or `output_tokens` of the span, never added to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Input tokens that were read from a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_tokens: Option<u64>,
    /// Input tokens that were written to a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_creation_tokens: Option<u64>,
    /// Output tokens that were spent on reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
    /// Input tokens that are counted on another span and repeated here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Output tokens that are counted on another span and repeated here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// US dollars that are counted on another span and repeated here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

impl Usage {
    /// Returns true if no field is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Facts from OpenTelemetry without a field in Retrace; each is present only if it carries information.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpanOrigin {
    /// Name of the span, if Retrace's differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Span kind, unless it is `internal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Cow<'static, str>>,
    /// Instrumentation scope, which many spans share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Arc<SpanScope>>,
    /// Description of the status, if the error of the span does not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_description: Option<String>,
    /// Span id, if the Retrace id does not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// Parent span in the calling process, 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_parent: Option<String>,
    /// Service that ran the span and its descendants, if it is not that of the trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// The span is where a process joins a run that another process records; set on the topmost spans of the joining process.
    /// A receiver takes from it that the totals of the run are those of all its spans.
    #[serde(default, skip_serializing_if = "is_false")]
    pub joined: bool,
    /// Links, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<SpanLink>,
    /// Number of attributes that limits dropped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_attributes: u32,
    /// Number of events that limits dropped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_events: u32,
    /// Number of links that limits dropped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_links: u32,
}

impl SpanOrigin {
    /// Returns true if no field is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Instrumentation scope of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanScope {
    /// Name.
    pub name: String,
    /// Version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A link from a span to another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanLink {
    /// Id of the linked OpenTelemetry trace, 32 hex digits.
    pub trace_id: String,
    /// Id of the linked OpenTelemetry span, 16 hex digits.
    pub span_id: String,
    /// Attributes of the link: an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Json>,
}

/// Event of a span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanEvent {
    /// Name.
    pub name: String,
    /// Time.
    pub at: Timestamp,
    /// Attributes of the event: an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Json>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde calls
const fn is_false(value: &bool) -> bool {
    !*value
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde calls
const fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_written() {
        assert_eq!(serde_json::to_string(&SpanMetadata::default()).unwrap(), "{}");
        assert_eq!(serde_json::to_string(&TraceMetadata::default()).unwrap(), "{}");
    }

    #[test]
    fn what_the_user_added_stands_beside_what_is_known() {
        let text = r#"{"tool_call_id":"call_1","sampling":{"seed":7},"mine":{"a":[1]}}"#;
        let metadata: SpanMetadata = serde_json::from_str(text).unwrap();
        assert_eq!(metadata.sampling.seed, Some(7));
        assert_eq!(serde_json::to_string(&metadata).unwrap(), text);
    }

    #[test]
    fn every_key_that_has_a_meaning_is_named() {
        for (keys, all) in [
            (&SpanMetadata::KEYS[..], serde_json::from_str::<SpanMetadata>("{}").map(|m| format!("{m:?}"))),
            (&TraceMetadata::KEYS[..], serde_json::from_str::<TraceMetadata>("{}").map(|m| format!("{m:?}"))),
        ] {
            let all = all.unwrap();
            assert!(keys.iter().all(|key| all.contains(&format!("{key}: "))), "{all}");
        }
    }
}
