//! Counters of the gateway, as Prometheus text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry_retrace::{LossReason, Stats};

/// A counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of what arrives.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Spans that were accepted over OTLP, and from Kafka.
    pub(crate) otlp_spans: Counter,
    pub(crate) kafka_spans: Counter,
    /// OTLP requests that were refused because the buffer was full.
    pub(crate) refused_requests: Counter,
    /// Records that were refused: malformed, or of an unknown tenant.
    pub(crate) malformed_records: Counter,
    pub(crate) unknown_tenant_records: Counter,
    /// Messages of Kafka that were read, that could not be read as OTLP, and those of them that were lost.
    pub(crate) kafka_messages: Counter,
    pub(crate) dead_letters: Counter,
    pub(crate) dead_letters_lost: Counter,
    pub(crate) kafka_pauses: Counter,
    pub(crate) kafka_rebalances: Counter,
    pub(crate) kafka_commits: Counter,
    /// Errors of the client, such as a broker that cannot be reached.
    pub(crate) kafka_errors: Counter,
    /// Traces whose parts are read again by another instance.
    pub(crate) handed_over_traces: Counter,
}

/// Gauges of the moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) buffer_used: usize,
    pub(crate) buffer_limit: usize,
    pub(crate) pipelines: usize,
    pub(crate) kafka_unsettled: usize,
}

/// Adds the counts of a closed pipeline to those of its tenant.
pub(crate) fn plus(before: &mut Totals, stats: &Stats) {
    before.accepted += stats.accepted;
    before.delivered += stats.delivered;
    before.set_aside += stats.set_aside;
    before.spooled += stats.spooled;
    for (reason, spans) in stats.lost.iter() {
        *before.lost.entry(reason.as_str()).or_default() += spans;
    }
}

/// Counts of the spans of one tenant, over all its pipelines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Spans that pipelines accepted.
    pub accepted: u64,
    /// Spans that Retrace has confirmed.
    pub delivered: u64,
    /// Spans that are not selected.
    pub set_aside: u64,
    /// Spans that were put into the spool.
    pub spooled: u64,
    /// Spans on their way.
    pub pending: u64,
    /// Lost spans by reason.
    pub lost: BTreeMap<&'static str, u64>,
    /// Traces that wait for their last span.
    pub held_traces: usize,
    /// Traces that are handed over and not settled.
    pub unsettled_traces: usize,
}

