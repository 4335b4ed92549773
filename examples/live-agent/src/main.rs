//! A slow agent whose run is watched while it happens.
//!
//! Offline, with no account: the run is sent to a receiver on this machine, and what is printed is what that receiver has.
//! In the middle the receiver stops; later it starts again and has everything. With `RETRACE_API_KEY` set (and
//! `RETRACE_BASE_URL`) the run is sent there instead, and that receiver is yours to stop and start. With `--fast` nobody
//! can follow, and it is over in a second.

#![allow(clippy::print_stdout)]
#![allow(clippy::indexing_slicing)] // Only of JSON, which answers null to a key that it does not have.

mod agent;
mod receiver;
mod watch;

use std::error::Error;
use std::thread;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_retrace::RetraceSpanProcessor;
use opentelemetry_sdk::trace::SdkTracerProvider;
use retrace_protocol::{Status, Trace};

use crate::agent::Work;
use crate::receiver::Receiver;
use crate::watch::Watch;

/// The step during which the receiver stops, and the one during which it starts again.
const STOPS_DURING: &str = "search_trains";
const RETURNS_DURING: &str = "book_seats";
/// How long the receiver may take to show or to confirm something. A sender that found nobody waits longer from try to try.
const SHOWN_WITHIN: Duration = Duration::from_secs(120);

fn main() -> Result<(), Box<dyn Error>> {
    let step = Duration::from_millis(if std::env::args().any(|argument| argument == "--fast") { 30 } else { 1_200 });
    let mut receiver = if std::env::var_os("RETRACE_API_KEY").is_none() { Some(Receiver::start()?) } else { None };

    // These lines are all that an application needs.
    let mut builder = RetraceSpanProcessor::builder();
    if let Some(receiver) = &receiver {
        builder = builder.with_api_key("rt_local").with_base_url(receiver.url());
        println!("Watch it: {}\n", receiver.url());
    }
    let processor = builder.build()?;
    let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();

    println!("you:   {}\n", agent::QUESTION);
    let mut watch = Watch::new();
    let answer = agent::run(&provider.tracer("live-agent"), |work| match &mut receiver {
        None => {
            watch.say(&match work {
                Work::Model => "asks the model".to_owned(),
                Work::Tool(name) => format!("calls {name}"),
            });
            thread::sleep(step);
            Ok(())
        }
        Some(receiver) => {
            if work == Work::Tool(RETURNS_DURING) {
                receiver.start_again()?;
                watch.say("-- the receiver is there again");
            }
            if let Work::Tool(name) = work
                && receiver.is_there()
            {
                watch.until_running(receiver, name, SHOWN_WITHIN)?;
            }
            watch.for_a_while(receiver, step)?;
            if work == Work::Tool(STOPS_DURING) {
                receiver.stop();
                watch.say("-- the receiver has stopped; the agent goes on");
            }
            Ok(())
        }
    })?;
    let shutdown = provider.shutdown_with_timeout(SHOWN_WITHIN);

    let run = receiver.as_ref().map(|receiver| watch.look(receiver)).transpose()?.flatten();
    println!("\nagent: {answer}\n");
    let stats = processor.stats();
    println!("{} spans accepted, {} delivered, {} lost", stats.accepted, stats.delivered, stats.lost.total());
    shutdown?;
    if (stats.accepted, stats.delivered) != (agent::SPANS, agent::SPANS) {
        return Err(format!("not all of the agent's {} spans were delivered: {stats:?}", agent::SPANS).into());
    }
    if receiver.is_some() {
        println!("{}", complete(&run.ok_or("the receiver has no run")?)?);
    }
    Ok(())
}

/// What is complete about the run that the receiver has; an error when it is not.
fn complete(run: &Trace) -> Result<String, String> {
    let spans = run.spans.as_deref().unwrap_or_default();
    let ended = spans.iter().all(|span| span.ended_at.is_some());
    let counted = run.span_count.and_then(|count| usize::try_from(count).ok());
    if run.status != Some(Status::Completed) || run.lossy == Some(true) || !ended || counted != Some(spans.len()) {
        return Err(format!("the run is not complete: {run:?}"));
    }
    Ok(format!("The receiver has all of the run: {} steps, completed, nothing missing.", spans.len()))
}
