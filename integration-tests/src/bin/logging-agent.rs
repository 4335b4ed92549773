//! An agent whose log is of interest: `tests/startup_log.rs` runs it with settings in the environment that cannot be read.
//!
//! Arguments: how it records, and which `tracing` subscriber it sets up. The subscriber writes to standard output. So do the
//! lines `warning: …` for each warning of the handle, and `working` when the spans have ended; then the process waits until its
//! standard input ends, and shuts down.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::Read as _;

use integration_tests::agent;
use integration_tests::wait::HANG;
use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_retrace::{
    Guard, RetraceExporter, RetracePropagator, RetraceSampler, RetraceSpanProcessor, Stats, install,
};
use opentelemetry_sdk::trace::{SdkTracerProvider, TracerProviderBuilder};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A handle that reads settings from the environment.
enum Retrace {
    Exporter(RetraceExporter),
    Processor(RetraceSpanProcessor),
    Guard(Guard),
}

impl Retrace {
    fn warnings(&self) -> Vec<String> {
        match self {
            Self::Exporter(exporter) => exporter.warnings(),
            Self::Processor(processor) => processor.warnings(),
            Self::Guard(guard) => guard.warnings(),
        }
    }

    fn stats(&self) -> Stats {
        match self {
            Self::Exporter(exporter) => exporter.stats(),
            Self::Processor(processor) => processor.stats(),
            Self::Guard(guard) => guard.stats(),
        }
    }
}

fn main() -> Outcome {
    let mut args = std::env::args().skip(1);
    let (how, subscriber) = (args.next().ok_or("how?")?, args.next().ok_or("which subscriber?")?);
    if subscriber == "first" {
        subscribe(&SdkTracerProvider::builder().build(), LevelFilter::TRACE, LevelFilter::TRACE)?;
    }
    let (provider, retrace, other) = build(&how)?;
    match subscriber.as_str() {
        "after" => subscribe(&provider, LevelFilter::TRACE, LevelFilter::TRACE)?,
        "errors-only" => subscribe(&provider, LevelFilter::ERROR, LevelFilter::ERROR)?,
        "not-ours" => subscribe(&provider, LevelFilter::TRACE, LevelFilter::OFF)?,
        _ => {}
    }
    for warning in retrace.warnings() {
        println!("warning: {warning}");
    }
    if subscriber == "after" {
        tracing::info_span!("chat", "gen_ai.operation.name" = "chat").in_scope(|| tracing::info!("the model answers"));
    } else {
        agent::run(&provider);
    }
    println!("working");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(other);
    if how == "dropped" || how == "unused" {
        // Without a shutdown. The SDK shuts down what is in a provider when the last clone of that is dropped.
        drop((retrace, provider));
    } else if let Retrace::Guard(guard) = retrace {
        drop(provider);
        guard.shutdown()?;
    } else {
        provider.shutdown_with_timeout(HANG)?;
        // A handle in a static is never dropped.
        let stats = Box::leak(Box::new(retrace)).stats();
        println!("accepted {} delivered {}", stats.accepted, stats.delivered);
    }
    Ok(())
}

/// A provider that records to Retrace in the way named, the handle, and a second one if the way has two.
fn build(how: &str) -> Outcome<(SdkTracerProvider, Retrace, Option<RetraceExporter>)> {
    if how == "install" {
        let guard = install()?;
        let provider = guard.provider().cloned().unwrap_or_default();
        return Ok((provider, Retrace::Guard(guard), None));
    }
    global::set_text_map_propagator(RetracePropagator::default().compose_from_env());
    let builder = SdkTracerProvider::builder().with_sampler(RetraceSampler::builder().build()?);
    let exporter = |builder: TracerProviderBuilder| -> Outcome<_> {
        let exporter = RetraceExporter::builder().build()?;
        Ok((builder.with_batch_exporter(exporter.clone()), exporter))
    };
    Ok(match how {
        "processor" | "dropped" => {
            let processor = RetraceSpanProcessor::builder().build()?;
            (builder.with_span_processor(processor.clone()).build(), Retrace::Processor(processor), None)
        }
        "unused" => (builder.build(), Retrace::Exporter(RetraceExporter::builder().build()?), None),
        "exporter" => {
            let (builder, handle) = exporter(builder)?;
            (builder.build(), Retrace::Exporter(handle), None)
        }
        "two" => {
            let processor = RetraceSpanProcessor::builder().build()?;
            let (builder, handle) = exporter(builder.with_span_processor(processor.clone()))?;
            (builder.build(), Retrace::Processor(processor), Some(handle))
        }
        other => return Err(format!("there is no way {other}").into()),
    })
}

/// Makes the set-up of `tracing-opentelemetry` global, with these levels for the application and for this crate's target.
fn subscribe(provider: &SdkTracerProvider, level: LevelFilter, ours: LevelFilter) -> Outcome {
    let filter = Targets::new().with_default(level).with_target("opentelemetry-retrace", ours);
    let subscriber = tracing_subscriber::registry()
        .with(filter)
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("application")))
        .with(tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stdout));
    Ok(tracing::subscriber::set_global_default(subscriber)?)
}
