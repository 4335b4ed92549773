//! What an id costs, beside the SDK's generator.
//!
//! `cargo bench --package opentelemetry-retrace --bench id_generator`

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use opentelemetry_retrace::RetraceIdGenerator;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

const IDS: u32 = 5_000_000;
const ROUNDS: usize = 7;

fn main() {
    let version_7 = RetraceIdGenerator::builder().with_time_ordered_ids(true).build().unwrap();
    let generators: [(&str, Box<dyn IdGenerator>); 3] = [
        ("opentelemetry_sdk RandomIdGenerator", Box::new(RandomIdGenerator::default())),
        ("RetraceIdGenerator, version 4", Box::new(RetraceIdGenerator::default())),
        ("RetraceIdGenerator, version 7", Box::new(version_7)),
    ];
    println!(
        "best of {ROUNDS} rounds of {IDS} ids on one thread\n\n{:<38}{:>12}{:>12}",
        "ns per id", "trace id", "span id"
    );
    for (name, generator) in generators {
        let trace = nanoseconds(|| {
            black_box(generator.new_trace_id());
        });
        let span = nanoseconds(|| {
            black_box(generator.new_span_id());
        });
        println!("{name:<38}{trace:>12.2}{span:>12.2}");
    }
}

/// The best of several rounds.
fn nanoseconds(id: impl Fn()) -> f64 {
    let round = || {
        let began = Instant::now();
        (0..IDS).for_each(|_| id());
        began.elapsed()
    };
    let best = (0..ROUNDS).map(|_| round()).min().unwrap_or(Duration::ZERO);
    best.as_secs_f64() * 1e9 / f64::from(IDS)
}
