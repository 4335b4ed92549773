use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use opentelemetry::Key;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ScopeMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};

use super::*;
use crate::recording::queue::{Queue, SpanEvent};
use crate::stats::{LossReason, Lost};
use crate::testing::span_data;

/// The meter is global: one test runs at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Name, attributes and value of a point; for a histogram the value is the count.
type Point = (String, Vec<(String, String)>, i64);

/// Runs `happens` under a meter; returns its result and every point that was collected.
fn collected<M>(happens: impl FnOnce() -> M) -> (M, Vec<Point>) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
    global::set_meter_provider(provider.clone());
    let whose = happens();
    provider.force_flush().unwrap();
    let mut points = Vec::new();
    for resource in exporter.get_finished_metrics().unwrap() {
        for metric in resource.scope_metrics().flat_map(ScopeMetrics::metrics) {
            let mut point = |attributes: &mut dyn Iterator<Item = &KeyValue>, value| {
                let text = |key: &Key| key.as_str().to_owned();
                let mut attributes: Vec<_> = attributes.map(|pair| (text(&pair.key), pair.value.to_string())).collect();
                attributes.sort();
                points.push((metric.name().to_owned(), attributes, value));
            };
            match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    sum.data_points().for_each(|it| point(&mut it.attributes(), signed(it.value())));
                }
                AggregatedMetrics::I64(MetricData::Sum(sum)) => {
                    sum.data_points().for_each(|it| point(&mut it.attributes(), it.value()));
                }
                AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                    assert_eq!(metric.unit(), "s");
                    histogram.data_points().for_each(|it| point(&mut it.attributes(), signed(it.count())));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    points.sort();
    (whose, points)
}

fn metrics() -> Metrics {
    Metrics::new(&BaseUrl::parse("https://api.example.com/v1", "test", &[]).unwrap())
}

