//! Upgrade of a connection to a WebSocket.

use std::time::Duration;

use http::header::{CONNECTION, ORIGIN, UPGRADE, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tower_service::Service as _;

use super::socket::{Socket, bounds};
use super::write_buffer::WriteBuffer;
use crate::config::secret::ApiKey;
use crate::config::{BaseUrl, BuildError};
use crate::delivery::{CloseReason, Closed};
use crate::transport::connect::{Connector, Stream};
use crate::transport::http::US;
use crate::transport::peer_message::{causes, peer_message};

/// Timeout of the response to the upgrade.
pub(super) const UPGRADE_TIMEOUT: Duration = Duration::from_secs(5);

/// Target and headers of the upgrade.
#[derive(Clone, Debug)]
pub(super) struct Upgrade {
    /// URI for the connector, which expects `https`.
    address: Uri,
    /// URI for the request, which expects `wss`.
    url: Uri,
    /// Further headers, such as a gateway may require. The key is never among them: it goes into the first
    /// frame.
    headers: HeaderMap,
}

impl Upgrade {
    /// Creates the request for the stream below a base URL.
    pub(super) fn new(base: &BaseUrl, path: &str, headers: &HeaderMap) -> Result<Self, BuildError> {
        let problem = |error: http::Error| BuildError::Client { problem: error.to_string() };
        let address: Uri = base.join(path).parse().map_err(|error: http::uri::InvalidUri| problem(error.into()))?;
        let mut parts = address.clone().into_parts();
        let scheme = if base.is_secure() { "wss" } else { "ws" };
        parts.scheme = Some(Scheme::try_from(scheme).map_err(|error| problem(error.into()))?);
        let url = Uri::from_parts(parts).map_err(|error| problem(error.into()))?;
        let mut headers = headers.clone();
        headers.insert(USER_AGENT, US);
        Ok(Self { address, url, headers })
    }

    /// Connects, directly or through a proxy. The connector has a timeout of its own.
    pub(super) async fn connect(&self, mut connector: Connector) -> Result<TokioIo<Stream>, Closed> {
        let connected = match std::future::poll_fn(|cx| connector.poll_ready(cx)).await {
            Ok(()) => connector.call(self.address.clone()).await,
            Err(error) => Err(error),
        };
        connected
            .map(TokioIo::new)
            .map_err(|error| Closed::new(CloseReason::NotConnected, format!("no connection: {}", causes(&*error))))
    }

    /// Requests the upgrade. Redirects are not followed.
    pub(super) async fn ask<S>(&self, stream: S, api_key: &ApiKey, serves: bool) -> Result<Socket<S>, Closed>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let request = self.request().map_err(|cause| Closed::new(CloseReason::NotConnected, cause))?;
        let asking = client_async_with_config(request, WriteBuffer::new(stream), Some(bounds(serves)));
        match timeout(UPGRADE_TIMEOUT, asking).await {
            Ok(Ok((ws, _))) => Ok(Socket::new(ws)),
            Ok(Err(error)) => {
                let closed = Closed::refused(&error, api_key);
                Err(Closed { cause: peer_message(&closed.cause, api_key).unwrap_or_default(), ..closed })
            }
            Err(_) => Err(Closed::new(CloseReason::NotConnected, "the upgrade was not answered in time")),
        }
    }

    fn request(&self) -> Result<Request<()>, String> {
        let mut request = (&self.url).into_client_request().map_err(|error| error.to_string())?;
        let ours = |name: &HeaderName| {
            [CONNECTION, UPGRADE, ORIGIN].contains(name) || name.as_str().starts_with("sec-websocket-")
        };
        for name in self.headers.keys().filter(|name| !ours(name)) {
            request.headers_mut().remove(name);
            for value in self.headers.get_all(name) {
                request.headers_mut().append(name.clone(), value.clone());
            }
        }
        Ok(request)
    }
}
