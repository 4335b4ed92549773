//! Client that makes the HTTP requests: the built-in one, or one of the application.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_http::HttpClient;

use crate::config::{BuildError, Config};
use crate::delivery::Body;
use crate::transport::connect::Connector;
use crate::transport::peer_message::causes;

/// Client of the application.
pub(crate) type GivenClient = Arc<dyn HttpClient>;

/// Time for which an idle connection is kept; shorter than the limits of common servers and proxies.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// HTTP client. The built-in one follows no redirects, so that the API key goes nowhere but to the receiver.
pub(super) enum Client {
    BuiltIn(legacy::Client<Connector, Body>),
    Given(GivenClient),
}

/// Reason why a request has no response.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection was made, so the receiver cannot have the request.
    NotSent(String),
    /// The receiver may have the request.
    Broken(String),
}

impl Failure {
    pub(super) fn into_cause(self) -> String {
        match self {
            Self::NotSent(cause) | Self::Broken(cause) => cause,
        }
    }
}

/// Body of a response, read piece by piece.
#[derive(Debug)]
pub(super) enum ResponseBody {
    Stream(Incoming),
    Whole(Bytes),
}

impl Client {
    /// Creates the client. It connects nowhere yet, and needs no runtime.
    pub(super) fn new(config: &Config, given: Option<GivenClient>) -> Result<Self, BuildError> {
        Ok(match given {
            Some(client) => Self::Given(client),
            None => Self::BuiltIn(
                legacy::Client::builder(TokioExecutor::new())
                    .pool_timer(TokioTimer::new())
                    .pool_idle_timeout(IDLE_TIMEOUT)
                    .build(Connector::new(config)?),
            ),
        })
    }

    /// Makes one request. A client of the application that panics has failed to send it.
    pub(super) async fn request(&self, request: Request<Body>) -> Result<Response<ResponseBody>, Failure> {
        match self {
            Self::BuiltIn(client) => match client.request(request).await {
                Ok(response) => Ok(response.map(ResponseBody::Stream)),
                Err(error) if error.is_connect() => Err(Failure::NotSent(causes(&error))),
                Err(error) => Err(Failure::Broken(causes(&error))),
            },
            Self::Given(client) => {
                let request = request.map(Body::into_bytes);
                // The call that creates the future may panic as well.
                let sent = AssertUnwindSafe(async move { client.send_bytes(request).await }).catch_unwind();
                match sent.await {
                    Ok(Ok(response)) => Ok(response.map(ResponseBody::Whole)),
                    Ok(Err(error)) => Err(Failure::Broken(causes(&*error))),
                    Err(_) => Err(Failure::Broken("the HTTP client of the application panicked".to_owned())),
                }
            }
        }
    }
}

impl ResponseBody {
    /// Returns the next bytes; `None` at the end, also at a premature one.
    pub(super) async fn next_piece(&mut self) -> Option<Bytes> {
        match self {
            Self::Stream(body) => {
                let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?.ok()?;
                Some(frame.into_data().unwrap_or_default())
            }
            Self::Whole(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
