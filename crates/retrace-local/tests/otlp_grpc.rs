//! OTLP over gRPC, by OpenTelemetry's own exporter and by calls made for the purpose.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::convert::Infallible;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use axum::body::Bytes;
use axum::http;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry_otlp::{Compression, SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_sdk::trace::SdkTracerProvider;
use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _};
use retrace_local::{Server, ServerBuilder};
use retrace_protocol::{Id, Status as RunStatus};
use serde_json::Value;
use support::HANG;
use support::otlp::{RUN, agent, call, event, logs, spans};
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

fn builder() -> ServerBuilder {
    Server::builder().with_grpc_addr(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Messages as bytes.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
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
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Makes one call.
async fn exported(
    channel: &Channel,
    path: &'static str,
    message: Vec<u8>,
    (key, compression): (&str, Option<CompressionEncoding>),
) -> Result<Bytes, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    if let Some(compression) = compression {
        client = client.send_compressed(compression);
    }
    client.ready().await.unwrap();
    let mut request = Request::new(Bytes::from(message));
    request.metadata_mut().insert("x-retrace-key", key.parse().unwrap());
    let path = http::uri::PathAndQuery::from_static(path);
    client.unary(request, path, Raw).await.map(tonic::Response::into_inner)
}

fn encoded(request: &Value) -> Vec<u8> {
    serde_json::from_value::<ExportTraceServiceRequest>(request.clone()).unwrap().encode_to_vec()
}

async fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(server.grpc_url().unwrap().to_owned()).unwrap().connect().await.unwrap()
}

#[test]
fn the_exporter_is_understood_with_every_compression() {
    let server = builder().with_api_key("rt_right").start().unwrap();
    let runtime = runtime();
    let _entered = runtime.enter();
    for compression in [None, Some(Compression::Gzip), Some(Compression::Zstd)] {
        let mut metadata = tonic::metadata::MetadataMap::new();
        metadata.insert("authorization", "Bearer rt_right".parse().unwrap());
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(server.grpc_url().unwrap());
        let exporter = exporter.with_metadata(metadata).with_timeout(HANG);
        let exporter = match compression {
            Some(compression) => exporter.with_compression(compression).build().unwrap(),
            None => exporter.build().unwrap(),
        };
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
        let tracer = provider.tracer("test");
        let agent = opentelemetry::Context::new().with_span(tracer.start("invoke_agent"));
        let mut span = tracer.start_with_context("chat", &agent);
        span.set_attribute(KeyValue::new("gen_ai.operation.name", "chat"));
        span.set_attribute(KeyValue::new("gen_ai.usage.input_tokens", 10));
        // Enough that a compressed message is unpacked beside the server's thread.
        span.set_attribute(KeyValue::new("gen_ai.tool.definitions", incompressible(40_000)));
        span.end();
        agent.span().end();
        provider.shutdown_with_timeout(HANG).unwrap_or_else(|error| panic!("{compression:?}: {error}"));
        let id = Id::from_otel_trace(agent.span().span_context().trace_id().to_bytes());
        let run = server.wait_for_end(&id, HANG).unwrap().unwrap_or_else(|| panic!("{compression:?}"));
        assert_eq!((run.status, run.total_tokens), (Some(RunStatus::Completed), Some(10)), "{compression:?}");
        assert_eq!(run.spans.unwrap().len(), 2);
    }
}

/// A text that no compression makes much smaller.
fn incompressible(length: usize) -> String {
    let mut state = 1_u64;
    let next = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + u8::try_from(state >> 58).unwrap())
    });
    next.take(length).collect()
}

#[test]
fn a_call_gives_the_run_that_http_gives_and_log_records_join() {
    let server = builder().start().unwrap();
    runtime().block_on(async {
        let channel = channel(&server).await;
        let request = spans(&[call(1), call(2), agent()]);
        let answer = exported(&channel, TRACES, encoded(&request), ("any", None)).await.unwrap();
        assert_eq!(ExportTraceServiceResponse::decode(answer).unwrap(), ExportTraceServiceResponse::default());
        let records = logs(&[event("a000000000000001", "gen_ai.choice")]);
        let records = serde_json::from_value::<ExportLogsServiceRequest>(records).unwrap().encode_to_vec();
        exported(&channel, LOGS, records, ("any", None)).await.unwrap();
        let answer = exported(&channel, METRICS, Vec::new(), ("any", None)).await.unwrap();
        assert_eq!(ExportMetricsServiceResponse::decode(answer).unwrap(), ExportMetricsServiceResponse::default());
    });
    let over_grpc = server.wait_for_end(&RUN.into(), HANG).unwrap().unwrap();
    assert_eq!((over_grpc.total_tokens, over_grpc.spans.unwrap().len()), (Some(30), 3));
}

