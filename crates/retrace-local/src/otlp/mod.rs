//! Spans that come over OTLP, read like those of the SDK.

mod export;
mod held;
mod json;
mod protobuf;
mod request;
mod trace;
mod view;
mod weight;

use std::collections::BTreeMap;

use retrace_protocol::{Timestamp, Trace};
use retrace_translate::Options;

pub(crate) use self::export::otlp_json;
pub(crate) use self::held::{Due, HeldLimits, HeldTraces, Part, Telling, Told};
pub(crate) use self::json::Odd;
#[cfg(fuzzing)]
pub(crate) use self::json::Request as JsonRequest;
pub use self::request::OtlpError;
pub(crate) use self::request::OtlpRequest;
use self::request::requests;
use self::trace::OtlpTrace;

/// What OTLP data comes to.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Translated {
    /// The runs, each with its spans, in the order in which they began.
    pub traces: Vec<Trace>,
    /// Spans that nobody selected.
    pub set_aside: u64,
    /// Records that are left out: spans whose ids are malformed, and records that cannot be read.
    pub malformed: u64,
}

/// Translates OTLP data into the runs that the exporter would send.
///
/// Each input holds `ExportTraceServiceRequest`s or `ExportLogsServiceRequest`s: one as protobuf, or any number as JSON, one
/// after the other; which it is is told by its content. The inputs are read together, so that the spans of a run may be
/// spread over them, and log records that are events (they have a name) find the span that they belong to.
///
/// # Errors
/// An input that is neither, with its place among the inputs and what is wrong with it.
///
/// ```
/// use retrace_translate::Options;
///
/// let spans = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{
///     "traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"chat gpt-4o",
///     "startTimeUnixNano":"1795345548000000000","endTimeUnixNano":"1795345549000000000",
///     "attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}}]
/// }]}]}]}"#;
/// let run = &retrace_local::translate([&spans[..]], Options::default())?.traces[0];
/// assert_eq!(run.id, Some("0af76519-16cd-43dd-8448-eb211c80319c".into()));
/// assert_eq!(run.spans.as_ref().unwrap()[0].span_type.as_str(), "llm_call");
/// # Ok::<(), retrace_local::OtlpError>(())
/// ```
#[allow(clippy::needless_pass_by_value)] // who translates once has no other use for them
pub fn translate<'a>(inputs: impl IntoIterator<Item = &'a [u8]>, options: Options) -> Result<Translated, OtlpError> {
    let mut translated = Translated::default();
    let mut traces: BTreeMap<[u8; 16], OtlpTrace> = BTreeMap::new();
    for (at, input) in inputs.into_iter().enumerate() {
        for request in requests(input).map_err(|error| error.in_input(at))? {
            translated.malformed += request.malformed + request.odd.count;
            for span in request.spans {
                traces.entry(span.trace_id).or_default().add_span(span);
            }
            for event in request.events {
                traces.entry(event.trace_id).or_default().add_event(event);
            }
        }
    }
    for trace in traces.into_values() {
        let (run, set_aside) = trace.tell(&options);
        translated.set_aside += set_aside;
        translated.traces.extend(run.map(|run| {
            let mut trace = run.trace;
            trace.spans = Some(run.spans.into_iter().map(|recorded| recorded.span).collect());
            trace
        }));
    }
    translated.traces.sort_by_cached_key(|trace| trace.started_at.as_ref().and_then(Timestamp::unix_micros));
    Ok(translated)
}
