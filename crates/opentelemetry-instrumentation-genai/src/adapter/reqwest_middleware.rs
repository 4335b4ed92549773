//! A middleware for [`reqwest_middleware`](https://docs.rs/reqwest-middleware).
//!
//! ```
//! # use opentelemetry_instrumentation_genai::{Instrumentation, reqwest_middleware::GenAiMiddleware};
//! let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
//!     .with(GenAiMiddleware::new(Instrumentation::new()))
//!     .build();
//! ```
//!
//! `.json(…)`, `.form(…)` and `.query(…)` of the client's requests are features of `reqwest-middleware`.

use async_trait::async_trait;
use http::Extensions;
use opentelemetry::Context;
use opentelemetry::trace::FutureExt as _;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};

use crate::adapter::reqwest::{alter, answer, error_type, intercept, respond};
use crate::instrumentation::Instrumentation;
use crate::interceptor::Action;

/// A middleware that records spans of the model calls of a client.
#[derive(Clone, Debug)]
pub struct GenAiMiddleware {
    instrumentation: Instrumentation,
}

impl GenAiMiddleware {
    /// Creates a middleware with this instrumentation.
    #[must_use]
    pub fn new(instrumentation: Instrumentation) -> Self {
        Self { instrumentation }
    }
}

#[async_trait]
impl Middleware for GenAiMiddleware {
    async fn handle(&self, mut request: Request, extensions: &mut Extensions, next: Next<'_>) -> Result<Response> {
        let parent = Context::current();
        let Some((call, action)) = intercept(&self.instrumentation, &parent, &mut request).await else {
            return next.run(request, extensions).await;
        };
        match action {
            Action::Pass => {}
            Action::PassAltered(altered) => alter(&mut request, altered),
            Action::Answer(recorded) => {
                return Ok(answer(self.instrumentation.timer(), call, recorded, request.url()).await);
            }
            Action::Refuse(refusal) => {
                call.refuse(&refusal);
                return Err(Error::middleware(refusal));
            }
        }
        self.instrumentation.inject(&call, request.headers_mut());
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
