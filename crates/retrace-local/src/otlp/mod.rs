//! Spans that come over OTLP, read like those of the SDK.

mod read;
mod view;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use retrace_protocol::{Timestamp, Trace};
use retrace_translate::{Options, Output, Recorder, RecorderLimits, Resource};

pub use self::read::OtlpError;
use self::read::requests;
use self::view::{OtlpSpan, attributes};

/// What OTLP data comes to.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Translated {
    /// The runs, each with its spans, in the order in which they began.
    pub traces: Vec<Trace>,
    /// Spans that nobody selected.
    pub set_aside: u64,
    /// Spans that belong to nothing, because their ids are malformed.
    pub malformed: u64,
}

/// Translates OTLP data into the runs that the exporter would send.
///
/// Each input holds `ExportTraceServiceRequest`s: one as protobuf, or any number as JSON, one after the other; which it is
/// is told by its content. The inputs are read together, so that the spans of a run may be spread over them.
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
pub fn translate<'a>(inputs: impl IntoIterator<Item = &'a [u8]>, options: Options) -> Result<Translated, OtlpError> {
    let mut recorder = Recorder::new(options, unlimited());
    let mut translated = Translated::default();
    for (at, input) in inputs.into_iter().enumerate() {
        for request in requests(input).map_err(|error| error.in_input(at))? {
            translated.malformed += record(&mut recorder, &request);
        }
    }
    recorder.finish();
    while let Some(output) = recorder.next_output() {
        match output {
            Output::Run(run) => {
                let mut trace = run.trace;
                trace.spans = Some(run.spans.into_iter().map(|recorded| recorded.span).collect());
                translated.traces.push(trace);
                translated.set_aside += run.set_aside;
            }
            Output::SetAside { spans } => translated.set_aside += spans,
            // Everything is told at once, so that nothing comes after, and nothing before.
            Output::Correction(_) | Output::Live(_) => {}
        }
    }
    translated.traces.sort_by_cached_key(|trace| trace.started_at.as_ref().and_then(Timestamp::unix_micros));
    Ok(translated)
}

/// What was read is in memory already, and nothing is kept back for lack of room or time.
fn unlimited() -> RecorderLimits {
    let mut limits = RecorderLimits::default();
    (limits.runs, limits.run_spans, limits.bytes) = (usize::MAX, usize::MAX, usize::MAX);
    limits
}

/// Records the spans of a request; tells how many have no valid ids.
fn record(recorder: &mut Recorder, request: &ExportTraceServiceRequest) -> u64 {
    let mut malformed = 0;
    for of_resource in &request.resource_spans {
        let pairs = of_resource.resource.iter().flat_map(|resource| attributes(&resource.attributes));
        let resource = Arc::new(Resource::from_attributes(pairs));
        for of_scope in &of_resource.scope_spans {
            for span in &of_scope.spans {
                match OtlpSpan::new(span, of_scope.scope.as_ref()) {
                    Some(span) => recorder.record(&span, &resource, Duration::ZERO),
                    None => malformed += 1,
                }
            }
        }
    }
    malformed
}
