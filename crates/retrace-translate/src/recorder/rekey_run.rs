//! Moves a run to an id of its own, for a receiver that does not accept it under its present id.

use std::collections::HashSet;

use retrace_protocol::metadata::{SpanMetadata, TraceMetadata, TraceOrigin};
use retrace_protocol::{Id, Json, Span, Trace};

use crate::json::hex;
use crate::recorder::derived_id;

/// Gives a run another id and notes in `metadata.otel.continues` which run it belongs to.
///
/// A receiver accepts a trace id only once (PROTOCOL.md section 9.2), so that two services that record one OpenTelemetry trace,
/// or a run and its continuation, cannot both use it. The new id is derived from the run and its first span: a repetition has
/// the same id. Spans whose parent is not among `spans` move to the top and note their parent.
#[must_use]
pub fn rekey_run(mut trace: Trace, mut spans: Vec<Span>) -> (Trace, Vec<Span>) {
    let taken = trace.id.take();
    let of_trace = taken.as_ref().map_or_else(String::new, |id| id.as_text().into_owned());
    let first = spans.first().map_or_else(String::new, |span| span.id.as_text().into_owned());
    let id = derived_id(&[of_trace.as_bytes(), b"beside:", first.as_bytes()]);

    let mut metadata: TraceMetadata = read(trace.metadata.as_ref());
    let trace_id = match (metadata.otel, taken.as_ref().and_then(Id::to_otel_trace)) {
        (Some(origin), _) => origin.trace_id,
        (None, Some(otel)) => hex(&otel),
        (None, None) => of_trace,
    };
    metadata.otel = Some(TraceOrigin { trace_id, continues: taken, joined: false });
    trace.metadata = Some(Json::from_serialize(&metadata));
    trace.id = Some(id.clone());

    let here: HashSet<Id> = spans.iter().map(|span| span.id.clone()).collect();
    for span in &mut spans {
        span.trace_id = id.clone();
        let parent = span.parent_id.take_if(|parent| !here.contains(parent));
        let is_joined = span.metadata.as_ref().is_some_and(|json| json.as_str().contains(r#""joined":true"#));
        if parent.is_none() && !is_joined {
            continue;
        }
        let mut metadata: SpanMetadata = read(span.metadata.as_ref());
        metadata.otel.joined = false;
        if let Some(parent) = parent {
            metadata.otel.remote_parent = parent.to_otel_span().map(|span_id| hex(&span_id));
        }
        span.metadata = (metadata != SpanMetadata::default()).then(|| Json::from_serialize(&metadata));
    }
    (trace, spans)
}

fn read<T: serde::de::DeserializeOwned + Default>(json: Option<&Json>) -> T {
    json.and_then(|json| serde_json::from_str(json.as_str()).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use retrace_protocol::{SpanType, Timestamp};

    #[test]
    fn a_run_stands_alone_under_another_id_and_says_to_what_it_belongs() {
        let trace_id = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
        let at = Timestamp::from_unix_micros(1);
        let span = |n: u64, parent: Option<u64>| {
            let of = |n: u64| Id::from_otel_span(trace_id, n.to_be_bytes());
            let mut span = Span::new(of(n), Id::from_otel_trace(trace_id), SpanType::Action, "s", at.clone());
            span.parent_id = parent.map(of);
            span
        };
        let trace = || Trace::started(Id::from_otel_trace(trace_id), at.clone());
        let spans = || {
            let mut joined = span(1, Some(9));
            joined.metadata = Json::parse_strict(r#"{"otel":{"joined":true}}"#);
            vec![joined, span(2, Some(1))]
        };
        let (alone, moved) = rekey_run(trace(), spans());
        let id = alone.id.clone().unwrap();
        assert!(id != Id::from_otel_trace(trace_id) && id.is_rfc4122());
        assert!(moved.iter().all(|span| span.trace_id == id));
        assert_eq!((&moved[0].parent_id, &moved[1].parent_id), (&None, &Some(moved[0].id.clone())));
        assert_eq!(moved[0].metadata.as_ref().unwrap().as_str(), r#"{"otel":{"remote_parent":"0000000000000009"}}"#);
        let metadata = alone.metadata.as_ref().unwrap().as_str();
        let expected = r#"{"otel":{"trace_id":"0af7651916cd43dd8448eb211c80319c","continues":"0af76519-16cd-43dd-8448-eb211c80319c"}}"#;
        assert_eq!(metadata, expected);
        assert_eq!(rekey_run(trace(), spans()), (alone, moved), "a repetition is the same run");
        let (other, _) = rekey_run(trace(), vec![span(3, None)]);
        assert_ne!(other.id, Some(id));
    }
}
