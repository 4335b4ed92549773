//! OTLP in, Retrace out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::net::TcpListener;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message as _;
use retrace_gateway::{Config, Gateway};
use retrace_local::Server;
use serde_json::{Value, json};
use support::{
    HANG, counts, ended, gateway, gateway_with, get, metric, post, request, request_of, run_id, runs, runtime, span,
    traces_url, until, whole,
};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

/// Messages as bytes.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        prost::bytes::BufMut::put(buffer, message.as_slice());
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; prost::bytes::Buf::remaining(buffer)];
        prost::bytes::Buf::copy_to_slice(buffer, &mut bytes);
        Ok(Some(bytes))
    }
}

/// Sends a request over gRPC.
async fn call(gateway: &Gateway, body: &Value) -> Result<ExportTraceServiceResponse, Status> {
    let request: ExportTraceServiceRequest = serde_json::from_value(body.clone()).unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{}", gateway.grpc_addr().unwrap())).unwrap();
    let mut client = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
    client.ready().await.unwrap();
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export".parse().unwrap();
    let answer = client.unary(Request::new(request.encode_to_vec()), path, Raw).await?;
    Ok(ExportTraceServiceResponse::decode(answer.into_inner().as_slice()).unwrap())
}

/// Requests of one trace: three services, one after another, with everything that a span may have.
fn fleet(trace: u64) -> Vec<Value> {
    let mut call = span(trace, 4, 3);
    call["attributes"].as_array_mut().unwrap().extend([
        json!({"key": "gen_ai.input.messages", "value": {"stringValue": r#"[{"role":"user","parts":[{"type":"text","content":"Hi"}]}]"#}}),
        json!({"key": "gen_ai.output.messages", "value": {"arrayValue": {"values": [{"kvlistValue": {"values": [
            {"key": "role", "value": {"stringValue": "assistant"}},
            {"key": "parts", "value": {"arrayValue": {"values": [{"kvlistValue": {"values": [
                {"key": "type", "value": {"stringValue": "text"}}, {"key": "content", "value": {"stringValue": "Hello"}}]}}]}}},
            {"key": "finish_reason", "value": {"stringValue": "stop"}}]}}]}}}),
        json!({"key": "gen_ai.usage.input_tokens", "value": {"intValue": "7"}}),
        json!({"key": "gen_ai.response.finish_reasons", "value": {"arrayValue": {"values": [{"stringValue": "stop"}]}}}),
        json!({"key": "own.flag", "value": {"boolValue": true}}),
        json!({"key": "own.list", "value": {"arrayValue": {"values": [{"doubleValue": 0.5}]}}}),
    ]);
    call["events"] = json!([{"name": "note", "timeUnixNano": "1795345548500000000",
        "attributes": [{"key": "n", "value": {"intValue": "1"}}]}]);
    let mut server = span(trace, 3, 2);
    server["kind"] = 2.into();
    let mut failed = span(trace, 5, 1);
    failed["status"] = json!({"code": 2, "message": "late"});
    let client = span(trace, 2, 1);
    vec![
        request("search", &[call, server]),
        request("planner", &[failed, client]),
        request("front", &[span(trace, 1, 0)]),
    ]
}

/// Removes the members that are null: events of a WebSocket state some fields as null that OTLP leaves out.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

#[test]
fn a_run_is_that_of_direct_otlp() {
    runtime().block_on(async {
        let (direct, sink) = (Server::start().unwrap(), Server::start().unwrap());
        // The stop ends the wait.
        let gateway = gateway_with(sink.url(), "traces.wait_seconds = 3600", "").await;
        for request in fleet(0) {
            assert_eq!(post(format!("{}/v1/traces", direct.url()), &[], &request).await.status, 200);
            let answer = post(traces_url(&gateway), &[], &request).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
        }
        let log = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{
            "traceId": support::hex(&support::trace_id(0)), "spanId": "0000000000000002", "eventName": "gen_ai.user.message",
            "timeUnixNano": "1795345548500000000",
            "body": {"kvlistValue": {"values": [{"key": "content", "value": {"stringValue": "Plan it"}}]}}}]}]}]});
        assert_eq!(post(format!("{}/v1/logs", direct.url()), &[], &log).await.status, 200);
        assert_eq!(post(format!("http://{}/v1/logs", gateway.http_addr().unwrap()), &[], &log).await.status, 200);

        let totals = gateway.stop(HANG).await;
        assert_eq!((totals["default"].accepted, totals["default"].delivered), (5, 5));
        let is_whole = || {
            let run = serde_json::to_value(direct.trace(&run_id(0)).unwrap()).unwrap();
            run["spans"].as_array().is_some_and(|spans| spans.len() == 5) && run.to_string().contains("Plan it")
        };
        until("the run is whole", is_whole).await;
        let run = |server: &Server| {
            let mut run = serde_json::to_value(ended(server, 0)).unwrap();
            run["spans"].as_array_mut().unwrap().sort_by_key(|span| span["id"].to_string());
            without_nulls(&mut run);
            run
        };
        assert_eq!(run(&sink), run(&direct));
    });
}

