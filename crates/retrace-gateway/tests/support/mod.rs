//! Support of the tests: spans, clients, a gateway in front of a sink.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[cfg(feature = "kafka")]
pub(crate) mod kafka;

use std::time::{Duration, Instant};

use retrace_gateway::{Config, Gateway};
use retrace_local::Server;
use retrace_protocol::{Id, Trace};
use serde_json::{Value, json};

/// Limit of every wait: a test that reaches it hangs.
pub(crate) const HANG: Duration = Duration::from_secs(120);

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Starts a gateway with free ports and short waits; `more` are further tables.
pub(crate) async fn gateway(base_url: &str, more: &str) -> Gateway {
    gateway_with(base_url, "traces.wait_seconds = 0.05\ntraces.wait_without_root_seconds = 0.3", more).await
}

pub(crate) async fn gateway_with(base_url: &str, head: &str, more: &str) -> Gateway {
    let text = format!(
        "{head}\notlp.http = \"127.0.0.1:0\"\notlp.grpc = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\nretrace.base_url = \"{base_url}\"\n{more}"
    );
    let variables = |name: &str| name.ends_with("_KEY").then(|| "rt_test".to_owned());
    let config = Config::parse("test.toml", &text, &[], &variables).unwrap_or_else(|error| panic!("{error}\n{text}"));
    Gateway::start(config).await.unwrap()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Trace id of the n-th trace.
pub(crate) fn trace_id(n: u64) -> [u8; 16] {
    let mut id = [0x5a; 16];
    id[8..].copy_from_slice(&n.to_be_bytes());
    id
}

pub(crate) fn run_id(n: u64) -> Id {
    Id::from_otel_trace(trace_id(n))
}

/// A span as OTLP JSON: a model call, or the agent above it where `parent` is 0.
pub(crate) fn span(trace: u64, id: u64, parent: u64) -> Value {
    let operation = if parent == 0 { "invoke_agent" } else { "chat" };
    let mut span = json!({
        "traceId": hex(&trace_id(trace)), "spanId": format!("{id:016x}"), "name": format!("{operation} m"),
        "startTimeUnixNano": (1_795_345_548_000_000_000_u64 + id * 1_000_000).to_string(),
        "endTimeUnixNano": (1_795_345_549_000_000_000_u64 + id * 1_000_000).to_string(),
        "attributes": [
            {"key": "gen_ai.operation.name", "value": {"stringValue": operation}},
            {"key": "gen_ai.request.model", "value": {"stringValue": "m"}},
        ],
    });
    if parent != 0 {
        span["parentSpanId"] = format!("{parent:016x}").into();
    }
    span
}

/// A request with spans of one service.
pub(crate) fn request(service: &str, spans: &[Value]) -> Value {
    request_of(&json!([{"key": "service.name", "value": {"stringValue": service}}]), spans)
}

pub(crate) fn request_of(resource: &Value, spans: &[Value]) -> Value {
    json!({"resourceSpans": [{"resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": "test", "version": "1"}, "spans": spans}]}]})
}

/// A whole trace of one agent and `calls` model calls.
pub(crate) fn whole(trace: u64, calls: u64) -> Vec<Value> {
    let mut spans: Vec<Value> = (0..calls).map(|n| span(trace, n + 2, 1)).collect();
    spans.push(span(trace, 1, 0));
    spans
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

/// Sends a request as JSON, on a thread of its own.
pub(crate) async fn post(url: String, headers: &[(&str, &str)], body: &Value) -> Answer {
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let body = body.to_string();
    tokio::task::spawn_blocking(move || post_blocking(&url, &headers, &body)).await.unwrap()
}

pub(crate) fn post_blocking(url: &str, headers: &[(String, String)], body: &str) -> Answer {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.post(url).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut response = request.send(body).unwrap();
    Answer {
        status: response.status().as_u16(),
        retry_after: response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned()),
        body: response.body_mut().read_to_string().unwrap(),
    }
}

pub(crate) async fn get(url: String) -> Answer {
    tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut response = agent.get(&url).call().unwrap();
        let body = response.body_mut().read_to_string().unwrap();
        Answer { status: response.status().as_u16(), retry_after: None, body }
    })
    .await
    .unwrap()
}

/// URL of the traces endpoint of a gateway.
pub(crate) fn traces_url(gateway: &Gateway) -> String {
    format!("http://{}/v1/traces", gateway.http_addr().unwrap())
}

/// Waits for the end of a run.
pub(crate) fn ended(sink: &Server, trace: u64) -> Trace {
    sink.wait_for_end(&run_id(trace), HANG).unwrap().unwrap_or_else(|| panic!("run {trace} has not ended"))
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < HANG, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Number of runs in a sink.
pub(crate) fn runs(sink: &Server) -> u64 {
    sink.traces(&retrace_local::TraceQuery::new()).unwrap().total
}

/// Numbers of runs in a sink, and of the spans of the first `traces`.
pub(crate) fn counts(sink: &Server, traces: u64) -> (u64, u64) {
    let spans = (0..traces).filter_map(|n| sink.trace(&run_id(n)).unwrap()?.spans).map(|spans| spans.len() as u64);
    (runs(sink), spans.sum())
}

/// Value of a metric; the name includes its labels.
pub(crate) fn metric(gateway: &Gateway, name: &str) -> u64 {
    let metrics = gateway.metrics();
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("retrace_gateway_")?.strip_prefix(name)?.strip_prefix(' '));
    match line {
        Some(value) => value.parse().unwrap(),
        // A tenant without a pipeline has no values yet.
        None if name.contains("tenant=") => 0,
        None => panic!("{name} is missing in\n{metrics}"),
    }
}
