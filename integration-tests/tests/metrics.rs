//! The metrics of a pipeline, as a meter of the application's collects them.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::mpsc::channel;

use integration_tests::agent;
use integration_tests::nobody::Nobody;
use integration_tests::wait::{HANG, SPENT, settled};
use opentelemetry::KeyValue;
use opentelemetry::global;
use opentelemetry_retrace::{RetraceSpanProcessor, Transport};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ScopeMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanProcessor as _};
use retrace_local::Server;
use retrace_protocol::SignalCode;

/// What one pipeline did: spans exported and lost, operations that went well and that failed.
#[derive(Debug, Default, PartialEq)]
struct Told {
    exported: u64,
    lost: u64,
    operations: u64,
    failed: u64,
}

/// Runs the agent once. The meter is global, so that one at a time is measured. The shutdown of a pipeline without a receiver
/// begins when the first attempt has failed.
fn measured(url: &str, transport: Transport, is_there: bool) -> Told {
    let exporter = InMemoryMetricExporter::default();
    let meters = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
    global::set_meter_provider(meters.clone());
    let (failing, failed) = channel();
    let processor = RetraceSpanProcessor::builder()
        .with_api_key("rt_local")
        .with_base_url(url)
        .with_transport(transport)
        .with_on_error(move |signal| failing.send(signal.code).unwrap_or_default())
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
    agent::run(&provider);
    if is_there {
        processor.shutdown_with_timeout(HANG).unwrap();
    } else {
        assert_eq!(failed.recv_timeout(HANG), Ok(SignalCode::Unreachable));
        let _ = processor.shutdown_with_timeout(SPENT);
        settled(|| processor.stats());
    }
    meters.force_flush().unwrap();
    let mut told = Told::default();
    for resource in exporter.get_finished_metrics().unwrap() {
        for metric in resource.scope_metrics().flat_map(ScopeMetrics::metrics) {
            let is_error = |attribute: &KeyValue| attribute.key.as_str() == "error.type";
            match (metric.name(), metric.data()) {
                ("otel.sdk.exporter.span.exported", AggregatedMetrics::U64(MetricData::Sum(sum))) => {
                    for point in sum.data_points() {
                        *if point.attributes().any(is_error) { &mut told.lost } else { &mut told.exported } +=
                            point.value();
                    }
                }
                ("otel.sdk.exporter.operation.duration", AggregatedMetrics::F64(MetricData::Histogram(durations))) => {
                    for point in durations.data_points() {
                        *if point.attributes().any(is_error) { &mut told.failed } else { &mut told.operations } +=
                            point.count();
                    }
                }
                _ => {}
            }
        }
    }
    told
}

#[test]
fn spans_and_operations_are_measured_on_every_way() {
    let server = Server::start().unwrap();
    for transport in [Transport::Http, Transport::Ws, Transport::Auto] {
        let told = measured(server.url(), transport, true);
        assert!(told.operations > 0, "{transport:?}: {told:?}");
        let expected = Told { exported: agent::SPANS, operations: told.operations, ..Told::default() };
        assert_eq!(told, expected, "{transport:?}");
    }
    let nobody = Nobody::new();
    let told = measured(&nobody.url(), Transport::Http, false);
    assert!(told.failed > 0, "{told:?}");
    assert_eq!((told.exported, told.lost, told.operations), (0, agent::SPANS, 0), "{told:?}");
}
