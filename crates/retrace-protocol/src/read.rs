//! What a receiver answers (PROTOCOL.md sections 1 and 9.2).
//!
//! The public documentation names the paths and the status codes but not the bodies. Those here are the ones of this
//! project's receiver. A client needs none of them: the status decides, and a record that is read is a
//! [`Trace`] or [`Span`] whatever stands beside its fields.

use serde::{Deserialize, Serialize};

use crate::{Id, Span, Trace};

/// Query parameter of a list: how many traces at most.
pub const LIMIT: &str = "limit";
/// Query parameter of a list: how many of the newest traces to pass over.
pub const OFFSET: &str = "offset";
/// Query parameter of a list: only traces that stand so, a [`crate::Status`].
pub const STATUS: &str = "status";
/// Query parameter of a list: `true` for traces with a failed span only, `false` for those without.
pub const FAILED_SPANS: &str = "failed_spans";
/// Query parameter of a trace: `false` leaves out input, output and metadata and says their sizes instead.
pub const CONTENT: &str = "content";
/// Query parameter of a trace: `false` leaves out the spans.
pub const SPANS: &str = "spans";
/// Query parameter of changes: only what has changed after this [`Changes::version`].
pub const AFTER: &str = "after";
/// Query parameter of changes: what the asker knows of [`Stored::live`]; another state is a change.
pub const LIVE: &str = "live";

/// The answer to an upload that was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// The trace.
    pub id: Id,
}

/// The answer to a change that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Always `true`.
    pub ok: bool,
}

/// The answer to everything that was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why, in words.
    pub error: String,
    /// The field or parameter that is to blame, such as `spans[3].started_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// One page of the list of traces, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TracePage<T = Trace> {
    /// The traces, without their spans.
    pub traces: Vec<T>,
    /// How many there are on all pages.
    pub total: u64,
    /// How many this page may hold.
    pub limit: u64,
    /// How many newer ones were passed over.
    pub offset: u64,
}

/// A stored record with what the receiver knows beside it.
///
/// To be written only: whoever reads one reads the record and passes over the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stored<T> {
    /// As it was sent, maybe without its content.
    #[serde(flatten)]
    pub record: T,
    /// Spans of this trace that are stored; `span_count` is what the client says it sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_spans: Option<u64>,
    /// Spans of this trace that have an error, whether the trace has one or not; absent when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_spans: Option<u64>,
    /// `true` when the trace was not sampled and was sent because it failed, as its metadata states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_for_failure: Option<bool>,
    /// Of a trace that began over a WebSocket and has not ended: whether a connection that has sent events of it is open.
    /// `false` means that the run is interrupted; it goes on when its client comes back. Absent for all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
    /// `true` when the trace is marked golden (section 20).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub golden: Option<bool>,
    /// The size of the content that was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_bytes: Option<ContentBytes>,
}

/// How large the content of a record is, each in bytes of JSON text; absent when the record has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentBytes {
    /// Of the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<u64>,
    /// Of the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
    /// Of the metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<u64>,
}

/// A trace and its spans without their content: the shape of a run, small enough to draw whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outline {
    /// The trace.
    #[serde(flatten)]
    pub trace: Stored<Trace>,
    /// Its spans, in the order they started.
    pub spans: Vec<Stored<Span>>,
}

/// What has changed of a trace: its head, and those spans that are new or different, without content.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Changes {
    /// The trace, changed or not.
    #[serde(flatten)]
    pub trace: Stored<Trace>,
    /// The changed spans, in the order they started.
    pub spans: Vec<Stored<Span>>,
    /// What to ask after next time.
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
