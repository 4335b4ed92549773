//! OpenTelemetry's own exporter against the receiver.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use opentelemetry::trace::{Span as _, SpanContext, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Compression, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use retrace_local::Server;
use retrace_protocol::{Id, Status, Trace};
use support::HANG;

fn exporter(server: &Server, protocol: Protocol, compression: Option<Compression>, key: &str) -> SpanExporter {
    let headers = [("authorization".to_owned(), format!("Bearer {key}"))].into();
    let exporter = SpanExporter::builder().with_http().with_protocol(protocol).with_headers(headers);
    let exporter = exporter.with_endpoint(format!("{}/v1/traces", server.otlp_url())).with_timeout(HANG);
    match compression {
        Some(compression) => exporter.with_compression(compression).build().unwrap(),
        None => exporter.build().unwrap(),
    }
}

/// An agent that calls a model twice; its trace.
fn work(provider: &SdkTracerProvider) -> SpanContext {
    let tracer = provider.tracer("test");
    let agent = Context::new().with_span(tracer.start_with_context("invoke_agent", &Context::new()));
    for call in 0..2 {
        let mut span = tracer.start_with_context("chat", &agent);
        span.set_attribute(KeyValue::new("gen_ai.operation.name", "chat"));
        span.set_attribute(KeyValue::new("gen_ai.usage.input_tokens", 10 + call));
        span.set_attribute(KeyValue::new("gen_ai.usage.output_tokens", 1));
        span.end();
    }
    agent.span().end();
    agent.span().span_context().clone()
}

fn run_of(server: &Server, context: &SpanContext) -> Trace {
    let id = Id::from_otel_trace(context.trace_id().to_bytes());
    server.wait_for_end(&id, HANG).unwrap().unwrap_or_else(|| panic!("{id} did not end"))
}

#[test]
fn the_exporter_is_understood_in_every_form() {
    let server = Server::builder().with_api_key("rt_right").start().unwrap();
    for protocol in [Protocol::HttpBinary, Protocol::HttpJson] {
        for compression in [None, Some(Compression::Gzip)] {
            let exporter = exporter(&server, protocol, compression, "rt_right");
            let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
            let context = work(&provider);
            provider
                .shutdown_with_timeout(HANG)
                .unwrap_or_else(|error| panic!("{protocol:?} {compression:?}: {error}"));
            let run = run_of(&server, &context);
            assert_eq!((run.status, run.total_tokens), (Some(Status::Completed), Some(23)), "{protocol:?}");
            assert_eq!(run.spans.unwrap().len(), 3);
        }
    }
}

#[test]
fn spans_that_come_one_by_one_are_one_run() {
    let server = Server::start().unwrap();
    let provider =
        SdkTracerProvider::builder().with_simple_exporter(exporter(&server, Protocol::HttpBinary, None, "any")).build();
    let context = work(&provider);
    let run = run_of(&server, &context);
    assert_eq!((run.total_tokens, run.spans.unwrap().len()), (Some(23), 3));
}

#[test]
fn the_exporter_receives_the_refusal_of_a_wrong_key() {
    let server = Server::builder().with_api_key("rt_right").start().unwrap();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter(&server, Protocol::HttpBinary, None, "rt_wrong"))
        .build();
    // The processor gives a flush up after five seconds.
    let error = loop {
        work(&provider);
        let error = provider.force_flush().unwrap_err().to_string();
        if !error.contains("Timeout(") {
            break error;
        }
    };
    assert!(error.contains("401"), "{error}");
    assert_eq!(server.traces(&retrace_local::TraceQuery::new()).unwrap().total, 0);
}
