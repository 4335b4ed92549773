//! Traces: runs of an agent.

use serde::{Deserialize, Serialize};

use crate::json::{is_unknown, present};
use crate::span::replace;
use crate::{Id, Json, Span, Timestamp};

/// Status of a run (PROTOCOL.md section 13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The run has begun and its end is not known.
    Running,
    /// The run ended successfully.
    Completed,
    /// The run ended in an error.
    Failed,
}

impl Status {
    /// Returns the wire value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// Reads a wire value; returns `None` for an unknown one.
    #[must_use]
    pub fn from_wire(value: &str) -> Option<Self> {
        [Self::Running, Self::Completed, Self::Failed].into_iter().find(|s| s.as_str() == value)
    }
}

/// A trace: the data of a `trace_started` event (PROTOCOL.md section 5.1), and with its end and its spans the body of `POST
/// /api/v1/traces` (section 9.1).
///
/// An absent field is unknown; only `output` distinguishes `null` from absent. The official client can send a body without an
/// id (section 9.1), so that even the id is optional; [`Trace::missing_field`] checks it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Id of the trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    /// Status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Input and output tokens of all model calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<u64>,
    /// Cost of all model calls in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_cost: Option<f64>,
    /// Duration in whole milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_duration_ms: Option<u64>,
    /// Start time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Name of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Input of the run; `null` is not written.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub input: Option<Json>,
    /// A JSON object; the keys with a meaning are in [`crate::metadata`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json>,
    /// Session, such as a conversation; any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Project of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// End time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Output of the run.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// Number of spans that were sent; fewer stored ones mean a loss (section 12).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_count: Option<u64>,
    /// Error, at most [`crate::limits::ERROR_CHARS`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// True if the end was synthesized (section 12); false is never written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminated_early: Option<bool>,
    /// True if a part of the trace may be missing (section 12); false is never written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lossy: Option<bool>,
    /// The spans, in the order of their start; always present in an upload, possibly empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spans: Option<Vec<Span>>,
}

impl Trace {
    /// Creates a trace that has begun: the start event as the official client sends it, with totals of zero.
    #[must_use]
    pub fn started(id: Id, started_at: Timestamp) -> Self {
        Self {
            id: Some(id),
            status: Some(Status::Running),
            total_tokens: Some(0),
            total_cost: Some(0.0),
            total_duration_ms: Some(0),
            started_at: Some(started_at),
            ..Self::default()
        }
    }

    /// Returns the first field that a receiver requires and this trace lacks (sections 9.1 and 22).
    #[must_use]
    pub fn missing_field(&self) -> Option<&'static str> {
        if self.id.is_none() {
            Some("id")
        } else if self.started_at.is_none() {
            Some("started_at")
        } else {
            None
        }
    }

    /// Merges an end into the trace; absent fields of the end leave the trace unchanged (section 9.1).
    pub fn apply(&mut self, end: TraceEnded) {
        replace(&mut self.started_at, end.started_at);
        replace(&mut self.ended_at, end.ended_at);
        replace(&mut self.output, end.output);
        replace(&mut self.status, end.status);
        replace(&mut self.total_tokens, end.total_tokens);
        replace(&mut self.total_cost, end.total_cost);
        replace(&mut self.total_duration_ms, end.total_duration_ms);
        replace(&mut self.span_count, end.span_count);
        replace(&mut self.error, end.error);
        replace(&mut self.terminated_early, end.terminated_early);
        replace(&mut self.lossy, end.lossy);
    }
}

/// The data of a `trace_ended` event (PROTOCOL.md section 5.4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceEnded {
    /// Id of the trace.
    pub id: Id,
    /// Start time, so that this event alone makes a valid trace; older clients omit it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// End time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Output; `null` is written.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// Final status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Input and output tokens of all model calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<u64>,
    /// Cost of all model calls in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_cost: Option<f64>,
    /// Duration in whole milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_duration_ms: Option<u64>,
    /// Number of spans that were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_count: Option<u64>,
    /// Error, at most [`crate::limits::ERROR_CHARS`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// True if the end was synthesized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminated_early: Option<bool>,
    /// True if a part of the trace may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lossy: Option<bool>,
}

/// The body of `PATCH /api/v1/traces/:id` (PROTOCOL.md section 9.3): the end of a trace that the receiver already has.
///
/// It carries no id, no start and no spans.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TracePatch {
    /// Final status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Output.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// End time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Input and output tokens of all model calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<u64>,
    /// Cost of all model calls in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_cost: Option<f64>,
    /// Duration in whole milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_duration_ms: Option<u64>,
    /// True if a part of the trace may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lossy: Option<bool>,
    /// True if the end was synthesized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminated_early: Option<bool>,
    /// Number of spans that were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_count: Option<u64>,
    /// Error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl TracePatch {
    /// Returns the end of `trace` as far as it is known.
    #[must_use]
    pub fn of(trace: &Trace) -> Self {
        Self {
            status: trace.status,
            output: trace.output.clone(),
            ended_at: trace.ended_at.clone(),
            total_tokens: trace.total_tokens,
            total_cost: trace.total_cost,
            total_duration_ms: trace.total_duration_ms,
            lossy: trace.lossy,
            terminated_early: trace.terminated_early,
            span_count: trace.span_count,
            error: trace.error.clone(),
        }
    }

    /// Converts the patch into an end event of the trace `id`, for [`Trace::apply`].
    #[must_use]
    pub fn into_ended(self, id: Id) -> TraceEnded {
        TraceEnded {
            id,
            started_at: None,
            ended_at: self.ended_at,
            output: self.output,
            status: self.status,
            total_tokens: self.total_tokens,
            total_cost: self.total_cost,
            total_duration_ms: self.total_duration_ms,
            span_count: self.span_count,
            error: self.error,
            terminated_early: self.terminated_early,
            lossy: self.lossy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_status_is_written_as_it_is_named() {
        for status in [Status::Running, Status::Completed, Status::Failed] {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
            assert_eq!(Status::from_wire(status.as_str()), Some(status));
        }
    }

    #[test]
    fn an_end_closes_a_start() {
        let mut trace = Trace::started("t".into(), Timestamp::from_unix_micros(1));
        trace.name = Some("agent".into());
        let end = TracePatch {
            status: Some(Status::Failed),
            output: Some(Json::null()),
            total_tokens: Some(7),
            error: Some("E: no".into()),
            ..TracePatch::default()
        };
        trace.apply(end.clone().into_ended("t".into()));
        assert_eq!(trace.status, Some(Status::Failed));
        assert_eq!((trace.name.as_deref(), trace.total_tokens), (Some("agent"), Some(7)));
        assert_eq!(TracePatch::of(&trace).error, end.error);
        assert_eq!(trace.lossy, None);
    }

    #[test]
    fn what_a_receiver_needs_is_named() {
        assert_eq!(Trace::default().missing_field(), Some("id"));
        assert_eq!(Trace { id: Some("t".into()), ..Trace::default() }.missing_field(), Some("started_at"));
        assert_eq!(Trace::started("t".into(), Timestamp::from_unix_micros(1)).missing_field(), None);
    }

    proptest! {
        #[test]
        fn a_cost_keeps_every_digit(cost in 0.0..1e3_f64) {
            let text = serde_json::to_string(&TracePatch { total_cost: Some(cost), ..TracePatch::default() }).unwrap();
            let back: TracePatch = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(back.total_cost.map(f64::to_bits), Some(cost.to_bits()));
        }
    }
}
