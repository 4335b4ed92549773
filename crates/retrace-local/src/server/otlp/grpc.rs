//! OTLP over gRPC (OTLP specification, "OTLP/gRPC"): the same decoding and the same errors as over HTTP.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tonic::body::Body;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};

use super::answer::{Encoding, PartialSuccess, Signal};
use super::rpc_status::RpcStatus;
use super::{ApiError, reader};
use crate::otlp::Odd;
use crate::server::body::Received;
use crate::server::http::{App, check_key};

/// Paths of the OTLP services.
const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// Size of a compressed message above which it is decompressed on a blocking thread, in bytes.
const SMALL_BYTES: usize = 16 * 1024;
/// Delay in seconds after which a request that exceeded the memory limit may be repeated.
const RETRY_AFTER: i64 = 1;

/// Answers one call.
pub(in crate::server) async fn answer(app: Arc<App>, request: Request<Incoming>) -> Response<Body> {
    let signal = match request.uri().path() {
        TRACES => Signal::Traces,
        LOGS => Signal::Logs,
        METRICS => Signal::Metrics,
        _ => {
            let reason = "there is no such method here; this address takes the Export calls of OTLP for traces, logs and metrics";
            return Status::unimplemented(reason).into_http();
        }
    };
    export(app, signal, request).await.unwrap_or_else(|error| status(&error).into_http())
}

async fn export(app: Arc<App>, signal: Signal, request: Request<Incoming>) -> Result<Response<Body>, ApiError> {
    admit(&app, request.uri(), request.headers())?;
    check_key(&app, request.headers())?;
    let (parts, body) = request.into_parts();
    let (bytes, mut room) = app.bodies.message(body).await?.into_parts();
    let is_compressed = bytes.first() == Some(&1);
    if is_compressed {
        // The compressed size does not limit the decompressed size.
        drop(room);
        room = app.bodies.largest().await?;
    }
    let is_large = is_compressed && bytes.len() > SMALL_BYTES;
    let mut grpc = Grpc::new(Raw)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(app.bodies.limit());
    let call = async move {
        let export = Export { app, signal, room };
        grpc.unary(export, Request::from_parts(parts, Full::new(bytes))).await
    };
    if !is_large {
        return Ok(call.await);
    }
    let runtime = Handle::current();
    let called = tokio::task::spawn_blocking(move || runtime.block_on(call)).await;
    called.map_err(|_| ApiError::busy("the receiver is stopping"))
}

/// Adapts the request to the check of HTTP/1: HTTP/2 has the host in the URI instead of a header.
fn admit(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    let mut headers = headers.clone();
    if let Some(host) = uri.authority().map(Authority::as_str).and_then(|host| HeaderValue::from_str(host).ok()) {
        headers.entry(header::HOST).or_insert(host);
    }
    app.hosts.admit(uri, &headers).map_err(|stranger| ApiError::new(StatusCode::FORBIDDEN, stranger.to_string()))
}

/// One call whose message has arrived.
struct Export {
    app: Arc<App>,
    signal: Signal,
    room: Option<OwnedSemaphorePermit>,
}

impl UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (app, signal, room) = (Arc::clone(&self.app), self.signal, self.room.take());
        Box::pin(async move {
            let message = Received::unpacked(request.into_inner(), room);
            let response = record(&app, signal, message).await.map_err(|error| status(&error))?;
            Ok(tonic::Response::new(response.into()))
        })
    }
}

/// Records a request, and returns the response. Metrics are accepted and discarded, as over HTTP.
async fn record(app: &App, signal: Signal, message: Received) -> Result<Vec<u8>, ApiError> {
    if signal == Signal::Metrics {
        return Ok(PartialSuccess::new(signal, 0, Odd::default()).encode());
    }
    let (request, room) = message.parse(reader(signal, Encoding::Protobuf)).await?;
    let (malformed, odd) = (request.malformed, request.odd.clone());
    app.recording.take(request, room).await?;
    Ok(PartialSuccess::new(signal, malformed, odd).encode())
}

/// Returns the status of a rejected call, with the details that OTLP defines.
fn status(error: &ApiError) -> Status {
    let code = match error.status() {
        StatusCode::BAD_REQUEST => Code::InvalidArgument,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        // Without a retry delay, clients do not repeat the call.
        StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
        StatusCode::REQUEST_TIMEOUT => Code::DeadlineExceeded,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        _ => Code::Internal,
    };
    let refusal = error.refusal();
    let details = RpcStatus { code: code.into(), ..RpcStatus::new(refusal.error.clone()) };
    let details = match code {
        Code::InvalidArgument => details.with_violation(refusal.field.clone().unwrap_or_default()),
        Code::Unavailable => details.with_retry_after(RETRY_AFTER),
        _ => details,
    };
    Status::with_details(code, refusal.error.clone(), details.encode_to_vec().into())
}

/// Codec of messages as bytes, which are decoded record by record, so that a malformed record does not affect the
/// others.
#[derive(Clone, Copy, Debug)]
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
