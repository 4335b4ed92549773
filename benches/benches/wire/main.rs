//! What one WebSocket takes, each side of it by itself and both together.
//!
//! `cargo bench --package benchmarks --bench wire` prints the tables; `-- receiver` and `-- sender` print one, `-- --quick`
//! takes a fifth of the events and one round. The other side always runs in a process of its own, so that the CPU time of
//! each can be told.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, clippy::panic)]

#[path = "../stream/agent.rs"]
#[allow(dead_code)] // Single spans are not measured here.
mod agent;
mod client;
mod frame;
#[path = "../stream/machine.rs"]
mod machine;
mod other;
mod sender;
mod sink;

use crate::other::{Other, Side};

/// Runs of eleven spans, and rounds.
const RUNS: u64 = 4_000;
const ROUNDS: usize = 5;

/// What a round took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub events: f64,
    pub wall_seconds: f64,
    /// CPU time of this process, and of the other.
    pub here: f64,
    pub there: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [way, side] = arguments.as_slice()
        && way == "--serve"
    {
        return other::serve(Side::named(side));
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let wanted = |table: &str| arguments.iter().all(|argument| argument == "--quick" || argument == table);
    let (runs, rounds) = if quick { (RUNS / 5, 1) } else { (RUNS, ROUNDS) };
    println!("{}\n", machine::facts());
    if wanted("receiver") {
        receiver(runs, rounds);
    }
    if wanted("sender") {
        senders(runs, rounds);
    }
    println!("Load at the end: {}", machine::load());
}

fn receiver(runs: u64, rounds: usize) {
    let frames = sender::frames(runs);
    let bytes: usize = frames.iter().map(Vec::len).sum();
    println!("## The receiver alone\n");
    println!(
        "{} frames that the sender made of {runs} runs, {} bytes each on average, written by a client that keeps up to {} of \
         them unconfirmed; every one is acked after its commit.\n",
        frames.len(),
        bytes / frames.len(),
        client::WINDOW,
    );
    println!("| database | events/s | CPU ns/event, receiver | CPU ns/event, client |");
    println!("|---|---|---|---|");
    for side in [Side::Memory, Side::File] {
        let costs = (0..rounds).map(|_| {
            let mut other = Other::start(side);
            client::tell(&mut other, &frames)
        });
        let (rate, here, there) = medians(costs);
        println!("| {} | {rate:.0} | {there:.0} | {here:.0} |", side.name());
    }
    println!();
}

fn senders(runs: u64, rounds: usize) {
    println!("## The sender, and both\n");
    println!(
        "{runs} runs of {} spans, of each span and run two events, until the last is confirmed. The sender's CPU time has the \
         application's in it: that of a process that makes the same spans for nobody is the first row.\n",
        agent::spans(agent::STEPS),
    );
    println!("| receiver | spans/s | events/s | CPU ns/event, sender | CPU ns/event, receiver |");
    println!("|---|---|---|---|---|");
    let (_, here, _) = medians((0..rounds).map(|_| sender::nobody(runs)));
    println!("| none | - | - | {here:.0} | - |");
    for side in [Side::Sink, Side::Memory, Side::File] {
        let (rate, here, there) = medians((0..rounds).map(|_| {
            let mut other = Other::start(side);
            sender::tell(&mut other, runs)
        }));
        let spans = rate * sender::spans(runs) / sender::events(runs);
        println!("| {} | {spans:.0} | {rate:.0} | {here:.0} | {there:.0} |", side.name());
    }
    println!();
}

/// Events a second, and CPU time of an event in nanoseconds, here and there.
fn medians(costs: impl Iterator<Item = Cost>) -> (f64, f64, f64) {
    let costs: Vec<Cost> = costs.collect();
    let median = |of: fn(&Cost) -> f64| {
        let mut numbers: Vec<f64> = costs.iter().map(of).collect();
        numbers.sort_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    };
    (
        median(|cost| cost.events / cost.wall_seconds),
        median(|cost| cost.here / cost.events * 1e9),
        median(|cost| cost.there / cost.events * 1e9),
    )
}
