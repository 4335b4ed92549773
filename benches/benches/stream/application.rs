//! What the application's thread pays for a span.

use std::hint::black_box;
use std::time::{Duration, Instant};

use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_retrace::{RetraceSampler, RetraceSpanProcessor, Transport};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, SdkTracerProvider, Span, SpanData, SpanExporter, SpanProcessor, TracerProviderBuilder,
};

use crate::agent;
use crate::figures::{Figures, nanos};
use crate::nobody::Nobody;
use crate::receiver::{Kept, Pipeline};

/// Spans between two flushes: less than the batch processor queues, so that neither drops any.
const ROUND: usize = 256;

/// An exporter that has nothing to do.
#[derive(Debug)]
struct Nothing;

impl SpanExporter for Nothing {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

/// A processor that has nothing to do.
#[derive(Debug)]
struct Idle;

impl SpanProcessor for Idle {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, _: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// A processor that looks at each span as it begins, which the SDK lets nobody do but by a copy.
#[derive(Debug)]
struct Onlooker<P>(P);

impl<P: SpanProcessor> SpanProcessor for Onlooker<P> {
    fn on_start(&self, span: &mut Span, _: &Context) {
        black_box(span.exported_data());
    }

    fn on_end(&self, span: SpanData) {
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }
}

/// What is measured, in turn with others.
struct Row {
    processors: &'static str,
    provider: SdkTracerProvider,
    times: Vec<Duration>,
}

impl Row {
    fn new(processors: &'static str, add: impl FnOnce(TracerProviderBuilder) -> TracerProviderBuilder) -> Self {
        Self { processors, provider: add(SdkTracerProvider::builder()).build(), times: Vec::new() }
    }
}

/// The spans of a table.
struct Spans {
    what: &'static str,
    name: &'static str,
    attributes: fn() -> Vec<KeyValue>,
    root: fn() -> Vec<KeyValue>,
}

const CALLS: Spans = Spans {
    what: "one model call of 12 attributes and about 1 KB of messages",
    name: "chat gpt-4o-mini",
    attributes: agent::chat,
    root: agent::agent,
};

const REQUESTS: Spans = Spans {
    what: "one HTTP request of 12 attributes, no GenAI span, below a local root that is under way",
    name: "GET /orders/{id}",
    attributes: agent::request,
    root: Vec::new,
};

pub(crate) fn measure(rounds: usize) {
    println!("## On the application's thread\n");
    let pipeline = Pipeline::new(Transport::Ws, Kept::InMemory);
    let live = || pipeline.processor.clone();
    let (nobody, off) = (Nobody::new(), RetraceSpanProcessor::builder().with_enabled(false).build().unwrap());
    let dead = RetraceSpanProcessor::builder()
        .with_api_key("rt_local")
        .with_base_url(nobody.url())
        .with_transport(Transport::Ws)
        .with_flush_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let mut calls = [
        Row::new("none", |builder| builder),
        Row::new("one that does nothing", |builder| builder.with_span_processor(Idle)),
        Row::new("`BatchSpanProcessor`", |builder| builder.with_span_processor(batches())),
        Row::new("`RetraceSpanProcessor` over `ws`", |builder| builder.with_span_processor(live())),
        Row::new("the same, its receiver dead", |builder| builder.with_span_processor(dead.clone())),
        Row::new("the same, around a `BatchSpanProcessor`", |builder| {
            builder.with_span_processor(live().around(batches()))
        }),
        Row::new("the same, not sampled, held in case the run fails", |builder| left_out(builder, live(), true)),
        Row::new("the same, not sampled, failures off", |builder| left_out(builder, live(), false)),
        Row::new("the same, `RETRACE_ENABLED=false`", |builder| builder.with_span_processor(off.clone())),
    ];
    table(&CALLS, &mut calls, rounds);
    let mut requests = [
        Row::new("one that does nothing", |builder| builder.with_span_processor(Idle)),
        Row::new("`BatchSpanProcessor`", |builder| builder.with_span_processor(batches())),
        Row::new("`BatchSpanProcessor`, each span copied once when it begins", |builder| {
            builder.with_span_processor(Onlooker(batches()))
        }),
        Row::new("`BatchSpanProcessor`, and `RetraceSpanProcessor` as a second one", |builder| {
            builder.with_span_processor(batches()).with_span_processor(live())
        }),
        Row::new("`BatchSpanProcessor`, `RetraceSpanProcessor` around it", |builder| {
            builder.with_span_processor(live().around(batches()))
        }),
        Row::new("`BatchSpanProcessor`, and `RetraceSampler`", |builder| {
            builder.with_sampler(sampler(1.0, true)).with_span_processor(batches())
        }),
        Row::new("the same, `RetraceSpanProcessor` around it", |builder| {
            builder.with_sampler(sampler(1.0, true)).with_span_processor(live().around(batches()))
        }),
        Row::new("the same, its receiver dead", |builder| {
            builder.with_sampler(sampler(1.0, true)).with_span_processor(dead.around(batches()))
        }),
        Row::new("the same, `RETRACE_ENABLED=false`", |builder| builder.with_span_processor(off.around(batches()))),
    ];
    table(&REQUESTS, &mut requests, rounds);
    // Before the providers go, which would shut the processor down that they share.
    pipeline.end();
}

fn batches() -> BatchSpanProcessor {
    BatchSpanProcessor::builder(Nothing).build()
}

/// A sampler that keeps no run.
fn left_out(builder: TracerProviderBuilder, retrace: RetraceSpanProcessor, failures: bool) -> TracerProviderBuilder {
    builder.with_sampler(sampler(0.0, failures)).with_span_processor(retrace)
}

fn sampler(rate: f64, failures: bool) -> RetraceSampler {
    RetraceSampler::builder().with_sample_rate(rate).with_failures(failures).build().unwrap()
}

fn table(spans: &Spans, rows: &mut [Row], rounds: usize) {
    println!(
        "Start and end of {}, its attributes already built; {ROUND} spans, then a flush that is not counted, the processors \
         in turn. The exporter of a `BatchSpanProcessor` does nothing.\n",
        spans.what
    );
    println!("| processors | p50 ns | mean ns | p99 ns | spans |");
    println!("|---|---|---|---|---|");
    for round in 0..=rounds {
        for row in rows.iter_mut() {
            let times = one_round(&row.provider, spans);
            // The first one connects, and fills caches.
            if round > 0 {
                row.times.extend(times);
            }
        }
    }
    for row in rows {
        let figures = Figures::new(std::mem::take(&mut row.times));
        let (p50, mean, p99) = (figures.percentile(50), figures.mean(), figures.percentile(99));
        println!("| {} | {} | {} | {} | {} |", row.processors, nanos(p50), nanos(mean), nanos(p99), figures.len());
    }
    println!();
}

fn one_round(provider: &SdkTracerProvider, spans: &Spans) -> Vec<Duration> {
    let tracer = provider.tracer("bench");
    let run = agent::start(&tracer, "root", (spans.root)(), &Context::new());
    let ready: Vec<_> = (0..ROUND).map(|_| (spans.attributes)()).collect();
    let times = ready.into_iter().map(|attributes| {
        let began = Instant::now();
        agent::start(&tracer, spans.name, attributes, &run).span().end();
        began.elapsed()
    });
    let times = times.collect();
    run.span().end();
    // To a receiver that is dead nothing is delivered.
    let _ = provider.force_flush();
    times
}
