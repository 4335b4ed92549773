//! OTLP over HTTP (OTLP specification, "OTLP/HTTP"): spans and log records of applications in any language.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::post;
use retrace_protocol::read::Refusal;

use super::Receiver;
use super::answer::{Encoding, Signal};
use super::rejection::Rejection;
use crate::{OtlpRequest, Unreadable};

/// Paths of the signals, below the endpoint.
const TRACES: &str = "/v1/traces";
const LOGS: &str = "/v1/logs";
const METRICS: &str = "/v1/metrics";

type Shared<R> = State<Arc<R>>;

/// Returns the routes of OTLP over HTTP: `POST /v1/traces`, `/v1/logs` and `/v1/metrics`.
pub fn otlp_router<R: Receiver>() -> Router<Arc<R>> {
    Router::new().route(TRACES, post(traces::<R>)).route(LOGS, post(logs::<R>)).route(METRICS, post(metrics::<R>))
}

/// Receives spans.
async fn traces<R: Receiver>(State(app): Shared<R>, request: Request) -> Response {
    exported(&*app, Signal::Traces, request).await
}

/// Receives log records; only events of a span are recorded.
async fn logs<R: Receiver>(State(app): Shared<R>, request: Request) -> Response {
    exported(&*app, Signal::Logs, request).await
}

/// Accepts and discards metrics, so that exporters of all signals report no error.
async fn metrics<R: Receiver>(State(app): Shared<R>, request: Request) -> Response {
    let encoding = Encoding::of(request.headers());
    let response = async {
        let encoding = encoding.ok_or_else(wrong_type)?;
        app.authorize(request.headers())?;
        app.bodies().any(request).await?;
        Ok(encoding.accepted(Signal::Metrics, 0, Unreadable::default()))
    };
    response.await.unwrap_or_else(|error| encoding.unwrap_or_default().rejected(error))
}

/// Records an export request, and responds in the encoding of the request, including errors.
async fn exported<R: Receiver>(app: &R, signal: Signal, request: Request) -> Response {
    let encoding = Encoding::of(request.headers());
    let response = async {
        let encoding = encoding.ok_or_else(wrong_type)?;
        let caller = app.authorize(request.headers())?;
        let (malformed, unreadable) = take(app, signal, encoding, caller, request).await?;
        Ok(encoding.accepted(signal, malformed, unreadable))
    };
    response.await.unwrap_or_else(|error| encoding.unwrap_or_default().rejected(error))
}

/// Records a request. Returns the number of its spans with malformed ids, and its records that cannot be decoded.
async fn take<R: Receiver>(
    app: &R,
    signal: Signal,
    encoding: Encoding,
    caller: R::Caller,
    request: Request,
) -> Result<(u64, Unreadable), Rejection> {
    let body = app.bodies().compressed(request).await?;
    let (request, room) = body.parse(reader(signal, encoding)).await?;
    let (malformed, mut unreadable) = (request.malformed, request.unreadable.clone());
    unreadable.add(app.take(caller, request, room).await?);
    Ok((malformed, unreadable))
}

pub(super) fn reader(signal: Signal, encoding: Encoding) -> fn(&[u8]) -> Result<OtlpRequest, Refusal> {
    match (encoding, signal) {
        (Encoding::Json, _) => OtlpRequest::from_json,
        (Encoding::Protobuf, Signal::Logs) => |body| OtlpRequest::logs_from_protobuf(body).map_err(no_protobuf),
        (Encoding::Protobuf, _) => |body| OtlpRequest::spans_from_protobuf(body).map_err(no_protobuf),
    }
}

#[allow(clippy::needless_pass_by_value)] // it maps an error
fn no_protobuf(error: impl ToString) -> Refusal {
    Refusal { error: format!("the body is not protobuf of OTLP: {}", error.to_string()), field: None }
}

fn wrong_type() -> Rejection {
    let reason = "the body must be sent as `content-type: application/x-protobuf` or `application/json`";
    Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason)
}

/// Returns the media type of a body, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}
