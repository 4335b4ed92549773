//! More spans than can be sent, without an end: what cannot be sent is lost and counted, and the rest goes on being sent.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use integration_tests::agent;
use integration_tests::wait::{HANG, until};
use opentelemetry_retrace::{LossReason, RetraceExporter, RetraceSpanProcessor, Stats};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanProcessor as _};
use retrace_local::{Server, TraceQuery};

/// More than could have been on its way.
const MANY: u64 = 20;

/// Makes spans faster than they can be sent, without a pause, until so much more has got through; whether it has.
fn gets_through(provider: &SdkTracerProvider, stats: impl Fn() -> Stats, through: impl Fn() -> u64) -> bool {
    // What the first run costs, as the table of prices, is not of the flood.
    agent::run(provider);
    until("the first run is delivered", || (stats().delivered >= agent::SPANS).then_some(()));
    let (long, deadline) = ("x".repeat(20_000), Instant::now() + HANG);
    // The first turn of the worker after this has more than a moment's work before it, and so has each that follows.
    while stats().lost.by(LossReason::QueueFull) == 0 {
        agent::run_reading(provider, &long);
    }
    let before = through();
    while through() < before + MANY && Instant::now() < deadline {
        for _ in 0..1_000 {
            agent::run_reading(provider, &long);
        }
    }
    through() >= before + MANY
}

#[test]
fn pain_13_a_flood_does_not_keep_the_worker_from_its_connection() {
    let server = Server::start().unwrap();
    let reported = Arc::new(AtomicU64::new(0));
    let sum = Arc::clone(&reported);
    let processor = RetraceSpanProcessor::builder()
        .with_api_key("rt_local")
        .with_base_url(server.url())
        .with_transport("ws")
        .with_buffer_bytes(1 << 20)
        .with_on_error(move |signal| {
            let spans =
                signal.message.split_once(" spans lost: the queue is full").map(|(spans, _)| spans.parse::<u64>());
            sum.fetch_add(spans.transpose().unwrap().unwrap_or_default(), Ordering::Relaxed);
        })
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
    let delivered = || processor.stats().delivered;
    assert!(gets_through(&provider, || processor.stats(), delivered), "{:?}", processor.stats());
    let _ = processor.shutdown_with_timeout(HANG);
    // Spans that the queue refuses are reported as all others that are lost.
    assert_eq!(reported.load(Ordering::Relaxed), processor.stats().lost.by(LossReason::QueueFull));
}

#[test]
fn pain_13_a_flood_does_not_keep_the_worker_from_its_requests() {
    let server = Server::start().unwrap();
    let exporter = RetraceExporter::builder()
        .with_api_key("rt_local")
        .with_base_url(server.url())
        .with_transport("http")
        .with_buffer_bytes(1 << 20)
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    // What is sent first has lost its spans by then, and is a run nevertheless.
    let runs = || server.traces(&TraceQuery::default()).unwrap().total;
    assert!(gets_through(&provider, || exporter.stats(), runs), "{:?}", exporter.stats());
    let _ = provider.shutdown_with_timeout(HANG);
}
