//! The spans of one trace, from any number of services, and the log records that belong to them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use retrace_protocol::Id;
use retrace_translate::{Options, Output, Recorder, RecorderLimits, Resource, Run};

use crate::view::{self, View};
use crate::weight;
/// A span of a trace, with its scope and resource.
#[derive(Debug)]
pub struct OtlpSpan {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    span: Span,
    scope: Option<Arc<InstrumentationScope>>,
    resource: Arc<OtlpResource>,
}

/// The resource of spans: the process that recorded them.
#[derive(Debug, Default)]
pub struct OtlpResource {
    attributes: Vec<KeyValue>,
    fields: Arc<Resource>,
}

impl OtlpResource {
    pub(crate) fn new(attributes: Vec<KeyValue>) -> Self {
        let fields = Arc::new(Resource::from_attributes(view::attributes(&attributes)));
        Self { attributes, fields }
    }

    /// The attributes, as they arrived.
    #[must_use]
    pub fn attributes(&self) -> &[KeyValue] {
        &self.attributes
    }

    /// Returns the value of a text attribute.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        let attribute = self.attributes.iter().find(|attribute| attribute.key == key)?;
        match attribute.value.as_ref()?.value.as_ref()? {
            Any::StringValue(text) => Some(text),
            _ => None,
        }
    }
}

/// A log record that is an event of a span.
#[derive(Debug)]
pub struct OtlpEvent {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    record: LogRecord,
    resource: Arc<OtlpResource>,
}

/// The spans and log records of one trace that have arrived.
#[derive(Debug, Default)]
pub struct OtlpTrace {
    spans: Vec<OtlpSpan>,
    events: HashMap<[u8; 8], Vec<LogRecord>>,
    has_root: bool,
}

/// Returns `None` for an id of wrong length or an all-zero id, which is invalid.
fn trace_id(bytes: &[u8]) -> Option<[u8; 16]> {
    <[u8; 16]>::try_from(bytes).ok().filter(|id| *id != [0; 16])
}

fn span_id(bytes: &[u8]) -> Option<[u8; 8]> {
    <[u8; 8]>::try_from(bytes).ok().filter(|id| *id != [0; 8])
}

impl OtlpSpan {
    /// Returns `None` for a span with a malformed id: it belongs to no trace.
    pub(crate) fn new(
        span: Span,
        scope: Option<&Arc<InstrumentationScope>>,
        resource: &Arc<OtlpResource>,
    ) -> Option<Self> {
        let (trace_id, span_id) = (trace_id(&span.trace_id)?, span_id(&span.span_id)?);
        Some(Self { trace_id, span_id, span, scope: scope.cloned(), resource: Arc::clone(resource) })
    }

    /// The trace id.
    #[must_use]
    pub const fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The span id.
    #[must_use]
    pub const fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// The id of the parent; `None` for a root span.
    #[must_use]
    pub fn parent_id(&self) -> Option<[u8; 8]> {
        span_id(&self.span.parent_span_id)
    }

    /// The message, as it arrived.
    #[must_use]
    pub const fn message(&self) -> &Span {
        &self.span
    }

    /// The instrumentation scope.
    #[must_use]
    pub fn scope(&self) -> Option<&Arc<InstrumentationScope>> {
        self.scope.as_ref()
    }

    /// The resource, shared by the spans of one `ResourceSpans`.
    #[must_use]
    pub const fn resource(&self) -> &Arc<OtlpResource> {
        &self.resource
    }

    /// Returns the message, the scope and the resource.
    #[must_use]
    pub fn into_parts(self) -> (Span, Option<Arc<InstrumentationScope>>, Arc<OtlpResource>) {
        (self.span, self.scope, self.resource)
    }

    /// Approximate size in memory, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>() + weight::of_span(&self.span)
    }
}

impl OtlpEvent {
    /// Returns `None` for a log record without an event name, or without a valid trace id and span id.
    pub(crate) fn new(record: LogRecord, resource: &Arc<OtlpResource>) -> Option<Self> {
        let (trace_id, span_id) = (trace_id(&record.trace_id)?, span_id(&record.span_id)?);
        view::event_name(&record)?;
        Some(Self { trace_id, span_id, record, resource: Arc::clone(resource) })
    }

