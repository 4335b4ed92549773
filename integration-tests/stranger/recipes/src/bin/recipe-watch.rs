//! A span processor.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // README: begin
    use opentelemetry_retrace::RetraceSpanProcessor;

    let retrace = RetraceSpanProcessor::builder().build()?; // RETRACE_API_KEY from the environment
    let provider = SdkTracerProvider::builder().with_span_processor(retrace).build();
    // README: end
    recipes::agent(&provider.tracer("recipe"));
    provider.shutdown()?;
    Ok(())
}
