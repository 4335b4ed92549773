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

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

pub use crate::adapter::http_body::InstrumentedBody;
pub use crate::adapter::request_body::RequestBody;
use crate::call::Call;
use crate::instrumentation::Instrumentation;
use crate::interceptor::{Action, Playback, Ready, RecordedResponse, Refusal, Sleep, Timer};

/// A layer that records spans of the model calls of a client.
#[derive(Clone, Debug)]
pub struct GenAiLayer {
    instrumentation: Instrumentation,
}

impl GenAiLayer {
    /// Creates a layer with this instrumentation.
    #[must_use]
    pub fn new(instrumentation: Instrumentation) -> Self {
        Self { instrumentation }
    }
}

impl<S> Layer<S> for GenAiLayer {
    type Service = GenAiService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GenAiService { inner, instrumentation: self.instrumentation.clone(), waiting: None }
    }
}

/// A client whose model calls are recorded as spans.
pub struct GenAiService<S> {
    inner: S,
    instrumentation: Instrumentation,
    /// Future that the next call awaits. The lock only makes the service `Sync`.
    waiting: Option<Mutex<Ready>>,
}

impl<S: Clone> Clone for GenAiService<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), instrumentation: self.instrumentation.clone(), waiting: None }
    }
}

impl<S: fmt::Debug> fmt::Debug for GenAiService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenAiService")
            .field("inner", &self.inner)
            .field("instrumentation", &self.instrumentation)
            .finish_non_exhaustive()
    }
}

impl<S, B, C> Service<Request<B>> for GenAiService<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<C>>,
    B: Body<Data = Bytes> + Unpin,
    C: Body,
    C::Data: From<Bytes>,
{
    type Response = Response<InstrumentedBody<C>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.waiting.is_none() {
            self.waiting =
                opentelemetry::Context::map_current(|current| self.instrumentation.ready(current)).map(Mutex::new);
        }
        if let Some(ready) = &mut self.waiting {
            ready!(ready.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll(context));
            self.waiting = None;
        }
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let mut body = RequestBody::new(body);
        let mut call = None;
        if let Some(url) = candidate(&self.instrumentation, &parts) {
            body.look_ahead();
            let whole = body.whole();
            let seen = crate::Request { method: parts.method.as_str(), url: &url, body: whole.as_deref() };
            let parent = opentelemetry::Context::current();
            let action;
            (call, action) = self.instrumentation.intercept_in(&parent, &seen, &parts.headers, body.unread()).unzip();
            match action {
                Some(Action::PassAltered(altered)) => {
                    if parts.headers.contains_key(http::header::CONTENT_LENGTH) {
                        parts.headers.insert(http::header::CONTENT_LENGTH, altered.len().into());
                    }
                    body.replace(altered);
                }
                Some(Action::Answer(recorded)) => {
                    return ResponseFuture::recorded(self.instrumentation.timer(), call, recorded, None);
                }
                Some(Action::Refuse(refusal)) => {
                    call.take().into_iter().for_each(|call| call.refuse(&refusal));
                    let timer = self.instrumentation.timer();
                    return ResponseFuture::recorded(timer, None, refusal.response(), Some(refusal));
                }
                Some(Action::Pass) | None => {}
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
        ResponseFuture { source: Source::Sent { inner }, call }
    }
}

/// Returns the URL of a request that may be a model call.
fn candidate(instrumentation: &Instrumentation, parts: &http::request::Parts) -> Option<String> {
    let url = (parts.method == http::Method::POST).then(|| url_of(parts))?;
    instrumentation.may_be_model_call(parts.method.as_str(), &url).then_some(url)
}

/// Returns the URL of a request: its own, or that of the path and the `host` header.
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
    /// Response future of [`GenAiService`]. If it is dropped before the head arrives, the span ends.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        source: Source<F>,
        call: Option<Call>,
    }
}

pin_project! {
    #[project = SourceProjection]
    enum Source<F> {
        Sent { #[pin] inner: F },
        Recorded { answer: Option<Box<Answer>> },
    }
}

/// A recorded response whose head is still to be delivered.
struct Answer {
    recorded: RecordedResponse,
    refusal: Option<Refusal>,
    waiting: Option<Sleep>,
    timer: Timer,
}

impl<F> fmt::Debug for Source<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sent { .. } => "Sent",
            Self::Recorded { .. } => "Recorded",
        })
    }
}

impl<F> ResponseFuture<F> {
    fn recorded(timer: Timer, call: Option<Call>, recorded: RecordedResponse, refusal: Option<Refusal>) -> Self {
        let waiting = recorded.head_wait(&timer);
        let answer = Some(Box::new(Answer { recorded, refusal, waiting, timer }));
        Self { source: Source::Recorded { answer }, call }
    }
}

impl Answer {
    fn response<C: Body>(mut self: Box<Self>, mut call: Option<Call>) -> Response<InstrumentedBody<C>> {
        let playback = Playback::new(&mut self.recorded, self.timer);
        let RecordedResponse { status, headers, .. } = self.recorded;
        if let Some(call) = &mut call {
            call.response(status.as_u16(), &headers);
        }
        let mut response = Response::new(InstrumentedBody::recorded(playback, call));
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        if let Some(refusal) = self.refusal {
            response.extensions_mut().insert(refusal);
        }
        response
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
        let inner = match this.source.project() {
            SourceProjection::Sent { inner } => inner,
            SourceProjection::Recorded { answer } => {
                if let Some(waiting) = answer.as_mut().and_then(|answer| answer.waiting.as_mut()) {
                    ready!(waiting.as_mut().poll(context));
                }
                // Polled again after its end it is pending, because no response is left.
                let Some(answer) = answer.take() else { return Poll::Pending };
                return Poll::Ready(Ok(answer.response(this.call.take())));
            }
        };
        let polled = match this.call {
            Some(call) => {
                let _current = call.context().clone().attach();
                inner.poll(context)
            }
            None => inner.poll(context),
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
