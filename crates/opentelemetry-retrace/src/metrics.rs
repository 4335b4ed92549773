//! What becomes of spans, as metrics by the names of OpenTelemetry (semantic conventions, "SDK metrics").
//!
//! They are read when somebody collects them, from what is counted anyway: nothing is added where spans pass, and nothing of
//! it passes through the pipeline that it is about.

use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::{KeyValue, global};

use crate::stats::Stats;

/// The meter, as that of the SDK's own components.
const METER: &str = "otel.sdk";
const COMPONENT: &str = "retrace_exporter";

/// Has the global meter read `stats` from now on, until it gives none.
pub(crate) fn observe(stats: impl Fn() -> Option<Stats> + Clone + Send + Sync + 'static) {
    static INSTANCES: AtomicU64 = AtomicU64::new(0);
    let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
    let component = [
        KeyValue::new("otel.component.type", COMPONENT),
        KeyValue::new("otel.component.name", format!("{COMPONENT}/{instance}")),
    ];
    let meter = global::meter(METER);
    let (read, whose) = (stats.clone(), component.clone());
    meter
        .u64_observable_counter("otel.sdk.exporter.span.exported")
        .with_description("The number of spans for which the export has finished, either successful or failed.")
        .with_unit("{span}")
        .with_callback(move |observer| {
            let Some(stats) = read() else { return };
            observer.observe(stats.delivered, &whose);
            for (reason, spans) in stats.lost.iter() {
                let [kind, name] = whose.clone();
                observer.observe(spans, &[kind, name, KeyValue::new("error.type", reason.as_str())]);
            }
        })
        .build();
    meter
        .i64_observable_up_down_counter("otel.sdk.exporter.span.inflight")
        .with_description("The number of spans that were taken over and are neither delivered nor lost yet.")
        .with_unit("{span}")
        .with_callback(move |observer| {
            if let Some(stats) = stats() {
                observer.observe(i64::try_from(stats.pending).unwrap_or(i64::MAX), &component);
            }
        })
        .build();
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ScopeMetrics};
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};

    use super::*;
    use crate::stats::{LossReason, Lost};

    /// Name, component, error and value of every point.
    fn points(exporter: &InMemoryMetricExporter) -> Vec<(String, String, Option<String>, i64)> {
        let mut points = Vec::new();
        for resource in exporter.get_finished_metrics().unwrap() {
            for metric in resource.scope_metrics().flat_map(ScopeMetrics::metrics) {
                let mut point = |attributes: &mut dyn Iterator<Item = &KeyValue>, value| {
                    let attributes: Vec<_> = attributes.cloned().collect();
                    let of = |key| {
                        attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string())
                    };
                    points.push((
                        metric.name().to_owned(),
                        of("otel.component.name").unwrap(),
                        of("error.type"),
                        value,
                    ));
                };
                match metric.data() {
                    AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                        for it in sum.data_points() {
                            point(&mut it.attributes(), i64::try_from(it.value()).unwrap());
                        }
                    }
                    AggregatedMetrics::I64(MetricData::Sum(sum)) => {
                        sum.data_points().for_each(|it| point(&mut it.attributes(), it.value()));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        points.sort();
        points
    }

    #[test]
    fn what_is_counted_is_told_by_the_standard_names() {
        let exporter = InMemoryMetricExporter::default();
        let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
        global::set_meter_provider(provider.clone());
        let mut lost = Lost::default();
        lost.add(LossReason::QueueFull, 2);
        let stats = Stats { accepted: 10, delivered: 5, pending: 3, lost, ..Stats::default() };
        observe(move || Some(stats));
        observe(|| None);
        provider.force_flush().unwrap();
        let points = points(&exporter);
        let name = points[0].1.clone();
        assert!(name.starts_with("retrace_exporter/"), "{points:?}");
        let (exported, inflight) = ("otel.sdk.exporter.span.exported", "otel.sdk.exporter.span.inflight");
        let point =
            |of: &str, error: Option<&str>, value| (of.to_owned(), name.clone(), error.map(str::to_owned), value);
        let expected = [point(exported, None, 5), point(exported, Some("queue_full"), 2), point(inflight, None, 3)];
        assert_eq!(points, expected, "and nothing of a pipeline that is gone");
    }
}
