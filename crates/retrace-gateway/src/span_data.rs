//! Conversion of OTLP spans to spans of the OpenTelemetry SDK, which the exporter takes.
//!
//! A structured attribute (a map, or a list of mixed values) becomes its JSON text, because the SDK has no such value. A
//! log record that is an event of a span becomes an event of that span.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{self, AnyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use retrace_otlp::{OtlpResource, OtlpSpan, OtlpTrace, json_text, log_event_name, log_event_time};

/// Bits of `flags`: whether the flag for a remote parent is valid, and that flag (trace.proto, `SpanFlags`).
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
/// Attribute of a span event with the whole body of a message event.
const MESSAGE_BODY: &str = "gen_ai.event.content";
/// Message events: OpenTelemetry's GenAI events before v1.37.
const MESSAGE_EVENTS: [&str; 5] = [
    "gen_ai.system.message",
    "gen_ai.user.message",
    "gen_ai.assistant.message",
    "gen_ai.tool.message",
    "gen_ai.choice",
];

/// Spans of one resource that arrived one after another.
pub(crate) type OfResource = (Arc<OtlpResource>, Vec<SpanData>);

/// Converts a whole trace, in the order of arrival.
///
/// A span whose parent is not part of the trace, and one that no root leads to, counts as a local root: nothing that comes
/// later can connect it.
pub(crate) fn spans(trace: OtlpTrace) -> Vec<OfResource> {
    let (spans, mut records) = trace.into_parts();
    let starts = starts(&spans);
    let mut converted: Vec<OfResource> = Vec::new();
    for (span, starts) in spans.into_iter().zip(starts) {
        let records = records.remove(&span.span_id()).unwrap_or_default();
        let resource = Arc::clone(span.resource());
        let data = span_data(span, starts, records);
        match converted.last_mut() {
            Some((last, spans)) if last.attributes() == resource.attributes() => spans.push(data),
            _ => converted.push((resource, vec![data])),
        }
    }
    converted
}

/// Returns which spans are local roots.
fn starts(spans: &[OtlpSpan]) -> Vec<bool> {
    let places: HashMap<[u8; 8], usize> = spans.iter().enumerate().map(|(at, span)| (span.span_id(), at)).collect();
    let parents: Vec<Option<usize>> =
        spans.iter().map(|span| span.parent_id().and_then(|parent| places.get(&parent).copied())).collect();
    let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
    for (at, parent) in parents.iter().enumerate() {
        if let Some(parent) = parent {
            children.entry(*parent).or_default().push(at);
        }
    }
    let mut starts: Vec<bool> =
        spans.iter().zip(&parents).map(|(span, parent)| parent.is_none() || is_remote(span)).collect();
    let mut reached = vec![false; spans.len()];
    let visit = |from: usize, reached: &mut Vec<bool>| {
        let mut stack = vec![from];
        while let Some(at) = stack.pop() {
            if reached.get_mut(at).is_some_and(|reached| !std::mem::replace(reached, true)) {
                stack.extend(children.get(&at).into_iter().flatten());
            }
        }
    };
    for at in 0..spans.len() {
        if starts.get(at) == Some(&true) {
            visit(at, &mut reached);
        }
    }
    // What is left are circles of parents; the first span of each is its root.
    for at in 0..spans.len() {
        if reached.get(at) == Some(&false) {
            if let Some(starts) = starts.get_mut(at) {
                *starts = true;
            }
            visit(at, &mut reached);
        }
    }
    starts
}

/// Returns true if the parent is in another process. Exporters that do not set the flag leave the kind, by which the parent
/// of a server or consumer span is remote.
fn is_remote(span: &OtlpSpan) -> bool {
    let message = span.message();
    if message.flags & HAS_IS_REMOTE != 0 {
        return message.flags & IS_REMOTE != 0;
    }
    matches!(message.kind(), span::SpanKind::Server | span::SpanKind::Consumer)
}

