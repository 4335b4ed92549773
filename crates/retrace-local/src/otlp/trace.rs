//! The spans of one trace, whoever sent them, and the log records tied to them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use retrace_protocol::Id;
use retrace_translate::{Options, Output, Recorder, RecorderLimits, Resource, Run};

use super::view::{self, View};

/// A span that belongs to a trace, with what stood around it in its request.
#[derive(Debug)]
pub(crate) struct OtlpSpan {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    span: Span,
    scope: Option<Arc<InstrumentationScope>>,
    resource: Arc<Resource>,
}

/// A log record that is an event of a span.
#[derive(Debug)]
pub(crate) struct OtlpEvent {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    record: LogRecord,
}

/// What has come of one trace.
#[derive(Debug, Default)]
pub(crate) struct OtlpTrace {
    spans: Vec<OtlpSpan>,
    events: HashMap<[u8; 8], Vec<LogRecord>>,
}

/// `None` for an id that is not of the right length or all zero: nothing has it.
fn trace_id(bytes: &[u8]) -> Option<[u8; 16]> {
    <[u8; 16]>::try_from(bytes).ok().filter(|id| *id != [0; 16])
}

fn span_id(bytes: &[u8]) -> Option<[u8; 8]> {
    <[u8; 8]>::try_from(bytes).ok().filter(|id| *id != [0; 8])
}

impl OtlpSpan {
    /// `None` for a span whose ids are malformed: it belongs to nothing.
    pub(super) fn new(span: Span, scope: Option<&Arc<InstrumentationScope>>, resource: &Arc<Resource>) -> Option<Self> {
        let (trace_id, span_id) = (trace_id(&span.trace_id)?, span_id(&span.span_id)?);
        Some(Self { trace_id, span_id, span, scope: scope.cloned(), resource: Arc::clone(resource) })
    }
}

impl OtlpEvent {
    /// `None` for a log record without a name, or that does not say where it belongs.
    pub(super) fn new(record: LogRecord) -> Option<Self> {
        let (trace_id, span_id) = (trace_id(&record.trace_id)?, span_id(&record.span_id)?);
        view::event_name(&record)?;
        Some(Self { trace_id, span_id, record })
    }
}

impl OtlpTrace {
    /// Adds a span; tells how many bytes it takes, roughly.
    pub(crate) fn add_span(&mut self, span: OtlpSpan) -> usize {
        let weight = size_of::<OtlpSpan>() + span.span.encoded_len();
        self.spans.push(span);
        weight
    }

    /// Adds an event of a span; tells how many bytes it takes, roughly. Events are told in the order of their times,
    /// whichever came first.
    pub(crate) fn add_event(&mut self, event: OtlpEvent) -> usize {
        let weight = size_of::<OtlpEvent>() + event.record.encoded_len();
        let records = self.events.entry(event.span_id).or_default();
        let at = view::time(&event.record);
        let place = records.partition_point(|earlier| view::time(earlier) <= at);
        records.insert(place, event.record);
        weight
    }

    /// How many spans have come.
    pub(crate) fn spans(&self) -> usize {
        self.spans.len()
    }

    /// The spans that hang from one that has not come, by the ids that a run has for them.
    pub(crate) fn orphans(&self) -> Vec<(Id, Id)> {
        let here: HashSet<[u8; 8]> = self.spans.iter().map(|span| span.span_id).collect();
        let orphans = self.spans.iter().filter_map(|span| {
            let parent = span_id(&span.span.parent_span_id).filter(|parent| !here.contains(parent))?;
            Some((Id::from_otel_span(span.trace_id, span.span_id), Id::from_otel_span(span.trace_id, parent)))
        });
        orphans.collect()
    }

    /// Whether the span has come above which there is none.
    pub(crate) fn has_root(&self) -> bool {
        self.spans.iter().any(|span| span_id(&span.span.parent_span_id).is_none())
    }

    /// The run that these spans make, as the exporter would send it; `None` when nobody selected any of them. And how many
    /// spans are no part of it.
    pub(crate) fn tell(&self, options: &Options) -> (Option<Box<Run>>, u64) {
        let mut recorder = Recorder::new(options.clone(), unlimited());
        for OtlpSpan { trace_id, span_id, span, scope, resource } in &self.spans {
            let records = self.events.get(span_id).map_or(&[][..], Vec::as_slice);
            let view = View { span, scope: scope.as_deref(), trace_id: *trace_id, span_id: *span_id, records };
            recorder.record(&view, resource, Duration::ZERO);
        }
        recorder.finish();
        let (mut told, mut set_aside) = (None, 0);
        while let Some(output) = recorder.next_output() {
            match output {
                Output::Run(run) => {
                    set_aside += run.set_aside;
                    told = Some(run);
                }
                Output::SetAside { spans } => set_aside += spans,
                // Everything is told at once, so that nothing comes after, and nothing before.
                Output::Correction(_) | Output::Live(_) => {}
            }
        }
        (told, set_aside)
    }
}

/// What was read is in memory already, and nothing is kept back for lack of room or time.
fn unlimited() -> RecorderLimits {
    let mut limits = RecorderLimits::default();
    (limits.runs, limits.run_spans, limits.bytes) = (usize::MAX, usize::MAX, usize::MAX);
    limits
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn span(id: &str) -> Value {
        json!({
            "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": id, "name": "chat m",
            "startTimeUnixNano": "1", "endTimeUnixNano": "2",
            "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}],
        })
    }

    fn record(span_id: &str, at: u64, name: &str) -> Value {
        json!({
            "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": span_id, "eventName": name,
            "observedTimeUnixNano": at.to_string(), "body": {"kvlistValue": {"values": [
                {"key": "text", "value": {"stringValue": "Grüße"}}, {"key": "n", "value": {"intValue": "7"}},
            ]}},
        })
    }

    /// The events of each span of the only run, by name, as they are carried.
    fn told(spans: &[Value], records: &[Value]) -> Vec<Vec<String>> {
        let spans = json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).to_string();
        let logs = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string();
        // Which of the two is read first makes no difference.
        let told = [[&logs, &spans], [&spans, &logs]].map(|inputs| {
            let inputs = inputs.map(String::as_bytes);
            let runs = crate::translate(inputs, Options::default()).unwrap().traces;
            assert_eq!(runs.len(), 1);
            let spans = runs[0].spans.as_ref().unwrap().iter();
            spans
                .map(|span| {
                    let metadata: Value = span.metadata.as_ref().map(|m| m.to_value().unwrap()).unwrap_or_default();
                    let events = metadata["events"].as_array().cloned().unwrap_or_default();
                    events.iter().map(|event| event["name"].as_str().unwrap().to_owned()).collect()
                })
                .collect::<Vec<Vec<String>>>()
        });
        assert_eq!(told[0], told[1]);
        told[0].clone()
    }

    #[test]
    fn a_log_record_is_an_event_of_its_span() {
        let (a, b) = ("000000000000000a", "000000000000000b");
        let mut older = record(a, 1, "");
        older["attributes"] = json!([{"key": "event.name", "value": {"stringValue": "first"}}]);
        let line = record(a, 1, "");
        let stray = record("", 1, "stray");
        let events = told(&[span(a), span(b)], &[record(a, 3, "third"), record(a, 2, "second"), older, line, stray]);
        assert_eq!(events, [vec!["first", "second", "third"], vec![]]);
    }
}
