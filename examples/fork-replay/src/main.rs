//! An agent with a tool and a stream: recorded once, replayed with the provider gone, and forked with one message changed.
//!
//! Offline: the provider is a scripted server on this machine that counts the requests it sees.

#![allow(clippy::print_stdout)]

mod agent;
mod provider;

use agent::{AnyError, Trip, plan_trip};
use provider::Provider;
use retrace::{ForkPoint, ReplayError};

const QUESTION: &str = "Train or plane to Bergen?";

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let directory = tempfile::tempdir()?;
    let cassette = directory.path().join("trip.jsonl");
    let provider = Provider::start().await?;

    println!("== recorded");
    let trip = retrace::record_cassette(&cassette).name("trip").run(plan_trip(provider.url(), QUESTION)).await?.value?;
    print(&trip);
    let recorded = provider.requests();
    println!("  {} bytes of cassette", std::fs::metadata(&cassette)?.len());

    let url = provider.url().to_owned();
    let address = provider.stop().await;
    println!("\n== replayed, with the provider gone");
    let replayed = retrace::replay(&cassette).run(plan_trip(&url, QUESTION)).await?;
    let again = replayed.value?;
    print(&again);
    println!("  the same answer and the same {} chunks: {}", again.chunks.len(), again == trip);
    print!("{}", replayed.report);

    println!("\n== replayed with another question: refused, and the report states where it diverges");
    match retrace::replay(&cassette).run(plan_trip(&url, "Train or plane to Oslo?")).await {
        Err(ReplayError::Refused { report, .. }) => print!("{report}"),
        other => println!("not refused: {other:?}"),
    }

    let provider = Provider::start_at(address).await?;
    let replay_requests = provider.requests();
    println!("\n== forked at the second model call, with the tool's result changed");
    let fork = retrace::replay(&cassette).from(ForkPoint::ModelCall(2)).set("messages.2.content", "Bergen: clear sky");
    let forked = fork.run(plan_trip(provider.url(), QUESTION)).await?;
    print(&forked.value?);
    print!("{}", forked.report);

    println!();
    println!("recorded: provider saw {recorded} requests");
    println!("replayed: provider saw {replay_requests} requests");
    println!("forked: provider saw {} requests", provider.requests());
    Ok(())
}

fn print(trip: &Trip) {
    println!("  answer: {}\n  summary: {}", trip.answer, trip.summary);
}