    /// The trace id.
    #[must_use]
    pub const fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The resource, shared by the log records of one `ResourceLogs`.
    #[must_use]
    pub const fn resource(&self) -> &Arc<OtlpResource> {
        &self.resource
    }

    /// Approximate size in memory, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>() + weight::of_record(&self.record)
    }
}

impl OtlpTrace {
    /// Adds a span; returns its approximate size in bytes.
    pub fn add_span(&mut self, span: OtlpSpan) -> usize {
        let weight = span.weight();
        self.has_root |= span.parent_id().is_none();
        self.spans.push(span);
        weight
    }

    /// Adds an event of a span; returns its approximate size in bytes. The events of a span are ordered by time,
    /// independent of their arrival.
    pub fn add_event(&mut self, event: OtlpEvent) -> usize {
        let weight = event.weight();
        let records = self.events.entry(event.span_id).or_default();
        let at = view::time(&event.record);
        let place = records.partition_point(|earlier| view::time(earlier) <= at);
        records.insert(place, event.record);
        weight
    }

    /// Number of spans that have arrived.
    #[must_use]
    pub fn spans(&self) -> usize {
        self.spans.len()
    }

    /// Returns the spans whose parent has not arrived, each with the parent's id, as a run names them.
    #[must_use]
    pub fn orphans(&self) -> Vec<(Id, Id)> {
        let here: HashSet<[u8; 8]> = self.spans.iter().map(|span| span.span_id).collect();
        let orphans = self.spans.iter().filter_map(|span| {
            let parent = span_id(&span.span.parent_span_id).filter(|parent| !here.contains(parent))?;
            Some((Id::from_otel_span(span.trace_id, span.span_id), Id::from_otel_span(span.trace_id, parent)))
        });
        orphans.collect()
    }

    /// Returns true if the root span has arrived.
    #[must_use]
    pub const fn has_root(&self) -> bool {
        self.has_root
    }

    /// Returns the spans in the order of their arrival, and the log records that are events of each span, ordered by time.
    #[must_use]
    pub fn into_parts(self) -> (Vec<OtlpSpan>, HashMap<[u8; 8], Vec<LogRecord>>) {
        (self.spans, self.events)
    }

    /// Translates the spans into the run that the exporter would send, or `None` if the options select no span. The
    /// second value is the number of spans that are not part of the run.
    #[must_use]
    pub fn translate(&self, options: &Options) -> (Option<Box<Run>>, u64) {
        let mut recorder = Recorder::new(options.clone(), unlimited());
        for OtlpSpan { trace_id, span_id, span, scope, resource } in &self.spans {
            let records = self.events.get(span_id).map_or(&[][..], Vec::as_slice);
            let view = View { span, scope: scope.as_deref(), trace_id: *trace_id, span_id: *span_id, records };
            recorder.record(&view, &resource.fields, Duration::ZERO);
        }
        recorder.finish();
        let (mut translated, mut set_aside) = (None, 0);
        while let Some(output) = recorder.next_output() {
            match output {
                Output::Run(run) => {
                    set_aside += run.set_aside;
                    translated = Some(run);
                }
                Output::SetAside { spans, .. } => set_aside += spans,
                // All spans are recorded in one pass, so there are no live events and no corrections.
                Output::Correction(_) | Output::Live(_) => {}
            }
        }
        (translated, set_aside)
    }
}

/// Returns limits that hold no span back: the input is in memory already.
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

    /// Returns the event names of each span of the only run, in their order in the metadata.
    fn emitted(spans: &[Value], records: &[Value]) -> Vec<Vec<String>> {
        let spans = json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).to_string();
        let logs = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string();
        // The order of the two inputs does not matter.
        let emitted = [[&logs, &spans], [&spans, &logs]].map(|inputs| {
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
        assert_eq!(emitted[0], emitted[1]);
        emitted[0].clone()
    }

    #[test]
    fn a_log_record_is_an_event_of_its_span() {
        let (a, b) = ("000000000000000a", "000000000000000b");
        let mut older = record(a, 1, "");
        older["attributes"] = json!([{"key": "event.name", "value": {"stringValue": "first"}}]);
        let line = record(a, 1, "");
        let stray = record("", 1, "stray");
        let events = emitted(&[span(a), span(b)], &[record(a, 3, "third"), record(a, 2, "second"), older, line, stray]);
        assert_eq!(events, [vec!["first", "second", "third"], vec![]]);
    }
}
