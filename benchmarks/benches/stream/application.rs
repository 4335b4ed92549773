//! What the application's thread pays for a span.

use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_retrace::{RetraceSampler, Transport};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};

use crate::agent;
use crate::figures::{Figures, nanos};
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

pub(crate) fn measure(rounds: usize) {
    println!("## On the application's thread\n");
    println!(
        "Start and end of one model call of 12 attributes and about 1 KB of messages, its attributes already built; {ROUND} \
         spans, then a flush that is not counted, the processors in turn.\n"
    );
    println!("| processor | p50 ns | mean ns | p99 ns | spans |");
    println!("|---|---|---|---|---|");
    let pipeline = Pipeline::new(Transport::Ws, Kept::InMemory);
    let providers = [
        ("none", SdkTracerProvider::builder().build()),
        (
            "`BatchSpanProcessor`, exporter that does nothing",
            SdkTracerProvider::builder().with_batch_exporter(Nothing).build(),
        ),
        ("`RetraceSpanProcessor` over `ws`", pipeline.provider.clone()),
        ("the same, not sampled, held in case the run fails", left_out(&pipeline, true)),
        ("the same, not sampled, failures off", left_out(&pipeline, false)),
    ];
    let mut times: [Vec<Duration>; 5] = Default::default();
    for round in 0..=rounds {
        for ((_, provider), times) in providers.iter().zip(&mut times) {
            let sampled = one_round(provider);
            // The first one connects, and fills caches.
            if round > 0 {
                times.extend(sampled);
            }
        }
    }
    for ((name, _), times) in providers.iter().zip(times) {
        let figures = Figures::new(times);
        let (p50, mean, p99) = (figures.percentile(50), figures.mean(), figures.percentile(99));
        println!("| {name} | {} | {} | {} | {} |", nanos(p50), nanos(mean), nanos(p99), figures.len());
    }
    println!();
    // Before the providers go, which would shut the processor down that they share.
    pipeline.end();
    drop(providers);
}

/// A provider whose sampler keeps no run.
fn left_out(pipeline: &Pipeline, failures: bool) -> SdkTracerProvider {
    let sampler = RetraceSampler::builder().with_sample_rate(0.0).with_failures(failures).build().unwrap();
    SdkTracerProvider::builder().with_sampler(sampler).with_span_processor(pipeline.processor.clone()).build()
}

fn one_round(provider: &SdkTracerProvider) -> Vec<Duration> {
    let tracer = provider.tracer("bench");
    let run = agent::start(&tracer, "invoke_agent bench", agent::agent(), &Context::new());
    let ready: Vec<_> = (0..ROUND).map(|_| agent::chat()).collect();
    let times = ready.into_iter().map(|attributes| {
        let began = Instant::now();
        agent::start(&tracer, "chat gpt-4o-mini", attributes, &run).span().end();
        began.elapsed()
    });
    let times = times.collect();
    run.span().end();
    provider.force_flush().unwrap();
    times
}
