//! Responses of a receiver (PROTOCOL.md sections 1 and 9.2).
//!
//! The public documentation names the paths and the status codes but not the bodies. The types here are those of this project's
//! receiver. A client needs none of them: the status decides, and a record is read as a [`Trace`] or [`Span`] whatever other
//! fields it has.

use serde::{Deserialize, Serialize};

use crate::{Id, Span, Trace};

/// Query parameter of a list: maximum number of traces.
pub const LIMIT: &str = "limit";
/// Query parameter of a list: number of the newest traces to skip.
pub const OFFSET: &str = "offset";
/// Query parameter of a list: only traces with this [`crate::Status`].
pub const STATUS: &str = "status";
/// Query parameter of a list: `true` for traces with a failed span only, `false` for those without.
pub const FAILED_SPANS: &str = "failed_spans";
/// Query parameter of a trace: `false` omits input, output and metadata, and gives their sizes instead.
pub const CONTENT: &str = "content";
/// Query parameter of a trace: `false` omits the spans.
pub const SPANS: &str = "spans";
/// Query parameter of changes: only changes after this [`Changes::version`].
pub const AFTER: &str = "after";
/// Query parameter of changes: the value of [`Stored::live`] that the client knows; another value is a change.
pub const LIVE: &str = "live";

/// Response to a stored upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// Id of the trace.
    pub id: Id,
}

/// Response to a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Always `true`.
    pub ok: bool,
}

/// Response to a request that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Reason, as text.
    pub error: String,
    /// The offending field or parameter, such as `spans[3].started_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// A page of the list of traces, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TracePage<T = Trace> {
    /// Traces, without their spans.
    pub traces: Vec<T>,
    /// Number of traces on all pages.
    pub total: u64,
    /// Maximum number of traces on the page.
    pub limit: u64,
    /// Number of newer traces that were skipped.
    pub offset: u64,
}

/// A stored record with what the receiver knows about it.
///
/// Only serialised: a client reads the record and ignores the other fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stored<T> {
    /// The record as it was sent, possibly without its content.
    #[serde(flatten)]
    pub record: T,
    /// Number of stored spans of this trace; `span_count` is the number that the client claims to have sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_spans: Option<u64>,
    /// Number of spans of this trace that have an error, independent of the trace's own; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_spans: Option<u64>,
    /// `true` if the trace was not sampled and was sent because it failed, as its metadata states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_for_failure: Option<bool>,
    /// `true` if a recording has answered calls of the trace, as its metadata states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed: Option<bool>,
    /// For the run of a fork: the trace that it was forked from, as its metadata states. The steps before the fork point
    /// may be stored there alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fork_of: Option<Id>,
    /// For a trace that began over a WebSocket and has not ended: true if a connection that has sent its events is open.
    /// `false` means that the run is interrupted; it continues when its client reconnects. Absent for all other traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
    /// `true` if the trace is marked golden (section 20).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub golden: Option<bool>,
    /// Size of the omitted content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_bytes: Option<ContentBytes>,
}

/// Size of the content of a record in bytes of JSON text; absent fields have no content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentBytes {
    /// Size of the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<u64>,
    /// Size of the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
    /// Size of the metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<u64>,
}

/// A trace and its spans without their content: the structure of a run, small enough to draw at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outline {
    /// The trace.
    #[serde(flatten)]
    pub trace: Stored<Trace>,
    /// Spans, in the order of their start.
    pub spans: Vec<Stored<Span>>,
}

/// Changes of a trace: its head, and the new or changed spans, without content.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Changes {
    /// The trace, changed or not.
    #[serde(flatten)]
    pub trace: Stored<Trace>,
    /// New or changed spans, in the order of their start.
    pub spans: Vec<Stored<Span>>,
    /// Version from which to ask for the next changes.
    pub version: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Json, SpanType, Timestamp};

    #[test]
    fn what_stands_beside_a_record_does_not_hide_it() {
        let at = Timestamp::from("2026-01-02T03:04:05Z");
        let mut trace = Trace::started("t".into(), at.clone());
        trace.metadata = Some(Json::from_serialize(&serde_json::json!({"digits": 1})));
        let span = Span::new("s".into(), "t".into(), SpanType::Action, "look", at);
        let outline = Outline {
            trace: Stored { record: trace.clone(), stored_spans: Some(1), golden: Some(true), ..Stored::default() },
            spans: vec![Stored {
                record: span.clone(),
                stored_spans: None,
                failed_spans: None,
                kept_for_failure: None,
                replayed: None,
                fork_of: None,
                live: None,
                golden: None,
                content_bytes: Some(ContentBytes { output: Some(4), ..ContentBytes::default() }),
            }],
        };
        let text = serde_json::to_string(&outline).unwrap();
        assert!(text.contains(r#""stored_spans":1,"golden":true,"spans":["#), "{text}");
        assert!(text.contains(r#""content_bytes":{"output":4}"#), "{text}");
        assert_eq!(serde_json::from_str::<Trace>(&text).unwrap(), Trace { spans: Some(vec![span]), ..trace });
    }

    #[test]
    fn a_refusal_names_a_field_only_when_there_is_one() {
        let refusal = Refusal { error: "no".into(), field: None };
        assert_eq!(serde_json::to_string(&refusal).unwrap(), r#"{"error":"no"}"#);
    }
}