fn span_data(span: OtlpSpan, starts: bool, records: Vec<LogRecord>) -> SpanData {
    let (trace_id, span_id, parent) = (span.trace_id(), span.span_id(), span.parent_id());
    let (message, scope, _) = span.into_parts();
    let kind = match message.kind() {
        span::SpanKind::Unspecified | span::SpanKind::Internal => SpanKind::Internal,
        span::SpanKind::Server => SpanKind::Server,
        span::SpanKind::Client => SpanKind::Client,
        span::SpanKind::Producer => SpanKind::Producer,
        span::SpanKind::Consumer => SpanKind::Consumer,
    };
    let status = match message.status {
        Some(status) if status.code() == StatusCode::Error => Status::error(status.message),
        Some(status) if status.code() == StatusCode::Ok => Status::Ok,
        _ => Status::Unset,
    };
    let mut events = SpanEvents::default();
    events.events = message.events.into_iter().map(event).chain(records.into_iter().map(record)).collect();
    events.dropped_count = message.dropped_events_count;
    let mut links = SpanLinks::default();
    links.links = message.links.into_iter().filter_map(link).collect();
    links.dropped_count = message.dropped_links_count;
    SpanData {
        span_context: SpanContext::new(
            TraceId::from_bytes(trace_id),
            SpanId::from_bytes(span_id),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        ),
        parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from_bytes),
        parent_span_is_remote: starts && parent.is_some(),
        span_kind: kind,
        name: message.name.into(),
        start_time: time(message.start_time_unix_nano),
        end_time: time(message.end_time_unix_nano),
        attributes: attributes(message.attributes),
        dropped_attributes_count: message.dropped_attributes_count,
        events,
        links,
        status,
        instrumentation_scope: scope.map_or_else(InstrumentationScope::default, |scope| {
            let named = InstrumentationScope::builder(scope.name.clone());
            if scope.version.is_empty() { named.build() } else { named.with_version(scope.version.clone()).build() }
        }),
    }
}

/// Converts a resource.
pub(crate) fn resource(resource: &OtlpResource) -> Resource {
    Resource::builder_empty().with_attributes(attributes(resource.attributes().to_vec())).build()
}

fn event(event: span::Event) -> Event {
    let attributes = attributes(event.attributes);
    Event::new(event.name, time(event.time_unix_nano), attributes, event.dropped_attributes_count)
}

fn record(mut record: LogRecord) -> Event {
    let name = log_event_name(&record).unwrap_or_default().to_owned();
    let at = time(log_event_time(&record));
    let body = record.body.take();
    let mut attributes = attributes(record.attributes);
    let key = if MESSAGE_EVENTS.contains(&name.as_str()) { MESSAGE_BODY } else { "body" };
    attributes.extend(body.and_then(value).map(|body| KeyValue::new(key, body)));
    Event::new(name, at, attributes, record.dropped_attributes_count)
}

fn link(link: span::Link) -> Option<Link> {
    let trace_id = TraceId::from_bytes(link.trace_id.as_slice().try_into().ok()?);
    let span_id = SpanId::from_bytes(link.span_id.as_slice().try_into().ok()?);
    let context = SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, true, TraceState::default());
    Some(Link::new(context, attributes(link.attributes), link.dropped_attributes_count))
}

fn attributes(pairs: Vec<v1::KeyValue>) -> Vec<KeyValue> {
    pairs.into_iter().filter_map(|pair| Some(KeyValue::new(pair.key, value(pair.value?)?))).collect()
}

fn value(any: AnyValue) -> Option<Value> {
    Some(match any.value? {
        Any::StringValue(text) => Value::String(text.into()),
        Any::BoolValue(value) => Value::Bool(value),
        Any::IntValue(value) => Value::I64(value),
        Any::DoubleValue(value) => Value::F64(value),
        Any::ArrayValue(list) => match array(&list.values) {
            Some(array) => Value::Array(array),
            None => text(Any::ArrayValue(list))?,
        },
        structured => text(structured)?,
    })
}

/// Returns a list whose values are all of one kind.
fn array(values: &[AnyValue]) -> Option<Array> {
    fn all<T>(values: &[AnyValue], one: impl Fn(&Any) -> Option<T>) -> Option<Vec<T>> {
        values.iter().map(|value| one(value.value.as_ref()?)).collect()
    }
    let texts = |any: &Any| match any {
        Any::StringValue(text) => Some(StringValue::from(text.clone())),
        _ => None,
    };
    let numbers = |any: &Any| match any {
        Any::IntValue(number) => Some(*number),
        _ => None,
    };
    let floats = |any: &Any| match any {
        Any::DoubleValue(number) => Some(*number),
        _ => None,
    };
    let switches = |any: &Any| match any {
        Any::BoolValue(value) => Some(*value),
        _ => None,
    };
    let texts = || all(values, texts).map(Array::String);
    let numbers = || all(values, numbers).map(Array::I64);
    let floats = || all(values, floats).map(Array::F64);
    texts().or_else(numbers).or_else(floats).or_else(|| all(values, switches).map(Array::Bool))
}

fn text(any: Any) -> Option<Value> {
    let text = json_text(&AnyValue { value: Some(any) })?;
    // Bytes are a JSON string: the text is its content.
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).map(str::to_owned).unwrap_or(text);
    Some(Value::String(text.into()))
}

