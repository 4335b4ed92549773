//! How long after its end a span is stored and confirmed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_retrace::Transport;

use crate::WAYS;
use crate::agent;
use crate::figures::{Figures, micros};
use crate::receiver::{Kept, Pipeline, name};

/// The load: so many runs, one after the other, with this pause between.
const PAUSE: Duration = Duration::from_millis(10);
/// Samples that are thrown away.
const WARM: usize = 20;

pub(crate) fn measure(samples: usize) {
    println!("## From the end of a span to stored and confirmed\n");
    println!(
        "`span.end()` and `provider.force_flush()`. *Under load* another thread sends a run of {} spans every {} ms \
         through the same pipeline, and the flush waits for what it had said.\n",
        agent::spans(agent::STEPS),
        PAUSE.as_millis(),
    );
    println!("| what ends | transport | database | load | p50 µs | p99 µs | samples |");
    println!("|---|---|---|---|---|---|---|");
    for kept in [Kept::InMemory, Kept::OnFile] {
        for loaded in [false, true] {
            let figures = of(Transport::Ws, kept, loaded, samples, tool_in_a_run);
            row("a tool of a run under way", Transport::Ws, kept, loaded, &figures);
        }
    }
    for (transport, kept) in WAYS {
        for loaded in [false, true] {
            let figures = of(transport, kept, loaded, samples, whole_run);
            row("the last span of a run of two", transport, kept, loaded, &figures);
        }
    }
    println!();
}

fn row(what: &str, transport: Transport, kept: Kept, loaded: bool, figures: &Figures) {
    let (transport, kept, load) = (name(transport), kept.as_str(), if loaded { "yes" } else { "no" });
    let (p50, p99) = (micros(figures.percentile(50)), micros(figures.percentile(99)));
    println!("| {what} | {transport} | {kept} | {load} | {p50} | {p99} | {} |", figures.len());
}

fn of(
    transport: Transport,
    kept: Kept,
    loaded: bool,
    samples: usize,
    sample: fn(&Pipeline, &Context) -> Duration,
) -> Figures {
    let pipeline = Pipeline::new(transport, kept);
    let tracer = pipeline.provider.tracer("bench");
    let run = agent::start(&tracer, "invoke_agent bench", agent::agent(), &Context::new());
    let over = AtomicBool::new(false);
    let times = thread::scope(|scope| {
        if loaded {
            scope.spawn(|| {
                let tracer = pipeline.provider.tracer("load");
                while !over.load(Ordering::Relaxed) {
                    agent::run(&tracer, agent::STEPS, || {});
                    thread::sleep(PAUSE);
                }
            });
        }
        // The first ones connect, and fill caches.
        let times = (0..samples + WARM).map(|_| sample(&pipeline, &run)).skip(WARM).collect();
        over.store(true, Ordering::Relaxed);
        times
    });
    run.span().end();
    pipeline.end();
    Figures::new(times)
}

fn tool_in_a_run(pipeline: &Pipeline, run: &Context) -> Duration {
    let tracer = pipeline.provider.tracer("bench");
    let tool = agent::start(&tracer, "execute_tool search", agent::tool(), run);
    pipeline.provider.force_flush().unwrap();
    let began = Instant::now();
    tool.span().end();
    pipeline.provider.force_flush().unwrap();
    began.elapsed()
}

fn whole_run(pipeline: &Pipeline, _: &Context) -> Duration {
    let tracer = pipeline.provider.tracer("bench");
    let run = agent::start(&tracer, "invoke_agent bench", agent::agent(), &Context::new());
    agent::start(&tracer, "chat gpt-4o-mini", agent::chat(), &run).span().end();
    pipeline.provider.force_flush().unwrap();
    let began = Instant::now();
    run.span().end();
    pipeline.provider.force_flush().unwrap();
    began.elapsed()
}
