//! From spans of the SDK to what the local receiver has, and back.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use integration_tests::agent;
use integration_tests::wait::{HANG, deliver};
use opentelemetry::trace::{
    Event, SpanContext, SpanId, SpanKind, Status as SpanStatus, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_retrace::{RetraceExporter, RetraceExporterBuilder, SpanSelection};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, SdkTracerProvider, SpanData, SpanEvents, SpanExporter, SpanLinks,
};
use prost::Message as _;
use retrace_local::{Server, TraceQuery};
use retrace_protocol::{Json, Span, Status, Trace};
use retrace_translate::Options;

fn exporter(
    server: &Server,
    configure: impl FnOnce(RetraceExporterBuilder) -> RetraceExporterBuilder,
) -> RetraceExporter {
    let builder = RetraceExporter::builder().with_api_key("rt_local").with_base_url(server.url());
    configure(builder.with_timeout(HANG).with_flush_timeout(HANG)).build().unwrap()
}

/// The only run that the receiver has.
fn stored(server: &Server) -> Trace {
    let page = server.traces(&TraceQuery::default()).unwrap();
    assert_eq!(page.total, 1, "{page:?}");
    server.trace(page.traces[0].id.as_ref().unwrap()).unwrap().unwrap()
}

#[test]
fn a_run_is_stored_as_it_was_meant() {
    let server = Server::start().unwrap();
    let exporter = exporter(&server, |builder| builder.with_environment("test"));
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder_empty().with_service_name("weather-service").build())
        .with_batch_exporter(exporter.clone())
        .build();
    agent::run(&provider);
    deliver(&provider, &exporter);

    let trace = stored(&server);
    assert_eq!((trace.name.as_deref(), trace.status), (Some("weather"), Some(Status::Completed)));
    assert_eq!((trace.session_id.as_deref(), trace.total_tokens), (Some("session-1"), Some(240)));
    assert!(trace.total_cost.unwrap() > 0.0);
    assert_eq!(trace.input, Some(Json::text("Weather in Oslo?")));
    assert_eq!(trace.output, Some(Json::text("4 degrees.")));
    let metadata = trace.metadata.unwrap().to_value().unwrap();
    assert_eq!((&metadata["environment"], &metadata["service"]["name"]), (&"test".into(), &"weather-service".into()));
    let spans = trace.spans.unwrap();
    let told: Vec<_> = spans.iter().map(|span| (span.span_type.as_str(), span.name.as_str())).collect();
    assert_eq!(
        told,
        [
            ("reasoning", "weather"),
            ("llm_call", "chat gpt-4o-mini"),
            ("tool_call", "get_weather"),
            ("tool_result", "get_weather"),
            ("llm_call", "chat gpt-4o-mini"),
        ]
    );
    assert_eq!(trace.span_count, Some(5));
}

/// The same spans, read from the SDK and read from OTLP, give the same runs.
#[test]
fn spans_of_the_sdk_and_of_otlp_are_told_alike() {
    let server = Server::start().unwrap();
    let exporter = exporter(&server, |builder| builder.with_transport("http"));
    let memory = InMemorySpanExporter::default();
    let resource = Resource::builder_empty().with_service_name("s").build();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_simple_exporter(memory.clone())
        .with_simple_exporter(exporter)
        .build();
    agent::run(&provider);
    let spans = memory.get_finished_spans().unwrap();
    provider.shutdown_with_timeout(HANG).unwrap();

    let resource = ResourceAttributesWithSchema::from(&resource);
    let request = ExportTraceServiceRequest { resource_spans: group_spans_by_resource_and_scope(spans, &resource) };
    let json = serde_json::to_vec(&request).unwrap();
    let protobuf = request.encode_to_vec();
    let of = |bytes: &[u8]| retrace_local::translate([bytes], Options::default()).unwrap().traces;
    assert_eq!(of(&json), of(&protobuf));
    assert_eq!(of(&protobuf), [stored(&server)]);
}

fn span(id: u64, parent: u64, attributes: Vec<KeyValue>) -> SpanData {
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
            SpanId::from(id),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        ),
        parent_span_id: SpanId::from(parent),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: Cow::Borrowed("span"),
        start_time: UNIX_EPOCH + Duration::from_secs(id),
        end_time: UNIX_EPOCH + Duration::from_secs(id + 1),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: SpanStatus::Unset,
        instrumentation_scope: InstrumentationScope::default(),
    }
}

/// Exports spans as they are and reads back the run they made.
fn sent(spans: Vec<SpanData>) -> (Trace, Vec<Span>) {
    let server = Server::start().unwrap();
    let exporter = exporter(&server, |builder| builder.with_span_selection(SpanSelection::All));
    let count = spans.len() as u64;
    let signals = exporter.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(exporter.export(spans)).ok();
    exporter.shutdown_with_timeout(HANG).unwrap();
    let stats = signals.stats();
    assert_eq!((stats.delivered, stats.lost.total(), stats.pending), (count, 0, 0), "{stats:?}");
    let mut trace = stored(&server);
    let spans = trace.spans.take().unwrap();
    (trace, spans)
}

