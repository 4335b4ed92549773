//! Cost of `#[record]` over the OpenTelemetry span that it makes.
//!
//! `cargo bench --package benchmarks --bench record` prints the tables; `-- --quick` takes a tenth of the samples, and
//! `-- --only=TEXT` prints the tables that have the text in their heading. The spans
//! go to a processor that does nothing, so that what is measured is the recording alone. A sample is the mean of a batch of
//! calls, and the cases take turns.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "../stream/figures.rs"]
#[allow(dead_code)] // Only a part of the figures is needed.
mod figures;
#[path = "../stream/machine.rs"]
mod machine;

use std::hint::black_box;
use std::time::{Duration, Instant};

use opentelemetry::trace::{
    Span as _, SpanContext, TraceContextExt as _, TraceFlags, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span, SpanData, SpanProcessor};
use retrace::{Failures, Guard};

use crate::figures::Figures;

/// Calls of a sample.
const BATCH: u32 = 64;
/// Samples of a case.
const SAMPLES: usize = 20_000;

/// A processor that does nothing.
#[derive(Debug)]
struct Idle;

impl SpanProcessor for Idle {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        black_box(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[retrace::record(name = "empty")]
fn recorded(topic: &str, count: u32, is_final: bool) {
    black_box((topic, count, is_final));
}

#[retrace::record(name = "empty", skip_all, skip_output)]
fn recorded_without_content(topic: &str, count: u32, is_final: bool) {
    black_box((topic, count, is_final));
}

#[inline(never)]
fn plain(topic: &str, count: u32, is_final: bool) {
    black_box((topic, count, is_final));
}

/// A span of this name that is current meanwhile.
fn bare(tracer: &SdkTracer, topic: &str, count: u32, is_final: bool) {
    let span = tracer.start("empty");
    let _current = Context::current_with_span(span).attach();
    plain(topic, count, is_final);
}

/// The same with the attributes that `#[record]` sets, their values built by hand.
fn with_attributes(tracer: &SdkTracer, topic: &str, count: u32, is_final: bool) {
    let builder = tracer.span_builder("empty").with_attributes([
        KeyValue::new("retrace.span_type", "reasoning"),
        KeyValue::new("retrace.name", "empty"),
        KeyValue::new("retrace.input", format!(r#"{{"topic":"{topic}","count":{count},"is_final":{is_final}}}"#)),
    ]);
    let mut span = builder.start(tracer);
    span.set_attribute(KeyValue::new("retrace.output", "null"));
    let _current = Context::current_with_span(span).attach();
    plain(topic, count, is_final);
}

/// OpenTelemetry's own cost of making a context current that has a span of another process.
fn unsampled_context(span: &SpanContext, topic: &str, count: u32, is_final: bool) {
    let _current = Context::map_current(|cx| cx.with_remote_span_context(span.clone())).attach();
    plain(topic, count, is_final);
}

/// OpenTelemetry's own cost of making an existing context current.
fn attached(cx: &Context, topic: &str, count: u32, is_final: bool) {
    let _current = cx.clone().attach();
    plain(topic, count, is_final);
}

/// OpenTelemetry's own cost of a look at the current context.
fn looked_at(topic: &str, count: u32, is_final: bool) {
    black_box(Context::map_current(|cx| cx.span().span_context().is_sampled()));
    plain(topic, count, is_final);
}

/// A recorded function with three small arguments.
type Call<'a> = Box<dyn FnMut(&str, u32, bool) + 'a>;

/// A case, and its samples so far in nanoseconds of one call.
struct Case<'a> {
    name: &'static str,
    call: Call<'a>,
    samples: Vec<Duration>,
}

impl<'a> Case<'a> {
    fn new(name: &'static str, call: impl FnMut(&str, u32, bool) + 'a) -> Self {
        Self { name, call: Box::new(call), samples: Vec::new() }
    }

    fn sample(&mut self) {
        let began = Instant::now();
        for count in 0..BATCH {
            (self.call)(black_box("research the tides"), black_box(count), black_box(true));
        }
        self.samples.push(began.elapsed() / BATCH);
    }
}

/// Measures the cases by turns, and prints each beside the first.
fn measure(table: &str, samples: usize, mut cases: Vec<Case<'_>>) {
    let only = std::env::args().find_map(|argument| Some(argument.strip_prefix("--only=")?.to_owned()));
    if only.is_some_and(|only| !table.contains(&only)) {
        return;
    }
    for _ in 0..samples {
        cases.iter_mut().for_each(Case::sample);
    }
    println!("\n{table}\n\n| call | p50 ns | p99 ns | p50 over the first |\n|---|---|---|---|");
    let mut first = None;
    for case in cases {
        let figures = Figures::new(case.samples.split_off_warm_up());
        let median = figures.percentile(50);
        let over = median.as_nanos().cast_signed() - first.get_or_insert(median).as_nanos().cast_signed();
        println!("| {} | {} | {} | {over} |", case.name, median.as_nanos(), figures.percentile(99).as_nanos());
    }
}

/// Samples without those of the beginning, when caches were cold.
trait WarmUp {
    fn split_off_warm_up(self) -> Self;
}

impl WarmUp for Vec<Duration> {
    fn split_off_warm_up(mut self) -> Self {
        self.split_off(self.len() / 10)
    }
}

/// Records through a provider with an idle processor.
fn install() -> Guard {
    let configuration = retrace::configure().with_api_key("rt_bench").with_base_url("http://127.0.0.1:9");
    configuration.with_provider(|_| SdkTracerProvider::builder().with_span_processor(Idle)).install().unwrap()
}

/// Records nothing: no run is sampled, and failures are not kept.
fn install_unsampled() -> Guard {
    let configuration = retrace::configure().with_api_key("rt_bench").with_base_url("http://127.0.0.1:9");
    configuration.with_sample_rate(0.0).with_failures(Failures::Off).install().unwrap()
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let samples = if quick { SAMPLES / 10 } else { SAMPLES };
    println!("{}", machine::facts());
    {
        let retrace = install();
        let tracer = retrace.provider().unwrap().tracer("bench");
        let cases = || {
            vec![
                Case::new("a bare span, current", |topic, count, is_final| bare(&tracer, topic, count, is_final)),
                Case::new("a span with the same attributes", |topic, count, is_final| {
                    with_attributes(&tracer, topic, count, is_final);
                }),
                Case::new("`#[record]`", recorded),
                Case::new("`#[record(skip_all, skip_output)]`", recorded_without_content),
            ]
        };
        measure("A run, sampled.", samples, cases());
        retrace::run("run").in_scope(|_| measure("A step of a run, sampled.", samples, cases()));
    }
    let retrace = install_unsampled();
    let tracer = retrace.provider().unwrap().tracer("bench");
    let span = SpanContext::new(1_u128.into(), 1.into(), TraceFlags::default(), false, TraceState::NONE);
    let remote = Context::new().with_remote_span_context(span.clone());
    let cases = || {
        vec![
            Case::new("a plain call", plain),
            Case::new("a look at the current context", looked_at),
            Case::new("a context made current", |topic, count, is_final| attached(&remote, topic, count, is_final)),
            Case::new("a context made and made current", |topic, count, is_final| {
                unsampled_context(&span, topic, count, is_final);
            }),
            Case::new("a bare span, current", |topic, count, is_final| bare(&tracer, topic, count, is_final)),
            Case::new("`#[record]`", recorded),
        ]
    };
    measure("A run, not sampled, failures off.", samples, cases());
    retrace::run("run").in_scope(|_| measure("A step of a run that is not sampled.", samples, cases()));
    drop(retrace);
    let _retrace = retrace::configure().with_enabled(false).install().unwrap();
    measure("Recording is switched off.", samples, cases());
}
