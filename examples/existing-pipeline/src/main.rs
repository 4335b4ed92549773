//! An application that already exports its spans to an OTLP backend gets Retrace by three lines, one of them in place of
//! `.with_batch_exporter(otlp)`.
//!
//! One provider, the same spans: the OTLP backend gets all of them, Retrace the runs of agents among them. Offline, both
//! backends are played on this machine. With `OTEL_EXPORTER_OTLP_ENDPOINT` set the spans go to that OTLP backend instead,
//! with `RETRACE_API_KEY` set to Retrace itself. Ends with an error when a backend that is played here did not get what it
//! should.

#![allow(clippy::print_stdout)]

mod application;
mod backends;
mod collector;

use std::error::Error;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_retrace::RetraceSpanProcessor; //                                               1
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider};

use backends::Backends;

fn main() -> Result<(), Box<dyn Error>> {
    let backends = Backends::start()?;

    let otlp = backends.otlp(SpanExporter::builder().with_http()).build()?;
    let retrace = backends.retrace(RetraceSpanProcessor::builder()).build()?; //                  2
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name("support").build())
        .with_span_processor(retrace.around(BatchSpanProcessor::builder(otlp).build())) //        3
        .build();

    let tracer = provider.tracer("support");
    application::get_health(&tracer);
    let question = "Where is my order A-1?";
    println!("customer: {question}\nsupport:  {}\n", application::post_chat(&tracer, question));

    provider.shutdown()?;
    backends.report(&retrace.stats())
}
