//! OTLP over HTTP (OTLP specification, "OTLP/HTTP"): spans and log records of applications in any language.

mod answer;
#[cfg(feature = "grpc")]
pub(super) mod grpc;
mod recording;
mod rpc_status;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use retrace_protocol::read::Refusal;

use self::answer::{Encoding, Signal};
pub(super) use self::recording::{Recorder, Recording, record};
use super::error::ApiError;
use super::http::{App, check_key};
use crate::ingest;
use crate::otlp::{Odd, OtlpRequest};

/// Paths of the signals, below the endpoint.
pub(super) const TRACES: &str = "/v1/traces";
pub(super) const LOGS: &str = "/v1/logs";
pub(super) const METRICS: &str = "/v1/metrics";

type Shared = State<Arc<App>>;

/// Receives spans.
pub(super) async fn traces(State(app): Shared, request: Request) -> Response {
    exported(&app, Signal::Traces, request).await
}

/// Receives log records; only events of a span are recorded.
pub(super) async fn logs(State(app): Shared, request: Request) -> Response {
    exported(&app, Signal::Logs, request).await
}

/// Accepts and discards metrics, so that exporters of all signals report no error.
pub(super) async fn metrics(State(app): Shared, request: Request) -> Response {
    let encoding = Encoding::of(request.headers());
    let taken = async {
        let encoding = encoding.ok_or_else(wrong_type)?;
        check_key(&app, request.headers())?;
        app.bodies.any(request).await?;
        Ok(encoding.taken(Signal::Metrics, 0, Odd::default()))
    };
    taken.await.unwrap_or_else(|error| encoding.unwrap_or_default().refused(error))
}

/// Records an export request, and responds in the encoding of the request, including errors.
async fn exported(app: &App, signal: Signal, request: Request) -> Response {
    let encoding = Encoding::of(request.headers());
    let taken = async {
        let encoding = encoding.ok_or_else(wrong_type)?;
        check_key(app, request.headers())?;
        let (malformed, odd) = take(app, signal, encoding, request).await?;
        Ok(encoding.taken(signal, malformed, odd))
    };
    taken.await.unwrap_or_else(|error| encoding.unwrap_or_default().refused(error))
}

/// Records a request. Returns the number of its spans with malformed ids, and its records that cannot be decoded.
async fn take(app: &App, signal: Signal, encoding: Encoding, request: Request) -> Result<(u64, Odd), ApiError> {
    let body = app.bodies.compressed(request).await?;
    let (request, room) = body.parse(reader(signal, encoding)).await?;
    let left_out = (request.malformed, request.odd.clone());
    app.recording.take(request, room).await?;
    Ok(left_out)
}

fn reader(signal: Signal, encoding: Encoding) -> fn(&[u8]) -> Result<OtlpRequest, Refusal> {
    match (encoding, signal) {
        (Encoding::Json, _) => |body| ingest::json(body).map(OtlpRequest::from_json),
        (Encoding::Protobuf, Signal::Logs) => |body| OtlpRequest::logs_from_protobuf(body).map_err(no_protobuf),
        (Encoding::Protobuf, _) => |body| OtlpRequest::spans_from_protobuf(body).map_err(no_protobuf),
    }
}

#[allow(clippy::needless_pass_by_value)] // it maps an error
fn no_protobuf(error: impl ToString) -> Refusal {
    Refusal { error: format!("the body is not protobuf of OTLP: {}", error.to_string()), field: None }
}

fn wrong_type() -> ApiError {
    let reason = "the body must be sent as `content-type: application/x-protobuf` or `application/json`";
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason)
}

/// Returns the media type of a body, without parameters.
fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}
