//! The processor at its bounds, and used as nobody should.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use integration_tests::faulty::{FaultyProxy, Receiver, RequestFault, Schedule, StreamFault};
use integration_tests::wait::{HANG, SPENT, settled, until};
use integration_tests::workload::{self, Made, Shape, Stored};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_retrace::{LossReason, Record, RetraceSpanProcessor, RetraceSpanProcessorBuilder, Stats, Transport};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanProcessor as _};
use retrace_local::{Server, TraceQuery};
use retrace_protocol::SignalCode;

const SHAPE: Shape = Shape { stragglers: false, spans: (30, 40) };

fn builder(url: impl Into<String>, transport: Transport) -> RetraceSpanProcessorBuilder {
    RetraceSpanProcessor::builder().with_api_key("rt_local").with_base_url(url).with_transport(transport)
}

fn provider(processor: &RetraceSpanProcessor) -> SdkTracerProvider {
    SdkTracerProvider::builder().with_span_processor(processor.clone()).build()
}

fn runs(provider: &SdkTracerProvider, runs: usize) -> Vec<Made> {
    let mut random = fastrand::Rng::with_seed(11);
    (0..runs).map(|_| workload::make(provider, &mut random, SHAPE, || {})).collect()
}

fn sum(stats: &Stats) -> u64 {
    stats.delivered + stats.lost.total() + stats.pending
}

/// More than the buffer holds while nobody takes anything; then the receiver is back.
#[test]
fn what_a_small_buffer_drops_is_counted_and_its_runs_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(dir.path().join("runs.db"));
    let schedule = Schedule::of(vec![StreamFault::ResetUpgrade; 10_000], vec![RequestFault::Status(503); 10_000]);
    let proxy = FaultyProxy::start(receiver.addr(), schedule);
    let codes = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&codes);
    let processor = builder(proxy.url(), Transport::Ws)
        .with_buffer_bytes(128 * 1024)
        .with_flush_timeout(SPENT)
        .with_on_error(move |signal| told.lock().unwrap().push((signal.code, signal.message.clone())))
        .build()
        .unwrap();
    let provider = provider(&processor);
    let mut made = Vec::new();
    for _ in 0..20 {
        made.extend(runs(&provider, 2));
        let _ = processor.force_flush();
        let stats = processor.stats();
        assert_eq!(sum(&stats), stats.accepted);
    }
    proxy.heal();
    until("the receiver is back", || processor.force_flush().ok());
    // Runs that lost their root are open until then. It would be an error if there was anything to wait for in vain.
    provider.shutdown_with_timeout(HANG).unwrap();
    let stats = processor.stats();
    assert_eq!((sum(&stats), stats.pending, stats.restarts), (stats.accepted, 0, 0));
    assert!(stats.lost.total() > 0, "{stats:?}");
    assert!(codes.lock().unwrap().iter().any(|(code, _)| *code == SignalCode::SpansLost));
    let missing = Stored::new(receiver.traces()).missing(&made);
    let missing = missing.unwrap_or_else(|what| panic!("{what}\n{stats:?}"));
    assert!(missing > 0 && missing <= stats.lost.total(), "{missing} are missing, {stats:?}");
}

#[test]
fn a_huge_span_is_shortened_and_everything_else_arrives_whole() {
    let server = Server::start().unwrap();
    let processor = builder(server.url(), Transport::Ws).with_body_bytes(64 * 1024).build().unwrap();
    let provider = provider(&processor);
    let tracer = provider.tracer("t");
    for length in [10, 5_000_000, 20] {
        let tool = [
            KeyValue::new("gen_ai.operation.name", "execute_tool"),
            KeyValue::new("gen_ai.tool.call.result", "x".repeat(length)),
        ];
        drop(tracer.span_builder("tool").with_attributes(tool).start(&tracer));
    }
    provider.shutdown_with_timeout(HANG).unwrap();
    let stats = processor.stats();
    assert_eq!((stats.delivered, stats.lost.total()), (3, 0), "{stats:?}");
    assert_eq!(server.traces(&TraceQuery::default()).unwrap().total, 3);
}

