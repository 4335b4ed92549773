//! A layer for the HTTP service of [`async-openai`](https://docs.rs/async-openai), its feature `middleware`.
//!
//! ```
//! # use opentelemetry_instrumentation_genai::{Instrumentation, async_openai::GenAiLayer};
//! # use tower_layer::Layer as _;
//! use async_openai::middleware::ReqwestService;
//!
//! let service = GenAiLayer::new(Instrumentation::new()).layer(ReqwestService::new(reqwest::Client::new()));
//! let client = async_openai::Client::new().with_http_service(service);
//! ```
//!
//! Outside of its retry layer a span covers all attempts, inside there is one for each.

use std::any::type_name;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use bytes::Bytes;
use opentelemetry::trace::FutureExt as _;
use reqwest::Response;
use tower_layer::Layer;
use tower_service::Service;

use crate::adapter::reqwest::{alter, answer, error_type, intercept, respond};
use crate::instrumentation::Instrumentation;
use crate::interceptor::Action;

/// A layer that records spans of the model calls of a service.
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
        GenAiService { inner, instrumentation: self.instrumentation.clone() }
    }
}

/// A service whose model calls are recorded as spans.
#[derive(Clone, Debug)]
pub struct GenAiService<S> {
    inner: S,
    instrumentation: Instrumentation,
}

impl<S> Service<HttpRequestFactory> for GenAiService<S>
where
    S: Service<HttpRequestFactory, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: From<OpenAIError> + Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, factory: HttpRequestFactory) -> Self::Future {
        let instrumentation = self.instrumentation.clone();
        // The service that was polled ready makes the call.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let parent = opentelemetry::Context::current();
        Box::pin(async move {
            // This request is only inspected; the inner service builds one for every attempt.
            let mut request = factory.build().await?;
            let Some((call, action)) = intercept(&instrumentation, &parent, &mut request).await else {
                return inner.call(factory).await;
            };
            let altered = match action {
                Action::Pass => None,
                Action::PassAltered(altered) => Some(altered),
                Action::Answer(recorded) => {
                    return Ok(answer(instrumentation.timer(), call, recorded, request.url()).await);
                }
                Action::Refuse(refusal) => {
                    call.refuse(&refusal);
                    return Err(OpenAIError::Boxed(Box::new(refusal)).into());
                }
            };
            let factory = if altered.is_some() || instrumentation.propagates() {
                let mut headers = http::HeaderMap::new();
                instrumentation.inject(&call, &mut headers);
                rewritten(factory, altered, headers)
            } else {
                factory
            };
            let context = call.context().clone();
            let sent = {
                let _current = context.clone().attach();
                inner.call(factory)
            };
            match sent.with_context(context).await {
                Ok(response) => Ok(respond(call, response)),
                Err(error) => {
                    call.fail(named(&error));
                    Err(error)
                }
            }
        })
    }
}

/// Returns a factory of requests with the rewritten body and headers.
fn rewritten(factory: HttpRequestFactory, body: Option<Bytes>, headers: http::HeaderMap) -> HttpRequestFactory {
    HttpRequestFactory::new(move || {
        let (factory, body, headers) = (factory.clone(), body.clone(), headers.clone());
        async move {
            let mut request = factory.build().await?;
            if let Some(body) = body {
                alter(&mut request, body);
            }
            request.headers_mut().extend(headers);
            Ok(request)
        }
    })
}

fn named<E: 'static>(error: &E) -> &'static str {
    match (error as &dyn std::any::Any).downcast_ref::<OpenAIError>() {
        Some(OpenAIError::Reqwest(error)) => error_type(error),
        _ => type_name::<E>(),
    }
}
