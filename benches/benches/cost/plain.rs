//! A run in the wire's JSON with nothing read: every attribute as it is, no message, no type, no total.

use bytes::Bytes;
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;
use retrace_protocol::{Id, Timestamp};
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

#[derive(Serialize)]
struct Run<'a> {
    id: Id,
    started_at: Timestamp,
    ended_at: Timestamp,
    status: &'static str,
    spans: Vec<Span<'a>>,
}

#[derive(Serialize)]
struct Span<'a> {
    id: Id,
    trace_id: Id,
    parent_id: Id,
    span_type: &'static str,
    name: &'a str,
    started_at: Timestamp,
    ended_at: Timestamp,
    duration_ms: u128,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    scope: [&'a str; 2],
    #[serde(serialize_with = "attributes")]
    attributes: &'a [KeyValue],
}

/// The body of a request that creates the run, its root last.
pub(crate) fn body(spans: &[SpanData]) -> Bytes {
    let root = spans.last().unwrap();
    let trace_id = root.span_context.trace_id().to_bytes();
    let id = |span: [u8; 8]| Id::from_otel_span(trace_id, span);
    let run = Run {
        id: Id::from_otel_trace(trace_id),
        started_at: root.start_time.into(),
        ended_at: root.end_time.into(),
        status: "completed",
        spans: spans
            .iter()
            .map(|span| Span {
                id: id(span.span_context.span_id().to_bytes()),
                trace_id: Id::from_otel_trace(trace_id),
                parent_id: id(span.parent_span_id.to_bytes()),
                span_type: "function_call",
                name: &span.name,
                started_at: span.start_time.into(),
                ended_at: span.end_time.into(),
                duration_ms: span.end_time.duration_since(span.start_time).unwrap().as_millis(),
                metadata: Metadata {
                    scope: [span.instrumentation_scope.name(), span.instrumentation_scope.version().unwrap()],
                    attributes: &span.attributes,
                },
            })
            .collect(),
    };
    serde_json::to_vec(&run).unwrap().into()
}

fn attributes<S: Serializer>(attributes: &&[KeyValue], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(attributes.len()))?;
    for KeyValue { key, value, .. } in *attributes {
        match value {
            Value::Bool(value) => map.serialize_entry(key.as_str(), value)?,
            Value::I64(value) => map.serialize_entry(key.as_str(), value)?,
            Value::F64(value) => map.serialize_entry(key.as_str(), value)?,
            Value::String(value) => map.serialize_entry(key.as_str(), value.as_str())?,
            Value::Array(Array::String(list)) => {
                map.serialize_entry(
                    key.as_str(),
                    &list.iter().map(opentelemetry::StringValue::as_str).collect::<Vec<_>>(),
                )?;
            }
            other => panic!("no attribute here is {other:?}"),
        }
    }
    map.end()
}
