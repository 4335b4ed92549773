//! A middleware for [`reqwest_middleware`](https://docs.rs/reqwest-middleware).
//!
//! ```
//! # use opentelemetry_instrumentation_genai::{Instrumentation, reqwest_middleware::GenAiMiddleware};
//! let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
//!     .with(GenAiMiddleware::new(Instrumentation::new()))
//!     .build();
//! ```

use async_trait::async_trait;
use http::Extensions;
use opentelemetry::trace::FutureExt as _;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};

use crate::adapter::reqwest::{alter, error_type, inject, respond};
use crate::call::Call;
use crate::instrumentation::Instrumentation;

/// Makes spans of the model calls among a client's requests.
#[derive(Clone, Debug)]
pub struct GenAiMiddleware {
    instrumentation: Instrumentation,
}

impl GenAiMiddleware {
    /// With this instrumentation.
    #[must_use]
    pub fn new(instrumentation: Instrumentation) -> Self {
        Self { instrumentation }
    }
}

#[async_trait]
impl Middleware for GenAiMiddleware {
    async fn handle(&self, mut request: Request, extensions: &mut Extensions, next: Next<'_>) -> Result<Response> {
        let Some(call) = start(&self.instrumentation, &mut request) else {
            return next.run(request, extensions).await;
        };
        let context = call.context().clone();
        match next.run(request, extensions).with_context(context).await {
            Ok(response) => Ok(respond(call, response)),
            Err(error) => {
                call.fail(match &error {
                    Error::Reqwest(error) => error_type(error),
                    Error::Middleware(_) => "reqwest_middleware::Error",
                });
                Err(error)
            }
        }
    }
}

/// Begins the call of a request, and alters the request where that was asked for.
fn start(instrumentation: &Instrumentation, request: &mut Request) -> Option<Call> {
    let method = request.method().as_str();
    if !instrumentation.is_candidate(method, request.url().as_str()) {
        return None;
    }
    let body = request.body().and_then(reqwest::Body::as_bytes);
    let seen = crate::Request { method, url: request.url().as_str(), body };
    let call = instrumentation.start(&seen)?;
    let altered = instrumentation.altered(&seen);
    alter(request, altered);
    inject(instrumentation, &call, request.headers_mut());
    Some(call)
}
