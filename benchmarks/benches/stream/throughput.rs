//! How much goes through one connection.

use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::trace::TracerProvider as _;

use crate::WAYS;
use crate::agent;
use crate::figures::thousands;
use crate::receiver::{Pipeline, name};

/// Spans that may be under way; the application waits while there are more, so that nothing is lost.
const AHEAD: u64 = 4_000;

pub(crate) fn measure(runs: u64) {
    println!("## Through one pipeline\n");
    println!(
        "{} runs of {} spans, as fast as they are taken, until the last is stored and confirmed. Over `ws` one connection, \
         and of each span and run two events; over `http` four requests at a time, one for each run.\n",
        thousands(runs),
        agent::SPANS,
    );
    println!("| transport | database | spans/s | events/s | runs/s |");
    println!("|---|---|---|---|---|");
    for (transport, kept) in WAYS {
        let pipeline = Pipeline::new(transport, kept);
        let tracer = pipeline.provider.tracer("bench");
        agent::run(&tracer);
        pipeline.provider.force_flush().unwrap();
        let began = Instant::now();
        for _ in 0..runs {
            while pipeline.processor.stats().pending > AHEAD {
                thread::sleep(Duration::from_micros(200));
            }
            agent::run(&tracer);
        }
        pipeline.provider.force_flush().unwrap();
        let took = began.elapsed();
        let a_second = |count: u64| thousands(u128::from(count) * 1_000_000 / took.as_micros().max(1));
        let events = if name(transport) == "ws" { a_second(2 * runs * (agent::SPANS + 1)) } else { "-".to_owned() };
        println!(
            "| {} | {} | {} | {events} | {} |",
            name(transport),
            kept.as_str(),
            a_second(runs * agent::SPANS),
            a_second(runs),
        );
        pipeline.end();
    }
    println!();
}
