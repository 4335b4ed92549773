//! A recorded agent: a run with tools, a nested agent, a step that fails, and streamed model calls through async-openai.
//!
//! Offline: the model is a scripted server on this machine, and the run is sent to a receiver on this machine and read back
//! from there. With `RETRACE_API_KEY` set it is sent to Retrace instead. With `--serve` the receiver stays up, so that its page
//! can be looked at.

#![allow(clippy::print_stdout)]
#![allow(clippy::indexing_slicing)] // Only of JSON objects: a key that is absent reads as null.

mod agent;
mod model;
mod tools;

use std::error::Error;

use async_openai::config::OpenAIConfig;
use retrace_local::{Server, TraceQuery};

const QUESTION: &str = "When is high water in Bergen?";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let receiver = if std::env::var_os("RETRACE_API_KEY").is_none() { Some(Server::start()?) } else { None };

    // An application needs one line: `let retrace = retrace::install()?;`
    let mut configuration = retrace::configure();
    if let Some(receiver) = &receiver {
        configuration = configuration.with_api_key("rt_local").with_base_url(receiver.url());
    }
    let retrace = configuration.install()?;

    // And one line for each model client.
    let config = OpenAIConfig::new().with_api_key("none").with_api_base(model::start().await?);
    let client = retrace::clients::async_openai::client(async_openai::Client::with_config(config));

    println!("you:   {QUESTION}");
    println!("agent: {}\n", agent::answer(&client, QUESTION).await?);

    let stats = retrace.stats();
    retrace.shutdown()?;
    let Some(receiver) = receiver else {
        println!("The run is in Retrace.");
        return Ok(());
    };
    println!("{} spans recorded. Read back from the receiver:\n", stats.accepted);
    for head in receiver.traces(&TraceQuery::default())?.traces {
        if let Some(run) = head.id.and_then(|id| receiver.trace(&id).transpose()).transpose()? {
            run_tree::print(&run)?;
        }
    }
    if std::env::args().any(|argument| argument == "--serve") {
        println!("\nIn a browser: {}   (Enter stops)", receiver.url());
        std::io::stdin().read_line(&mut String::new())?;
    } else {
        println!("\nTo see it in a browser: cargo run -p example-record-agent -- --serve");
    }
    Ok(())
}
