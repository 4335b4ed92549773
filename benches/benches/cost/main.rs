//! What it costs to export the spans of agents, beside `opentelemetry-otlp` on the same spans.
//!
//! `cargo bench --package benchmarks --bench cost` prints the table; `-- --quick` takes a fifth of the spans and one round.
//! Each exporter runs in a process of its own, in turn, against a sink in another process. The figure is the CPU time of the
//! exporting process, from `SpanData` to bytes on the socket and the response read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "../wire/frame.rs"]
mod frame;
#[path = "../stream/machine.rs"]
mod machine;
mod peer;
mod plain;
mod requests;
mod sink;
mod spans;
#[path = "../wire/sink.rs"]
#[allow(dead_code)] // Only its WebSocket half is used.
mod ws_sink;

use crate::peer::{Cost, Peer, measure};
use crate::sink::Sink;
use crate::spans::SIZES;

const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("--sink") => return sink::serve(),
        Some("--export") => return peer::export(&arguments[1..], || (0, 0)),
        _ => {}
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let (rounds, share) = if quick { (1, 4) } else { (ROUNDS, 1) };
    println!("{}\n", machine::facts());
    println!("| messages of a call | exporter | CPU ns/span | of otlp's, same round | spans/s | spans |");
    println!("|---|---|---|---|---|---|");
    let sink = Sink::start();
    for size in SIZES {
        let spans = (size.spans / share).max(spans::WHOLE);
        let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); Peer::EVERY.len()];
        for _ in 0..rounds {
            for (peer, costs) in Peer::EVERY.into_iter().zip(&mut costs) {
                costs.push(measure(peer, size, spans, &sink.url));
            }
        }
        let otlp = Peer::EVERY.iter().position(|peer| *peer == Peer::Otlp).unwrap();
        for (at, peer) in Peer::EVERY.into_iter().enumerate() {
            let per_span = |cost: &Cost| cost.cpu_seconds / cost.spans * 1e9;
            let nanos = median(costs[at].iter().map(per_span));
            let ratios = costs[at].iter().zip(&costs[otlp]).map(|(cost, otlp)| per_span(cost) / per_span(otlp));
            let rate = median(costs[at].iter().map(|cost| cost.spans / cost.wall_seconds));
            println!("| {} | {} | {nanos:.0} | {:.2} | {rate:.0} | {spans} |", size.name, peer.name(), median(ratios));
        }
    }
    println!("\nLoad at the end: {}", machine::load());
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
