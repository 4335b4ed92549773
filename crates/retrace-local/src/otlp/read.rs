//! Requests out of bytes.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message as _;
use serde::Deserialize;
use thiserror::Error;

/// Why an input is no OTLP.
#[derive(Debug, Error)]
#[error("input {} is no OTLP {format}: {problem}", .input + 1)]
pub struct OtlpError {
    input: usize,
    format: &'static str,
    problem: String,
}

impl OtlpError {
    fn new(format: &'static str, problem: &impl ToString) -> Self {
        Self { input: 0, format, problem: problem.to_string() }
    }

    pub(super) fn in_input(self, input: usize) -> Self {
        Self { input, ..self }
    }

    /// Which input it was, from 0.
    #[must_use]
    pub const fn input(&self) -> usize {
        self.input
    }

    /// What is wrong with it.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

/// What an OTLP request holds: spans or log records; in JSON both may stand in one object.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct OtlpRequest {
    pub(crate) resource_spans: Vec<ResourceSpans>,
    pub(crate) resource_logs: Vec<ResourceLogs>,
}

/// The requests in an input: JSON when it begins like an object, else protobuf.
pub(super) fn requests(input: &[u8]) -> Result<Vec<OtlpRequest>, OtlpError> {
    // Some editors put a mark before text.
    let text = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Ok(Vec::new()),
        Some(b'{') => serde_json::Deserializer::from_slice(text)
            .into_iter()
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|error| OtlpError::new("JSON", &error)),
        Some(_) => Ok(vec![protobuf(input)?]),
    }
}

/// Nothing in a protobuf says what it is, but no span reads as a log record that has a span, nor the other way round: a
/// log record's `span_id` is bytes where a span has a number (field 10), and a span's `trace_id` is bytes where a log record
/// has a number (field 1). A request in which nothing tells them apart holds nothing that is of use.
fn protobuf(input: &[u8]) -> Result<OtlpRequest, OtlpError> {
    let error = match ExportTraceServiceRequest::decode(input) {
        Ok(request) => return Ok(OtlpRequest { resource_spans: request.resource_spans, ..OtlpRequest::default() }),
        Err(error) => error,
    };
    match ExportLogsServiceRequest::decode(input) {
        Ok(request) => Ok(OtlpRequest { resource_logs: request.resource_logs, ..OtlpRequest::default() }),
        Err(_) => Err(OtlpError::new("protobuf", &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ScopeLogs};
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};

    const EMPTY: &str = r#"{"resourceSpans":[]}"#;

    fn spans(spans: Vec<Span>) -> OtlpRequest {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        OtlpRequest { resource_spans, ..OtlpRequest::default() }
    }

    fn logs(log_records: Vec<LogRecord>) -> OtlpRequest {
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        OtlpRequest { resource_logs, ..OtlpRequest::default() }
    }

    #[test]
    fn json_and_protobuf_are_told_apart() {
        assert_eq!(requests(EMPTY.as_bytes()).unwrap().len(), 1);
        assert_eq!(requests(format!("\u{feff}\n {EMPTY}\n{EMPTY}\n").as_bytes()).unwrap().len(), 2);
        let request = spans(Vec::new());
        let trace = ExportTraceServiceRequest { resource_spans: request.resource_spans.clone() };
        assert_eq!(requests(&trace.encode_to_vec()).unwrap(), [request]);
        assert!(requests(b" \n").unwrap().is_empty());
    }

    #[test]
    fn spans_and_log_records_are_told_apart() {
        let ids = (vec![7; 16], vec![9; 8]);
        let span = Span { trace_id: ids.0.clone(), span_id: ids.1.clone(), ..Span::default() };
        let record = LogRecord { trace_id: ids.0, span_id: ids.1, ..LogRecord::default() };
        let (spans, logs) = (spans(vec![span]), logs(vec![record]));
        let trace = ExportTraceServiceRequest { resource_spans: spans.resource_spans.clone() };
        let log = ExportLogsServiceRequest { resource_logs: logs.resource_logs.clone() };
        assert_eq!(requests(&trace.encode_to_vec()).unwrap(), [spans]);
        assert_eq!(requests(&log.encode_to_vec()).unwrap(), [logs]);
        let json = [serde_json::to_string(&trace).unwrap(), serde_json::to_string(&log).unwrap()].concat();
        let read = requests(json.as_bytes()).unwrap();
        assert_eq!(
            read.iter().map(|r| (r.resource_spans.len(), r.resource_logs.len())).collect::<Vec<_>>(),
            [(1, 0), (0, 1)]
        );
    }

    #[test]
    fn what_is_neither_says_which_and_why() {
        for (input, format) in [(&b"{\"resourceSpans\":7}"[..], "JSON"), (b"{", "JSON"), (b"hello", "protobuf")] {
            let error = requests(input).unwrap_err().in_input(1).to_string();
            assert!(error.starts_with(&format!("input 2 is no OTLP {format}: ")), "{error}");
        }
    }
}