impl Metrics {
    /// Writes everything in Prometheus' text format.
    pub(crate) fn text(&self, gauges: Gauges, tenants: &BTreeMap<String, Totals>) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, values: &[(String, u64)]| {
            let _ = writeln!(text, "# HELP retrace_gateway_{name} {help}\n# TYPE retrace_gateway_{name} {kind}");
            for (labels, value) in values {
                let _ = writeln!(text, "retrace_gateway_{name}{labels} {value}");
            }
        };
        let one = |value: u64| vec![(String::new(), value)];
        let by = |source: &str, value: u64| (format!("{{source=\"{source}\"}}"), value);
        let spans = [by("otlp", self.otlp_spans.get()), by("kafka", self.kafka_spans.get())];
        metric("received_spans_total", "counter", "Spans that were accepted.", &spans);
        for (name, help, counter) in [
            (
                "refused_requests_total",
                "OTLP requests that were refused because the buffer was full.",
                &self.refused_requests,
            ),
            (
                "malformed_records_total",
                "Records that cannot be decoded or have malformed ids.",
                &self.malformed_records,
            ),
            (
                "unknown_tenant_records_total",
                "Spans and log records of an unknown tenant.",
                &self.unknown_tenant_records,
            ),
            ("kafka_messages_total", "Messages that were read from Kafka.", &self.kafka_messages),
            ("dead_letters_total", "Messages of Kafka that could not be taken whole.", &self.dead_letters),
            ("dead_letters_lost_total", "Those of them that are in no dead-letter topic.", &self.dead_letters_lost),
            ("kafka_pauses_total", "Pauses of consumption because of back-pressure.", &self.kafka_pauses),
            ("kafka_rebalances_total", "Assignments and revocations of partitions.", &self.kafka_rebalances),
            ("kafka_commits_total", "Commits of offsets.", &self.kafka_commits),
            (
                "kafka_errors_total",
                "Errors of the client, such as a broker that cannot be reached.",
                &self.kafka_errors,
            ),
            (
                "handed_over_traces_total",
                "Traces that were dropped for another instance to read.",
                &self.handed_over_traces,
            ),
        ] {
            metric(name, "counter", help, &one(counter.get()));
        }
        for (name, help, value) in [
            ("buffer_bytes", "Bytes of spans that are not delivered yet.", gauges.buffer_used),
            ("buffer_limit_bytes", "Largest number of these bytes.", gauges.buffer_limit),
            ("pipelines", "Open pipelines.", gauges.pipelines),
            ("kafka_uncommitted_messages", "Messages whose offsets are not committed yet.", gauges.kafka_unsettled),
        ] {
            metric(name, "gauge", help, &one(value as u64));
        }
        let of = |value: fn(&Totals) -> u64| -> Vec<(String, u64)> {
            tenants.iter().map(|(name, totals)| (format!("{{tenant=\"{}\"}}", escaped(name)), value(totals))).collect()
        };
        let counted = "counter";
        metric("spans_accepted_total", counted, "Spans that pipelines accepted.", &of(|totals| totals.accepted));
        metric("spans_delivered_total", counted, "Spans that Retrace has confirmed.", &of(|totals| totals.delivered));
        metric("spans_set_aside_total", counted, "Spans that are not selected.", &of(|totals| totals.set_aside));
        metric("spans_spooled_total", counted, "Spans that were put into the spool.", &of(|totals| totals.spooled));
        metric("spans_pending", "gauge", "Spans on their way.", &of(|totals| totals.pending));
        metric(
            "held_traces",
            "gauge",
            "Traces that wait for their last span.",
            &of(|totals| totals.held_traces as u64),
        );
        metric("unsettled_traces", "gauge", "Traces on their way.", &of(|totals| totals.unsettled_traces as u64));
        let lost: Vec<(String, u64)> = tenants
            .iter()
            .flat_map(|(name, totals)| {
                LossReason::ALL.iter().map(move |reason| {
                    let labels = format!("{{tenant=\"{}\",reason=\"{reason}\"}}", escaped(name));
                    (labels, totals.lost.get(reason.as_str()).copied().unwrap_or(0))
                })
            })
            .collect();
        metric("spans_lost_total", counted, "Spans that will not be delivered.", &lost);
        text
    }
}

/// Escapes a label value.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_a_type_and_labels_are_escaped() {
        let metrics = Metrics::default();
        metrics.otlp_spans.add(3);
        let lost = BTreeMap::from([("expired", 2)]);
        let tenants = BTreeMap::from([("a\"b".to_owned(), Totals { delivered: 5, lost, ..Totals::default() })]);
        let text = metrics.text(Gauges { buffer_used: 7, ..Gauges::default() }, &tenants);
        for line in [
            "retrace_gateway_received_spans_total{source=\"otlp\"} 3",
            "retrace_gateway_buffer_bytes 7",
            "retrace_gateway_spans_delivered_total{tenant=\"a\\\"b\"} 5",
            "retrace_gateway_spans_lost_total{tenant=\"a\\\"b\",reason=\"expired\"} 2",
            "# TYPE retrace_gateway_spans_lost_total counter",
        ] {
            assert!(text.lines().any(|each| each == line), "{line} is missing in\n{text}");
        }
        let names = text.lines().filter(|line| line.starts_with("# TYPE")).count();
        assert_eq!(names, text.lines().filter(|line| line.starts_with("# HELP")).count());
    }
}
