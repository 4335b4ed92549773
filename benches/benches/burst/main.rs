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

use std::cell::Cell;
use std::fmt::Write as _;
use std::ops::Range;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, WithExportConfig as _};
use opentelemetry_retrace::{RetraceExporter, RetraceSpanProcessor};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter};

use crate::sink::Sink;

/// Spans of a burst.
const SPANS: usize = 100_000;
/// Runs of an export.
const BATCH_RUNS: usize = 50;
/// Spans that may wait; the application waits while there are more, so that nothing is lost.
const AHEAD: u64 = 4_000;
/// Seconds of silence after which the memory is read.
const SILENCES: [u64; 3] = [5, 30, 60];

/// Ways in, each with its transport. `otlp` is the exporter of `opentelemetry-otlp`, by itself and behind a `BatchSpanProcessor`.
const WAYS: [(&str, &str); 6] = [
    ("exporter", "http"),
    ("exporter", "ws"),
    ("exporter", "otlp"),
    ("processor", "http"),
    ("processor", "ws"),
    ("processor", "otlp"),
];

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
    let (before, pipeline) = match (way, transport) {
        ("exporter", "otlp") => export_otlp(url),
        (_, "otlp") => record_otlp(url),
        ("exporter", _) => export(transport, url),
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
    let before = push(&exporter, || exporter.force_flush().unwrap());
    let stats = exporter.stats();
    assert_eq!(stats.lost.total(), 0, "{stats:?}");
    (before, Box::new(exporter))
}

fn export_otlp(url: &str) -> (f64, Box<dyn std::any::Any>) {
    let exporter = otlp(url);
    (push(&exporter, || ()), Box::new(exporter))
}

fn otlp(url: &str) -> opentelemetry_otlp::SpanExporter {
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
    exporter.with_endpoint(format!("{url}/v1/traces")).build().unwrap()
}

/// Exports the spans of a burst, batch by batch; returns the memory before it.
fn push(exporter: &impl SpanExporter, flush: impl Fn()) -> f64 {
    let push = |runs: Range<usize>| {
        for batch in runs.step_by(BATCH_RUNS) {
            let spans = (batch..batch + BATCH_RUNS).flat_map(|run| spans::agent_run(run, spans::SIZES[0]));
            futures_executor::block_on(exporter.export(spans.collect())).unwrap();
        }
        flush();
    };
    push(0..BATCH_RUNS);
    let before = resident("VmRSS:");
    push(BATCH_RUNS..SPANS / spans::RUN);
    before
}

/// Records the spans of a burst by a processor.
fn record(transport: &str, url: &str) -> (f64, Box<dyn std::any::Any>) {
    let processor = RetraceSpanProcessor::builder();
    let processor = processor.with_api_key("rt_bench").with_base_url(url).with_transport(transport).build().unwrap();
    let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
    let wait = || {
        while processor.stats().pending > AHEAD {
            thread::sleep(Duration::from_micros(200));
        }
    };
    let before = run_agents(&provider, wait);
    let stats = processor.stats();
    assert_eq!(stats.lost.total(), 0, "{stats:?}");
    (before, Box::new((processor, provider)))
}

fn record_otlp(url: &str) -> (f64, Box<dyn std::any::Any>) {
    let provider = SdkTracerProvider::builder().with_batch_exporter(otlp(url)).build();
    // Its queue has 2,048 places, and what finds none is dropped.
    let steps = Cell::new(0);
    let wait = || {
        steps.set(steps.get() + 1);
        if steps.get() % 800 == 0 {
            provider.force_flush().unwrap();
        }
    };
    (run_agents(&provider, wait), Box::new(provider.clone()))
}

/// Runs agents one after the other, `wait` before each; returns the memory before the burst.
fn run_agents(provider: &SdkTracerProvider, wait: impl Fn()) -> f64 {
    let tracer = provider.tracer("bench");
    agent::run(&tracer, agent::STEPS, &wait);
    provider.force_flush().unwrap();
    let before = resident("VmRSS:");
    for _ in 0..SPANS as u64 / agent::spans(agent::STEPS) {
        agent::run(&tracer, agent::STEPS, &wait);
    }
    provider.force_flush().unwrap();
    before
}

/// A figure of `/proc/self/status`, in MiB.
fn resident(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
