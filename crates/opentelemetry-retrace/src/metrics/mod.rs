//! Counts of spans by outcome, as metrics by the names of OpenTelemetry (semantic conventions, "SDK
//! metrics").
//!
//! All but durations are read when the meter collects them, from counts that exist anyway: the path of a span
//! has no additional cost, and no metric passes through the pipeline that it describes. Requests, and batches
//! of frames until all of them are confirmed, are timed on the worker, where they are sent.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Uri;
use opentelemetry::metrics::{Histogram, Meter};
use opentelemetry::{KeyValue, global};

use crate::config::BaseUrl;
use crate::delivery::Answer;
use crate::delivery::Written;
use crate::recording::queue::QueueStats;
use crate::stats::Stats;

/// Name of the meter, as for the SDK's own components.
const METER: &str = "otel.sdk";
const EXPORTER: &str = "retrace_exporter";
const PROCESSOR: &str = "retrace_span_processor";
const ERROR: &str = "error.type";
/// Maximum number of batches that are timed at once. More exist only if a receiver confirms all but an early
/// one.
const MOST_BATCHES: usize = 4096;
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

fn component(kind: &'static str, instance: u64) -> Vec<KeyValue> {
    vec![KeyValue::new("otel.component.type", kind), KeyValue::new("otel.component.name", format!("{kind}/{instance}"))]
}

fn with(attributes: &[KeyValue], more: KeyValue) -> Vec<KeyValue> {
    attributes.iter().cloned().chain([more]).collect()
}

/// The metrics of one pipeline.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Number that distinguishes the components of one pipeline from those of others.
    instance: u64,
    component: Vec<KeyValue>,
    durations: Histogram<f64>,
    /// Attributes of the component, and the address of the receiver.
    whom: Vec<KeyValue>,
}

impl Metrics {
    /// Creates the metrics with the global meter at this time.
    pub(crate) fn new(base_url: &BaseUrl) -> Self {
        static INSTANCES: AtomicU64 = AtomicU64::new(0);
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        let component = component(EXPORTER, instance);
        let durations = global::meter(METER)
            .f64_histogram("otel.sdk.exporter.operation.duration")
            .with_description("The duration of exporting a batch of telemetry records.")
            .with_unit("s")
            .build();
        let mut whom = component.clone();
        if let Some(authority) = base_url.as_str().parse::<Uri>().ok().and_then(|uri| uri.into_parts().authority) {
            let port = authority.port_u16().unwrap_or(if base_url.is_secure() { HTTPS_PORT } else { HTTP_PORT });
            whom.push(KeyValue::new("server.address", authority.host().to_owned()));
            whom.push(KeyValue::new("server.port", i64::from(port)));
        }
        Self { instance, component, durations, whom }
    }

    /// Creates the timer of batches that are written to a connection.
    pub(crate) fn batches(&self) -> Batches {
        Batches { durations: self.durations.clone(), whom: self.whom.clone(), waiting: VecDeque::new() }
    }

    /// Makes a request, and records its duration and outcome.
    pub(crate) async fn timed(&self, request: impl Future<Output = Answer>) -> Answer {
        let began = Instant::now();
        let answer = request.await;
        self.answered(began.elapsed(), &answer);
        answer
    }

