//! Decoding of OTLP requests.

use std::collections::HashSet;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use retrace_protocol::read::Refusal;
use thiserror::Error;

use crate::json::{Elements, Listed, Request as JsonRequest, Unreadable};
use crate::json_body::{json_body, json_text};
use crate::protobuf::salvage;
use crate::trace::{OtlpEvent, OtlpResource, OtlpSpan};
use crate::weight::{self, Kind};

/// Error of an input that is not OTLP.
#[derive(Error)]
#[error("input {} is no OTLP {format}: {problem}", .input + 1)]
pub struct OtlpError {
    input: usize,
    format: &'static str,
    problem: String,
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl std::fmt::Debug for OtlpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl OtlpError {
    fn new(format: &'static str, problem: &impl ToString) -> Self {
        Self { input: 0, format, problem: problem.to_string() }
    }

    pub(crate) fn in_input(self, input: usize) -> Self {
        Self { input, ..self }
    }

    /// Index of the input, from 0.
    #[must_use]
    pub const fn input(&self) -> usize {
        self.input
    }

    /// Description of the defect.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

/// Error of bytes that are not a valid request.
#[derive(Error)]
#[non_exhaustive]
pub enum NoProtobuf {
    /// The bytes are no message of this kind.
    #[error(transparent)]
    Damaged(#[from] prost::DecodeError),
    /// The messages are empty, and would take many times their encoded size in memory.
    #[error("it consists of messages that say nothing, and would take many times its size")]
    Hollow,
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl std::fmt::Debug for NoProtobuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Largest ratio of a request's size in memory to its encoded size. Requests of common instrumentations reach three to
/// four.
const MOST_TIMES: usize = 16;

fn check_weight(kind: Kind, bytes: &[u8]) -> Result<(), NoProtobuf> {
    // Small requests are always accepted.
    let most = bytes.len().saturating_mul(MOST_TIMES).max(1 << 20);
    if weight::of_protobuf(kind, bytes) > most { Err(NoProtobuf::Hollow) } else { Ok(()) }
}

/// Contents of a request that belong to runs.
#[derive(Debug, Default)]
pub struct OtlpRequest {
    /// Spans with valid ids.
    pub spans: Vec<OtlpSpan>,
    /// Spans whose ids are malformed, which belong to no trace.
    pub malformed: u64,
    /// Records that cannot be decoded.
    pub unreadable: Unreadable,
    /// Log records that are events of a span. Other log records do not belong to a run.
    pub events: Vec<OtlpEvent>,
}

impl OtlpRequest {
    fn add_spans(
        &mut self,
        resource: Option<v1::Resource>,
        scopes: impl Iterator<Item = (Option<InstrumentationScope>, Vec<Span>)>,
    ) {
        let resource = Arc::new(OtlpResource::new(resource.map(|resource| resource.attributes).unwrap_or_default()));
        for (scope, spans) in scopes {
            let scope = scope.map(Arc::new);
            for span in spans {
                match OtlpSpan::new(span, scope.as_ref(), &resource) {
                    Some(span) => self.spans.push(span),
                    None => self.malformed += 1,
                }
            }
        }
    }

    fn add_events(&mut self, resource: Option<v1::Resource>, records: impl Iterator<Item = LogRecord>) {
        let resource = Arc::new(OtlpResource::new(resource.map(|resource| resource.attributes).unwrap_or_default()));
        self.events.extend(records.filter_map(|record| OtlpEvent::new(record, &resource)));
    }

    /// Decodes an `ExportTraceServiceRequest`. A span that cannot be decoded does not affect the others.
    ///
    /// # Errors
    /// Returns an error if the bytes contain no such request.
    pub fn spans_from_protobuf(bytes: &[u8]) -> Result<Self, NoProtobuf> {
        check_weight(Kind::Traces, bytes)?;
        let mut request = Self::default();
        match ExportTraceServiceRequest::decode(bytes) {
            Ok(whole) => {
                for of_resource in whole.resource_spans {
                    let scopes = of_resource.scope_spans.into_iter().map(|of_scope| (of_scope.scope, of_scope.spans));
                    request.add_spans(of_resource.resource, scopes);
                }
            }
            Err(error) => {
                let salvaged = salvage::<Span>(bytes, "span", error)?;
                request.unreadable.add(salvaged.unreadable);
                for (resource, scopes) in salvaged.resources {
                    request.add_spans(resource, scopes.into_iter());
                }
            }
        }
        Ok(request)
    }

    /// Decodes an `ExportLogsServiceRequest`. A record that cannot be decoded does not affect the others.
    ///
    /// # Errors
    /// Returns an error if the bytes contain no such request.
    pub fn logs_from_protobuf(bytes: &[u8]) -> Result<Self, NoProtobuf> {
        check_weight(Kind::Logs, bytes)?;
        let mut request = Self::default();
        match ExportLogsServiceRequest::decode(bytes) {
            Ok(whole) => {
                for of_resource in whole.resource_logs {
                    let records = of_resource.scope_logs.into_iter().flat_map(|of_scope| of_scope.log_records);
                    request.add_events(of_resource.resource, records);
                }
            }
            Err(error) => {
                let salvaged = salvage::<LogRecord>(bytes, "log record", error)?;
                request.unreadable.add(salvaged.unreadable);
                for (resource, scopes) in salvaged.resources {
                    request.add_events(resource, scopes.into_iter().flat_map(|(_, records)| records));
                }
            }
        }
        Ok(request)
    }

    /// Decodes a JSON request of either kind, or of both in one. A record that cannot be decoded does not affect the
    /// others.
    ///
    /// # Errors
    /// Returns a refusal if the body is not a JSON object of this shape.
    pub fn from_json(body: &[u8]) -> Result<Self, Refusal> {
        json_body(body).map(Self::from_message)
    }

    /// Decodes a JSON message of a queue: a request, or a list of what some collectors write without the object around it, resources
    /// with their spans and log records. The list may have requests too.
    ///
    /// # Errors
    /// Returns a refusal if the message has neither shape.
    pub fn from_json_message(message: &[u8]) -> Result<Self, Refusal> {
        match std::str::from_utf8(message) {
            Ok(text) if text.trim_start().starts_with('[') => {
                json_text::<Elements<Listed>>(text).map(|list| Self::from_message(list.into()))
            }
            _ => Self::from_json(message),
        }
    }

    /// Returns the ids of the traces that have a span or an event here, each once.
    #[must_use]
    pub fn trace_ids(&self) -> HashSet<[u8; 16]> {
        let spans = self.spans.iter().map(|span| span.trace_id);
        spans.chain(self.events.iter().map(|event| event.trace_id)).collect()
    }

    /// Returns the approximate size of the spans and events in memory, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let spans = self.spans.iter().map(OtlpSpan::weight).sum::<usize>();
        spans + self.events.iter().map(OtlpEvent::weight).sum::<usize>()
    }

    fn from_message(read: JsonRequest) -> Self {
        let mut request = Self::default();
        let JsonRequest { resource_spans, resource_logs } = read;
        request.unreadable.add(resource_spans.unreadable);
        for of_resource in resource_spans.those {
            request.unreadable.add(of_resource.resource.unreadable);
            request.unreadable.add(of_resource.scope_spans.unreadable);
            let mut scopes = Vec::new();
            for of_scope in of_resource.scope_spans.those {
                request.malformed += of_scope.spans.left_out;
                request.unreadable.add(of_scope.scope.unreadable);
                request.unreadable.add(of_scope.spans.unreadable);
                scopes.push((of_scope.scope.message, of_scope.spans.those));
            }
            request.add_spans(of_resource.resource.message, scopes.into_iter());
        }
        request.unreadable.add(resource_logs.unreadable);
        for of_resource in resource_logs.those {
            request.unreadable.add(of_resource.resource.unreadable);
            request.unreadable.add(of_resource.scope_logs.unreadable);
            let mut records = Vec::new();
            for of_scope in of_resource.scope_logs.those {
                request.unreadable.add(of_scope.log_records.unreadable);
                records.extend(of_scope.log_records.those);
            }
            request.add_events(of_resource.resource.message, records.into_iter());
        }
        request
    }
}

/// Decodes the requests of an input: JSON if it begins with an object or a list, else protobuf.
pub(crate) fn requests(input: &[u8]) -> Result<Vec<OtlpRequest>, OtlpError> {
    // Some editors write a byte order mark before the text.
    let text = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Ok(Vec::new()),
        Some(b'{') => serde_json::Deserializer::from_slice(text)
            .into_iter::<JsonRequest>()
            .map(|request| request.map(OtlpRequest::from_message))
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|error| OtlpError::new("JSON", &error)),
        Some(b'[') => serde_json::from_slice::<Elements<Listed>>(text)
            .map(|list| vec![OtlpRequest::from_message(list.into())])
            .map_err(|error| OtlpError::new("JSON", &error)),
        Some(_) => Ok(vec![protobuf(input)?]),
    }
}

/// Decodes a protobuf request of either kind. Protobuf does not identify the message type, but no span decodes as a log
/// record with a span id, and vice versa: a log record's `span_id` is bytes where a span has a number (field 10), and a
/// span's `trace_id` is bytes where a log record has a number (field 1). A request without these fields has no content
/// that belongs to a run.
fn protobuf(input: &[u8]) -> Result<OtlpRequest, OtlpError> {
    let spans = OtlpRequest::spans_from_protobuf(input);
    if let Ok(request) = &spans
        && request.unreadable.count == 0
    {
        return spans.map_err(|error| OtlpError::new("protobuf", &error));
    }
    // A damaged request is decoded as the kind with more readable records.
    match (spans, OtlpRequest::logs_from_protobuf(input)) {
        (Ok(spans), Ok(logs)) if logs.unreadable.count >= spans.unreadable.count => Ok(spans),
        (_, Ok(logs)) => Ok(logs),
        (spans, Err(_)) => spans.map_err(|error| OtlpError::new("protobuf", &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

    const EMPTY: &str = r#"{"resourceSpans":[]}"#;

    fn spans(spans: Vec<Span>) -> ExportTraceServiceRequest {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
    }

    fn logs(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
    }

    /// Returns the numbers of spans, malformed spans and events of each request.
    fn counts(input: &[u8]) -> Vec<(usize, u64, usize)> {
        let requests = requests(input).unwrap();
        requests.iter().map(|request| (request.spans.len(), request.malformed, request.events.len())).collect()
    }

    #[test]
    fn json_and_protobuf_are_told_apart() {
        assert_eq!(counts(EMPTY.as_bytes()), [(0, 0, 0)]);
        assert_eq!(counts(format!("\u{feff}\n {EMPTY}\n{EMPTY}\n").as_bytes()), [(0, 0, 0); 2]);
        assert_eq!(counts(&spans(vec![Span::default()]).encode_to_vec()), [(0, 1, 0)]);
        assert!(counts(b" \n").is_empty());
    }

    #[test]
    fn spans_and_log_records_are_told_apart() {
        let ids = (vec![7; 16], vec![9; 8]);
        let span = Span { trace_id: ids.0.clone(), span_id: ids.1.clone(), ..Span::default() };
        let event_name = "noted".into();
        let record = LogRecord { trace_id: ids.0, span_id: ids.1, event_name, ..LogRecord::default() };
        let (spans, logs) = (spans(vec![span]), logs(vec![record]));
        assert_eq!(counts(&spans.encode_to_vec()), [(1, 0, 0)]);
        assert_eq!(counts(&logs.encode_to_vec()), [(0, 0, 1)]);
        let json = [serde_json::to_string(&spans).unwrap(), serde_json::to_string(&logs).unwrap()];
        assert_eq!(counts(json.concat().as_bytes()), [(1, 0, 0), (0, 0, 1)]);
    }

    #[test]
    fn a_list_of_resources_is_read_without_the_request_around_it() {
        let span = |id| serde_json::json!({"traceId": "07".repeat(16), "spanId": format!("{id:016x}"), "name": "chat"});
        let record =
            serde_json::json!({"traceId": "07".repeat(16), "spanId": "0000000000000001", "eventName": "noted"});
        let list = serde_json::json!([
            {"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "a"}}], "droppedAttributesCount": 0},
             "scopeSpans": [{"scope": {"name": "s"}, "spans": [span(1), {"name": 7}, span(2)]}]},
            {"resource": null, "scopeLogs": [{"logRecords": [record]}]},
            {"scopeSpans": [{"spans": [span(3)]}], "scopeLogs": [{"logRecords": [record]}]},
            {"resourceSpans": [{"scopeSpans": [{"spans": [span(4), {}]}]}], "resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]},
            7,
            {},
        ]);
        let text = format!(" {list}");
        let from_file = requests(text.as_bytes()).unwrap().remove(0);
        for request in [OtlpRequest::from_json_message(text.as_bytes()).unwrap(), from_file] {
            assert_eq!((request.spans.len(), request.events.len(), request.unreadable.count), (4, 3, 2), "{request:?}");
        }
        assert!(OtlpRequest::from_json(text.as_bytes()).is_err(), "over HTTP a body is an object");
        assert_eq!(OtlpRequest::from_json_message(b"{}").unwrap().spans.len(), 0);
        for broken in [&b"[1"[..], b"[] x", b"", b"7"] {
            assert!(OtlpRequest::from_json_message(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn what_is_neither_says_which_and_why() {
        for (input, format) in [(&b"{\"resourceSpans\":7}"[..], "JSON"), (b"{", "JSON"), (b"hello", "protobuf")] {
            let error = requests(input).unwrap_err().in_input(1).to_string();
            assert!(error.starts_with(&format!("input 2 is no OTLP {format}: ")), "{error}");
        }
    }
}
