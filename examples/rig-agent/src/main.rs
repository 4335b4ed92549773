//! A rig agent whose spans become a run in Retrace.
//!
//! rig traces itself with the `tracing` crate, and `tracing-opentelemetry` makes OpenTelemetry spans of that. All that is
//! Retrace's here is an exporter. Offline: the model is a scripted server on this machine, and the run is sent to a
//! receiver on this machine and read back from there. With `RETRACE_API_KEY` set it is sent to Retrace instead.

#![allow(clippy::print_stdout)]

mod model;
mod tools;

use std::error::Error;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_retrace::RetraceExporter;
use opentelemetry_sdk::trace::SdkTracerProvider;
use retrace_local::{Server, TraceQuery};
use rig::prelude::*;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

const QUESTION: &str = "I must be in Bergen by six tomorrow. Train or plane?";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let receiver = if std::env::var_os("RETRACE_API_KEY").is_none() { Some(Server::start()?) } else { None };
    let mut builder = RetraceExporter::builder();
    if let Some(receiver) = &receiver {
        builder = builder.with_api_key("rt_local").with_base_url(receiver.url());
    }
    let exporter = builder.build()?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
    trace_to(&provider);

    println!("you:   {QUESTION}\nagent: {}\n", answer(QUESTION).await?);

    provider.shutdown()?;
    let stats = exporter.stats();
    println!("{} spans accepted, {} delivered, {} lost", stats.accepted, stats.delivered, stats.lost.total());

    let Some(receiver) = receiver else {
        println!("The run is in Retrace.");
        return Ok(());
    };
    println!("What the receiver has:\n");
    for head in receiver.traces(&TraceQuery::default())?.traces {
        if let Some(trace) = head.id.and_then(|id| receiver.trace(&id).transpose()).transpose()? {
            run_tree::print(&trace)?;
        }
    }
    Ok(())
}

/// Makes OpenTelemetry spans of what is traced in this process.
fn trace_to(provider: &SdkTracerProvider) {
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("trip-planner"))
        // Where in which source, on which thread and how busy: on every span, and nothing that explains a run.
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false);
    // Below this level rig writes every request and every answer into its log, once more.
    tracing_subscriber::registry().with(spans.with_filter(LevelFilter::INFO)).init();
}

/// An ordinary rig agent.
async fn answer(question: &str) -> Result<String, Box<dyn Error>> {
    // An application has `OpenAI::from_env()?` here.
    let models = model::start().await?;
    let agent = AgentBuilder::new(models.chat("gpt-4o-mini"))
        .name("trip-planner")
        .preamble("You plan trips. Look things up before you answer.")
        .tool(tools::Timetable)
        .tool(tools::GetWeather)
        // Otherwise rig leaves prompts, answers and what tools were given and returned out of its spans.
        .record_content_telemetry(true)
        .build();
    Ok(agent.prompt(question).max_turns(3).await?.output().to_owned())
}
