//! Requests and responses.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use futures_util::stream;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use opentelemetry_instrumentation_genai as genai;
use opentelemetry_instrumentation_genai::interceptor::{Action, RecordedResponse, Refusal};
use retrace_replay::render::{Api, Failure, error_body};
use retrace_replay::replay::Refused;
use serde_json::Value;

use super::{Pace, Shared};

/// Path of the report.
const REPORT: &str = "/retrace/report";
/// Path that restarts the replay.
const RESET: &str = "/retrace/reset";

/// Time that a client has to send a body.
const BODY_TIME: Duration = Duration::from_secs(60);

pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let api = Api::of_path(&path);
    if let Err(stranger) = shared.admit(&parts.uri, &parts.headers) {
        return fail(api, StatusCode::FORBIDDEN, "forbidden", &stranger.to_string());
    }
    match (&parts.method, path.as_str()) {
        (&Method::GET, REPORT) => return json(StatusCode::OK, &shared.report().to_json()),
        (&Method::POST, RESET) => {
            return match tokio::task::spawn_blocking(move || shared.reset()).await {
                Ok(Ok(())) => json(StatusCode::OK, &Value::Object(serde_json::Map::new())),
                Err(_) => fail(None, StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server stops"),
                Ok(Err(error)) => fail(None, StatusCode::INTERNAL_SERVER_ERROR, "replay_cassette", &error.to_string()),
            };
        }
        _ => {}
    }
    let Ok(_room) = shared.bodies.acquire().await else {
        return fail(api, StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server stops");
    };
    let body = match read(api, body, shared.settings.max_body_bytes).await {
        Ok(body) => body,
        Err(refused) => return *refused,
    };
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let seen = genai::Request { method: parts.method.as_str(), url: target, body: Some(&body) };
    match shared.genai.intercept(&seen, &parts.headers) {
        Some((_, Action::Answer(recorded))) => replay(recorded, shared.settings.pace).await,
        Some((_, Action::Refuse(refusal))) => refuse(api, &refusal),
        _ => {
            let message = format!(
                "{} {path} is no model call that is known here; this server answers model calls from a cassette. Give its URL as \
                 the base URL of a provider's client.",
                parts.method
            );
            fail(api, StatusCode::NOT_FOUND, "unknown_path", &message)
        }
    }
}

/// Reads a body of at most `limit` bytes, within [`BODY_TIME`].
async fn read<B>(api: Option<Api>, body: B, limit: usize) -> Result<Bytes, Box<Response<Body>>>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (status, kind, message) = match tokio::time::timeout(BODY_TIME, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => return Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let message =
                format!("the request body is longer than {limit} bytes; send a shorter one, or raise the limit");
            (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
        }
        Ok(Err(_)) => (StatusCode::BAD_REQUEST, "body_cut", "the request body broke off; send it whole".to_owned()),
        Err(_) => {
            let seconds = BODY_TIME.as_secs();
            let message = format!("the request body did not come within {seconds} s; send it faster");
            (StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
        }
    };
    Err(Box::new(fail(api, status, kind, &message)))
}

/// Sends a recorded response at its pace. A truncated body resets the connection.
async fn replay(recorded: RecordedResponse, pace: Pace) -> Response<Body> {
    let scaled = move |duration: Duration| match pace {
        Pace::Factor(factor) => genai::interceptor::Pace::Factor(factor).scale(duration),
        Pace::Instant => Duration::ZERO,
    };
    wait(scaled(recorded.head_after)).await;
    let RecordedResponse { status, mut headers, head_after, chunks, broken, .. } = recorded;
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION] {
        headers.remove(name);
    }
    let body = match (chunks.as_slice(), &broken) {
        ([], None) => Body::empty(),
        ([(_, only)], None) => {
            wait(scaled(chunks.first().map_or(Duration::ZERO, |(at, _)| at.saturating_sub(head_after)))).await;
            Body::from(only.clone())
        }
        _ => {
            let rest = chunks.into_iter();
            Body::from_stream(stream::unfold((rest, head_after, broken), move |(mut rest, last, broken)| async move {
                // The connection flushes when the body is pending: each chunk is sent separately, also before an error.
                tokio::task::yield_now().await;
                match (rest.next(), broken) {
                    (Some((at, bytes)), broken) => {
                        wait(scaled(at.saturating_sub(last))).await;
                        Some((Ok::<Bytes, io::Error>(bytes), (rest, at.max(last), broken)))
                    }
                    (None, Some(error)) => Some((Err(io::Error::other(error)), (rest, last, None))),
                    (None, None) => None,
                }
            }))
        }
    };
    respond(status, headers, body)
}

async fn wait(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

fn refuse(api: Option<Api>, refusal: &Refusal) -> Response<Body> {
    let source = std::error::Error::source(refusal).and_then(|source| source.downcast_ref::<Refused>());
    let mut body = body(api, Refusal::STATUS, refusal.error_type(), refusal.message());
    if let (Value::Object(members), Some(refused)) = (&mut body, source) {
        members.insert("retrace".to_owned(), serde_json::to_value(refused).unwrap_or_default());
    }
    json(Refusal::STATUS, &body)
}

fn fail(api: Option<Api>, status: StatusCode, kind: &str, message: &str) -> Response<Body> {
    json(status, &body(api, status, kind, message))
}

fn body(api: Option<Api>, status: StatusCode, kind: &str, message: &str) -> Value {
    error_body(api, &Failure { status: status.as_u16(), kind: kind.to_owned(), message: message.to_owned() })
}

fn json(status: StatusCode, body: &Value) -> Response<Body> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if !status.is_success() {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    respond(status, headers, Body::from(body.to_string()))
}

fn respond(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a body in pieces, on a paused clock; a body that is `open` sends nothing more and does not end.
    fn read_of(pieces: &'static [&'static str], open: bool, limit: usize) -> (Result<Bytes, StatusCode>, Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let began = tokio::time::Instant::now();
            let sent =
                stream::iter(pieces.iter().map(|piece| Ok::<_, io::Error>(Bytes::from_static(piece.as_bytes()))));
            let rest = stream::unfold(open, |open| async move {
                match open {
                    true => std::future::pending().await,
                    false => None::<(Result<Bytes, io::Error>, bool)>,
                }
            });
            let body = Body::from_stream(futures_util::StreamExt::chain(sent, rest));
            let read = read(None, body, limit).await.map_err(|refused| refused.status());
            (read, began.elapsed())
        })
    }

    #[test]
    fn a_body_that_does_not_come_is_refused_after_its_time() {
        let (read, waited) = read_of(&["{\"model\":"], true, 100);
        assert_eq!(read, Err(StatusCode::REQUEST_TIMEOUT));
        assert!(waited >= BODY_TIME && waited < BODY_TIME * 2, "{waited:?}");
        let (read, waited) = read_of(&["{\"model\":", "\"m\"}"], false, 100);
        assert_eq!((read.unwrap().as_ref(), waited), (br#"{"model":"m"}"#.as_slice(), Duration::ZERO));
    }

    #[test]
    fn a_body_that_is_too_long_is_refused_at_once() {
        let (read, waited) = read_of(&["{\"model\":", "\"m\"}"], true, 10);
        assert_eq!((read, waited), (Err(StatusCode::PAYLOAD_TOO_LARGE), Duration::ZERO));
    }
}
