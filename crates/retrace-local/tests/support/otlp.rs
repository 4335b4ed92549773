//! Requests of OTLP, in every form that exporters send.

use std::io::Read as _;

use flate2::Compression;
use flate2::read::{GzEncoder, ZlibEncoder};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use retrace_local::Server;
use serde_json::{Value, json};

use super::{Answer, Client};

pub const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
pub const RUN: &str = "0af76519-16cd-43dd-8448-eb211c80319c";

pub const FORMS: [(&str, &str); 6] = [
    ("application/x-protobuf", ""),
    ("application/x-protobuf", "gzip"),
    ("application/x-protobuf", "deflate"),
    ("application/json", ""),
    ("application/json; charset=utf-8", "gzip"),
    ("application/json", "identity"),
];

/// A span of [`TRACE`], as JSON. An empty `parent` is none.
pub fn span(id: &str, parent: &str, name: &str, operation: Option<&str>, nanos: (u64, u64)) -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let int = |key: &str, value: u64| json!({"key": key, "value": {"intValue": value.to_string()}});
    let mut attributes = Vec::new();
    if let Some(operation) = operation {
        attributes.push(text("gen_ai.operation.name", operation));
        attributes.push(text("gen_ai.provider.name", "openai"));
        attributes.push(text("gen_ai.request.model", "gpt-4o-mini"));
    }
    if operation == Some("chat") {
        attributes.extend([int("gen_ai.usage.input_tokens", 12), int("gen_ai.usage.output_tokens", 3)]);
        let message =
            |role: &str, text: &str| json!([{"role": role, "parts": [{"type": "text", "content": text}]}]).to_string();
        attributes.push(text("gen_ai.input.messages", &message("user", "Wie spät ist es?")));
        attributes.push(text("gen_ai.output.messages", &message("assistant", "Zeit zu gehen.")));
    }
    json!({
        "traceId": TRACE, "spanId": id, "parentSpanId": parent, "name": name, "kind": 1,
        "startTimeUnixNano": nanos.0.to_string(), "endTimeUnixNano": nanos.1.to_string(), "attributes": attributes,
    })
}

const AT: u64 = 1_795_345_548_000_000_000;

/// The agent of a run.
pub fn agent() -> Value {
    span("a000000000000001", "", "invoke_agent", Some("invoke_agent"), (AT, AT + 9_000_000))
}

/// A model call below it.
pub fn call(id: u64) -> Value {
    let at = AT + id * 1_000_000;
    span(&format!("c{id:015x}"), "a000000000000001", "chat", Some("chat"), (at, at + 500_000))
}

pub fn spans(spans: &[Value]) -> Value {
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]});
    json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "test"}, "spans": spans}]}]})
}

pub fn logs(records: &[Value]) -> Value {
    json!({"resourceLogs": [{"scopeLogs": [{"scope": {"name": "test"}, "logRecords": records}]}]})
}

/// An event of a span of [`TRACE`].
pub fn event(span_id: &str, name: &str) -> Value {
    json!({
        "traceId": TRACE, "spanId": span_id, "eventName": name, "timeUnixNano": AT.to_string(), "severityNumber": 9,
        "attributes": [{"key": "n", "value": {"intValue": "1"}}], "body": {"stringValue": "noted"},
    })
}

/// A request's body in one of the [`FORMS`].
pub fn body(request: &Value, content_type: &str, encoding: &str) -> Vec<u8> {
    let bytes = if content_type.contains("json") {
        request.to_string().into_bytes()
    } else if request.get("resourceLogs").is_some() {
        serde_json::from_value::<ExportLogsServiceRequest>(request.clone()).unwrap().encode_to_vec()
    } else {
        serde_json::from_value::<ExportTraceServiceRequest>(request.clone()).unwrap().encode_to_vec()
    };
    let mut packed = Vec::new();
    match encoding {
        "gzip" => drop(GzEncoder::new(bytes.as_slice(), Compression::fast()).read_to_end(&mut packed).unwrap()),
        "deflate" => drop(ZlibEncoder::new(bytes.as_slice(), Compression::fast()).read_to_end(&mut packed).unwrap()),
        _ => packed = bytes,
    }
    packed
}

/// Sends a request of either kind, and expects it to be taken whole.
pub fn export(server: &Server, request: &Value, (content_type, encoding): (&str, &str)) -> Answer {
    let path = if request.get("resourceLogs").is_some() { "/v1/logs" } else { "/v1/traces" };
    let headers = [("content-type", content_type), ("content-encoding", encoding)];
    let answer = Client::of(server).send("POST", path, &headers, Some(&body(request, content_type, encoding)));
    let empty = if content_type.contains("json") { "{}" } else { "" };
    assert_eq!((answer.status, answer.text.as_str()), (200, empty), "{answer:?}");
    let answered = answer.header("content-type").unwrap();
    assert_eq!(answered, content_type.split(';').next().unwrap(), "as the request");
    answer
}

pub const JSON: (&str, &str) = ("application/json", "");
