//! Exports agent runs to a sink, so that `benches/instructions.py` can count the instructions of a span.
//!
//! `instructions --sink` is the sink; `instructions TRANSPORT SIZE SPANS URL` exports. The transport `none` drops the spans: it is
//! what making and dropping them takes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "../../benches/wire/frame.rs"]
mod frame;
#[path = "../../benches/cost/sink.rs"]
#[allow(dead_code)] // The script starts the sink.
mod sink;
#[path = "../../benches/cost/spans.rs"]
#[allow(dead_code)] // The script chooses the number of spans.
mod spans;
#[path = "../../benches/wire/sink.rs"]
#[allow(dead_code)] // Only its WebSocket half is used.
mod ws_sink;

use std::time::Duration;

use opentelemetry_retrace::{RetraceExporter, SpanSelection};
use opentelemetry_sdk::trace::SpanExporter as _;

/// Spans of a batch of `BatchSpanProcessor`, and batches between two flushes.
const BATCH: usize = 512;
const BATCHES_PER_FLUSH: usize = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--sink"] => sink::serve(),
        [transport, size, spans, url] => export(transport, size, spans.parse().unwrap(), url),
        _ => panic!("usage: instructions --sink | instructions TRANSPORT SIZE SPANS URL"),
    }
}

fn export(transport: &str, size: &str, spans: usize, url: &str) {
    let size = spans::SIZES.into_iter().find(|known| known.name == size).unwrap();
    let batches = spans::batches(size, spans, BATCH);
    if transport == "none" {
        return;
    }
    let exporter = RetraceExporter::builder()
        .with_api_key("rt_bench")
        .with_base_url(url)
        .with_transport(transport)
        .with_span_selection(SpanSelection::All)
        .with_buffer_bytes(1 << 30)
        .with_flush_timeout(Duration::from_secs(600))
        .build()
        .unwrap();
    for (at, batch) in batches.into_iter().enumerate() {
        futures_executor::block_on(exporter.export(batch)).unwrap();
        if at % BATCHES_PER_FLUSH == BATCHES_PER_FLUSH - 1 {
            exporter.force_flush().unwrap();
        }
    }
    exporter.force_flush().unwrap();
    let stats = exporter.stats();
    assert_eq!((stats.delivered, stats.lost.total()), (spans as u64, 0), "{stats:?}");
}
