//! What exporters are answered when all, a part or nothing of a request can be taken.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use retrace_local::Server;
use serde_json::{Value, json};
use support::otlp::{agent, body, call, event, export, logs, spans};
use support::{Answer, Client, HANG};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn send(server: &Server, path: &str, content_type: &str, encoding: &str, body: &[u8]) -> Answer {
    let headers = [("content-type", content_type), ("content-encoding", encoding)];
    Client::of(server).send("POST", path, &headers, Some(body))
}

/// `google.rpc.Status`, as far as it is used.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// The reason in a refusal, with its status and its encoding checked.
fn reason(answer: &Answer, status: u16, content_type: &str) -> String {
    assert_eq!((answer.status, answer.header("content-type")), (status, Some(content_type)), "{answer:?}");
    if content_type == JSON {
        assert_eq!(answer.json["details"].is_array(), status == 400, "{answer:?}");
        return answer.json["message"].as_str().unwrap().to_owned();
    }
    let refused = Status::decode(answer.bytes.as_slice()).unwrap();
    let types: Vec<_> = refused.details.iter().map(|detail| detail.type_url.as_str()).collect();
    let bad: &[&str] = if status == 400 { &["type.googleapis.com/google.rpc.BadRequest"] } else { &[] };
    assert_eq!(types, bad);
    refused.message
}

#[test]
fn empty_requests_are_good_ones() {
    let server = Server::start().unwrap();
    for (path, json) in [("/v1/traces", "{}"), ("/v1/traces", r#"{"resourceSpans":[]}"#), ("/v1/logs", "{}")] {
        let answer = send(&server, path, JSON, "", json.as_bytes());
        assert_eq!((answer.status, answer.text.as_str()), (200, "{}"));
        let answer = send(&server, path, PROTOBUF, "", b"");
        assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    }
    export(&server, &logs(&[json!({"body": {"stringValue": "a line of a log"}}), event("", "stray")]), (JSON, ""));
}

#[test]
fn metrics_are_taken_and_thrown_away() {
    let server = Server::start().unwrap();
    let answer = send(&server, "/v1/metrics", PROTOBUF, "gzip", b"whatever");
    assert_eq!((answer.status, answer.header("content-type"), answer.text.as_str()), (200, Some(PROTOBUF), ""));
    assert_eq!(send(&server, "/v1/metrics", "text/plain", "", b"").status, 415);
}

#[test]
fn spans_that_belong_to_nothing_are_counted_and_cost_the_others_nothing() {
    let mut nameless = call(1);
    nameless["spanId"] = json!("");
    let mut zero = call(2);
    zero["traceId"] = json!("00000000000000000000000000000000");
    let request = spans(&[nameless, zero, agent()]);
    for content_type in [JSON, PROTOBUF] {
        let server = Server::start().unwrap();
        let answer = send(&server, "/v1/traces", content_type, "", &body(&request, content_type, ""));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)));
        let (rejected, reason) = if content_type == JSON {
            let partial = &answer.json["partialSuccess"];
            (
                partial["rejectedSpans"].as_str().unwrap().parse().unwrap(),
                partial["errorMessage"].as_str().unwrap().into(),
            )
        } else {
            let partial = ExportTraceServiceResponse::decode(answer.bytes.as_slice()).unwrap().partial_success.unwrap();
            (partial.rejected_spans, partial.error_message)
        };
        assert_eq!(rejected, 2);
        assert!(reason.contains("id"), "{reason}");
        let run = server.wait_for_end(&support::otlp::RUN.into(), HANG).unwrap().unwrap();
        assert_eq!(run.spans.unwrap().len(), 1);
    }
}

#[test]
fn what_cannot_be_read_is_refused_in_its_own_encoding() {
    let server = Server::start().unwrap();
    let gzip = body(&spans(&[agent()]), PROTOBUF, "gzip");
    for path in ["/v1/traces", "/v1/logs"] {
        for bad in [&b"hello"[..], b"\x0a\xff\xff\xff\xff\x0f", &gzip] {
            assert!(reason(&send(&server, path, PROTOBUF, "", bad), 400, PROTOBUF).contains("protobuf"));
        }
        for bad in ["", "[]", "{", "null", "{\"resourceSpans\":7,\"resourceLogs\":7}"] {
            reason(&send(&server, path, JSON, "", bad.as_bytes()), 400, JSON);
        }
        for content_type in [JSON, PROTOBUF] {
            let cut = &gzip[..gzip.len() / 2];
            let reason = reason(&send(&server, path, content_type, "gzip", cut), 400, content_type);
            assert!(reason.contains("content-encoding"), "{reason}");
        }
    }
    assert_eq!(server.traces(&retrace_local::TraceQuery::new()).unwrap().total, 0);
}

