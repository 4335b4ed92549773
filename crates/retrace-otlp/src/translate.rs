//! Translation of OTLP data at once.

use std::collections::BTreeMap;

use retrace_protocol::{Timestamp, Trace};
use retrace_translate::Options;

use crate::request::{OtlpError, requests};
use crate::trace::OtlpTrace;

/// Result of the translation of OTLP data.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Translated {
    /// The runs, each with its spans, ordered by their start.
    pub traces: Vec<Trace>,
    /// Number of spans that the options do not select.
    pub set_aside: u64,
    /// Number of omitted records: spans with malformed ids, and records that cannot be decoded.
    pub malformed: u64,
}

/// Translates OTLP data into the runs that the exporter would send.
///
/// Each input contains `ExportTraceServiceRequest`s or `ExportLogsServiceRequest`s: one as protobuf, or any number as
/// concatenated JSON; the content determines the encoding. All inputs are translated together, so that the spans of a
/// run may be in several inputs, and log records that are events (they have a name) are added to their span.
///
/// # Errors
/// Returns an error if an input is neither, with its index among the inputs and the defect.
///
/// ```
/// use retrace_translate::Options;
///
/// let spans = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{
///     "traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"chat gpt-4o",
///     "startTimeUnixNano":"1795345548000000000","endTimeUnixNano":"1795345549000000000",
///     "attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}}]
/// }]}]}]}"#;
/// let run = &retrace_otlp::translate([&spans[..]], Options::default())?.traces[0];
/// assert_eq!(run.id, Some("0af76519-16cd-43dd-8448-eb211c80319c".into()));
/// assert_eq!(run.spans.as_ref().unwrap()[0].span_type.as_str(), "llm_call");
/// # Ok::<(), retrace_otlp::OtlpError>(())
/// ```
#[allow(clippy::needless_pass_by_value)] // who translates once has no other use for them
pub fn translate<'a>(inputs: impl IntoIterator<Item = &'a [u8]>, options: Options) -> Result<Translated, OtlpError> {
    let mut translated = Translated::default();
    let mut traces: BTreeMap<[u8; 16], OtlpTrace> = BTreeMap::new();
    for (at, input) in inputs.into_iter().enumerate() {
        for request in requests(input).map_err(|error| error.in_input(at))? {
            translated.malformed += request.malformed + request.unreadable.count;
            for span in request.spans {
                traces.entry(span.trace_id).or_default().add_span(span);
            }
            for event in request.events {
                traces.entry(event.trace_id).or_default().add_event(event);
            }
        }
    }
    for trace in traces.into_values() {
        let (run, set_aside) = trace.translate(&options);
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
