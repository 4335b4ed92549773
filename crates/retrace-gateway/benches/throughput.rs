//! Measures the throughput of one gateway: OTLP over gRPC read and answered, and Kafka in, sink out.
//!
//! ```console
//! $ cargo bench -p retrace-gateway --bench throughput -- [spans]
//! ```
//!
//! The gateway is a process of its own; the load, the mock cluster and the sink share the machine with it. The sink confirms
//! every event and keeps nothing. Spans are small: an agent with nine model calls is a trace.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio_tungstenite::tungstenite;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};

/// Spans of one trace.
const TRACE: u64 = 10;
/// Traces in one message or request.
const TRACES: u64 = 20;
/// Partitions of the topic. The mock cluster keeps 5 MiB of each, and drops what is older.
const PARTITIONS: u64 = 32;

/// A sink that confirms every event, and counts the events with `"ended_at"`.
fn sink() -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let events = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&events);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let events = Arc::clone(&counted);
            thread::spawn(move || confirm(stream, &events));
        }
    });
    (url, events)
}

fn confirm(stream: TcpStream, events: &AtomicU64) {
    let _ = stream.set_nodelay(true);
    let Ok(mut socket) = tungstenite::accept(stream) else { return };
    let mut is_first = true;
    while let Ok(message) = socket.read() {
        let tungstenite::Message::Text(text) = message else { continue };
        if std::mem::take(&mut is_first) {
            let _ = socket.send(tungstenite::Message::text(r#"{"type":"auth_ok"}"#));
            continue;
        }
        let Some(at) = text.rfind("\"seq\":") else { continue };
        let number: String = text.get(at + 6..).unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
        events.fetch_add(1, Ordering::Relaxed);
        if socket.write(tungstenite::Message::text(format!(r#"{{"type":"ack","seq":{number}}}"#))).is_err() {
            return;
        }
        let _ = socket.flush();
    }
}

/// A gateway process.
struct Gateway(Child, serde_json::Value);

impl Gateway {
    fn start(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gateway.toml");
        fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_retrace-gateway"));
        command.arg("--config").arg(&file).env("RETRACE_API_KEY", "rt_local").stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut reader = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let ready = loop {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0, "the gateway has ended");
            let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if value["fields"]["message"] == "the gateway is ready" {
                break value["fields"].clone();
            }
        };
        thread::spawn(move || reader.lines().for_each(drop));
        Self(child, ready)
    }

    /// Resident memory in MiB.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
    }

    /// Value of a metric.
    fn metric(&self, name: &str) -> u64 {
        let url = format!("http://{}/metrics", self.1["admin"].as_str().unwrap());
        let text = ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// One request with whole traces.
fn message(first: u64) -> Vec<u8> {
    let mut spans = Vec::new();
    for trace in first..first + TRACES {
        let mut trace_id = vec![0x5a; 16];
        trace_id[8..].copy_from_slice(&trace.to_be_bytes());
        for n in 0..TRACE {
            let is_root = n == TRACE - 1;
            let operation = if is_root { "invoke_agent" } else { "chat" };
            spans.push(Span {
                trace_id: trace_id.clone(),
                span_id: (TRACE - n).to_be_bytes().to_vec(),
                parent_span_id: if is_root { Vec::new() } else { 1_u64.to_be_bytes().to_vec() },
                name: format!("{operation} m"),
                start_time_unix_nano: 1_795_345_548_000_000_000 + n,
                end_time_unix_nano: 1_795_345_549_000_000_000 + n,
                attributes: vec![
                    text("gen_ai.operation.name", operation),
                    text("gen_ai.request.model", "m"),
                    text("gen_ai.input.messages", r#"[{"role":"user","parts":[{"type":"text","content":"Hi"}]}]"#),
                ],
                ..Span::default()
            });
        }
    }
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
        .encode_to_vec()
}

#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = ();
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
        buffer.put(message.as_slice());
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        buffer.advance(buffer.remaining());
        Ok(Some(()))
    }
}

fn config(sink: &str, more: &str) -> String {
    format!(
        "admin = {{ listen = \"127.0.0.1:0\" }}\nretrace = {{ base_url = \"{sink}\" }}\nlog = {{ level = \"retrace_gateway=info\" }}\n{more}"
    )
}

/// OTLP over gRPC: four clients send, and wait for each answer; a call that is refused is repeated.
fn grpc(spans: u64) {
    let (url, _) = sink();
    let otlp =
        "otlp = { http = \"\", grpc = \"127.0.0.1:0\" }\ntraces = { wait_seconds = 1, buffer_bytes = 1073741824 }";
    let gateway = Gateway::start(&config(&url, otlp));
    let requests = spans / (TRACE * TRACES);
    let next = Arc::<AtomicU64>::default();
    let refused = Arc::<AtomicU64>::default();
    let endpoint = format!("http://{}", gateway.1["grpc"].as_str().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let messages: Arc<Vec<Vec<u8>>> = Arc::new((0..requests).map(|n| message(n * TRACES)).collect());
    let began = Instant::now();
    runtime.block_on(async {
        let clients = (0..4).map(|_| {
            let (endpoint, next, refused, messages) =
                (endpoint.clone(), Arc::clone(&next), Arc::clone(&refused), Arc::clone(&messages));
            tokio::spawn(async move {
                let channel = tonic::transport::Endpoint::from_shared(endpoint).unwrap().connect().await.unwrap();
                let mut client = tonic::client::Grpc::new(channel);
                while let Some(message) = messages.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap()) {
                    loop {
                        client.ready().await.unwrap();
                        let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export".parse().unwrap();
                        if client.unary(Request::new(message.clone()), path, Raw).await.is_ok() {
                            break;
                        }
                        refused.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            })
        });
        futures_util::future::join_all(clients).await;
    });
    let (elapsed, memory, refused) = (began.elapsed(), gateway.memory(), refused.load(Ordering::Relaxed));
    let rate = requests as f64 * (TRACE * TRACES) as f64 / elapsed.as_secs_f64();
    println!(
        "gRPC in, read and answered: {rate:.0} spans/s ({spans} spans in {elapsed:.2?}, {memory} MiB, {refused} refusals)"
    );
}

/// Kafka in, sink out, with the topic filled before.
fn kafka(spans: u64) {
    let (url, events) = sink();
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("otlp_spans", i32::try_from(PARTITIONS).unwrap(), 1).unwrap();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("queue.buffering.max.kbytes", "2000000")
        .create()
        .unwrap();
    let messages = spans / (TRACE * TRACES);
    for n in 0..messages {
        let payload = message(n * TRACES);
        let partition = i32::try_from(n % PARTITIONS).unwrap();
        producer.send(BaseRecord::<[u8], [u8]>::to("otlp_spans").partition(partition).payload(&payload)).unwrap();
    }
    producer.flush(Duration::from_secs(120)).unwrap();
    let more = format!(
        "otlp = {{ http = \"\", grpc = \"\" }}\ntraces = {{ wait_seconds = 0.2 }}\nkafka = {{ brokers = [\"{}\"], session_timeout_seconds = 6 }}",
        cluster.bootstrap_servers()
    );
    let gateway = Gateway::start(&config(&url, &more));
    let delivered = || gateway.metric("retrace_gateway_spans_delivered_total{tenant=\"default\"}");
    while delivered() == 0 {
        thread::sleep(Duration::from_millis(5));
    }
    let (began, before) = (Instant::now(), delivered());
    let over = AtomicBool::new(false);
    let total = messages * TRACE * TRACES;
    let memory = thread::scope(|scope| {
        let sampling = scope.spawn(|| {
            let mut samples = Vec::new();
            while !over.load(Ordering::Relaxed) {
                samples.push(gateway.memory());
                thread::sleep(Duration::from_millis(250));
            }
            samples
        });
        while delivered() < total {
            thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Ordering::Relaxed);
        sampling.join().unwrap()
    });
    let elapsed = began.elapsed();
    let rate = (total - before) as f64 / elapsed.as_secs_f64();
    let events = events.load(Ordering::Relaxed);
    let quarter = memory.len() / 4;
    let (first, last) = (memory.get(quarter).copied().unwrap_or(0), memory.last().copied().unwrap_or(0));
    let most = memory.iter().max().copied().unwrap_or(0);
    println!(
        "Kafka in, sink out: {rate:.0} spans/s ({total} spans in {elapsed:.2?}, {events} events; memory {first} MiB after a quarter, {last} at the end, {most} at most)"
    );
}

fn main() {
    let spans = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(400_000);
    grpc(spans);
    kafka(spans);
}
