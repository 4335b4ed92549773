//! Re-execution asked for by the server: fork resumption and replay (PROTOCOL.md section 19).

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The data of a `resume` frame: run a registered function again from a fork point.
///
/// A field that is absent and one that is null are told apart, so that a command can be passed on unchanged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resume {
    /// The fork; part of the path that claims it.
    pub fork_id: String,
    /// The original trace.
    pub trace_id: String,
    /// Selects the registered function.
    pub trace_name: String,
    /// The span at which it was forked.
    pub fork_point_span_id: String,
    /// Position of that span, from 0; spans before it are not sent again.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub fork_point_index: Option<Value>,
    /// A string replaces the first argument, an object sets arguments by name.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub modified_input: Option<Value>,
    /// The recorded call: positional arguments.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub original_args: Option<Value>,
    /// The recorded call: arguments by name.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub original_kwargs: Option<Value>,
    /// Recorded spans, a list of [`CassetteEntry`].
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub cassette: Option<Value>,
    /// The lease to claim before running.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<Value>,
    /// What else it says.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The data of a `replay` frame: run a registered function again with its model calls answered from a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// The original trace.
    pub trace_id: String,
    /// Selects the registered function.
    pub trace_name: String,
    /// A list holds positional arguments, anything else is the one argument.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// Recorded spans, a list of [`CassetteEntry`].
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub cassette: Option<Value>,
    /// What else it says.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One recorded span of a cassette.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CassetteEntry {
    /// The span's name.
    pub name: String,
    /// The span's type.
    pub span_type: String,
    /// What it returned.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// What it returned, unabridged; preferred.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub output_raw: Option<Value>,
    /// Tokens in.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<Value>,
    /// Tokens out.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<Value>,
    /// Why it failed.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// What else it says.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The body of `POST /api/v1/forks/:id/replay/claim`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkClaim {
    /// The lease, as the `resume` frame named it.
    pub execution_id: String,
}

/// Reads `null` as a value that was said.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
