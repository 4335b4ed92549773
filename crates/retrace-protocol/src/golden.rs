//! Golden runs: the mark on a stored trace, and the local file that pins one for CI (PROTOCOL.md section 20).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Id, Json, SpanType, Status, Timestamp};

/// The body of `POST /api/v1/traces/:id/golden`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoldenMark {
    /// True sets the mark, false removes it.
    pub golden: bool,
}

/// A golden cassette file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoldenCassette {
    /// Version of the file format; 1.
    pub version: u32,
    /// Name of the trace, or `trace`.
    pub name: String,
    /// Id of the trace from which it was made.
    pub trace_id: Id,
    /// Time at which the file was written.
    pub recorded_at: Timestamp,
    /// Status of the run; `running` if the file was written within it.
    pub status: Status,
    /// The steps, in order.
    pub steps: Vec<GoldenStep>,
    /// Match modes of later runs; passed through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Tolerance>,
}

/// One step of a golden cassette; every key is always written, `null` when unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoldenStep {
    /// Index, from 0.
    pub index: u64,
    /// Type.
    pub span_type: SpanType,
    /// Name.
    pub name: String,
    /// Model.
    #[serde(default)]
    pub model: Option<String>,
    /// Input.
    #[serde(default)]
    pub input: Option<Json>,
    /// Output.
    #[serde(default)]
    pub output: Option<Json>,
    /// Error.
    #[serde(default)]
    pub error: Option<String>,
}

/// Match modes of later runs, by default and for single steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Mode of steps that `steps` does not name, such as `exact`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Modes by step name, such as `semantic`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub steps: BTreeMap<String, String>,
    /// Other fields.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_the_protocol_comes_back() {
        let file = r#"{"version":1,"name":"trace","trace_id":"5b47","recorded_at":"2026-11-22T11:06:08.297418Z",
            "status":"completed","steps":[{"index":0,"span_type":"llm_call","name":"call-model","model":null,"input":null,
            "output":{"a":1},"error":null}],"tolerance":{"default":"exact","steps":{"call-model":"semantic"},"new":1}}"#;
        let cassette: GoldenCassette = serde_json::from_str(file).unwrap();
        assert_eq!(cassette.steps[0].input, None);
        assert_eq!(serde_json::to_value(&cassette).unwrap(), serde_json::from_str::<serde_json::Value>(file).unwrap());
    }
}
