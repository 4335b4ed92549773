//! Validation of a trace beyond the types of its fields.
//!
//! Checks reject records that could not be read back as sent: missing or duplicate ids, spans that name another trace,
//! invalid times. All other inconsistencies are accepted: unknown parents, ends before starts, wrong totals.

use std::collections::HashMap;

use retrace_protocol::read::Refusal;
use retrace_protocol::{Id, Json, Span, SpanEnded, Timestamp, Trace, TraceEnded};

use super::{MAX_ID_BYTES, blame};

/// Checks a trace with its spans (PROTOCOL.md sections 9.1 and 22), and returns its id.
pub(super) fn trace(trace: &Trace) -> Result<Id, Refusal> {
    let missing = |field: &str| blame(field, format!("missing field `{field}`"));
    let Some(trace_id) = &trace.id else { return Err(missing("id")) };
    if let Some(field) = trace.missing_field() {
        return Err(missing(field));
    }
    id("id", trace_id)?;
    time("started_at", trace.started_at.as_ref())?;
    time("ended_at", trace.ended_at.as_ref())?;
    object("metadata", trace.metadata.as_ref())?;
    let spans = trace.spans.as_deref().unwrap_or_default();
    let mut seen = HashMap::with_capacity(spans.len());
    for (index, one) in spans.iter().enumerate() {
        let at = |refusal: Refusal| Refusal {
            field: refusal.field.map(|field| format!("spans[{index}].{field}")),
            error: refusal.error,
        };
        span(one).map_err(at)?;
        if one.trace_id != *trace_id {
            return Err(at(blame("trace_id", "the span belongs to another trace than the one it was sent in")));
        }
        if let Some(first) = seen.insert(&one.id, index) {
            return Err(at(blame("id", format!("spans[{first}] has the same id"))));
        }
    }
    Ok(trace_id.clone())
}

/// Checks a span without its trace (section 5.2).
pub(super) fn span(span: &Span) -> Result<(), Refusal> {
    id("id", &span.id)?;
    id("trace_id", &span.trace_id)?;
    time("started_at", Some(&span.started_at))?;
    time("ended_at", span.ended_at.as_ref())?;
    object("metadata", span.metadata.as_ref())
}

/// Checks the end of a span (section 5.3).
pub(super) fn span_ended(end: &SpanEnded) -> Result<(), Refusal> {
    id("id", &end.id)?;
    end.trace_id.as_ref().map_or(Ok(()), |trace_id| id("trace_id", trace_id))?;
    time("ended_at", Some(&end.ended_at))
}

/// Checks the end of a trace (section 5.4).
pub(super) fn trace_ended(end: &TraceEnded) -> Result<(), Refusal> {
    id("id", &end.id)?;
    time("started_at", end.started_at.as_ref())?;
    time("ended_at", end.ended_at.as_ref())
}

fn id(field: &str, id: &Id) -> Result<(), Refusal> {
    if id.to_otel_trace().is_some() {
        return Ok(()); // A UUID.
    }
    match id.as_text().len() {
        0 => Err(blame(field, "the id is empty")),
        1..=MAX_ID_BYTES => Ok(()),
        bytes => Err(blame(field, format!("the id has {bytes} bytes, more than {MAX_ID_BYTES}"))),
    }
}

/// Checks that a time is valid RFC 3339, with or without a zone, from 1970 on. It is stored as sent.
pub(super) fn time(field: &str, time: Option<&Timestamp>) -> Result<(), Refusal> {
    match time {
        Some(time) if time.unix_micros().is_none() => {
            Err(blame(field, "not a time such as 2026-01-02T03:04:05.678901Z, from 1970 on"))
        }
        _ => Ok(()),
    }
}

fn object(field: &str, json: Option<&Json>) -> Result<(), Refusal> {
    match json {
        Some(json) if !json.as_str().starts_with('{') => Err(blame(field, "not a JSON object")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use retrace_protocol::SpanType;

    fn good() -> Trace {
        let at = Timestamp::from("2026-01-02T03:04:05");
        let span = |id: &str| Span::new(id.into(), "t".into(), SpanType::Action, "", at.clone());
        Trace { spans: Some(vec![span("a"), span("b")]), ..Trace::started("t".into(), at.clone()) }
    }

    #[test]
    fn what_contradicts_itself_is_refused_by_field() {
        assert_eq!(trace(&good()), Ok("t".into()));
        type Break = fn(&mut Trace);
        let cases: [(&str, Break); 12] = [
            ("id", |t| t.id = None),
            ("id", |t| t.id = Some("".into())),
            ("id", |t| t.id = Some("x".repeat(MAX_ID_BYTES + 1).into())),
            ("started_at", |t| t.started_at = None),
            ("started_at", |t| t.started_at = Some("yesterday".into())),
            ("ended_at", |t| t.ended_at = Some("".into())),
            ("metadata", |t| t.metadata = Some(Json::text("{"))),
            ("spans[1].id", |t| t.spans.as_mut().unwrap()[1].id = "a".into()),
            ("spans[0].id", |t| t.spans.as_mut().unwrap()[0].id = "".into()),
            ("spans[1].trace_id", |t| t.spans.as_mut().unwrap()[1].trace_id = "T".into()),
            ("spans[1].started_at", |t| t.spans.as_mut().unwrap()[1].started_at = "2026-99-01T00:00:00Z".into()),
            ("spans[0].metadata", |t| t.spans.as_mut().unwrap()[0].metadata = Some(Json::from_serialize(&[1]))),
        ];
        for (field, change) in cases {
            let mut broken = good();
            change(&mut broken);
            assert_eq!(trace(&broken).unwrap_err().field.as_deref(), Some(field));
        }
    }

    #[test]
    fn what_is_only_odd_is_taken() {
        let mut odd = good();
        odd.id = Some("run 7/ü".into());
        odd.ended_at = Some("1999-01-01T00:00:00+05:30".into());
        for span in odd.spans.as_mut().unwrap() {
            span.trace_id = "run 7/ü".into();
            span.parent_id = Some("nobody".into());
            span.metadata = Some(Json::from_serialize(&serde_json::json!({})));
        }
        assert_eq!(trace(&odd), Ok("run 7/ü".into()));
    }
}
