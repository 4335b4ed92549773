//! An agent that calls another service. Its arguments are the service, its pipeline, and the name of its run if it states one.

use std::error::Error;

use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_retrace::{Guard, RetraceExporter, RetraceSpanProcessor, attributes};
use opentelemetry_sdk::trace::SdkTracerProvider;

fn by_exporter() -> Result<SdkTracerProvider, Box<dyn Error>> {
    let exporter = RetraceExporter::builder().build()?;
    // README: begin
    use opentelemetry_retrace::{RemoteRunContext, RetracePropagator};

    let propagator = RetracePropagator::builder().with_runs(|_| Some(RemoteRunContext::new())).build()?;
    global::set_text_map_propagator(propagator.compose_from_env());
    // README: end
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).build())
}

fn by_processor() -> Result<SdkTracerProvider, Box<dyn Error>> {
    let processor = RetraceSpanProcessor::builder().build()?;
    // README: begin
    use opentelemetry_retrace::{RetraceIdGenerator, RetracePropagator};

    let propagator = RetracePropagator::builder().with_runs(processor.announcer()).build()?;
    global::set_text_map_propagator(propagator.compose_from_env()); // with baggage, or as OTEL_PROPAGATORS says
    let builder = SdkTracerProvider::builder().with_id_generator(RetraceIdGenerator::default());
    // README: end
    Ok(builder.with_span_processor(processor).build())
}

// README: begin
use opentelemetry_retrace::opentelemetry_http::HeaderInjector;

/// Headers for a request that the current span makes.
fn headers_of_call() -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    global::get_text_map_propagator(|propagator| propagator.inject(&mut HeaderInjector(&mut headers)));
    headers
}
// README: end

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let service = arguments.next().ok_or("which service?")?.parse()?;
    let mut guard: Option<Guard> = None;
    let provider = match arguments.next().as_deref() {
        Some("exporter") => by_exporter()?,
        Some("processor") => by_processor()?,
        _ => guard.insert(opentelemetry_retrace::install()?).provider().ok_or("nothing records")?.clone(),
    };
    let tracer = provider.tracer("caller");
    let agent = tracer.start("invoke_agent planner");
    let agent = Context::new().with_span(agent);
    agent.span().set_attribute(KeyValue::new("gen_ai.agent.name", "planner"));
    if let Some(name) = arguments.next() {
        agent.span().set_attribute(KeyValue::new(attributes::TRACE_NAME, name));
    }
    let request = tracer.span_builder("POST").with_kind(SpanKind::Client).start_with_context(&tracer, &agent);
    let request = agent.with_span(request);
    {
        let _current = request.clone().attach();
        recipes::http::call(service, &headers_of_call())?;
    }
    request.span().end();
    agent.span().end();
    provider.shutdown()?;
    Ok(())
}
