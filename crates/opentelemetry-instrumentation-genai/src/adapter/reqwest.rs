//! Common parts of the adapters for clients based on `reqwest`.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};
use reqwest::{Body, Request, Response, ResponseBuilderExt as _, Url};

use crate::adapter::http_body::InstrumentedBody;
use crate::adapter::request_body::RequestBody;
use crate::call::Call;
use crate::instrumentation::Instrumentation;
use crate::interceptor::{Action, Playback, PlaybackError, RecordedResponse, Timer, UnreadReason};

/// Begins the call of a request; returns `None` if it is no model call.
///
/// With an interceptor, a streaming body is read to its end or to the limit, and sent from what was read.
pub(crate) async fn intercept(
    instrumentation: &Instrumentation,
    parent: &opentelemetry::Context,
    request: &mut Request,
) -> Option<(Call, Action)> {
    if !instrumentation.may_be_model_call(request.method().as_str(), request.url().as_str()) {
        return None;
    }
    if let Some(ready) = instrumentation.ready(parent) {
        ready.await;
    }
    let (mut read, mut unread) = (None, UnreadReason::Streaming);
    if instrumentation.intercepts()
        && let Some(body) = request.body_mut().take_if(|body| body.as_bytes().is_none())
    {
        let mut body = RequestBody::new(body);
        body.read_ahead().await;
        (read, unread) = (body.whole(), body.unread());
        *request.body_mut() = Some(Body::wrap(body));
    }
    let body = read.as_deref().or_else(|| request.body().and_then(Body::as_bytes));
    let seen = crate::Request { method: request.method().as_str(), url: request.url().as_str(), body };
    instrumentation.intercept_in(parent, &seen, request.headers(), unread)
}

/// Replaces the body of a request.
pub(crate) fn alter(request: &mut Request, altered: Bytes) {
    if request.headers().contains_key(CONTENT_LENGTH) {
        request.headers_mut().insert(CONTENT_LENGTH, altered.len().into());
    }
    *request.body_mut() = Some(altered.into());
}

/// Returns the response with a body that is read on its way to the caller.
pub(crate) fn respond(mut call: Call, response: Response) -> Response {
    call.response(response.status().as_u16(), response.headers());
    if !call.is_recording() {
        return response;
    }
    let url = response.url().clone();
    let (parts, body) = http::Response::<Body>::from(response).into_parts();
    let body = InstrumentedBody::with_error_names(body, Some(call), error_type);
    response_at(&url, parts, Body::wrap(body))
}

/// Returns a recorded response as the client's own, at the time of its head.
pub(crate) async fn answer(timer: Timer, mut call: Call, mut recorded: RecordedResponse, url: &Url) -> Response {
    if let Some(waiting) = recorded.head_wait(&timer) {
        waiting.await;
    }
    let body = RecordedBody(Playback::new(&mut recorded, timer));
    call.response(recorded.status.as_u16(), &recorded.headers);
    let (mut parts, ()) = http::Response::new(()).into_parts();
    (parts.status, parts.headers) = (recorded.status, recorded.headers);
    let body = InstrumentedBody::with_error_names(body, Some(call), PlaybackError::name);
    response_at(url, parts, Body::wrap(body))
}

fn response_at(url: &Url, mut parts: http::response::Parts, body: Body) -> Response {
    if let Ok(with_url) = http::Response::builder().url(url.clone()).body(()) {
        parts.extensions.extend(with_url.into_parts().0.extensions);
    }
    http::Response::from_parts(parts, body).into()
}

/// The body of a recorded response.
struct RecordedBody(Playback);

impl http_body::Body for RecordedBody {
    type Data = Bytes;
    type Error = PlaybackError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PlaybackError>>> {
        self.0.poll_chunk(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_finished()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.remaining())
    }
}

/// Returns a name of low cardinality for an error.
pub(crate) fn error_type(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else {
        "reqwest::Error"
    }
}
