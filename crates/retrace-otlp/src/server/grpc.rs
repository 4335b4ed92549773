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

use super::Receiver;
use super::answer::{Encoding, PartialSuccess, Signal};
use super::body::Received;
use super::http::reader;
use super::rejection::Rejection;
use super::rpc_status::RpcStatus;
use crate::Unreadable;

/// Paths of the OTLP services.
const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// Size of a compressed message above which it is decompressed on a blocking thread, in bytes.
const SMALL_BYTES: usize = 16 * 1024;

/// Answers one call.
pub(super) async fn answer<R: Receiver>(app: Arc<R>, request: Request<Incoming>) -> Response<Body> {
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

async fn export<R: Receiver>(
    app: Arc<R>,
    signal: Signal,
    request: Request<Incoming>,
) -> Result<Response<Body>, Rejection> {
    admit(&*app, request.uri(), request.headers())?;
    let caller = app.authorize(request.headers())?;
    let (parts, body) = request.into_parts();
    let (bytes, mut room) = app.bodies().message(body).await?.into_parts();
    let is_compressed = bytes.first() == Some(&1);
    if is_compressed {
        // The compressed size does not limit the decompressed size.
        drop(room);
        room = app.bodies().largest().await?;
    }
    let is_large = is_compressed && bytes.len() > SMALL_BYTES;
    let mut grpc = Grpc::new(Raw)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(app.bodies().limit());
    let call = async move {
        let export = Export { app, signal, caller: Some(caller), room };
        grpc.unary(export, Request::from_parts(parts, Full::new(bytes))).await
    };
    if !is_large {
        return Ok(call.await);
    }
    let runtime = Handle::current();
    let called = tokio::task::spawn_blocking(move || runtime.block_on(call)).await;
    called.map_err(|_| Rejection::busy("the server is stopping"))
}

/// Adapts the request to the check of HTTP/1: HTTP/2 has the host in the URI instead of a header.
fn admit<R: Receiver>(app: &R, uri: &Uri, headers: &HeaderMap) -> Result<(), Rejection> {
    let mut headers = headers.clone();
    if let Some(host) = uri.authority().map(Authority::as_str).and_then(|host| HeaderValue::from_str(host).ok()) {
        headers.entry(header::HOST).or_insert(host);
    }
    app.admit(uri, &headers)
}

/// One call whose message has arrived.
struct Export<R: Receiver> {
    app: Arc<R>,
    signal: Signal,
    /// `None` once the call is made.
    caller: Option<R::Caller>,
    room: Option<OwnedSemaphorePermit>,
}

impl<R: Receiver> UnaryService<Bytes> for Export<R> {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (app, signal, caller, room) = (Arc::clone(&self.app), self.signal, self.caller.take(), self.room.take());
        Box::pin(async move {
            let message = Received::unpacked(request.into_inner(), room);
            let caller = caller.ok_or_else(|| Status::internal("a call is made once"))?;
            let response = record(&*app, signal, caller, message).await.map_err(|error| status(&error))?;
            Ok(tonic::Response::new(response.into()))
        })
    }
}

/// Records a request, and returns the response. Metrics are accepted and discarded, as over HTTP.
async fn record<R: Receiver>(
    app: &R,
    signal: Signal,
    caller: R::Caller,
    message: Received,
) -> Result<Vec<u8>, Rejection> {
    if signal == Signal::Metrics {
        return Ok(PartialSuccess::new(signal, 0, Unreadable::default()).encode());
    }
    let (request, room) = message.parse(reader(signal, Encoding::Protobuf)).await?;
    let (malformed, mut unreadable) = (request.malformed, request.unreadable.clone());
    unreadable.add(app.take(caller, request, room).await?);
    Ok(PartialSuccess::new(signal, malformed, unreadable).encode())
}

/// Returns the status of a rejected call, with the details that OTLP defines.
fn status(error: &Rejection) -> Status {
    let code = match error.status() {
        StatusCode::BAD_REQUEST => Code::InvalidArgument,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        // Clients repeat a call that exhausts a resource only after a delay that the status has.
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::REQUEST_TIMEOUT => Code::DeadlineExceeded,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        _ => Code::Internal,
    };
    let refusal = error.refusal();
    let details = RpcStatus { code: code.into(), ..RpcStatus::new(refusal.error.clone()) };
    let details = match code {
        Code::InvalidArgument => details.with_violation(refusal.field.clone().unwrap_or_default()),
        Code::Unavailable => details.with_retry_after(error.retry_after().into()),
        Code::ResourceExhausted if error.status() == StatusCode::TOO_MANY_REQUESTS => {
            details.with_retry_after(error.retry_after().into())
        }
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
