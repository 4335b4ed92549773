//! An exporter beside another one.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let otlp = InMemorySpanExporter::default();
    // README: begin
    use opentelemetry_retrace::RetraceExporter;

    let retrace = RetraceExporter::builder().build()?; // RETRACE_API_KEY from the environment
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(otlp) // what you have stays
        .with_batch_exporter(retrace)
        .build();
    // README: end
    recipes::agent(&provider.tracer("recipe"));
    provider.shutdown()?;
    Ok(())
}
