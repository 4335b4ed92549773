//! The metrics of the conventions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;

use http::HeaderMap;
use opentelemetry_instrumentation_genai::{Instrumentation, Request};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

/// Each series: the metric and what it is of, with how many values it has and, of tokens, their sum.
fn series(metrics: &[ResourceMetrics]) -> BTreeMap<String, (u64, u64)> {
    let mut series = BTreeMap::new();
    for metric in metrics.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(ScopeMetrics::metrics) {
        let mut note = |attributes: String, count: u64, sum: u64| {
            series.insert(format!("{} {} {attributes}", metric.name(), metric.unit()), (count, sum));
        };
        let of = |attributes: &mut dyn Iterator<Item = &opentelemetry::KeyValue>| {
            let mut named: Vec<String> = attributes
                .filter(|each| {
                    ["error.type", "gen_ai.token.type", "gen_ai.response.model"].contains(&each.key.as_str())
                })
                .map(|each| each.value.to_string())
                .collect();
            named.sort();
            named.join(",")
        };
        match metric.data() {
            AggregatedMetrics::U64(MetricData::Histogram(histogram)) => {
                histogram.data_points().for_each(|point| note(of(&mut point.attributes()), point.count(), point.sum()));
            }
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                histogram.data_points().for_each(|point| note(of(&mut point.attributes()), point.count(), 0));
            }
            other => panic!("{other:?}"),
        }
    }
    series
}

#[test]
fn tokens_duration_and_first_chunk_whether_sampled_or_not() {
    let exporter = InMemoryMetricExporter::default();
    let meters = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    let tracers = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
    let genai = Instrumentation::builder().with_tracer_provider(&tracers).with_meter_provider(&meters).build();
    let call = |stream: bool, status: u16, response: &str| {
        let body = format!(r#"{{"model":"m","messages":[],"stream":{stream}}}"#);
        let url = "https://api.openai.com/v1/chat/completions";
        let mut call = genai.start(&Request { method: "POST", url, body: Some(body.as_bytes()) }).unwrap();
        call.response(status, &HeaderMap::new());
        call.chunk(response.as_bytes());
        call.end();
    };
    let usage = r#""usage":{"prompt_tokens":10,"completion_tokens":3}"#;
    call(false, 200, &format!(r#"{{"model":"m-1","choices":[],{usage}}}"#));
    call(true, 200, &format!("data: {{\"model\":\"m-1\",\"choices\":[],{usage}}}\n\ndata: [DONE]\n\n"));
    call(true, 429, r#"{"error":{"code":"slow_down"}}"#);
    meters.force_flush().unwrap();
    let found = series(&exporter.get_finished_metrics().unwrap());
    let expected: BTreeMap<String, (u64, u64)> = [
        ("gen_ai.client.token.usage {token} input,m-1", (2, 20)),
        ("gen_ai.client.token.usage {token} m-1,output", (2, 6)),
        ("gen_ai.client.operation.duration s m-1", (2, 0)),
        ("gen_ai.client.operation.duration s slow_down", (1, 0)),
        ("gen_ai.client.operation.time_to_first_chunk s m-1", (1, 0)),
        ("gen_ai.client.operation.time_to_first_chunk s ", (1, 0)),
    ]
    .map(|(name, counts)| (name.to_owned(), counts))
    .into();
    assert_eq!(found, expected);
}