/// Fields of a span that make it odd, and whether it is read nevertheless.
const ODDITIES: [(&str, &str, bool); 14] = [
    ("droppedAttributesCount", "-1", false),
    ("kind", "\"CLIENT\"", false),
    ("startTimeUnixNano", "\"soon\"", false),
    ("traceId", "7", false),
    ("attributes", "{}", false),
    ("attributes", "[{\"key\":\"a\",\"value\":{\"bytesValue\":\"fbf\"}}]", false),
    ("attributes", "[{\"key\":\"a\",\"value\":{\"intValue\":\"x\"}}]", false),
    ("events", "[7]", false),
    ("status", "\"ok\"", false),
    ("kind", "\"SPAN_KIND_CLIENT\"", true),
    ("dropped_events_count", "\"3\"", true),
    ("name", "null", true),
    ("unknown", "[{\"deep\":{}}]", true),
    ("status", "{\"code\":\"STATUS_CODE_OK\"}", true),
];

#[test]
fn one_odd_record_among_good_ones_costs_itself_wherever_it_is() {
    for (key, value, is_read) in ODDITIES {
        for place in [0, 2, 4] {
            let server = Server::start().unwrap();
            let mut all = vec![agent(), call(1), call(2), call(3)];
            let mut odd = call(9);
            odd[key] = serde_json::from_str(value).unwrap();
            all.insert(place, odd);
            let answer = send(&server, "/v1/traces", JSON, "", spans(&all).to_string().as_bytes());
            assert_eq!(answer.status, 200, "{key}: {answer:?}");
            let partial = &answer.json["partialSuccess"];
            if is_read {
                assert!(partial.is_null(), "{key}: {partial}");
            } else {
                assert_eq!(partial["rejectedSpans"], "1", "{key}: {partial}");
                assert!(partial["errorMessage"].as_str().unwrap().contains(key), "{key}: {partial}");
            }
            let run = server.wait_for_end(&support::otlp::RUN.into(), HANG).unwrap().unwrap();
            assert_eq!(run.spans.unwrap().len(), 4 + usize::from(is_read), "{key} {value} at {place}");
        }
    }
}

#[test]
fn an_odd_record_of_protobuf_costs_itself() {
    let around = |field: u8, inner: &[u8]| {
        let mut message = vec![field << 3 | 2];
        prost::encoding::encode_varint(inner.len() as u64, &mut message);
        [&message, inner].concat()
    };
    // A span, or a log record, with a text in field 5 that is not UTF-8; and one that is cut.
    let odd = around(1, &around(2, &[around(2, &around(5, b"\xff\xfe")), around(2, b"\x0a\x10abc")].concat()));
    let server = Server::start().unwrap();
    let good = body(&spans(&[agent()]), PROTOBUF, "");
    let answer = send(&server, "/v1/traces", PROTOBUF, "", &[odd.clone(), good].concat());
    assert_eq!(answer.status, 200, "{answer:?}");
    let partial = ExportTraceServiceResponse::decode(answer.bytes.as_slice()).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 2);
    assert!(partial.error_message.contains("span 0 of its scope"), "{}", partial.error_message);
    assert!(server.wait_for_end(&support::otlp::RUN.into(), HANG).unwrap().is_some());
    let good = body(&logs(&[event("c000000000000001", "good")]), PROTOBUF, "");
    let answer = send(&server, "/v1/logs", PROTOBUF, "", &[good, odd].concat());
    let partial = ExportLogsServiceResponse::decode(answer.bytes.as_slice()).unwrap().partial_success.unwrap();
    assert_eq!((answer.status, partial.rejected_log_records), (200, 2));
    assert!(partial.error_message.contains("log record 0 of its scope"), "{}", partial.error_message);
}

