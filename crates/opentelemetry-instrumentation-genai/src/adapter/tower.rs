//! A `tower` layer over requests and responses of the `http` crate, for hyper and everything built on it.
//!
//! ```
//! # use opentelemetry_instrumentation_genai::{Instrumentation, tower::GenAiLayer};
//! # use tower_layer::Layer as _;
//! # fn with<S>(client: S) {
//! let service = GenAiLayer::new(Instrumentation::new()).layer(client);
//! # }
//! ```
//!
//! Put it outside of what decompresses responses, and inside of what repeats requests if each attempt is to have a span.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

pub use crate::adapter::http_body::InstrumentedBody;
use crate::call::Call;
use crate::instrumentation::Instrumentation;

/// Makes a client one whose model calls become spans.
#[derive(Clone, Debug)]
pub struct GenAiLayer {
    instrumentation: Instrumentation,
}

impl GenAiLayer {
    /// With this instrumentation.
    #[must_use]
    pub fn new(instrumentation: Instrumentation) -> Self {
        Self { instrumentation }
    }
}

impl<S> Layer<S> for GenAiLayer {
    type Service = GenAiService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GenAiService { inner, instrumentation: self.instrumentation.clone() }
    }
}

/// A client whose model calls become spans.
#[derive(Clone, Debug)]
pub struct GenAiService<S> {
    inner: S,
    instrumentation: Instrumentation,
}

/// The most of a request body that is looked at before it is sent, in bytes.
const MAX_REQUEST: usize = 32 * 1024 * 1024;

impl<S, B, C> Service<Request<B>> for GenAiService<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<C>>,
    B: Body<Data = Bytes> + Unpin,
    C: Body,
{
    type Response = Response<InstrumentedBody<C>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let mut body = RequestBody::new(body);
        let url = url_of(&parts);
        let method = parts.method.as_str();
        let mut call = None;
        if self.instrumentation.is_candidate(method, &url) {
            body.look_ahead();
            let seen = body.whole();
            let seen = crate::Request { method, url: &url, body: seen.as_deref() };
            call = self.instrumentation.start(&seen);
            if call.is_some()
                && let Some(altered) = self.instrumentation.altered(&seen)
            {
                let length = altered.len();
                body.replace(Bytes::from(altered));
                if parts.headers.contains_key(http::header::CONTENT_LENGTH) {
                    parts.headers.insert(http::header::CONTENT_LENGTH, length.into());
                }
            }
        }
        if let Some(call) = &call {
            self.instrumentation.inject(call, &mut parts.headers);
        }
        let request = Request::from_parts(parts, body);
        let inner = match &call {
            Some(call) => {
                let _current = call.context().clone().attach();
                self.inner.call(request)
            }
            None => self.inner.call(request),
        };
        ResponseFuture { inner, call }
    }
}

/// The URL of a request: its own, or made of the path and the `host` header.
fn url_of(parts: &http::request::Parts) -> String {
    if parts.uri.authority().is_some() {
        return parts.uri.to_string();
    }
    let host = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    match host {
        Some(host) => format!("https://{host}{}", parts.uri),
        None => parts.uri.to_string(),
    }
}

pin_project! {
    /// What a call of [`GenAiService`] waits for. Dropped before the head has come, it ends the span.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        call: Option<Call>,
    }
}

impl<F, C, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<C>, E>>,
    C: Body,
{
    type Output = Result<Response<InstrumentedBody<C>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = match this.call {
            Some(call) => {
                let _current = call.context().clone().attach();
                this.inner.poll(context)
            }
            None => this.inner.poll(context),
        };
        polled.map(|result| match result {
            Ok(response) => {
                let mut call = this.call.take();
                if let Some(call) = &mut call {
                    call.response(response.status().as_u16(), response.headers());
                }
                Ok(response.map(|body| InstrumentedBody::new(body, call)))
            }
            Err(error) => {
                if let Some(call) = this.call.take() {
                    call.fail(std::any::type_name::<E>());
                }
                Err(error)
            }
        })
    }
}

/// A request body that may have been looked at: the frames that were, then the rest.
pub struct RequestBody<B: Body> {
    seen: VecDeque<Frame<Bytes>>,
    length: usize,
    /// What looking failed of; whoever sends it is told.
    failed: Option<B::Error>,
    inner: Option<B>,
    ended: bool,
}

impl<B: Body> fmt::Debug for RequestBody<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RequestBody").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl<B: Body<Data = Bytes> + Unpin> RequestBody<B> {
    fn new(inner: B) -> Self {
        Self { seen: VecDeque::new(), length: 0, failed: None, inner: Some(inner), ended: false }
    }

    /// Takes what is there without waiting. Bytes are shared, not copied.
    fn look_ahead(&mut self) {
        let Some(inner) = &mut self.inner else { return };
        if inner.size_hint().exact().is_none_or(|size| size > MAX_REQUEST as u64) {
            return; // a body that does not know its length is one that waits
        }
        let mut context = Context::from_waker(Waker::noop());
        while self.length < MAX_REQUEST && !inner.is_end_stream() {
            match Pin::new(&mut *inner).poll_frame(&mut context) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.length += frame.data_ref().map_or(0, Bytes::len);
                    self.seen.push_back(frame);
                }
                Poll::Ready(None) => break,
                Poll::Ready(Some(Err(error))) => {
                    self.failed = Some(error);
                    return;
                }
                Poll::Pending => return,
            }
        }
        self.ended = true;
    }

    /// All of it, where all of it has been seen.
    fn whole(&self) -> Option<Bytes> {
        if !self.ended {
            return None;
        }
        let mut data = self.seen.iter().filter_map(|frame| frame.data_ref());
        let first = data.next().cloned().unwrap_or_default();
        let rest: Vec<&Bytes> = data.collect();
        if rest.is_empty() {
            return Some(first);
        }
        let mut joined = first.to_vec();
        rest.into_iter().for_each(|bytes| joined.extend_from_slice(bytes));
        Some(joined.into())
    }

    fn replace(&mut self, bytes: Bytes) {
        self.length = bytes.len();
        self.seen = VecDeque::from([Frame::data(bytes)]);
        (self.inner, self.ended) = (None, true);
    }
}

/// The error of a body is not pinned: it is handed on by value.
impl<B: Body + Unpin> Unpin for RequestBody<B> {}

impl<B: Body<Data = Bytes> + Unpin> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(frame) = self.seen.pop_front() {
            self.length -= frame.data_ref().map_or(0, Bytes::len);
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.seen.is_empty() && self.failed.is_none() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let seen = self.length as u64;
        let rest = self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(seen));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(seen));
        }
        hint
    }
}