#[test]
fn pain_30_a_hook_that_drops_or_panics_costs_the_spans_it_was_asked_about() {
    let server = Server::start().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let processor = builder(server.url(), Transport::Ws)
        .with_before_send(move |record| {
            if let Record::Span(span) = &record {
                count.fetch_add(1, Ordering::Relaxed);
                assert!(!span.name.ends_with('3'), "as intended");
                if span.name.ends_with('5') {
                    return None;
                }
            }
            Some(record)
        })
        .build()
        .unwrap();
    let provider = provider(&processor);
    runs(&provider, 20);
    let _ = provider.shutdown_with_timeout(HANG);
    let stats = processor.stats();
    assert_eq!((sum(&stats), stats.pending, stats.restarts), (stats.accepted, 0, 0));
    assert!(stats.lost.by(LossReason::BeforeSend) > 0 && stats.lost.by(LossReason::BeforeSendPanicked) > 0);
    assert!(seen.load(Ordering::Relaxed) > 0);
    let page = server.traces(&TraceQuery::default()).unwrap();
    let mut stored = 0;
    for run in &page.traces {
        let run = server.trace(run.id.as_ref().unwrap()).unwrap().unwrap();
        let spans = run.spans.unwrap();
        assert!(!spans.iter().any(|span| span.name.ends_with('3') || span.name.ends_with('5')));
        assert_eq!((run.lossy, run.span_count), (Some(true), Some(spans.len() as u64)));
        stored += spans.len() as u64;
    }
    assert_eq!(stored, stats.delivered);
}

/// Slow, and at a standstill: the shutdown ends and accounts for every span although the reader never reads on.
#[test]
fn a_slow_reader_does_not_hold_a_shutdown_up() {
    for fault in [StreamFault::SlowReader, StreamFault::Stall { after: 20, pause: 2 * HANG }] {
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(dir.path().join("runs.db"));
        let proxy = FaultyProxy::start(receiver.addr(), Schedule::of([fault], []));
        let processor = builder(proxy.url(), Transport::Ws).build().unwrap();
        let provider = provider(&processor);
        runs(&provider, 100);
        let _ = provider.shutdown_with_timeout(Duration::from_secs(1));
        let stats = settled(|| processor.stats());
        assert_eq!(sum(&stats), stats.accepted);
        let stored = Stored::new(receiver.traces());
        assert!(stored.ended() >= stats.delivered, "{} are stored, {stats:?}", stored.ended());
    }
}

#[test]
fn a_processor_dropped_in_a_small_runtime_delivers_what_it_has() {
    let server = Server::start().unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let processor = builder(server.url(), Transport::Auto).with_flush_timeout(HANG).build().unwrap();
        let provider = provider(&processor);
        runs(&provider, 3);
        drop(processor);
        drop(provider);
    });
    assert!(server.traces(&TraceQuery::default()).unwrap().total > 0);
}

#[test]
fn what_ends_after_the_shutdown_is_nobodys_business() {
    let server = Server::start().unwrap();
    let processor = builder(server.url(), Transport::Ws).build().unwrap();
    let provider = provider(&processor);
    let tracer = provider.tracer("t");
    let mut late =
        tracer.span_builder("chat").with_attributes([KeyValue::new("gen_ai.operation.name", "chat")]).start(&tracer);
    provider.shutdown_with_timeout(HANG).unwrap();
    late.end();
    assert!(processor.force_flush().is_err());
    assert_eq!(processor.stats(), Stats::default());
}

#[test]
fn a_flush_from_inside_on_error_ends() {
    static PROCESSOR: OnceLock<RetraceSpanProcessor> = OnceLock::new();
    let nobody = integration_tests::nobody::Nobody::new();
    let (flushes, flushed) = channel();
    let processor = builder(nobody.url(), Transport::Ws)
        .with_flush_timeout(SPENT)
        .with_on_error(move |_| {
            if let Some(processor) = PROCESSOR.get() {
                // On the worker's own thread nobody can answer.
                assert!(processor.force_flush().is_err());
                let _ = flushes.send(());
            }
        })
        .build()
        .unwrap();
    PROCESSOR.set(processor.clone()).unwrap();
    let provider = provider(&processor);
    runs(&provider, 2);
    flushed.recv_timeout(HANG).unwrap();
    let _ = provider.shutdown_with_timeout(SPENT);
    let stats = settled(|| processor.stats());
    assert_eq!((sum(&stats), stats.restarts), (stats.accepted, 0));
}
