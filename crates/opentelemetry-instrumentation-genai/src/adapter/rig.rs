//! A transport for [`rig`](https://docs.rs/rig) around another one.
//!
//! ```
//! # use opentelemetry_instrumentation_genai::{Instrumentation, rig::GenAiHttpClient};
//! # use rig_http::http_client::HttpClientExt;
//! # fn with(transport: impl HttpClientExt + 'static) {
//! let http = GenAiHttpClient::new(transport, Instrumentation::new());
//! // for a provider: `.with_http(http)`
//! # }
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, Request, Response, StatusCode};
use opentelemetry::trace::FutureExt as _;
use rig_http::http_client::multipart::MultipartForm;
use rig_http::http_client::{BoxedStream, Error, HttpClientExt, LazyBody, Result, StreamingResponse};

use crate::call::Call;
use crate::instrumentation::Instrumentation;
use crate::interceptor::{Action, Playback, Ready, RecordedResponse, Refusal, Sleep, UnreadReason};

/// A transport whose model calls are recorded as spans.
#[derive(Debug)]
pub struct GenAiHttpClient<C> {
    inner: Arc<C>,
    instrumentation: Instrumentation,
}

impl<C> Clone for GenAiHttpClient<C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), instrumentation: self.instrumentation.clone() }
    }
}

impl<C> GenAiHttpClient<C> {
    /// Wraps a transport with this instrumentation.
    pub fn new(inner: C, instrumentation: Instrumentation) -> Self {
        Self { inner: Arc::new(inner), instrumentation }
    }

    /// Returns the future that a request awaits if it is a model call.
    fn ready(&self, parent: &opentelemetry::Context, request: &Request<Bytes>) -> Option<Ready> {
        let ready = self.instrumentation.ready(parent)?;
        let url = request.uri().to_string();
        self.instrumentation.may_be_model_call(request.method().as_str(), &url).then_some(ready)
    }

    fn start(&self, request: Request<Bytes>) -> Started {
        let url = request.uri().to_string();
        let seen = crate::Request { method: request.method().as_str(), url: &url, body: Some(request.body()) };
        let parent = opentelemetry::Context::current();
        let unread = UnreadReason::Streaming;
        let Some((call, action)) = self.instrumentation.intercept_in(&parent, &seen, request.headers(), unread) else {
            return Started::Send(None, request);
        };
        let (mut parts, mut body) = request.into_parts();
        match action {
            Action::Pass => {}
            Action::PassAltered(altered) => {
                if parts.headers.contains_key(http::header::CONTENT_LENGTH) {
                    parts.headers.insert(http::header::CONTENT_LENGTH, altered.len().into());
                }
                body = altered;
            }
            Action::Answer(recorded) => {
                return Started::Answer(Box::new(Answer::new(&self.instrumentation, call, recorded)));
            }
            Action::Refuse(refusal) => {
                call.refuse(&refusal);
                return Started::Refuse(refusal);
            }
        }
        self.instrumentation.inject(&call, &mut parts.headers);
        Started::Send(Some(call), Request::from_parts(parts, body))
    }
}

/// Decision on a request. The largest variant is the usual one, and it moves once.
#[allow(clippy::large_enum_variant)]
enum Started {
    Send(Option<Call>, Request<Bytes>),
    Answer(Box<Answer>),
    Refuse(Refusal),
}

/// A recorded response that is still to be delivered.
struct Answer {
    call: Call,
    waiting: Option<Mutex<Sleep>>,
    status: StatusCode,
    headers: HeaderMap,
    playback: Playback,
}

impl Answer {
    fn new(instrumentation: &Instrumentation, call: Call, mut recorded: RecordedResponse) -> Self {
        let timer = instrumentation.timer();
        let waiting = recorded.head_wait(&timer).map(Mutex::new);
        let playback = Playback::new(&mut recorded, timer);
        Self { call, waiting, status: recorded.status, headers: recorded.headers, playback }
    }

    /// Returns the head, and the body as a stream. As in transports, an error status becomes an error with the whole body.
    async fn deliver(mut self: Box<Self>) -> Result<StreamingResponse> {
        if let Some(waiting) = self.waiting.take() {
            waiting.into_inner().unwrap_or_else(PoisonError::into_inner).await;
        }
        let Self { mut call, status, headers, playback, .. } = *self;
        call.response(status.as_u16(), &headers);
        let mut stream = RecordedStream { playback, call: Some(call) };
        if !status.is_success() {
            let body = String::from_utf8_lossy(&stream.collect().await?).into_owned();
            return Err(Error::non_success_with_details(status, headers, body));
        }
        let body: BoxedStream = Box::pin(stream);
        let mut response = Response::new(body);
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        Ok(response)
    }
}

/// The body of a recorded response.
struct RecordedStream {
    playback: Playback,
    call: Option<Call>,
}

impl RecordedStream {
    async fn collect(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(chunk) = std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await {
            body.extend_from_slice(&chunk?);
        }
        Ok(body)
    }
}

impl Stream for RecordedStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        Poll::Ready(match ready!(self.playback.poll_chunk(context)) {
            Some(Ok(bytes)) => {
                if let Some(call) = &mut self.call {
                    call.chunk(&bytes);
                }
                Some(Ok(bytes))
            }
            Some(Err(error)) => {
                self.call.take().into_iter().for_each(|call| call.fail(error.name()));
                Some(Err(Error::instance(error)))
            }
            None => {
                self.call.take().into_iter().for_each(Call::end);
                None
            }
        })
    }
}

