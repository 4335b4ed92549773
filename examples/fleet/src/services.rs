//! The services in Rust: `front`, which runs an agent, and `writer`, which it calls.

use std::error::Error;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use opentelemetry::Context;
use opentelemetry::KeyValue;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState, Tracer as _,
    TracerProvider as _,
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

/// An error that can leave a thread.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Creates the tracer provider of a service, which sends OTLP to the collector.
pub(crate) fn provider(service: &'static str, collector: &str) -> Result<SdkTracerProvider, Failure> {
    let exporter = SpanExporter::builder().with_http().with_endpoint(format!("{collector}/v1/traces")).build()?;
    let resource = Resource::builder_empty().with_attribute(KeyValue::new("service.name", service)).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// Runs the agent of `front` once: a model call, a search in Python, a text by `writer`.
pub(crate) fn run_agent(
    provider: &SdkTracerProvider,
    question: &str,
    search: &str,
    writer: &str,
) -> Result<(), Failure> {
    let tracer = provider.tracer("front");
    let agent = tracer
        .span_builder("invoke_agent front")
        .with_attributes([
            KeyValue::new("gen_ai.operation.name", "invoke_agent"),
            KeyValue::new("gen_ai.agent.name", "front"),
        ])
        .start(&tracer);
    let context = Context::new().with_span(agent);
    chat(&tracer, &context, question, "search for it");
    for service in [search, writer] {
        let client = tracer.span_builder("GET").with_kind(SpanKind::Client).start_with_context(&tracer, &context);
        let client = context.with_span(client);
        let span = client.span();
        let of = span.span_context();
        let traceparent = format!("00-{}-{}-01", of.trace_id(), of.span_id());
        ureq::get(service).header("traceparent", traceparent).call()?;
        span.end();
    }
    context.span().end();
    Ok(())
}

fn chat(tracer: &SdkTracer, context: &Context, input: &str, output: &str) {
    let message = |role: &str, text: &str| {
        serde_json::json!([{"role": role, "parts": [{"type": "text", "content": text}]}]).to_string()
    };
    let mut span = tracer.span_builder("chat m").with_kind(SpanKind::Client).start_with_context(tracer, context);
    span.set_attributes([
        KeyValue::new("gen_ai.operation.name", "chat"),
        KeyValue::new("gen_ai.request.model", "m"),
        KeyValue::new("gen_ai.input.messages", message("user", input)),
        KeyValue::new("gen_ai.output.messages", message("assistant", output)),
    ]);
    span.end();
}

/// Returns the route of `writer`.
pub(crate) fn writer(provider: &SdkTracerProvider) -> Router {
    Router::new().route("/write", get(write)).with_state(provider.tracer("writer"))
}

async fn write(State(tracer): State<SdkTracer>, headers: HeaderMap) -> Result<&'static str, StatusCode> {
    let caller = headers.get("traceparent").and_then(|value| caller(value.to_str().ok()?));
    let caller = Context::new().with_remote_span_context(caller.ok_or(StatusCode::BAD_REQUEST)?);
    let server = tracer.span_builder("GET /write").with_kind(SpanKind::Server).start_with_context(&tracer, &caller);
    let context = caller.with_span(server);
    chat(&tracer, &context, "write it", "it is written");
    context.span().end();
    Ok("written")
}

/// Reads a `traceparent`.
fn caller(value: &str) -> Option<SpanContext> {
    let mut parts = value.split('-').skip(1);
    let trace_id = TraceId::from_hex(parts.next()?).ok()?;
    let span_id = SpanId::from_hex(parts.next()?).ok()?;
    Some(SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, true, TraceState::default()))
}
