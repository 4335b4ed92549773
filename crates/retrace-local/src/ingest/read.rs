//! Request bodies: from bytes to checked records.

use retrace_otlp::json_body;
use retrace_protocol::metadata::TraceOrigin;
use retrace_protocol::read::Refusal;
use retrace_protocol::{Id, Span, Trace, TracePatch};
use serde::Deserialize;

use super::{SpanRow, TraceRow, Upload, check};

/// Reads the body of `POST /api/v1/traces` (PROTOCOL.md section 9.1).
///
/// # Errors
/// Returns a refusal if the text is not valid JSON, if a field is missing or of the wrong type, or if spans contradict
/// the trace. None of such a body is used.
pub(crate) fn upload(body: &[u8]) -> Result<Upload, Refusal> {
    let mut trace: Trace = json_body(body)?;
    let id = check::trace(&trace)?;
    let spans = trace.spans.take().unwrap_or_default();
    rows(id, trace, spans).map_err(|error| Refusal { error: error.to_string(), field: None })
}

fn rows(id: Id, mut trace: Trace, spans: Vec<Span>) -> Result<Upload, serde_json::Error> {
    let joined = is_joined(&trace);
    if joined {
        // This metadata describes how the spans were sent, and is not part of the run.
        trace.metadata = None;
    }
    Ok(Upload {
        joined,
        trace: TraceRow::new(id, trace)?,
        spans: spans.into_iter().map(SpanRow::new).collect::<Result<_, _>>()?,
    })
}

fn is_joined(trace: &Trace) -> bool {
    #[derive(Deserialize)]
    struct Metadata {
        otel: Option<TraceOrigin>,
    }
    let metadata = trace.metadata.as_ref().and_then(|json| serde_json::from_str::<Metadata>(json.as_str()).ok());
    metadata.and_then(|metadata| metadata.otel).is_some_and(|otel| otel.joined)
}

/// Reads the body of `PATCH /api/v1/traces/:id` (PROTOCOL.md section 9.3).
///
/// # Errors
/// Returns a refusal like [`upload`], for the fields of a patch.
pub(crate) fn patch(body: &[u8]) -> Result<TracePatch, Refusal> {
    let patch: TracePatch = json_body(body)?;
    check::time("ended_at", patch.ended_at.as_ref())?;
    Ok(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-01-02T03:04:05Z";

    fn refused(body: &str) -> (String, Option<String>) {
        let refusal = upload(body.as_bytes()).unwrap_err();
        (refusal.error, refusal.field)
    }

    #[test]
    fn a_missing_field_is_named_with_its_path() {
        let body = format!(
            r#"{{"id":"t","started_at":"{AT}","spans":[
                {{"id":"a","trace_id":"t","span_type":"action","name":"","started_at":"{AT}"}},
                {{"id":"b","trace_id":"t","span_type":"action","name":""}}]}}"#
        );
        assert_eq!(refused(&body), ("missing field `started_at`".into(), Some("spans[1].started_at".into())));
    }

    #[test]
    fn a_wrong_type_is_named_with_its_path() {
        for (body, field, reason) in [
            (r#"{"id":7}"#, "id", "expected an id string"),
            (r#"{"id":"t","total_tokens":-1}"#, "total_tokens", "expected u64"),
            (r#"{"id":"t","status":"done"}"#, "status", "unknown variant `done`"),
            (r#"{"id":"t","spans":{}}"#, "spans", "expected a sequence"),
            (r#"{"id":"t","spans":[1]}"#, "spans[0]", "expected struct Span"),
            (r#"{"id":"t","spans":[{"id":"s","span_type":"TOOL"}]}"#, "spans[0].span_type", "unknown variant `TOOL`"),
            (r#"{"id":"t","spans":[{"token_ids":[1,"x"]}]}"#, "spans[0].token_ids[1]", "expected i64"),
        ] {
            let (error, named) = refused(body);
            assert_eq!(named.as_deref(), Some(field), "{body}: {error}");
            assert!(error.contains(reason), "{body}: {error}");
            assert!(!error.contains(" at line "), "{error}");
        }
    }

    #[test]
    fn what_is_no_json_says_where() {
        let (error, _) = refused(r#"{"id":"t","#);
        assert!(error.contains("not JSON") && error.contains("line 1"), "{error}");
        let (error, field) = refused(r#"{"id":"t","spans":[{"id":"a" "#);
        assert!(error.contains("not JSON"), "{error}");
        assert_eq!(field.as_deref(), Some("spans[0]"));
        for (body, reason) in [("", "object"), ("[]", "object"), ("null", "object"), ("{} {}", "trailing")] {
            assert!(refused(body).0.contains(reason), "{body}: {}", refused(body).0);
        }
        assert!(upload(b"{\"id\":\"\xff\"}").unwrap_err().error.contains("UTF-8"));
    }

    #[test]
    fn a_reason_never_grows_with_the_value_it_quotes() {
        let (error, field) = refused(&format!(r#"{{"id":"t","total_tokens":"{}"}}"#, "ü".repeat(100_000)));
        assert_eq!(field.as_deref(), Some("total_tokens"));
        assert_eq!(error.chars().count(), 301);
    }

    #[test]
    fn words_that_json_lacks_are_read_as_null() {
        let body = format!(r#"{{"id":"t","started_at":"{AT}","input":[NaN,"NaN"],"total_cost":Infinity}}"#);
        let row = upload(body.as_bytes()).unwrap().trace;
        let trace = row.content.into_trace(&row.head).unwrap();
        assert_eq!(trace.input.unwrap().as_str(), r#"[null,"NaN"]"#);
        assert_eq!(trace.total_cost, None);
    }

    #[test]
    fn half_a_pair_costs_no_run() {
        let body = format!(r#"{{"id":"t","started_at":"{AT}","error":"no file \udcff","input":"\ud800"}}"#);
        let row = upload(body.as_bytes()).unwrap().trace;
        let trace = row.content.into_trace(&row.head).unwrap();
        assert_eq!(trace.error.as_deref(), Some("no file \u{FFFD}"));

        // An unpaired surrogate in content alone, which is stored as JSON text, requires no replacement.
        let body = body.replace("udcff", "u00ff");
        let row = upload(body.as_bytes()).unwrap().trace;
        assert_eq!(row.content.input.unwrap().as_str(), r#""\ud800""#);
    }

    #[test]
    fn a_patch_is_read_and_its_time_checked() {
        assert_eq!(patch(br#"{"output":null}"#).unwrap().output.unwrap().as_str(), "null");
        assert_eq!(patch(br#"{"ended_at":"soon"}"#).unwrap_err().field.as_deref(), Some("ended_at"));
        assert_eq!(patch(br#"{"lossy":"yes"}"#).unwrap_err().field.as_deref(), Some("lossy"));
    }
}
