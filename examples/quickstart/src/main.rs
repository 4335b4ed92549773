//! An agent whose spans become a run in Retrace.
//!
//! Offline, with no account: the run is sent to a receiver on this machine and read back from there. With
//! `RETRACE_API_KEY` set it is sent to Retrace instead. With `--serve` the receiver stays up, so that its page can be
//! looked at.

#![allow(clippy::print_stdout)]
#![allow(clippy::indexing_slicing)] // Only of JSON, which answers null to a key that it does not have.

mod agent;
mod model;

use std::error::Error;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_retrace::RetraceExporter;
use opentelemetry_sdk::trace::SdkTracerProvider;
use retrace_local::{Server, TraceQuery};

const QUESTION: &str = "I fly to Oslo tomorrow. What should I pack?";

fn main() -> Result<(), Box<dyn Error>> {
    let stays = std::env::args().any(|argument| argument == "--serve");
    let receiver = if std::env::var_os("RETRACE_API_KEY").is_none() { Some(Server::start()?) } else { None };

    // These lines are all that an application needs.
    let mut builder = RetraceExporter::builder();
    if let Some(receiver) = &receiver {
        builder = builder.with_api_key("rt_local").with_base_url(receiver.url());
    }
    let exporter = builder.build()?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();

    let answer = agent::run(&provider.tracer("quickstart"), QUESTION)?;
    println!("you:   {QUESTION}\nagent: {answer}\n");

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
            println!();
        }
    }
    if stays {
        println!("Look at it: {}   (Enter stops)", receiver.url());
        std::io::stdin().read_line(&mut String::new())?;
    } else {
        println!("To look at it in a browser: cargo run -p quickstart -- --serve");
    }
    Ok(())
}
