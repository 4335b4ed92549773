//! A flush means delivered, under every processor, whatever the linger of a run.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use integration_tests::agent;
use integration_tests::wait::{HANG, flush};
use opentelemetry_retrace::{RetraceExporter, RetraceSpanProcessor};
use opentelemetry_sdk::trace::{BatchSpanProcessor, InMemorySpanExporter, SdkTracerProvider, SpanExporter as _};
use retrace_local::{Server, TraceQuery};
use retrace_protocol::Status;

/// The receiver has one run, and it has ended.
fn is_delivered(server: &Server) -> bool {
    let page = server.traces(&TraceQuery::default()).unwrap();
    page.total == 1 && page.traces[0].status == Some(Status::Completed)
}

/// No flush may wait for the linger of a run whose root has ended.
fn exporter(server: &Server, transport: &'static str) -> RetraceExporter {
    let builder = RetraceExporter::builder().with_api_key("rt_local").with_base_url(server.url());
    builder.with_transport(transport).with_linger(HANG).with_flush_timeout(HANG).build().unwrap()
}

fn processor(server: &Server, transport: &'static str) -> RetraceSpanProcessor {
    let builder = RetraceSpanProcessor::builder().with_api_key("rt_local").with_base_url(server.url());
    builder.with_transport(transport).with_linger(HANG).with_flush_timeout(HANG).build().unwrap()
}

#[test]
fn a_flush_of_the_provider_delivers_under_our_processor_alone_and_around_another() {
    for transport in ["ws", "http"] {
        let server = Server::start().unwrap();
        let provider = SdkTracerProvider::builder().with_span_processor(processor(&server, transport)).build();
        agent::run(&provider);
        provider.force_flush().unwrap();
        assert!(is_delivered(&server), "{transport}");

        let server = Server::start().unwrap();
        let batches = BatchSpanProcessor::builder(InMemorySpanExporter::default()).build();
        let around = processor(&server, transport).around(batches);
        let provider = SdkTracerProvider::builder().with_span_processor(around).build();
        agent::run(&provider);
        provider.force_flush().unwrap();
        assert!(is_delivered(&server), "{transport}");
    }
}

/// The SDK gives its batch processor five seconds for a flush, which a busy machine may exceed.
#[test]
fn a_flush_of_the_provider_delivers_under_a_batch_processor() {
    for transport in ["ws", "http"] {
        let server = Server::start().unwrap();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter(&server, transport)).build();
        agent::run(&provider);
        flush(&provider);
        assert!(is_delivered(&server), "{transport}");
    }
}

/// `SimpleSpanProcessor` forwards no flush: the documented call is that of the exporter.
#[test]
fn a_flush_of_the_exporter_delivers_under_a_simple_processor() {
    for transport in ["ws", "http"] {
        let server = Server::start().unwrap();
        let exporter = exporter(&server, transport);
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        agent::run(&provider);
        exporter.force_flush().unwrap();
        assert!(is_delivered(&server), "{transport}");

        let server = Server::start().unwrap();
        let exporter = self::exporter(&server, transport);
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        agent::run(&provider);
        futures_executor::block_on(exporter.flush()).unwrap();
        assert!(is_delivered(&server), "{transport}");
    }
}
