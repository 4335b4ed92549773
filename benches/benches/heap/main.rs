//! What exporting the spans of agents takes from the heap, beside `opentelemetry-otlp` on the same spans.
//!
//! `cargo bench --package benchmarks --bench heap` prints the table. Each exporter runs in a process of its own, in which
//! every allocation is counted; that is slow, so nothing is timed here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "../wire/frame.rs"]
mod frame;
#[path = "../cost/peer.rs"]
#[allow(dead_code)] // Times are not printed here.
mod peer;
#[path = "../cost/plain.rs"]
mod plain;
#[path = "../cost/requests.rs"]
mod requests;
#[path = "../cost/sink.rs"]
mod sink;
#[path = "../cost/spans.rs"]
#[allow(dead_code)] // How many spans take a second does not matter here.
mod spans;
#[path = "../wire/sink.rs"]
#[allow(dead_code)] // Only its WebSocket half is used.
mod ws_sink;

use crate::peer::{Peer, measure};
use crate::sink::Sink;
use crate::spans::{SIZES, WHOLE};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Blocks so far, and the most bytes that there were at once.
fn heap() -> (u64, u64) {
    let stats = dhat::HeapStats::get();
    (stats.total_blocks, stats.max_bytes as u64)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("--sink") => return sink::serve(),
        Some("--export") => {
            let _profiler = dhat::Profiler::builder().testing().build();
            return peer::export(&arguments[1..], heap);
        }
        _ => {}
    }
    println!("| messages of a call | exporter | allocations/span | peak heap beyond the spans, MiB | spans |");
    println!("|---|---|---|---|---|");
    let sink = Sink::start();
    for size in SIZES {
        let idle = measure(Peer::Nobody, size, WHOLE, &sink.url);
        for peer in Peer::EVERY {
            let cost = measure(peer, size, WHOLE, &sink.url);
            let peak = (cost.peak_bytes - idle.peak_bytes) / f64::from(1 << 20);
            let per_span = cost.allocations / cost.spans;
            println!("| {} | {} | {per_span:.1} | {peak:.2} | {WHOLE} |", size.name, peer.name());
        }
    }
}