#[test]
fn grpc_is_read_as_http_is() {
    runtime().block_on(async {
        let sink = Server::start().unwrap();
        let gateway = gateway(sink.url(), "").await;
        let answer = call(&gateway, &request("front", &whole(1, 3))).await.unwrap();
        assert_eq!(answer.partial_success, None);
        assert_eq!(ended(&sink, 1).spans.unwrap().len(), 4);
        assert_eq!(metric(&gateway, "received_spans_total{source=\"otlp\"}"), 4);
    });
}

#[test]
fn a_late_span_continues_the_run() {
    runtime().block_on(async {
        let sink = Server::start().unwrap();
        let gateway = gateway(sink.url(), "").await;
        post(traces_url(&gateway), &[], &request("front", &whole(0, 1))).await;
        assert_eq!(ended(&sink, 0).spans.unwrap().len(), 2);
        post(traces_url(&gateway), &[], &request("front", &[span(0, 9, 1)])).await;
        until("the span is delivered", || gateway.totals()["default"].delivered == 3).await;
        assert_eq!(runs(&sink), 2);
    });
}

const TENANTS: &str = r#"
[tenants]
header = "X-Retrace-Tenant"
attribute = "retrace.tenant"
[[tenant]]
name = "a"
api_key_env = "A_KEY"
project_id = "pa"
[[tenant]]
name = "b"
api_key_env = "B_KEY"
project_id = "pb"
"#;

fn of(tenant: &str, spans: &[Value]) -> Value {
    request_of(&json!([{"key": "retrace.tenant", "value": {"stringValue": tenant}}]), spans)
}

#[test]
fn a_tenant_is_named_by_the_header_or_by_the_resource() {
    runtime().block_on(async {
        let sink = Server::start().unwrap();
        let gateway = gateway(sink.url(), TENANTS).await;
        let url = traces_url(&gateway);
        let answer = post(url.clone(), &[("x-retrace-tenant", "b")], &of("a", &whole(0, 1))).await;
        assert_eq!(answer.status, 200);
        let mut both = of("a", &whole(1, 1));
        both["resourceSpans"].as_array_mut().unwrap().push(of("b", &whole(2, 1))["resourceSpans"][0].clone());
        both["resourceSpans"].as_array_mut().unwrap().push(of("c", &whole(3, 1))["resourceSpans"][0].clone());
        let answer = post(url.clone(), &[], &both).await;
        let partial: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(partial["partialSuccess"]["rejectedSpans"], "2", "{}", answer.body);
        let answer = post(url, &[("x-retrace-tenant", "c")], &of("a", &whole(4, 1))).await;
        assert_eq!(answer.status, 403, "{}", answer.body);

        let project = |trace: u64| ended(&sink, trace).project_id.map(|id| id.to_string());
        assert_eq!([project(0), project(1), project(2)], ["pb", "pa", "pb"].map(|id| Some(id.to_owned())));
        let totals = gateway.stop(HANG).await;
        assert_eq!((totals["a"].delivered, totals["b"].delivered), (2, 4));
        assert_eq!(runs(&sink), 3);
    });
}

