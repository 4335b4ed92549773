//! Whatever drives the application, and whichever processor drives the exporter.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::atomic::{AtomicUsize, Ordering};

use integration_tests::agent;
use integration_tests::scripted::{Act, ScriptedPeer};
use integration_tests::wait::{HANG, SPENT, returns, settled, until};
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_retrace::{LossReason, RetraceExporter, RetraceExporterBuilder};
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::runtime;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor as AsyncBatchSpanProcessor;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter as _};
use tokio::runtime::{Builder, Runtime};

static PANICS: AtomicUsize = AtomicUsize::new(0);

fn count_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        print(panic);
    }));
}

fn exporter(peer: &ScriptedPeer) -> RetraceExporter {
    builder(peer).build().unwrap()
}

fn builder(peer: &ScriptedPeer) -> RetraceExporterBuilder {
    let builder = RetraceExporter::builder().with_api_key("rt_x").with_base_url(peer.url()).with_transport("http");
    builder.with_timeout(HANG).with_flush_timeout(HANG)
}

#[derive(Clone, Copy, Debug)]
enum Processor {
    Simple,
    Batch,
    /// The processor for async runtimes; it needs one.
    AsyncBatch,
}

fn provider(processor: Processor, exporter: RetraceExporter) -> SdkTracerProvider {
    let builder = SdkTracerProvider::builder();
    match processor {
        Processor::Simple => builder.with_simple_exporter(exporter),
        Processor::Batch => builder.with_batch_exporter(exporter),
        Processor::AsyncBatch => {
            builder.with_span_processor(AsyncBatchSpanProcessor::builder(exporter, runtime::Tokio).build())
        }
    }
    .build()
}

/// Builds, runs the agent, shuts down and drops, all where the caller stands. The run must have arrived by then.
///
/// The batch processors shut their exporter down within five seconds, whatever their own budget is. Where that was too short,
/// all of it happens again.
fn whole_life(processor: Processor, place: &str) {
    until("the budget of the SDK suffices", || {
        let peer = ScriptedPeer::playing([Act::status(201)]);
        let exporter = exporter(&peer);
        let provider = provider(processor, exporter.clone());
        agent::run(&provider);
        let shutdown = provider.shutdown_with_timeout(HANG);
        let stats = settled(|| exporter.stats());
        if stats.lost.by(LossReason::Shutdown) > 0 && !matches!(processor, Processor::Simple) {
            return None;
        }
        shutdown.unwrap_or_else(|error| panic!("{processor:?} {place}: {error}"));
        assert_eq!(peer.requests().len(), 1, "{processor:?} {place}");
        assert_eq!(stats.delivered, agent::SPANS, "{processor:?} {place}");
        Some(())
    });
}