#[test]
fn an_odd_log_record_or_resource_costs_itself() {
    let server = Server::start().unwrap();
    let mut odd = event("c000000000000001", "odd");
    odd["droppedAttributesCount"] = json!(-1);
    let request = logs(&[odd, event("c000000000000001", "good")]);
    let answer = send(&server, "/v1/logs", JSON, "", request.to_string().as_bytes());
    assert_eq!((answer.status, &answer.json["partialSuccess"]["rejectedLogRecords"]), (200, &json!("1")), "{answer:?}");
    let mut request = spans(&[agent()]);
    request["resourceSpans"][0]["resource"]["droppedAttributesCount"] = json!(-1);
    let answer = send(&server, "/v1/traces", JSON, "", request.to_string().as_bytes());
    let partial = &answer.json["partialSuccess"];
    assert_eq!((answer.status, &partial["rejectedSpans"]), (200, &json!("0")), "{answer:?}");
    assert!(partial["errorMessage"].as_str().unwrap().contains("droppedAttributesCount"), "{partial}");
    assert!(server.wait_for_end(&support::otlp::RUN.into(), HANG).unwrap().is_some());
}

#[test]
fn other_types_and_encodings_are_refused() {
    let server = Server::start().unwrap();
    for content_type in ["text/plain", "application/grpc", "application/x-ndjson"] {
        let answer = send(&server, "/v1/traces", content_type, "", b"{}");
        assert!(reason(&answer, 415, JSON).contains("application/x-protobuf"));
    }
    for encoding in ["br", "zstd", "gzip, gzip"] {
        let answer = send(&server, "/v1/traces", PROTOBUF, encoding, b"");
        assert!(reason(&answer, 415, PROTOBUF).contains("gzip"));
    }
    let answer = Client::of(&server).get("/v1/traces");
    assert_eq!(answer.status, 405);
}

#[test]
fn these_endpoints_require_the_key() {
    let server = Server::builder().with_api_key("rt_right").start().unwrap();
    let to = |headers: &[(&str, &str)]| {
        let headers: Vec<_> = headers.iter().copied().chain([("content-type", PROTOBUF)]).collect();
        Client::of(&server).send("POST", "/v1/traces", &headers, Some(b""))
    };
    assert_eq!(to(&[("authorization", "Bearer rt_right")]).status, 200);
    assert_eq!(to(&[("x-retrace-key", "rt_right")]).status, 200);
    for wrong in [&[][..], &[("x-retrace-key", "rt_wrong")]] {
        let answer = to(wrong);
        assert!(reason(&answer, 401, PROTOBUF).contains("API key"));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
}

#[test]
fn what_is_too_large_is_refused_packed_or_not() {
    let limit = 200_000;
    let server = Server::builder().with_max_body_bytes(limit).start().unwrap();
    let padded = |bytes: u64| {
        let mut request: Value = spans(&[agent()]);
        let rest = usize::try_from(bytes).unwrap() - request.to_string().len();
        request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"] =
            json!("n".repeat(rest + "invoke_agent".len()));
        assert_eq!(request.to_string().len() as u64, bytes);
        request
    };
    for encoding in ["", "gzip", "deflate"] {
        let fits = body(&padded(limit), JSON, encoding);
        assert_eq!(send(&server, "/v1/traces", JSON, encoding, &fits).status, 200, "{encoding}");
        let over = body(&padded(limit + 1), JSON, encoding);
        assert!(reason(&send(&server, "/v1/traces", JSON, encoding, &over), 413, JSON).contains("200000"));
    }
    // A gigabyte in a megabyte is unpacked as far as the limit, and no further.
    let zeros = vec![b' '; 64 << 20];
    let mut bomb = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzEncoder::new(zeros.as_slice(), flate2::Compression::best()),
        &mut bomb,
    )
    .unwrap();
    assert!(bomb.len() < 100_000);
    reason(&send(&server, "/v1/traces", JSON, "gzip", &bomb.repeat(2)), 413, JSON);
}

#[test]
fn a_request_of_nothing_costs_nothing() {
    let server = Server::start().unwrap();
    // Eight megabytes of spans, of attributes and of values that say nothing, in two bytes each.
    let around = |field: u8, inner: &[u8]| {
        let mut message = vec![field << 3 | 2];
        prost::encoding::encode_varint(inner.len() as u64, &mut message);
        [&message, inner].concat()
    };
    let hollow = [0x12, 0].repeat(4 << 20);
    let spans = around(1, &around(2, &hollow));
    let attributes = around(1, &around(2, &around(2, &[0x4a, 0].repeat(4 << 20))));
    for request in [spans, attributes] {
        for path in ["/v1/traces", "/v1/logs"] {
            let answer = send(&server, path, PROTOBUF, "", &request);
            assert!([200, 400].contains(&answer.status), "{answer:?}");
        }
        assert!(reason(&send(&server, "/v1/traces", PROTOBUF, "", &request), 400, PROTOBUF).contains("say nothing"));
    }
}