#[test]
fn a_damaged_record_costs_itself_and_is_counted() {
    let server = builder().start().unwrap();
    let mut request = serde_json::from_value::<ExportTraceServiceRequest>(spans(&[call(1), agent()])).unwrap();
    request.resource_spans[0].scope_spans[0].spans[0].trace_id = vec![1, 2, 3];
    let whole = runtime().block_on(async {
        let channel = channel(&server).await;
        let answer = exported(&channel, TRACES, request.encode_to_vec(), ("any", None)).await.unwrap();
        ExportTraceServiceResponse::decode(answer).unwrap().partial_success.unwrap()
    });
    assert_eq!(whole.rejected_spans, 1);
    assert!(whole.error_message.contains("trace id"), "{}", whole.error_message);
    assert_eq!(server.wait_for_end(&RUN.into(), HANG).unwrap().unwrap().spans.unwrap().len(), 1);
}

#[test]
fn what_is_refused_has_the_status_and_the_details_of_otlp() {
    let server = builder().with_api_key("rt_right").with_max_body_bytes(64 * 1024).start().unwrap();
    runtime().block_on(async {
        let channel = channel(&server).await;
        let request = encoded(&spans(&[agent()]));
        let refused = |result: Result<Bytes, Status>| result.unwrap_err();
        let wrong = refused(exported(&channel, TRACES, request.clone(), ("rt_wrong", None)).await);
        assert_eq!(wrong.code(), Code::Unauthenticated);
        assert!(wrong.message().contains("key") && !wrong.message().contains("rt_right"), "{wrong}");
        let unknown =
            refused(exported(&channel, "/grpc.reflection.v1.ServerReflection/X", Vec::new(), ("rt_right", None)).await);
        assert_eq!(unknown.code(), Code::Unimplemented);
        let damaged = refused(exported(&channel, TRACES, vec![0xFF; 64], ("rt_right", None)).await);
        assert_eq!(damaged.code(), Code::InvalidArgument);
        let details = String::from_utf8_lossy(damaged.details()).into_owned();
        assert!(details.contains("google.rpc.BadRequest"), "{details}");
        let large = refused(exported(&channel, TRACES, vec![0; 65 * 1024], ("rt_right", None)).await);
        assert_eq!(large.code(), Code::ResourceExhausted);
        assert!(large.message().contains("65536 bytes"), "{large}");
        // A message that is small as it comes and too large as it is.
        for compression in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
            let bomb = refused(exported(&channel, TRACES, vec![0; 8 << 20], ("rt_right", Some(compression))).await);
            assert_eq!(bomb.code(), Code::ResourceExhausted, "{bomb}");
        }
        // The connection goes on.
        exported(&channel, TRACES, request, ("rt_right", None)).await.unwrap();
    });
}

#[test]
fn calls_are_encrypted_with_the_certificate_of_the_server() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = builder().with_tls(cert, key).start().unwrap();
    let url = server.grpc_url().unwrap().to_owned();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    runtime().block_on(async {
        let tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(made.cert.pem())).domain_name("localhost");
        let channel = Endpoint::from_shared(url.clone()).unwrap().tls_config(tls).unwrap().connect().await.unwrap();
        exported(&channel, TRACES, encoded(&spans(&[agent()])), ("any", None)).await.unwrap();
        let plain = Endpoint::from_shared(url.replace("https", "http")).unwrap().connect().await;
        if let Ok(channel) = plain {
            let mut client = tonic::client::Grpc::new(channel);
            let ready = client.ready().await.is_ok();
            let path = http::uri::PathAndQuery::from_static(TRACES);
            assert!(!ready || client.unary(Request::new(Bytes::new()), path, Raw).await.is_err());
        }
    });
    assert!(server.wait_for_end(&RUN.into(), HANG).unwrap().is_some());
}

#[test]
fn a_peer_that_stays_silent_or_stops_in_a_message_is_let_go() {
    let server = builder().with_patience(Duration::from_millis(50)).start().unwrap();
    let addr = server.grpc_url().unwrap().trim_start_matches("http://").to_owned();
    let mut silent = TcpStream::connect(&addr).unwrap();
    silent.set_read_timeout(Some(HANG)).unwrap();
    let mut greeting = Vec::new();
    silent.read_to_end(&mut greeting).unwrap();
    runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect(&addr).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        // The head of a message of a thousand bytes, and nothing after it.
        let head = Bytes::from_static(&[0, 0, 0, 3, 232, 1, 2]);
        let body = stream::iter([Ok::<_, Infallible>(Frame::data(head))]).chain(stream::pending());
        let request = http::Request::post(format!("http://{addr}{TRACES}")).header("content-type", "application/grpc");
        let response = client.send_request(request.body(StreamBody::new(body)).unwrap()).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], (Code::DeadlineExceeded as i32).to_string());
    });
}

#[test]
fn a_server_with_idle_connections_stops() {
    let server = builder().start().unwrap();
    let runtime = runtime();
    let channel = runtime.block_on(async {
        let channel = channel(&server).await;
        exported(&channel, TRACES, encoded(&spans(&[agent()])), ("any", None)).await.unwrap();
        channel
    });
    server.stop();
    let error = runtime.block_on(exported(&channel, METRICS, Vec::new(), ("any", None)));
    assert!(error.is_err());
}
