//! The service that is called: handles one request. Its argument is its pipeline.

use std::net::TcpListener;

use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_retrace::{RetraceExporter, RetracePropagator, RetraceSpanProcessor};
use opentelemetry_sdk::trace::SdkTracerProvider;

// README: begin
use opentelemetry_retrace::opentelemetry_http::HeaderExtractor;

/// Context of the spans that a request with these headers causes.
fn context_of_caller(headers: &http::HeaderMap) -> Context {
    global::get_text_map_propagator(|propagator| propagator.extract(&HeaderExtractor(headers)))
}
// README: end

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let builder = SdkTracerProvider::builder();
    let mut guard = None;
    let provider = match std::env::args().nth(1).as_deref() {
        Some("exporter") => builder.with_batch_exporter(RetraceExporter::builder().build()?).build(),
        Some("processor") => builder.with_span_processor(RetraceSpanProcessor::builder().build()?).build(),
        _ => guard.insert(opentelemetry_retrace::install()?).provider().expect("it records").clone(),
    };
    global::set_text_map_propagator(RetracePropagator::default().compose_from_env());
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?);
    recipes::http::serve_one(&listener, |headers| {
        let tracer = provider.tracer("service");
        let above = context_of_caller(&headers);
        let request = tracer.span_builder("POST /ask").with_kind(SpanKind::Server);
        let request = above.with_span(request.start_with_context(&tracer, &above));
        let chat = [KeyValue::new("gen_ai.operation.name", "chat"), KeyValue::new("gen_ai.usage.output_tokens", 10)];
        drop(tracer.span_builder("chat m").with_attributes(chat).start_with_context(&tracer, &request));
        request.span().end();
    })?;
    provider.shutdown()?;
    Ok(())
}
