//! Memory that stays after a burst of spans.
//!
//! `cargo bench --package benchmarks --bench burst` sends 100,000 spans at once through each way in, each in a process of its
//! own, and prints the resident memory before, at its peak, and after some seconds of silence. `-- --quick` waits five seconds
//! only. It reads `/proc`, so it runs on Linux.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "../stream/agent.rs"]
#[allow(dead_code)] // HTTP requests are not sent here.
mod agent;
#[path = "../wire/frame.rs"]
mod frame;
#[path = "../cost/sink.rs"]
mod sink;
#[path = "../cost/spans.rs"]
#[allow(dead_code)] // One size is enough.
mod spans;
#[path = "../wire/sink.rs"]
#[allow(dead_code)] // Only its WebSocket half is used.
mod ws_sink;

use std::fmt::Write as _;
use std::ops::Range;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_retrace::{RetraceExporter, RetraceSpanProcessor};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter as _};

use crate::sink::Sink;

/// Spans of a burst.
const SPANS: usize = 100_000;
/// Runs of an export.
const BATCH_RUNS: usize = 50;
/// Spans that may wait; the application waits while there are more, so that nothing is lost.
const AHEAD: u64 = 4_000;
/// Seconds of silence after which the memory is read.
const SILENCES: [u64; 3] = [5, 30, 60];

/// Ways in, each with its transport.
const WAYS: [(&str, &str); 4] = [("exporter", "http"), ("exporter", "ws"), ("processor", "ws"), ("processor", "http")];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--sink"] => sink::serve(),
        ["--send", way, transport, silences, url] => send(way, transport, silences.parse().unwrap(), url),
        [] => table(SILENCES.len()),
        ["--quick"] => table(1),
        _ => panic!("unknown arguments: {arguments:?}"),
    }
}

fn table(silences: usize) {
    let mut after = String::new();
    for seconds in SILENCES.into_iter().take(silences) {
        let _ = write!(after, " after {seconds} s |");
    }
    println!("Resident memory in MiB, beyond what there is before the burst of {SPANS} spans.\n");
    println!("| way in | transport | before | peak |{after}");
    println!("|---|---|---|---|{}", "---|".repeat(silences));
    let sink = Sink::start();
    // They wait most of the time, at the same time.
    let children = WAYS.map(|(way, transport)| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--send", way, transport, &silences.to_string(), &sink.url]).stdout(Stdio::piped());
        command.spawn().unwrap()
    });
    for ((way, transport), child) in WAYS.into_iter().zip(children) {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{way} over {transport}");
        println!("| {way} | {transport} |{}", String::from_utf8(output.stdout).unwrap().trim_end());
    }
}

/// Sends a burst, and prints the rest of a row of the table.
fn send(way: &str, transport: &str, silences: usize, url: &str) {
    let (before, pipeline) = match way {
        "exporter" => export(transport, url),
        _ => record(transport, url),
    };
    let (sent, peak) = (Instant::now(), resident("VmHWM:"));
    let mut row = format!(" {before:.1} | +{:.1} |", peak - before);
    for silence in SILENCES.into_iter().take(silences) {
        thread::sleep((sent + Duration::from_secs(silence)).saturating_duration_since(Instant::now()));
        let _ = write!(row, " {:+.1} |", resident("VmRSS:") - before);
    }
    println!("{row}");
    drop(pipeline);
}

/// Exports the spans of a burst, batch by batch; returns the memory before it, and what must stay until the end.
fn export(transport: &str, url: &str) -> (f64, Box<dyn std::any::Any>) {
    let exporter = RetraceExporter::builder()
        .with_api_key("rt_bench")
        .with_base_url(url)
        .with_transport(transport)
        .build()
        .unwrap();
    let push = |runs: Range<usize>| {
        for batch in runs.step_by(BATCH_RUNS) {
            let spans = (batch..batch + BATCH_RUNS).flat_map(|run| spans::agent_run(run, spans::SIZES[0]));
            futures_executor::block_on(exporter.export(spans.collect())).unwrap();
        }
        exporter.force_flush().unwrap();
    };
    push(0..BATCH_RUNS);
    let before = resident("VmRSS:");
    push(BATCH_RUNS..SPANS / spans::RUN);
    let stats = exporter.stats();
    assert_eq!(stats.lost.total(), 0, "{stats:?}");
    (before, Box::new(exporter))
}

/// Records the spans of a burst by a processor.
fn record(transport: &str, url: &str) -> (f64, Box<dyn std::any::Any>) {
    let processor = RetraceSpanProcessor::builder();
    let processor = processor.with_api_key("rt_bench").with_base_url(url).with_transport(transport).build().unwrap();
    let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
    let tracer = provider.tracer("bench");
    let wait = || {
        while processor.stats().pending > AHEAD {
            thread::sleep(Duration::from_micros(200));
        }
    };
    agent::run(&tracer, agent::STEPS, wait);
    provider.force_flush().unwrap();
    let before = resident("VmRSS:");
    for _ in 0..SPANS as u64 / agent::spans(agent::STEPS) {
        agent::run(&tracer, agent::STEPS, wait);
    }
    provider.force_flush().unwrap();
    let stats = processor.stats();
    assert_eq!(stats.lost.total(), 0, "{stats:?}");
    (before, Box::new((processor, provider)))
}

/// A figure of `/proc/self/status`, in MiB.
fn resident(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