    fn answered(&self, took: Duration, answer: &Answer) {
        let mut attributes = self.whom.clone();
        match answer {
            Answer::Status { status, .. } => {
                attributes.push(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
                if !status.is_success() {
                    attributes.push(KeyValue::new(ERROR, status.as_str().to_owned()));
                }
            }
            Answer::WebPage { status } => {
                attributes.push(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
                attributes.push(KeyValue::new(ERROR, "web_page"));
            }
            Answer::NotSent { .. } => attributes.push(KeyValue::new(ERROR, "not_sent")),
            Answer::Broken { .. } => attributes.push(KeyValue::new(ERROR, "no_answer")),
        }
        self.durations.record(took.as_secs_f64(), &attributes);
    }

    /// Registers the counts of spans with the global meter, until `stats` returns `None`; for a span
    /// processor those of its queue too.
    pub(crate) fn observe(
        &self,
        stats: impl Fn() -> Option<Stats> + Clone + Send + Sync + 'static,
        queue: Option<impl Fn() -> Option<QueueStats> + Clone + Send + Sync + 'static>,
    ) {
        let meter = global::meter(METER);
        let (read, whose) = (stats.clone(), self.component.clone());
        meter
            .u64_observable_counter("otel.sdk.exporter.span.exported")
            .with_description("The number of spans for which the export has finished, either successful or failed.")
            .with_unit("{span}")
            .with_callback(move |observer| {
                let Some(stats) = read() else { return };
                observer.observe(stats.delivered, &whose);
                for (reason, spans) in stats.lost.iter() {
                    observer.observe(spans, &with(&whose, KeyValue::new(ERROR, reason.as_str())));
                }
            })
            .build();
        let whose = self.component.clone();
        meter
            .i64_observable_up_down_counter("otel.sdk.exporter.span.inflight")
            .with_description("The number of spans that were taken over and are neither delivered nor lost yet.")
            .with_unit("{span}")
            .with_callback(move |observer| {
                if let Some(stats) = stats() {
                    observer.observe(signed(stats.pending), &whose);
                }
            })
            .build();
        if let Some(queue) = queue {
            observe_queue(&meter, component(PROCESSOR, self.instance), queue);
        }
    }
}

/// Batches of frames that wait for acks.
#[derive(Debug)]
pub(crate) struct Batches {
    durations: Histogram<f64>,
    whom: Vec<KeyValue>,
    /// Number below which the frames of a batch are, and the time of its write.
    waiting: VecDeque<(u64, Instant)>,
}

impl Batches {
    /// Records that a batch was written.
    pub(crate) fn written(&mut self, written: impl FnOnce() -> Written) {
        if self.waiting.len() == MOST_BATCHES {
            self.waiting.pop_front();
        }
        self.waiting.push_back((written().before, Instant::now()));
    }

    /// Records the durations of the batches that are confirmed by now.
    pub(crate) fn confirmed(&mut self, written: impl FnOnce() -> Written) {
        if self.waiting.is_empty() {
            return;
        }
        let confirmed_before = written().confirmed_before;
        while let Some((before, began)) = self.waiting.front()
            && *before <= confirmed_before
        {
            self.durations.record(began.elapsed().as_secs_f64(), &self.whom);
            self.waiting.pop_front();
        }
    }

    /// Records the loss of the connection: waiting batches are written again to another one.
    pub(crate) fn broken_off(&mut self) {
        let whom = with(&self.whom, KeyValue::new(ERROR, "no_answer"));
        for (_, began) in self.waiting.drain(..) {
            self.durations.record(began.elapsed().as_secs_f64(), &whom);
        }
    }
}

fn observe_queue(
    meter: &Meter,
    component: Vec<KeyValue>,
    queue: impl Fn() -> Option<QueueStats> + Clone + Send + Sync + 'static,
) {
    let (read, whose) = (queue.clone(), component.clone());
    meter
        .u64_observable_counter("otel.sdk.processor.span.processed")
        .with_description("The number of spans for which the processing has finished, either successful or failed.")
        .with_unit("{span}")
        .with_callback(move |observer| {
            let Some(queue) = read() else { return };
            observer.observe(queue.processed, &whose);
            for (error, spans) in [("queue_full", queue.refused), ("already_shutdown", queue.too_late)] {
                if spans > 0 {
                    observer.observe(spans, &with(&whose, KeyValue::new(ERROR, error)));
                }
            }
        })
        .build();
    let (read, whose) = (queue.clone(), component.clone());
    meter
        .i64_observable_up_down_counter("otel.sdk.processor.span.queue.size")
        .with_description("The number of spans in the queue of a given instance of an SDK span processor.")
        .with_unit("{span}")
        .with_callback(move |observer| {
            if let Some(queue) = read() {
                observer.observe(signed(queue.size), &whose);
            }
        })
        .build();
    meter
        .i64_observable_up_down_counter("otel.sdk.processor.span.queue.capacity")
        .with_description(
            "The maximum number of spans the queue of a given instance of an SDK span processor can hold.",
        )
        .with_unit("{span}")
        .with_callback(move |observer| {
            if let Some(queue) = queue() {
                observer.observe(signed(queue.capacity), &component);
            }
        })
        .build();
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