/// Returns the points of one instrument of a pipeline: all attributes but those of the component, and the
/// value.
fn of(points: &[Point], name: &str, component: &str, whose: &Metrics) -> Vec<(String, i64)> {
    let named = [
        ("otel.component.type", component.to_owned()),
        ("otel.component.name", format!("{component}/{}", whose.instance)),
    ];
    let is_named = |(key, value): &&(String, String)| named.contains(&(key.as_str(), value.clone()));
    let mut of = Vec::new();
    for (_, attributes, value) in points.iter().filter(|(instrument, ..)| instrument == name) {
        if attributes.iter().filter(is_named).count() == named.len() {
            let others = attributes.iter().filter(|pair| !is_named(pair));
            of.push((others.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "), *value));
        }
    }
    of.sort();
    of
}

#[test]
fn what_is_counted_is_told_by_the_standard_names() {
    let ((one, gone), points) = collected(|| {
        let mut lost = Lost::default();
        lost.add(LossReason::QueueFull, 2);
        let stats = Stats { accepted: 10, delivered: 5, pending: 3, lost, ..Stats::default() };
        let (alive, over) = (metrics(), metrics());
        alive.observe(move || Some(stats), None::<fn() -> Option<QueueStats>>);
        over.observe(|| None, Some(|| None));
        (alive, over)
    });
    let exporter = |name| of(&points, name, EXPORTER, &one);
    assert_eq!(exporter("otel.sdk.exporter.span.exported"), [(String::new(), 5), ("error.type=queue_full".into(), 2)]);
    assert_eq!(exporter("otel.sdk.exporter.span.inflight"), [(String::new(), 3)]);
    let gone = format!("/{}", gone.instance);
    let of_gone = |(_, attributes, _): &Point| attributes.iter().any(|(_, value)| value.ends_with(&gone));
    assert!(!points.iter().any(of_gone), "and nothing of a pipeline that is gone: {points:?}");
}

#[test]
fn the_queue_of_a_processor_is_measured() {
    let queue = Arc::new(Queue::new(6 * size_of::<opentelemetry_sdk::trace::SpanData>()));
    let stats = || {
        let queue = Arc::clone(&queue);
        Some(move || Some(queue.queue_stats()))
    };
    let push = |n| queue.push_seen(SpanEvent::Ended(span_data(n, 1, "")));
    let observe = || {
        let metrics = metrics();
        metrics.observe(|| None, stats());
        metrics
    };
    let named = |(whose, points): &(Metrics, Vec<Point>), name| {
        of(points, &format!("otel.sdk.processor.span.{name}"), PROCESSOR, whose)
    };
    let none = String::new;

    let points = collected(|| {
        // A start may fill no more than half of the queue, and the piece for the first span is larger than
        // that: it finds no room, which is no loss, since the end of the span carries all of its data.
        assert!(!queue.push_seen(SpanEvent::Began(span_data(1, 0, ""))).unwrap());
        // A piece of a small queue has four places, and there is no room for a second one.
        let pushed: Vec<bool> = (2..8).map(|n| push(n).unwrap()).collect();
        assert_eq!(pushed, [true, true, true, true, false, false]);
        observe()
    });
    assert_eq!(named(&points, "queue.capacity"), [(none(), 6)]);
    assert_eq!(named(&points, "queue.size"), [(none(), 4)]);
    assert_eq!(named(&points, "processed"), [(none(), 0), ("error.type=queue_full".into(), 2)]);

    let points = collected(|| {
        queue.take(Instant::now());
        queue.close();
        push(6).unwrap_err();
        observe()
    });
    assert_eq!(named(&points, "queue.size"), [(none(), 0)]);
    let errors = [(none(), 4), ("error.type=already_shutdown".into(), 1), ("error.type=queue_full".into(), 2)];
    assert_eq!(named(&points, "processed"), errors);
}

#[test]
fn requests_are_timed_by_what_came_of_them() {
    let (whose, points) = collected(|| {
        let metrics = metrics();
        let status = |status| Answer::Status { status, retry_after: None, peer_message: None };
        let cause = || "the network".to_owned();
        for answer in [
            status(StatusCode::CREATED),
            status(StatusCode::CREATED),
            status(StatusCode::TOO_MANY_REQUESTS),
            Answer::WebPage { status: StatusCode::OK },
            Answer::NotSent { cause: cause() },
            Answer::Broken { cause: cause() },
        ] {
            futures_executor::block_on(metrics.timed(async { answer }));
        }
        metrics
    });
    let whom = "server.address=api.example.com server.port=443";
    assert_eq!(
        of(&points, "otel.sdk.exporter.operation.duration", EXPORTER, &whose),
        [
            (format!("error.type=429 http.response.status_code=429 {whom}"), 1),
            (format!("error.type=no_answer {whom}"), 1),
            (format!("error.type=not_sent {whom}"), 1),
            (format!("error.type=web_page http.response.status_code=200 {whom}"), 1),
            (format!("http.response.status_code=201 {whom}"), 2),
        ]
    );
}

#[test]
fn batches_are_timed_until_all_of_them_is_confirmed() {
    let (whose, points) = collected(|| {
        let metrics = metrics();
        let mut batches = metrics.batches();
        let at = |before, confirmed_before| move || Written { before, confirmed_before };
        batches.written(at(3, 0));
        batches.written(at(5, 0));
        batches.confirmed(at(5, 2));
        assert_eq!(batches.waiting.len(), 2, "the first one lacks a frame");
        batches.confirmed(at(5, 4));
        assert_eq!(batches.waiting.len(), 1);
        batches.written(at(9, 4));
        batches.confirmed(at(9, 9));
        batches.written(at(12, 9));
        batches.broken_off();
        batches.confirmed(|| panic!("nothing waits"));
        for before in 0..2 * MOST_BATCHES as u64 {
            batches.written(at(before, 0));
        }
        assert_eq!(batches.waiting.len(), MOST_BATCHES);
        metrics
    });
    let whom = "server.address=api.example.com server.port=443";
    assert_eq!(
        of(&points, "otel.sdk.exporter.operation.duration", EXPORTER, &whose),
        [(format!("error.type=no_answer {whom}"), 1), (whom.to_owned(), 3)]
    );
}
