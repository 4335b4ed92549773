//! Spans of `tracing`, whatever `RUST_LOG` is.

use opentelemetry_retrace::RetraceExporter;
use opentelemetry_sdk::trace::SdkTracerProvider;

#[tracing::instrument(name = "invoke_agent planner", fields(gen_ai.agent.name = "planner"))]
fn agent() {
    let chat =
        tracing::info_span!("chat gpt-4o-mini", gen_ai.operation.name = "chat", gen_ai.request.model = "gpt-4o-mini");
    let _chat = chat.entered();
    tracing::info!("of no interest where RUST_LOG is warn");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let provider = SdkTracerProvider::builder().with_batch_exporter(RetraceExporter::builder().build()?).build();
    // README: begin
    use opentelemetry::trace::TracerProvider as _;
    use tracing_subscriber::filter::{EnvFilter, LevelFilter};
    use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

    let log = tracing_subscriber::fmt::layer().with_filter(EnvFilter::from_default_env());
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("app")).with_filter(LevelFilter::INFO);
    tracing_subscriber::registry().with(log).with(spans).init();
    // README: end
    agent();
    provider.shutdown()?;
    Ok(())
}
