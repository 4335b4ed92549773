//! An agent whose runs can be forked: recorded once, then run again as often as a receiver requests it.
//!
//! ```console
//! $ cargo run -p retrace-local -- serve         # in one terminal
//! $ cargo run -p example-serve-agent            # in another one; then fork its run on the page
//! ```
//!
//! Offline: the model is a scripted server in this process. Runs go to `RETRACE_BASE_URL`, by default the receiver on this machine.
//! With `--once` it ends after the first run. Arguments are questions; without one the question is about Bergen.

#![allow(clippy::print_stdout)]

mod agent;
mod model;

use agent::{AnyError, plan_trip};

const RECEIVER: &str = "http://127.0.0.1:3001";

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let receiver = std::env::var("RETRACE_BASE_URL").unwrap_or_else(|_| RECEIVER.to_owned());
    let mut configuration = retrace::configure()
        .with_base_url(receiver.as_str())
        // The receiver is one on this machine, whose user may run the agent again.
        .with_remote_replay(true)
        .with_remote_cassette(true);
    if std::env::var_os("RETRACE_API_KEY").is_none() {
        configuration = configuration.with_api_key("rt_local");
    }
    let retrace = configuration.install()?;
    agent::use_model(model::start().await?);

    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_once = arguments.iter().any(|argument| argument == "--once");
    arguments.retain(|argument| argument != "--once");
    if arguments.is_empty() {
        arguments.push("Train or plane to Bergen?".to_owned());
    }
    for question in &arguments {
        println!("{question}\n  {}", plan_trip(question, None).await?);
    }
    // Runs can be forked once the receiver has them.
    retrace.flush_async().await?;
    if is_once {
        return Ok(());
    }
    println!("\nplan-trip can be forked and replayed from {receiver} until Ctrl-C");
    retrace::serve([retrace::resumable!(plan_trip)]).await?;
    Ok(())
}
