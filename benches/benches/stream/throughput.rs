//! How much goes through one connection.

use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_retrace::Transport;

use crate::WAYS;
use crate::agent;
use crate::figures::thousands;
use crate::receiver::{Kept, Pipeline, name};

/// Spans that may be under way; the application waits while there are more, so that nothing is lost.
const AHEAD: u64 = 4_000;

pub(crate) fn measure(runs: u64) {
    println!("## Through one pipeline\n");
    println!(
        "As fast as they are taken, until the last is stored and confirmed. Over `ws` one connection, and of each span and run \
         two events; over `http` four requests at a time, one for each run.\n"
    );
    println!("| runs | spans of each | transport | database | spans/s | events/s |");
    println!("|---|---|---|---|---|---|");
    for (transport, kept) in WAYS {
        row(transport, kept, runs, agent::STEPS);
    }
    row(Transport::Ws, Kept::InMemory, 1, agent::STEPS * runs);
    row(Transport::Ws, Kept::OnFile, 1, agent::STEPS * runs);
    println!();
}

fn row(transport: Transport, kept: Kept, runs: u64, steps: u64) {
    let pipeline = Pipeline::new(transport, kept);
    let tracer = pipeline.provider.tracer("bench");
    agent::run(&tracer, 1, || {});
    pipeline.provider.force_flush().unwrap();
    let began = Instant::now();
    for _ in 0..runs {
        agent::run(&tracer, steps, || {
            while pipeline.processor.stats().pending > AHEAD {
                thread::sleep(Duration::from_micros(200));
            }
        });
    }
    pipeline.provider.force_flush().unwrap();
    let took = began.elapsed();
    let (spans, transport) = (agent::spans(steps), name(transport));
    let a_second = |count: u64| thousands(u128::from(count) * 1_000_000 / took.as_micros().max(1));
    let events = if transport == "ws" { a_second(2 * runs * (spans + 1)) } else { "-".to_owned() };
    let (runs, each, spans) = (thousands(runs), thousands(spans), a_second(runs * spans));
    println!("| {runs} | {each} | {transport} | {} | {spans} | {events} |", kept.as_str());
    pipeline.end();
}
