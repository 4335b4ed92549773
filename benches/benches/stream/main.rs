//! What a live run costs, measured through the public API against a receiver in the same process.
//!
//! `cargo bench --package benchmarks --bench stream` prints the tables of README.md; `-- --quick` takes a tenth of the samples,
//! `-- latency`, `-- throughput` and `-- application` print one table.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod agent;
mod application;
mod figures;
mod latency;
mod machine;
#[path = "../../../integration-tests/src/nobody.rs"]
#[allow(dead_code, unreachable_pub)] // Here nobody ever arrives, and nobody else sees it.
mod nobody;
mod receiver;
mod throughput;

use opentelemetry_retrace::Transport;

use crate::receiver::Kept;

/// What is compared: how runs are sent, and where the receiver keeps them.
const WAYS: [(Transport, Kept); 4] = [
    (Transport::Ws, Kept::InMemory),
    (Transport::Ws, Kept::OnFile),
    (Transport::Http, Kept::InMemory),
    (Transport::Http, Kept::OnFile),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let wanted = |table: &str| arguments.iter().all(|argument| argument == "--quick" || argument == table);
    println!("{}\n", machine::facts());
    if wanted("latency") {
        latency::measure(if quick { 200 } else { 2_000 });
    }
    if wanted("throughput") {
        throughput::measure(if quick { 200 } else { 2_000 });
    }
    if wanted("application") {
        application::measure(if quick { 20 } else { 200 });
    }
    println!("Load at the end: {}", machine::load());
}