/// A time after the end of the clock becomes 1970.
fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_nanos(nanos)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use retrace_otlp::OtlpRequest;
    use serde_json::json;

    fn converted(spans: &serde_json::Value, records: &serde_json::Value) -> Vec<SpanData> {
        let text = json!({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "s", "version": "1"}, "spans": spans}]}],
            "resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]});
        let request = OtlpRequest::from_json(text.to_string().as_bytes()).unwrap();
        let mut trace = OtlpTrace::default();
        for span in request.spans {
            trace.add_span(span);
        }
        for event in request.events {
            trace.add_event(event);
        }
        super::spans(trace).into_iter().flat_map(|(_, spans)| spans).collect()
    }

    fn span(id: u64, parent: u64, more: serde_json::Value) -> serde_json::Value {
        let mut span = json!({"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": format!("{id:016x}"), "name": "n",
            "startTimeUnixNano": "1", "endTimeUnixNano": "2"});
        if parent != 0 {
            span["parentSpanId"] = format!("{parent:016x}").into();
        }
        if let (Some(span), serde_json::Value::Object(more)) = (span.as_object_mut(), more) {
            span.extend(more);
        }
        span
    }

    #[test]
    fn every_span_is_connected_to_a_local_root() {
        let roots = |spans: &[(u64, u64)]| -> Vec<u8> {
            let spans: Vec<_> = spans.iter().map(|(id, parent)| span(*id, *parent, json!({}))).collect();
            let converted = converted(&json!(spans), &json!([]));
            let is_root = |span: &SpanData| span.parent_span_id == SpanId::INVALID || span.parent_span_is_remote;
            let roots = converted.iter().filter(|span| is_root(span));
            roots.map(|span| span.span_context.span_id().to_bytes()[7]).collect()
        };
        assert_eq!(roots(&[(3, 2), (2, 1), (1, 0)]), [1]);
        assert_eq!(roots(&[(3, 2), (1, 0)]), [3, 1], "the parent is missing");
        assert_eq!(roots(&[(1, 0), (3, 2), (2, 3), (4, 3)]), [1, 3], "a circle has one root");
        assert_eq!(roots(&[(5, 5)]), [5], "a span that is its own parent");
    }

    #[test]
    fn the_parent_of_a_server_span_is_remote() {
        let spans = json!([
            span(1, 0, json!({})),
            span(2, 1, json!({"kind": 2})),
            span(3, 1, json!({"kind": 2, "flags": 256})),
            span(4, 1, json!({"flags": 768}))
        ]);
        let remote: Vec<bool> = converted(&spans, &json!([])).iter().map(|span| span.parent_span_is_remote).collect();
        assert_eq!(remote, [false, true, false, true]);
    }

    #[test]
    fn values_keep_their_kind_and_structures_become_json() {
        let attributes = json!([
            {"key": "text", "value": {"stringValue": "a"}},
            {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}}},
            {"key": "mixed", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "1"}]}}},
            {"key": "map", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": true}}]}}},
            {"key": "bytes", "value": {"bytesValue": "AAE="}},
            {"key": "none", "value": {}},
        ]);
        let spans = converted(&json!([span(1, 0, json!({"attributes": attributes}))]), &json!([]));
        let values: Vec<(&str, &Value)> =
            spans[0].attributes.iter().map(|pair| (pair.key.as_str(), &pair.value)).collect();
        let text = |text: &str| Value::String(text.to_owned().into());
        assert_eq!(
            values,
            [
                ("text", &text("a")),
                ("list", &Value::Array(Array::String(vec!["a".into(), "b".into()]))),
                ("mixed", &text(r#"["a",1]"#)),
                ("map", &text(r#"{"k":true}"#)),
                ("bytes", &text("AAE=")),
            ]
        );
    }

    #[test]
    fn a_log_record_is_an_event_with_its_body() {
        let record = |name: &str| {
            json!({"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "0000000000000001",
            "eventName": name, "observedTimeUnixNano": "5", "body": {"kvlistValue": {"values": [
                {"key": "content", "value": {"stringValue": "Hi"}}]}}})
        };
        let records = json!([record("gen_ai.user.message"), record("other")]);
        let spans = converted(&json!([span(1, 0, json!({}))]), &records);
        let events: Vec<_> =
            spans[0].events.iter().map(|event| (&*event.name, event.attributes[0].key.as_str())).collect();
        assert_eq!(events, [("gen_ai.user.message", MESSAGE_BODY), ("other", "body")]);
        assert_eq!(spans[0].events[0].attributes[0].value.to_string(), r#"{"content":"Hi"}"#);
        assert_eq!(spans[0].events[0].timestamp, time(5));
    }
}