/// Flushes a batch processor until a flush is in time for the limits of the SDK: what ended before is delivered then.
fn flushes(peer: &ScriptedPeer, processor: Processor, work: impl Fn(&SdkTracerProvider)) {
    let exporter = exporter(peer);
    let provider = provider(processor, exporter.clone());
    until("a flush is in time", || {
        let before = peer.requests().len();
        work(&provider);
        match provider.force_flush() {
            Ok(()) => assert_eq!(peer.requests().len(), before + 1),
            Err(error) => {
                assert!(error.to_string().contains("Timeout("), "{processor:?}: {error}");
                exporter.force_flush().unwrap();
                return None;
            }
        }
        Some(())
    });
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn workers(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap()
}

/// P01 and P02: no runtime, every runtime, inside and outside of it.
#[test]
fn pain_01_pain_02_it_works_wherever_it_is_built_used_and_dropped() {
    count_panics();
    for processor in [Processor::Simple, Processor::Batch] {
        whole_life(processor, "without a runtime");
        current_thread().block_on(async { whole_life(processor, "in a current-thread runtime") });
        for threads in [1, 4] {
            let runtime = workers(threads);
            runtime.block_on(async { whole_life(processor, "in the main task") });
            runtime.block_on(async move {
                tokio::spawn(async move { whole_life(processor, "in a task") }).await.unwrap();
                tokio::task::spawn_blocking(move || whole_life(processor, "in a blocking task")).await.unwrap();
            });
        }
        let other = current_thread();
        std::thread::spawn(move || other.block_on(async { whole_life(processor, "on another thread's runtime") }))
            .join()
            .unwrap();
    }
    // This processor waits for a task of its own runtime, so it needs a worker beside the thread that waits.
    for threads in [1, 4] {
        workers(threads).block_on(async {
            tokio::task::spawn_blocking(|| whole_life(Processor::AsyncBatch, "in a blocking task")).await.unwrap();
        });
    }
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
}

#[test]
fn a_flush_of_either_batch_processor_comes_true() {
    let peer = ScriptedPeer::always([], Act::status(201));
    flushes(&peer, Processor::Batch, agent::run);

    workers(2).block_on(async {
        tokio::task::spawn_blocking(move || {
            let peer = ScriptedPeer::always([], Act::status(201));
            // One span alone: what this processor exports then looks like what the simple one does.
            flushes(&peer, Processor::AsyncBatch, |provider| {
                let tracer = provider.tracer("t");
                tracer
                    .span_builder("chat")
                    .with_attributes([opentelemetry::KeyValue::new("gen_ai.operation.name", "chat")])
                    .start(&tracer)
                    .end();
            });
        })
        .await
        .unwrap();
    });
}

#[test]
fn an_async_flush_waits_without_blocking() {
    let peer = ScriptedPeer::always([], Act::status(201));
    let exporter = exporter(&peer);
    let provider = provider(Processor::Simple, exporter.clone());
    agent::run(&provider);
    current_thread().block_on(exporter.flush()).unwrap();
    assert_eq!(peer.requests().len(), 1);
    exporter.shutdown_with_timeout(HANG).unwrap();
    assert!(matches!(current_thread().block_on(exporter.flush()), Err(OTelSdkError::AlreadyShutdown)));
}

/// P03: a small runtime, and a receiver that takes the connection and never answers.
#[test]
fn pain_03_shutdown_ends_in_time_on_a_current_thread_runtime() {
    let peer = ScriptedPeer::always([], Act::Hang);
    current_thread().block_on(async {
        // Nothing but the budget of the shutdown ends the request.
        let exporter = builder(&peer).with_timeout(None).build().unwrap();
        let provider = provider(Processor::Simple, exporter.clone());
        agent::run(&provider);
        let result = provider.shutdown_with_timeout(SPENT);
        assert!(result.is_err(), "{result:?}");
        assert_eq!(settled(|| exporter.stats()).lost.by(LossReason::Shutdown), agent::SPANS);
    });
}

/// P04: the simple processor exports on the application's thread, and the receiver never answers. The end of a span that
/// waited for the receiver would wait four seconds.
#[test]
fn pain_04_ending_a_span_costs_an_enqueue() {
    let peer = ScriptedPeer::always([], Act::Hang);
    let exporter = builder(&peer).with_timeout(None).build().unwrap();
    let provider = provider(Processor::Simple, exporter.clone());
    let ending = provider.clone();
    returns(move || {
        let tracer = ending.tracer("t");
        for _ in 0..1_000 {
            tracer
                .span_builder("chat")
                .with_attributes([opentelemetry::KeyValue::new("gen_ai.operation.name", "chat")])
                .start(&tracer)
                .end();
        }
    });
    let stats = exporter.stats();
    assert_eq!((stats.accepted, stats.pending), (1_000, 1_000), "nothing was waited for: {stats:?}");
    let _ = provider.shutdown_with_timeout(SPENT);
}

#[test]
fn after_the_shutdown_there_is_nothing_more_to_do() {
    let peer = ScriptedPeer::playing([Act::status(201)]);
    let exporter = exporter(&peer);
    let provider = provider(Processor::Simple, exporter.clone());
    agent::run(&provider);
    exporter.shutdown_with_timeout(HANG).unwrap();
    assert!(matches!(exporter.shutdown(), Err(OTelSdkError::AlreadyShutdown)));
    assert!(matches!(exporter.force_flush(), Err(OTelSdkError::AlreadyShutdown)));
    let export = exporter.export(Vec::new());
    assert!(matches!(current_thread().block_on(export), Err(OTelSdkError::AlreadyShutdown)));
    assert_eq!(exporter.stats().accepted, agent::SPANS);
}

#[test]
fn dropping_the_last_clone_delivers_what_is_left() {
    let peer = ScriptedPeer::playing([Act::status(201)]);
    let provider = provider(Processor::Simple, exporter(&peer));
    agent::run(&provider);
    drop(provider);
    assert_eq!(peer.requests().len(), 1);
}

#[test]
fn flushes_and_shutdowns_may_come_from_everywhere_at_once() {
    let peer = ScriptedPeer::always([], Act::status(201));
    let exporter = exporter(&peer);
    let provider = provider(Processor::Simple, exporter.clone());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (provider, exporter) = (&provider, &exporter);
            scope.spawn(move || {
                for _ in 0..20 {
                    agent::run(provider);
                    exporter.force_flush().unwrap();
                }
                thread
            });
        }
    });
    let results: Vec<_> = std::thread::scope(|scope| {
        let shutdowns: Vec<_> = (0..4).map(|_| scope.spawn(|| exporter.shutdown_with_timeout(HANG))).collect();
        shutdowns.into_iter().map(|shutdown| shutdown.join().unwrap().is_ok()).collect()
    });
    assert_eq!(results.iter().filter(|ok| **ok).count(), 1);
    assert_eq!(exporter.stats().delivered, 8 * 20 * agent::SPANS);
}
