//! Spans that come faster than they can be sent, for a while: the thread that exports them waits.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use integration_tests::nobody::Nobody;
use integration_tests::sink::Sink;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_retrace::{LossReason, RetraceExporter, RetraceExporterBuilder, Stats};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanExporter as _, SpanLinks, SpanProcessor as _,
};
use retrace_local::{Server, TraceQuery};

const SPANS: u64 = 100_000;
const BATCH: u64 = 512;
/// Far enough that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(300);

fn builder(url: impl Into<String>, transport: &str) -> RetraceExporterBuilder {
    RetraceExporter::builder().with_api_key("rt_local").with_base_url(url).with_transport(transport)
}

fn sum(stats: &Stats) -> u64 {
    stats.delivered + stats.lost.total() + stats.pending + stats.spooled
}

/// Spans of one run: model calls, and last the root above them.
fn batch(run: u64, count: u64) -> Vec<SpanData> {
    let now = SystemTime::now();
    let span = |n: u64| {
        let id = if n == count { 1 } else { n + 1 };
        let (trace, flags) = (TraceId::from(u128::from(run) << 64 | 7), TraceFlags::SAMPLED);
        SpanData {
            span_context: SpanContext::new(trace, SpanId::from(id), flags, false, TraceState::NONE),
            parent_span_id: if id == 1 { SpanId::INVALID } else { SpanId::from(1) },
            parent_span_is_remote: false,
            span_kind: SpanKind::Client,
            name: "chat".into(),
            start_time: now,
            end_time: now,
            attributes: vec![
                KeyValue::new("gen_ai.operation.name", "chat"),
                KeyValue::new("gen_ai.request.model", "m"),
                KeyValue::new("gen_ai.usage.input_tokens", 7),
            ],
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    };
    (1..=count).map(span).collect()
}

fn batches() -> impl Iterator<Item = Vec<SpanData>> {
    (0..SPANS.div_ceil(BATCH)).map(|n| batch(n + 1, BATCH.min(SPANS - n * BATCH)))
}

#[test]
fn a_burst_is_delivered_whole_whatever_drives_the_export() {
    // The second buffer is full after one batch.
    for (buffer_bytes, has_runtime) in [(64 << 20, false), (4 << 20, true)] {
        let sink = Sink::start();
        let exporter = builder(sink.url(), "http").with_buffer_bytes(buffer_bytes).build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for batch in batches() {
            let export = exporter.export(batch);
            let done = if has_runtime { runtime.block_on(export) } else { futures_executor::block_on(export) };
            let stats = exporter.stats();
            assert!(done.is_ok(), "{done:?} {stats:?}");
            assert_eq!(sum(&stats), stats.accepted, "{stats:?}");
        }
        exporter.shutdown_with_timeout(PATIENCE).unwrap();
        let stats = exporter.stats();
        assert_eq!((stats.delivered, stats.lost.total(), sum(&stats)), (SPANS, 0, SPANS), "{stats:?}");
        assert_eq!(sink.spans(), SPANS);
    }
}

/// The connection is made, and not a byte is read: nothing fails for as long as a request may take.
#[test]
fn before_a_receiver_that_never_reads_an_export_waits_as_long_as_it_may_and_what_is_lost_is_counted() {
    for transport in ["http", "ws"] {
        let nobody = Nobody::new();
        let url = nobody.url();
        let _listener = nobody.arrives();
        let bound = Duration::from_millis(50);
        let builder = builder(url, transport).with_buffer_bytes(1 << 20).with_flush_timeout(bound);
        let exporter = builder.with_timeout(None).build().unwrap();
        let mut exported = 0;
        for batch in batches() {
            exported += BATCH;
            let done = futures_executor::block_on(exporter.export(batch));
            let stats = exporter.stats();
            assert_eq!(sum(&stats), stats.accepted, "{transport}: {stats:?}");
            if stats.lost.by(LossReason::QueueFull) > 0 {
                assert!(done.is_err(), "{transport}");
                break;
            }
        }
        let stats = exporter.stats();
        assert!(stats.lost.by(LossReason::QueueFull) > 0, "{transport}: {stats:?}");
        assert_eq!((stats.accepted, stats.delivered), (exported, 0), "{transport}: {stats:?}");
        let _ = exporter.shutdown_with_timeout(Duration::from_millis(200));
        // The worker counts what is left when the time is over, which is when the wait for it ends.
        let until = Instant::now() + PATIENCE;
        while exporter.stats().pending > 0 && Instant::now() < until {
            thread::yield_now();
        }
        let stats = exporter.stats();
        assert_eq!((stats.pending, sum(&stats)), (0, exported), "{transport}: {stats:?}");
    }
}

#[test]
fn a_burst_through_a_batch_processor_is_delivered_whole() {
    let sink = Sink::start();
    let exporter = builder(sink.url(), "http").with_buffer_bytes(4 << 20).build().unwrap();
    let config = BatchConfigBuilder::default().with_max_queue_size(2 * usize::try_from(SPANS).unwrap()).build();
    let processor = BatchSpanProcessor::builder(exporter.clone()).with_batch_config(config).build();
    batches().flatten().for_each(|span| processor.on_end(span));
    processor.shutdown_with_timeout(PATIENCE).unwrap();
    let stats = exporter.stats();
    assert_eq!((stats.delivered, stats.lost.total(), sum(&stats)), (SPANS, 0, SPANS), "{stats:?}");
    assert_eq!(sink.spans(), SPANS);
}

#[test]
fn a_burst_over_a_stream_is_stored_whole() {
    // A run of so many is open as a whole, and two of them are more than may wait.
    const RUNS: u64 = 48;
    const STEPS: u64 = 90;
    let server = Server::start().unwrap();
    let exporter =
        builder(server.url(), "ws").with_buffer_bytes(1 << 20).with_max_export_batch_size(1).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for run in 1..=RUNS {
        runtime.block_on(exporter.export(batch(run, STEPS))).unwrap();
    }
    exporter.shutdown_with_timeout(PATIENCE).unwrap();
    let stats = exporter.stats();
    assert_eq!((stats.delivered, stats.lost.total(), sum(&stats)), (RUNS * STEPS, 0, RUNS * STEPS), "{stats:?}");
    let page = server.traces(&TraceQuery::default()).unwrap();
    let stored = page.traces.iter().map(|run| server.trace(run.id.as_ref().unwrap()).unwrap().unwrap());
    let stored: u64 = stored.filter_map(|run| run.spans).map(|spans| spans.len() as u64).sum();
    assert!(page.total <= 50, "all of them are on the page");
    assert_eq!(stored, RUNS * STEPS);
}
