//! Re-execution requested by the server: fork resumption and replay (PROTOCOL.md section 19).

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The data of a `resume` frame: run a registered function again from a fork point.
///
/// Absent and `null` fields are distinguished, so that a command can be passed on unchanged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resume {
    /// Id of the fork; part of the path that claims it.
    pub fork_id: String,
    /// Id of the original trace.
    pub trace_id: String,
    /// Name of the registered function.
    pub trace_name: String,
    /// Id of the span at which it was forked.
    pub fork_point_span_id: String,
    /// Position of that span, from 0; spans before it are not sent again.
    #[serde(default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    pub fork_point_index: Option<Value>,
    /// A string replaces the first argument, an object sets arguments by name.
    #[serde(default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    pub modified_input: Option<Value>,
    /// The recorded call: positional arguments.
    #[serde(default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    pub original_args: Option<Value>,
    /// The recorded call: arguments by name.
    #[serde(default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    pub original_kwargs: Option<Value>,
    /// Recorded spans, a list of [`CassetteEntry`].
    #[serde(default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    pub cassette: Option<Value>,
    /// The lease to claim before running.
    #[serde(default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<Value>,
    /// Other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The data of a `replay` frame: run a registered function again with its model calls answered from a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// Id of the original trace.
    pub trace_id: String,
    /// Name of the registered function.
    pub trace_name: String,
    /// A list holds positional arguments; any other value is the only argument.
    #[serde(default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// Recorded spans, a list of [`CassetteEntry`].
    #[serde(default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    pub cassette: Option<Value>,
    /// Other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One recorded span of a cassette.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CassetteEntry {
    /// Name of the span.
    pub name: String,
    /// Type of the span.
    pub span_type: String,
    /// Output.
    #[serde(default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Complete output; takes precedence.
    #[serde(default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    pub output_raw: Option<Value>,
    /// Input tokens.
    #[serde(default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<Value>,
    /// Output tokens.
    #[serde(default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<Value>,
    /// Error.
    #[serde(default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// Other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The body of `POST /api/v1/forks/:id/replay/claim`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkClaim {
    /// The lease of the `resume` frame.
    pub execution_id: String,
}

/// Reads `null` as a present value.
fn present_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