/// Ends a call that failed. A transport turns an error status into an error with the body.
fn fail(call: Option<Call>, error: &Error) {
    let Some(mut call) = call else { return };
    match error {
        Error::InvalidStatusCodeWithDetails { status, body, headers } => {
            call.response(status.as_u16(), headers);
            call.chunk(body.as_bytes());
            call.end();
        }
        _ => call.fail("rig_http::Error"),
    }
}

impl<C: HttpClientExt> GenAiHttpClient<C> {
    /// Sends a request that waits for nothing.
    fn send_ready<U>(
        &self,
        request: Request<Bytes>,
    ) -> impl Future<Output = Result<Response<LazyBody<U>>>> + Send + 'static
    where
        U: From<Bytes> + Send + 'static,
    {
        let sent = match self.start(request) {
            Started::Send(call, request) => {
                let context = call.as_ref().map_or_else(opentelemetry::Context::current, |call| call.context().clone());
                let _current = context.clone().attach();
                Ok((call, self.inner.send::<Bytes, Bytes>(request).with_context(context)))
            }
            Started::Answer(answer) => Err(Ok(answer)),
            Started::Refuse(refusal) => Err(Err(refusal)),
        };
        async move {
            let (call, sent) = match sent {
                Ok(sent) => sent,
                Err(Ok(answer)) => {
                    let (parts, mut stream) = answer.deliver().await?.into_parts();
                    let body: LazyBody<U> = Box::pin(async move {
                        let mut body = Vec::new();
                        while let Some(chunk) = std::future::poll_fn(|context| stream.as_mut().poll_next(context)).await
                        {
                            body.extend_from_slice(&chunk?);
                        }
                        Ok(Bytes::from(body).into())
                    });
                    return Ok(Response::from_parts(parts, body));
                }
                Err(Err(refusal)) => return Err(Error::instance(refusal)),
            };
            let response = match sent.await {
                Ok(response) => response,
                Err(error) => {
                    fail(call, &error);
                    return Err(error);
                }
            };
            let (parts, body) = response.into_parts();
            let mut call = call;
            if let Some(call) = &mut call {
                call.response(parts.status.as_u16(), &parts.headers);
            }
            let body: LazyBody<U> = Box::pin(async move {
                match body.await {
                    Ok(bytes) => {
                        if let Some(mut call) = call {
                            call.chunk(&bytes);
                            call.end();
                        }
                        Ok(bytes.into())
                    }
                    Err(error) => {
                        fail(call, &error);
                        Err(error)
                    }
                }
            });
            Ok(Response::from_parts(parts, body))
        }
    }
}

impl<C: HttpClientExt + 'static> HttpClientExt for GenAiHttpClient<C> {
    fn send<T, U>(&self, request: Request<T>) -> impl Future<Output = Result<Response<LazyBody<U>>>> + Send + 'static
    where
        T: Into<Bytes> + Send,
        U: From<Bytes> + Send + 'static,
    {
        let (request, parent) = (request.map(Into::into), opentelemetry::Context::current());
        let sent = match self.ready(&parent, &request) {
            None => Ok(self.send_ready(request)),
            Some(ready) => Err(Box::new((self.clone(), ready, request))),
        };
        let sent = async move {
            match sent {
                Ok(sent) => sent.await,
                Err(waiting) => {
                    let (client, ready, request) = *waiting;
                    ready.await;
                    client.send_ready(request).await
                }
            }
        };
        sent.with_context(parent)
    }

    fn send_multipart<U>(
        &self,
        request: Request<MultipartForm>,
    ) -> impl Future<Output = Result<Response<LazyBody<U>>>> + Send + 'static
    where
        U: From<Bytes> + Send + 'static,
    {
        self.inner.send_multipart(request) // files, no model calls of the conventions
    }

    fn send_streaming<T>(&self, request: Request<T>) -> impl Future<Output = Result<StreamingResponse>> + Send
    where
        T: Into<Bytes> + Send,
    {
        let (request, parent) = (request.map(Into::into), opentelemetry::Context::current());
        let started = match self.ready(&parent, &request) {
            None => Ok(self.start(request)),
            Some(ready) => Err((ready, request)),
        };
        async move {
            let started = match started {
                Ok(started) => started,
                Err((ready, request)) => {
                    ready.await;
                    let _current = parent.attach();
                    self.start(request)
                }
            };
            let (call, request) = match started {
                Started::Send(call, request) => (call, request),
                Started::Answer(answer) => return answer.deliver().await,
                Started::Refuse(refusal) => return Err(Error::instance(refusal)),
            };
            let context = call.as_ref().map_or_else(opentelemetry::Context::current, |call| call.context().clone());
            let response = match self.inner.send_streaming(request).with_context(context).await {
                Ok(response) => response,
                Err(error) => {
                    fail(call, &error);
                    return Err(error);
                }
            };
            let Some(mut call) = call else { return Ok(response) };
            call.response(response.status().as_u16(), response.headers());
            Ok(response.map(|inner| -> BoxedStream { Box::pin(InstrumentedStream { inner, call: Some(call) }) }))
        }
    }
}

/// A stream whose call ends when the stream ends, fails or is dropped.
struct InstrumentedStream {
    inner: BoxedStream,
    call: Option<Call>,
}

impl Stream for InstrumentedStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let polled = self.inner.as_mut().poll_next(context);
        match &polled {
            Poll::Ready(Some(Ok(bytes))) => {
                if let Some(call) = &mut self.call {
                    call.chunk(bytes);
                }
            }
            Poll::Ready(Some(Err(error))) => fail(self.call.take(), error),
            Poll::Ready(None) => self.call.take().into_iter().for_each(Call::end),
            Poll::Pending => {}
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}
