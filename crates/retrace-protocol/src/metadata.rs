//! What `metadata` holds: the keys that have a meaning (PROTOCOL.md section 13), and those that this project adds.
//!
//! Everything else in `metadata` is the user's. Keys that begin with `_` are reserved for Retrace.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Id, Json, Timestamp};

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

/// The metadata of a trace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceMetadata {
    /// The deployment environment, which routes the run to a data namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The service that ran it.
    #[serde(default, skip_serializing_if = "Service::is_empty")]
    pub service: Service,
    /// The user on whose behalf it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Json>,
    /// Input and output were not stated by the run itself but taken from its first and last model call.
    #[serde(default, skip_serializing_if = "is_false")]
    pub inferred_io: bool,
    /// Name of the server span that the run began with, such as `POST /ask`, where the run has the name of an agent or a
    /// model call below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_span: Option<String>,
    /// The run was not sampled, and was sent only because a span of it failed: such runs say nothing about the share of runs that
    /// fail.
    #[serde(default, skip_serializing_if = "is_false")]
    pub kept_for_failure: bool,
    /// The OpenTelemetry trace, where the id of the Retrace trace does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otel: Option<TraceOrigin>,
    /// What the user added.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl TraceMetadata {
    /// The keys that have a meaning; any other is the user's.
    pub const KEYS: [&str; 8] =
        ["environment", "service", "user_id", "tags", "inferred_io", "entry_span", "kept_for_failure", "otel"];
}

/// The service that ran a trace, from the OpenTelemetry resource.
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
    /// Whether nothing is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.name.is_none() && self.version.is_none() && self.instance.is_none()
    }
}

/// The OpenTelemetry trace a run was taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceOrigin {
    /// Its id, 32 hex digits.
    pub trace_id: String,
    /// The Retrace trace that holds what came before, where one was sent already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Id>,
    /// The run belongs to another process, which says its beginning and its end: here are some of its spans.
    #[serde(default, skip_serializing_if = "is_false")]
    pub joined: bool,
}

/// The metadata of a span.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpanMetadata {
    /// On a `tool_call` and a `tool_result`: the provider's id of the call; joins the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// What was done, in the words of the instrumentation, such as `chat` or `embeddings`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Cow<'static, str>>,
    /// Who serves the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Cow<'static, str>>,
    /// The model that was asked for, where another one answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_model: Option<String>,
    /// The provider's id of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    /// How the model was asked to choose its words.
    #[serde(default, skip_serializing_if = "Sampling::is_empty")]
    pub sampling: Sampling,
    /// Why the model stopped, one for each choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reasons: Option<Vec<String>>,
    /// Whether the answer was streamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streaming: Option<bool>,
    /// Milliseconds from the request to the first piece of a streamed answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_first_chunk_ms: Option<f64>,
    /// From tool name to the JSON Schema of its parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_schemas: Option<Json>,
    /// From tool name to what the model was told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_descriptions: Option<Json>,
    /// The definitions of offered tools that are no functions, such as a search that the provider runs itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_tools: Option<Json>,
    /// The tool calls that the model asked for: a list of [`crate::message::ToolCall`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Json>,
    /// Parts and items of the answer that are neither text, media nor calls of offered tools, such as a search that the provider
    /// ran: a list, each as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_output: Option<Json>,
    /// What the model thought before it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Json>,
    /// The answer is a refusal.
    #[serde(default, skip_serializing_if = "is_false")]
    pub refusal: bool,
    /// A response format was asked for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub structured_output: bool,
    /// Images were part of the input.
    #[serde(default, skip_serializing_if = "is_false")]
    pub vision: bool,
    /// What the token counts are made of.
    #[serde(default, skip_serializing_if = "Usage::is_empty")]
    pub usage: Usage,
    /// Something was cut from this span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<bool>,
    /// Bytes that were cut from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated_bytes: Option<u64>,
    /// A streamed answer was not seen to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<bool>,
    /// Whether a streamed answer was seen to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_complete: Option<bool>,
    /// What only OpenTelemetry knows of it.
    #[serde(default, skip_serializing_if = "SpanOrigin::is_empty")]
    pub otel: SpanOrigin,
    /// Events that were not used otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<SpanEvent>,
    /// Attributes that were not used otherwise: an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Json>,
    /// What the user added.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl SpanMetadata {
    /// The keys that have a meaning; any other is the user's.
    pub const KEYS: [&str; 26] = [
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
        "partial",
        "capture_complete",
        "otel",
        "events",
        "attributes",
    ];
}

/// How a model was asked to choose its words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Temperature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Number of candidates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<f64>,
    /// Seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// Most tokens to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Penalty on what came often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// Penalty on what came at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// Where to stop: a list of texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Json>,
    /// Number of choices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
}

impl Sampling {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What token counts are made of. Each part is contained in the span's `input_tokens` or `output_tokens`, never on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Input read from a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_tokens: Option<u64>,
    /// Input written to a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_creation_tokens: Option<u64>,
    /// Output spent on thinking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
    /// Tokens in, where they are counted on another span: this one repeats them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens out, where they are counted on another span: this one repeats them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// US dollars, where they are counted on another span: this one repeats them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

impl Usage {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What only OpenTelemetry knows of a span; said where it says something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpanOrigin {
    /// The span's name, where Retrace's is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its kind, unless it is `internal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Cow<'static, str>>,
    /// The instrumentation scope, which many spans share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Arc<SpanScope>>,
    /// What its status says, where the span's error does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_description: Option<String>,
    /// Its id, where the Retrace id does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// The span of another process that called this one, 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_parent: Option<String>,
    /// The service that ran it and what it called, where that is not the trace's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// The span is where a process joins a run that another process records; set on the topmost spans of the joining process.
    /// A receiver takes from it that the totals of the run are those of all its spans.
    #[serde(default, skip_serializing_if = "is_false")]
    pub joined: bool,
    /// The spans it points to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<SpanLink>,
    /// Attributes that limits dropped before the span came here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_attributes: u32,
    /// Events that limits dropped before the span came here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_events: u32,
    /// Links that limits dropped before the span came here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_links: u32,
}

impl SpanOrigin {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The instrumentation scope of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanScope {
    /// Its name.
    pub name: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A link from a span to another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanLink {
    /// The OpenTelemetry trace it points into, 32 hex digits.
    pub trace_id: String,
    /// The OpenTelemetry span it points to, 16 hex digits.
    pub span_id: String,
    /// What it says about that: an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Json>,
}

/// Something that happened within a span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanEvent {
    /// What.
    pub name: String,
    /// When.
    pub at: Timestamp,
    /// Details: an object.
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
