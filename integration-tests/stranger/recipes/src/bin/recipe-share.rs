//! A share of all runs, and every failure: this run fails.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // README: begin
    use opentelemetry_retrace::{RetraceSampler, RetraceSpanProcessor};

    let provider = SdkTracerProvider::builder()
        .with_sampler(RetraceSampler::builder().with_sample_rate(0.01).build()?)
        .with_span_processor(RetraceSpanProcessor::builder().build()?)
        .build();
    // README: end
    recipes::chat(&provider.tracer("recipe"), true);
    provider.shutdown()?;
    Ok(())
}
