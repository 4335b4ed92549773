//! The examples of rustdoc that send. The argument names one.
//!
//! A line with `recipes::` is where an example has nothing, or a comment.

use std::error::Error;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::InMemorySpanExporter;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    match std::env::args().nth(1).as_deref() {
        Some("crate") => of_crate(),
        Some("exporter") => exporter(),
        Some("processor") => processor(),
        Some("announcer") => announcer(),
        Some("around") => around(),
        Some("install") => install(),
        Some("installer") => installer(),
        Some("sdk-install") => sdk_install(),
        Some("sdk-configure") => sdk_configure(),
        Some("sdk-layer") => sdk_layer(),
        other => Err(format!("there is no example {other:?}").into()),
    }
}

#[rustfmt::skip]
fn of_crate() -> Outcome {
    // rustdoc: begin
    use opentelemetry_retrace::RetraceExporter;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    let exporter = RetraceExporter::builder().build()?; // RETRACE_API_KEY from the environment
    let provider = SdkTracerProvider::builder()
        // … the exporter that is there already …
        .with_batch_exporter(exporter)
        .build();
    recipes::agent(&provider.tracer("docs"));
    // … and at the end, as always:
    provider.shutdown()?;
    // rustdoc: end
    Ok(())
}

fn exporter() -> Outcome {
    // rustdoc: begin
    use opentelemetry_retrace::RetraceExporter;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    let exporter = RetraceExporter::builder().build()?; // RETRACE_API_KEY from the environment
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
    // … the agent runs …
    recipes::agent(&provider.tracer("docs"));
    provider.shutdown()?;
    println!("{:?}", exporter.stats());
    // rustdoc: end
    Ok(())
}

fn processor() -> Outcome {
    // rustdoc: begin
    use opentelemetry_retrace::RetraceSpanProcessor;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    let retrace = RetraceSpanProcessor::builder().build()?; // RETRACE_API_KEY from the environment
    let provider = SdkTracerProvider::builder().with_span_processor(retrace.clone()).build();
    // … the agent runs, and can be watched …
    recipes::agent(&provider.tracer("docs"));
    provider.shutdown()?;
    println!("{:?}", retrace.stats());
    // rustdoc: end
    Ok(())
}

fn announcer() -> Outcome {
    // rustdoc: begin
    use opentelemetry::global;
    use opentelemetry_retrace::{RetracePropagator, RetraceSpanProcessor};

    let retrace = RetraceSpanProcessor::builder().build()?;
    let propagator = RetracePropagator::builder().with_runs(retrace.announcer()).build()?;
    global::set_text_map_propagator(propagator.compose_with_baggage());
    // rustdoc: end
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().with_span_processor(retrace).build();
    recipes::agent(&provider.tracer("docs"));
    Ok(provider.shutdown()?)
}

fn around() -> Outcome {
    let exporter = InMemorySpanExporter::default();
    // rustdoc: begin
    use opentelemetry_retrace::RetraceSpanProcessor;
    use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider};

    let batches = BatchSpanProcessor::builder(exporter).build(); // to the backend that you have
    let retrace = RetraceSpanProcessor::builder().build()?;
    let provider = SdkTracerProvider::builder().with_span_processor(retrace.around(batches)).build();
    // rustdoc: end
    recipes::agent(&provider.tracer("docs"));
    Ok(provider.shutdown()?)
}

#[rustfmt::skip]
fn install() -> Outcome {
    // rustdoc: begin
    use opentelemetry::trace::Tracer as _;
    use opentelemetry::{KeyValue, global};

    let _retrace = opentelemetry_retrace::install()?; // RETRACE_API_KEY from the environment
    let tracer = global::tracer("agent");
    // A span is sent if it is a GenAI span: it has an attribute of the GenAI conventions.
    let agent = tracer.span_builder("invoke_agent planner").with_attributes([
        KeyValue::new("gen_ai.operation.name", "invoke_agent"),
        KeyValue::new("gen_ai.agent.name", "planner"),
    ]);
    tracer.in_span_with_builder(agent, |_| { /* … */ });
    // rustdoc: end
    Ok(())
}

fn installer() -> Outcome {
    let exporter = InMemorySpanExporter::default();
    // rustdoc: begin
    use opentelemetry_retrace::Installer;
    use opentelemetry_sdk::trace::BatchSpanProcessor;

    let batches = BatchSpanProcessor::builder(exporter).build();
    let _retrace = Installer::new().with_span_processor(batches).install()?;
    // rustdoc: end
    recipes::agent(&opentelemetry::global::tracer("docs"));
    Ok(())
}

fn sdk_install() -> Outcome {
    // rustdoc: begin
    let _retrace = retrace::install()?;
    // rustdoc: end
    retrace::run("planner").in_scope(|_| recipes::chat(&opentelemetry::global::tracer("docs"), false));
    Ok(())
}

/// One run in ten is sampled, and this one fails.
fn sdk_configure() -> Outcome {
    // rustdoc: begin
    use std::time::Duration;

    let _retrace = retrace::configure()
        .with_environment("staging")
        .with_sample_rate(0.1)
        .with_flush_timeout(Duration::from_secs(2))
        .install()?;
    // rustdoc: end
    retrace::run("planner").in_scope(|_| recipes::chat(&opentelemetry::global::tracer("docs"), true));
    Ok(())
}

fn sdk_layer() -> Outcome {
    // rustdoc: begin
    use opentelemetry::global;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    let (builder, _retrace) = retrace::configure().layer_on(SdkTracerProvider::builder())?;
    let provider = builder.build(); // with what you have
    global::set_tracer_provider(provider.clone());
    // rustdoc: end
    recipes::agent(&global::tracer("docs"));
    Ok(provider.shutdown()?)
}