#[test]
fn a_pipeline_that_is_idle_is_closed_and_makes_room() {
    runtime().block_on(async {
        let sink = Server::start().unwrap();
        let more = TENANTS.replace("[tenants]", "[tenants]\nmax_open = 1\nidle_seconds = 0.2");
        let gateway = gateway(sink.url(), &more).await;
        let url = traces_url(&gateway);
        assert_eq!(post(url.clone(), &[], &of("a", &whole(0, 1))).await.status, 200);
        let began = std::time::Instant::now();
        // The pipeline of the other tenant has work, then it is idle, then it is closed.
        while post(url.clone(), &[], &of("b", &whole(1, 1))).await.status != 200 {
            assert!(began.elapsed() < HANG);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ended(&sink, 0);
        ended(&sink, 1);
        until("all are closed", || metric(&gateway, "pipelines") == 0).await;
        let totals = gateway.totals();
        assert_eq!((totals["a"].delivered, totals["b"].delivered), (2, 2), "counts outlive their pipelines");
    });
}

/// A sink that is silent: its socket takes connections that nobody answers, until the sink starts.
fn silent_sink() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[test]
fn a_full_buffer_puts_clients_off_and_loses_nothing() {
    runtime().block_on(async {
        let (listener, url) = silent_sink();
        let head = "traces.wait_seconds = 0.05\ntraces.buffer_bytes = 65536\nretrace.buffer_bytes = 1048576\nretrace.request_timeout_seconds = 1\notlp.retry_after_seconds = 7";
        let gateway = gateway_with(&url, head, "").await;
        let traces = traces_url(&gateway);
        let mut accepted = 0;
        let refused = loop {
            let answer = post(traces.clone(), &[], &request("front", &whole(accepted, 9))).await;
            if answer.status != 200 {
                break answer;
            }
            accepted += 1;
            assert!(accepted < 1_000, "the buffer has no limit");
        };
        assert_eq!((refused.status, refused.retry_after.as_deref()), (429, Some("7")), "{}", refused.body);
        let status = call(&gateway, &request("front", &whole(accepted, 9))).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        // RetryInfo { retry_delay: { seconds: 7 } }
        assert!(status.details().windows(4).any(|bytes| bytes == [0x0a, 0x02, 0x08, 0x07]), "{:?}", status.details());
        assert!(metric(&gateway, "refused_requests_total") >= 2);

        let sink = Server::builder().with_listener(listener).start().unwrap();
        until("everything is delivered", || metric(&gateway, "buffer_bytes") == 0).await;
        assert_eq!(counts(&sink, accepted), (accepted, accepted * 10));
        assert_eq!(post(traces, &[], &request("front", &whole(accepted, 9))).await.status, 200);
        ended(&sink, accepted);
    });
}

#[test]
fn a_stop_delivers_what_waits_for_more() {
    runtime().block_on(async {
        let sink = Server::start().unwrap();
        let gateway = gateway_with(sink.url(), "traces.wait_seconds = 3600", "").await;
        for trace in 0..20 {
            post(traces_url(&gateway), &[], &request("front", &whole(trace, 4))).await;
        }
        // A span without its root.
        post(traces_url(&gateway), &[], &request("front", &[span(20, 2, 1)])).await;
        assert_eq!((runs(&sink), metric(&gateway, "held_traces{tenant=\"default\"}")), (0, 21));
        let totals = gateway.stop(HANG).await;
        assert_eq!((totals["default"].delivered, totals["default"].pending), (101, 0));
        assert_eq!(counts(&sink, 21), (21, 101));
    });
}

#[test]
fn the_admin_port_shows_health_and_no_key() {
    runtime().block_on(async {
        let sink = Server::start().unwrap();
        let gateway = gateway(sink.url(), "").await;
        let url = format!("http://{}", gateway.admin_addr().unwrap());
        post(traces_url(&gateway), &[], &request("front", &whole(0, 1))).await;
        ended(&sink, 0);
        assert_eq!(get(format!("{url}/healthz")).await.status, 200);
        assert_eq!(get(format!("{url}/readyz")).await.status, 200);
        let metrics = get(format!("{url}/metrics")).await;
        assert!(
            metrics.body.contains("retrace_gateway_spans_accepted_total{tenant=\"default\"} 2"),
            "{}",
            metrics.body
        );
        assert!(!metrics.body.contains("rt_test"));
        assert_eq!(get(format!("{url}/nothing")).await.status, 404);
    });
}

#[test]
fn a_token_is_required_where_one_is_set() {
    runtime().block_on(async {
        let sink = Server::start().unwrap();
        let gateway = gateway(sink.url(), "otlp.token_env = \"INTAKE_KEY\"").await;
        let url = traces_url(&gateway);
        assert_eq!(post(url.clone(), &[], &request("front", &whole(0, 1))).await.status, 401);
        assert_eq!(
            post(url.clone(), &[("authorization", "Bearer no")], &request("front", &whole(0, 1))).await.status,
            401
        );
        assert_eq!(
            post(url, &[("authorization", "Bearer rt_test")], &request("front", &whole(0, 1))).await.status,
            200
        );
        assert_eq!(call(&gateway, &request("front", &whole(0, 1))).await.unwrap_err().code(), Code::Unauthenticated);
    });
}

#[test]
fn an_address_that_is_in_use_is_an_error_with_its_setting() {
    runtime().block_on(async {
        let (listener, _) = silent_sink();
        let text = format!("otlp.http = \"{}\"\notlp.grpc = \"\"\nadmin.listen = \"\"", listener.local_addr().unwrap());
        let variables = |_: &str| Some("rt_test".to_owned());
        let config = Config::parse("test.toml", &text, &[], &variables).unwrap();
        let error = Gateway::start(config).await.unwrap_err().to_string();
        assert!(error.contains("otlp.http"), "{error}");
    });
}
