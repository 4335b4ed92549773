//! The metrics of the GenAI conventions.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use crate::response::ResponseFacts;

/// Histogram boundaries of the conventions, in seconds.
const SECONDS: [f64; 14] = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

/// Histogram boundaries of the conventions, in tokens.
fn tokens() -> Vec<f64> {
    (0..14).map(|power| f64::from(4_u32.pow(power))).collect()
}

/// The instruments.
#[derive(Debug)]
pub(crate) struct Metrics {
    tokens: Histogram<u64>,
    duration: Histogram<f64>,
    first_chunk: Histogram<f64>,
}

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        let seconds = |name, about| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(about);
            histogram.with_boundaries(SECONDS.to_vec()).build()
        };
        Self {
            tokens: meter
                .u64_histogram("gen_ai.client.token.usage")
                .with_unit("{token}")
                .with_description("Number of input and output tokens used.")
                .with_boundaries(tokens())
                .build(),
            duration: seconds("gen_ai.client.operation.duration", "GenAI operation duration."),
            first_chunk: seconds(
                "gen_ai.client.operation.time_to_first_chunk",
                "Time from the request to the first chunk of a stream.",
            ),
        }
    }

    /// Records one call. Counts that the provider does not state are not recorded.
    pub(crate) fn record(
        &self,
        request: &[KeyValue],
        facts: &ResponseFacts,
        duration: Duration,
        first_chunk: Option<Duration>,
        error: Option<&str>,
    ) {
        let mut attributes = request.to_vec();
        attributes.extend(facts.model.clone().map(|model| KeyValue::new("gen_ai.response.model", model)));
        for (kind, count) in [("input", facts.usage.all_input()), ("output", facts.usage.all_output())] {
            if let Some(count) = count {
                attributes.push(KeyValue::new("gen_ai.token.type", kind));
                self.tokens.record(count, &attributes);
                attributes.pop();
            }
        }
        if let Some(first_chunk) = first_chunk {
            self.first_chunk.record(first_chunk.as_secs_f64(), &attributes);
        }
        attributes.extend(error.map(|error| KeyValue::new("error.type", error.to_owned())));
        self.duration.record(duration.as_secs_f64(), &attributes);
    }
}