fn chat(extra: impl IntoIterator<Item = KeyValue>) -> Vec<KeyValue> {
    std::iter::once(KeyValue::new("gen_ai.operation.name", "chat")).chain(extra).collect()
}

fn output(span: &Span) -> serde_json::Value {
    span.output.as_ref().unwrap().to_value().unwrap()
}

#[test]
fn broken_escapes_and_numbers_that_json_lacks_do_not_break_the_body() {
    let broken = r#"[{"role":"assistant","parts":[{"type":"text","content":"a\ud800b\u0000"}]}]"#;
    let attributes = chat([
        KeyValue::new("gen_ai.output.messages", broken),
        KeyValue::new("nan", f64::NAN),
        KeyValue::new("list", opentelemetry::Value::Array(Array::F64(vec![f64::INFINITY, 0.5]))),
        KeyValue::new("nul\0", "a\0b"),
    ]);
    let (_, spans) = sent(vec![span(1, 0, attributes)]);
    assert_eq!(output(&spans[0]), "a\u{FFFD}b\u{FFFD}", "read all the same");
    let metadata = spans[0].metadata.as_ref().unwrap().to_value().unwrap();
    assert_eq!(
        metadata["attributes"],
        serde_json::json!({"nan": "NaN", "list": ["inf", 0.5], "nul\u{FFFD}": "a\u{FFFD}b"})
    );
}

#[test]
fn ten_megabytes_and_fifty_thousand_attributes_arrive() {
    let mut attributes = chat([KeyValue::new("gen_ai.output.messages", "x".repeat(10 << 20))]);
    attributes.extend((0..50_000).map(|n| KeyValue::new(format!("key.{n}"), n)));
    let (_, spans) = sent(vec![span(1, 0, attributes)]);
    assert_eq!(output(&spans[0]).as_str().unwrap().len(), 10 << 20);
    let metadata = spans[0].metadata.as_ref().unwrap().to_value().unwrap();
    assert_eq!(metadata["attributes"].as_object().unwrap().len(), 50_000);
}

#[test]
fn a_span_that_ends_before_it_starts_arrives() {
    let mut odd = span(9, 0, chat([]));
    odd.end_time = UNIX_EPOCH;
    let (trace, spans) = sent(vec![odd]);
    assert_eq!((spans[0].duration_ms, trace.total_duration_ms), (Some(0), Some(0)));
    let mut before_1970 = span(9, 0, chat([]));
    before_1970.start_time = SystemTime::UNIX_EPOCH - Duration::from_secs(60);
    assert_eq!(sent(vec![before_1970]).1[0].started_at.to_string(), "1970-01-01T00:00:00Z");
}

#[test]
fn deep_json_is_embedded_as_far_as_readers_go_and_is_text_beyond() {
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let tool = |result: String| {
        vec![
            KeyValue::new("gen_ai.operation.name", "execute_tool"),
            KeyValue::new("gen_ai.tool.call.id", "c"),
            KeyValue::new("gen_ai.tool.call.result", result),
        ]
    };
    let (_, spans) = sent(vec![span(1, 0, tool(nested(32)))]);
    assert!(output(&spans[0]).is_array());
    let (_, spans) = sent(vec![span(1, 0, tool(nested(500)))]);
    assert_eq!(output(&spans[0]), nested(500));
}

#[test]
fn circles_and_repeated_ids_arrive() {
    let mut again = span(3, 1, chat([KeyValue::new("n", 2)]));
    again.start_time += Duration::from_secs(7);
    let circle = [span(1, 2, chat([])), span(2, 1, chat([])), span(3, 1, chat([KeyValue::new("n", 1)])), again];
    let (trace, spans) = sent(circle.to_vec());
    assert_eq!((trace.status, spans.len()), (Some(Status::Running), 4));
    let ids: std::collections::BTreeSet<_> = spans.iter().map(|span| span.id.to_string()).collect();
    assert_eq!(ids.len(), 4);
}

#[test]
fn a_failure_is_told_with_its_cause() {
    let mut failed = span(1, 0, chat([]));
    failed.status = SpanStatus::error("described");
    failed.events.events.push(Event::new(
        "exception",
        UNIX_EPOCH,
        vec![KeyValue::new("exception.type", "Timeout"), KeyValue::new("exception.message", "too slow")],
        0,
    ));
    let (trace, spans) = sent(vec![failed]);
    assert_eq!((trace.status, trace.error.as_deref()), (Some(Status::Failed), Some("Timeout: too slow")));
    assert_eq!(spans[0].error.as_deref(), Some("Timeout: too slow"));
}

#[test]
fn a_run_that_did_not_end_is_shown_as_running() {
    let (trace, spans) = sent(vec![span(2, 1, chat([]))]);
    assert_eq!((trace.status, trace.ended_at, trace.span_count), (Some(Status::Running), None, None));
    assert_eq!(spans.len(), 1);
}
