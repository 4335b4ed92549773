//! The OTLP reader, protobuf and JSON, and the translation of what it read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;
use retrace_translate::{Options, SpanSelection};

fuzz_target!(|data: &[u8]| {
    retrace_local::fuzzing::otlp(data);
    if let Some(translated) = translate(data) {
        translated.traces.iter().for_each(fuzz::check);
    }
    if let Ok(request) = ExportTraceServiceRequest::decode(data) {
        same_in_both_encodings(request);
    }
});

fn translate(data: &[u8]) -> Option<retrace_local::Translated> {
    let mut options = Options::default();
    options.selection = SpanSelection::All;
    retrace_local::translate([data], options).ok()
}

/// A request is read the same from protobuf and from the JSON that opentelemetry-proto writes.
fn same_in_both_encodings(mut request: ExportTraceServiceRequest) {
    // The reader of JSON leaves out what is empty.
    for of_resource in &mut request.resource_spans {
        of_resource.resource.iter_mut().for_each(|resource| named(&mut resource.attributes));
        for span in of_resource.scope_spans.iter_mut().flat_map(|of_scope| &mut of_scope.spans) {
            named(&mut span.attributes);
            span.events.retain(|event| !event.name.is_empty());
            span.events.iter_mut().for_each(|event| named(&mut event.attributes));
            span.links.retain(|link| link.trace_id.len() == 16 && link.span_id.len() == 8);
            span.links.iter_mut().for_each(|link| named(&mut link.attributes));
        }
    }
    let Ok(json) = serde_json::to_string(&request) else { return };
    let (Some(read), Some(from_json)) = (translate(&request.encode_to_vec()), translate(json.as_bytes())) else {
        assert!(request.resource_spans.is_empty(), "one is not read: {json}");
        return;
    };
    assert_eq!(read.malformed, from_json.malformed, "{json}");
    let texts = |translated: &retrace_local::Translated| -> Vec<String> {
        translated.traces.iter().map(fuzz::check_text).collect()
    };
    assert_eq!(texts(&read), texts(&from_json), "{json}");
}

/// Leaves out attributes without a key.
fn named(attributes: &mut Vec<KeyValue>) {
    attributes.retain(|pair| !pair.key.is_empty());
    attributes.iter_mut().filter_map(|pair| pair.value.as_mut()).for_each(named_within);
}

fn named_within(value: &mut AnyValue) {
    match &mut value.value {
        Some(Value::ArrayValue(array)) => array.values.iter_mut().for_each(named_within),
        Some(Value::KvlistValue(pairs)) => named(&mut pairs.values),
        _ => {}
    }
}
