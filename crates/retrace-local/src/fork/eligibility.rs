//! Eligibility of stored runs for a byte-exact replay (PROTOCOL.md section 12).

use retrace_protocol::metadata::SpanMetadata;
use retrace_protocol::{Span, Status, Trace};
use serde::Serialize;

/// Largest number of listed reasons.
const MAX_REASONS: usize = 100;

/// Result of the check, with all reasons against a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Eligibility {
    pub(crate) eligible: bool,
    /// Empty exactly when the run is eligible; at most 100.
    pub(crate) reasons: Vec<Reason>,
}

/// A reason against a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Reason {
    /// `not_ended`, `lossy`, `terminated_early`, `incomplete_span`, `truncated_span` or `missing_spans`.
    pub(crate) code: &'static str,
    pub(crate) reason: String,
    /// The span that the reason concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) span_id: Option<String>,
}

/// Checks a run with all of its spans.
pub(crate) fn eligibility(run: &Trace) -> Eligibility {
    let spans = run.spans.as_deref().unwrap_or_default();
    let of_run =
        of_run(run, spans.len() as u64).into_iter().map(|(code, reason)| Reason { code, reason, span_id: None });
    let of_spans = spans.iter().flat_map(|span| {
        let reasons = of_span(span).into_iter().flatten();
        reasons.map(|(code, reason)| Reason { code, reason: reason.into(), span_id: Some(span.id.to_string()) })
    });
    let reasons: Vec<Reason> = of_run.chain(of_spans).take(MAX_REASONS).collect();
    Eligibility { eligible: reasons.is_empty(), reasons }
}

fn of_run(run: &Trace, stored: u64) -> Vec<(&'static str, String)> {
    let mut reasons = Vec::new();
    // A missing status does not count as an end, whatever the other fields are.
    if !matches!(run.status, Some(Status::Completed | Status::Failed)) {
        reasons.push(("not_ended", "the run has not ended".to_owned()));
    }
    if run.lossy == Some(true) {
        reasons.push(("lossy", "the client lost events of the run, or gave up to track them".to_owned()));
    }
    if run.terminated_early == Some(true) {
        reasons.push(("terminated_early", "the process ended before the run did".to_owned()));
    }
    if let Some(sent) = run.span_count.filter(|sent| *sent != stored) {
        reasons.push(("missing_spans", format!("{sent} spans were sent, and {stored} are stored")));
    }
    reasons
}

fn of_span(span: &Span) -> [Option<(&'static str, &'static str)>; 2] {
    let metadata = span.metadata.as_ref().filter(|json| {
        // Most spans have neither member, and are not parsed.
        ["\"capture_complete\"", "\"truncated\""].iter().any(|member| json.as_str().contains(member))
    });
    let metadata = metadata.and_then(|json| serde_json::from_str::<SpanMetadata>(json.as_str()).ok());
    let metadata = metadata.unwrap_or_default();
    [
        (metadata.capture_complete == Some(false))
            .then_some(("incomplete_span", "the response was not read to its end")),
        (metadata.truncated == Some(true)).then_some(("truncated_span", "content of the span was cut")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const AT: &str = "2026-01-02T03:04:05Z";

    fn codes(change: impl FnOnce(&mut Value)) -> Vec<&'static str> {
        let span = json!({"id": "s", "trace_id": "t", "span_type": "llm_call", "name": "chat", "started_at": AT,
            "metadata": {"capture_complete": true, "truncated": false, "user": [1]}});
        let mut run = json!({"id": "t", "status": "completed", "started_at": AT, "span_count": 1, "spans": [span]});
        change(&mut run);
        let found = eligibility(&serde_json::from_value(run).unwrap());
        assert_eq!(found.eligible, found.reasons.is_empty());
        found.reasons.into_iter().map(|reason| reason.code).collect()
    }

    #[test]
    fn each_rule_stands_alone() {
        assert!(codes(|_| {}).is_empty());
        assert!(codes(|run| run["status"] = "failed".into()).is_empty(), "a failure is a natural end");
        assert!(codes(|run| drop(run.as_object_mut().unwrap().remove("span_count"))).is_empty());
        assert_eq!(codes(|run| run["status"] = "running".into()), ["not_ended"]);
        assert_eq!(codes(|run| drop(run.as_object_mut().unwrap().remove("status"))), ["not_ended"]);
        assert_eq!(codes(|run| run["lossy"] = true.into()), ["lossy"]);
        assert_eq!(codes(|run| run["terminated_early"] = true.into()), ["terminated_early"]);
        assert_eq!(codes(|run| run["span_count"] = 2.into()), ["missing_spans"]);
        assert_eq!(codes(|run| run["spans"][0]["metadata"]["capture_complete"] = false.into()), ["incomplete_span"]);
        assert_eq!(codes(|run| run["spans"][0]["metadata"]["truncated"] = true.into()), ["truncated_span"]);
    }

    #[test]
    fn reasons_name_their_span_and_are_bounded() {
        let span = |id: usize| {
            json!({"id": id.to_string(), "trace_id": "t", "span_type": "llm_call", "name": "", "started_at": AT,
                "metadata": {"truncated": true}})
        };
        let spans: Vec<Value> = (0..2 * MAX_REASONS).map(span).collect();
        let run = json!({"id": "t", "status": "completed", "started_at": AT, "spans": spans});
        let found = eligibility(&serde_json::from_value(run).unwrap());
        assert_eq!(found.reasons.len(), MAX_REASONS);
        assert_eq!(found.reasons[1].span_id.as_deref(), Some("1"));
    }
}
