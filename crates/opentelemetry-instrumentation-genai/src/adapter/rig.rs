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
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use http::{Request, Response};
use opentelemetry::trace::FutureExt as _;
use rig_http::http_client::multipart::MultipartForm;
use rig_http::http_client::{BoxedStream, Error, HttpClientExt, LazyBody, Result, StreamingResponse};

use crate::call::Call;
use crate::instrumentation::Instrumentation;

/// A transport whose model calls become spans.
#[derive(Clone, Debug)]
pub struct GenAiHttpClient<C> {
    inner: C,
    instrumentation: Instrumentation,
}

impl<C> GenAiHttpClient<C> {
    /// Around this transport, with this instrumentation.
    pub fn new(inner: C, instrumentation: Instrumentation) -> Self {
        Self { inner, instrumentation }
    }

    fn start(&self, request: Request<Bytes>) -> (Option<Call>, Request<Bytes>) {
        let url = request.uri().to_string();
        let seen = crate::Request { method: request.method().as_str(), url: &url, body: Some(request.body()) };
        let Some(call) = self.instrumentation.start(&seen) else { return (None, request) };
        let altered = self.instrumentation.altered(&seen);
        let (mut parts, body) = request.into_parts();
        let body = altered.map_or(body, |altered| {
            if parts.headers.contains_key(http::header::CONTENT_LENGTH) {
                parts.headers.insert(http::header::CONTENT_LENGTH, altered.len().into());
            }
            altered.into()
        });
        self.instrumentation.inject(&call, &mut parts.headers);
        (Some(call), Request::from_parts(parts, body))
    }
}

/// A transport makes an error of a status that is none of success, with what came.
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

impl<C: HttpClientExt> HttpClientExt for GenAiHttpClient<C> {
    fn send<T, U>(&self, request: Request<T>) -> impl Future<Output = Result<Response<LazyBody<U>>>> + Send + 'static
    where
        T: Into<Bytes> + Send,
        U: From<Bytes> + Send + 'static,
    {
        let (call, request) = self.start(request.map(Into::into));
        let context = call.as_ref().map_or_else(opentelemetry::Context::current, |call| call.context().clone());
        let sent = {
            let _current = context.clone().attach();
            self.inner.send::<Bytes, Bytes>(request)
        };
        async move {
            let response = match sent.with_context(context).await {
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
        let (call, request) = self.start(request.map(Into::into));
        async move {
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
