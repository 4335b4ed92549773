//! Connections: accepted up to a limit, with timeouts for reads and writes and a graceful shutdown.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::response::Response;
use futures_util::future::join_all;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tower_service::Service as _;

use super::body::Draining;
#[cfg(feature = "grpc")]
use super::grpc_connection::{GrpcConnection, GrpcService};
use super::write_timeout::WriteTimeout;

/// Largest number of concurrent connections; more wait to be accepted.
const MAX_CONNECTIONS: u32 = 256;
/// Delay after a failed accept, which mostly means that the process has too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket, and what it serves.
pub struct Endpoint {
    /// The socket.
    pub listener: TcpListener,
    /// TLS of its connections, if any.
    pub encryption: Encryption,
    /// Service of its connections.
    pub service: Service,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let encrypted = self.encryption.is_some();
        f.debug_struct("Endpoint")
            .field("listener", &self.listener)
            .field("encrypted", &encrypted)
            .finish_non_exhaustive()
    }
}

/// Service of a connection.
#[derive(Clone, Debug)]
pub enum Service {
    /// HTTP/1 with these routes.
    Http(Router),
    /// HTTP/2 with OTLP over gRPC.
    #[cfg(feature = "grpc")]
    Grpc(GrpcService),
}

/// Serves until `stop` completes; then `closing` becomes true and running requests end. `patience` is the time limit of a
/// client for the head of a request and for each part of a response. `grace` is the longest wait for running requests and
/// for `also`.
pub async fn serve(
    endpoints: Vec<Endpoint>,
    patience: Duration,
    closing: &watch::Sender<bool>,
    stop: impl Future<Output = ()>,
    grace: Duration,
    also: impl Future,
) {
    // Each endpoint has its own permits: the persistent connections of exporters do not block the page.
    let places: Vec<_> = endpoints.iter().map(|_| Arc::new(Semaphore::new(MAX_CONNECTIONS as usize))).collect();
    let accepting =
        endpoints.into_iter().zip(&places).map(|(endpoint, places)| accept(endpoint, closing, patience, places));
    tokio::select! {
        () = stop => {}
        _ = join_all(accepting) => {}
    }
    closing.send_replace(true);
    // A connection releases its permit when it ends.
    let connections = join_all(places.iter().map(|places| places.acquire_many(MAX_CONNECTIONS)));
    let over = async { tokio::join!(connections, also) };
    let _ = tokio::time::timeout(grace, over).await;
}

async fn accept(endpoint: Endpoint, closing: &watch::Sender<bool>, patience: Duration, places: &Arc<Semaphore>) {
    let Endpoint { listener, encryption, service } = endpoint;
    let connection = match service {
        Service::Http(router) => {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(patience);
            Connection::Http { http, router, closing: closing.subscribe() }
        }
        #[cfg(feature = "grpc")]
        Service::Grpc(service) => Connection::Grpc(GrpcConnection::new(service, patience, closing.subscribe())),
    };
    while let Ok(place) = Arc::clone(places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Responses are written whole, so Nagle's algorithm has no benefit.
        let _ = stream.set_nodelay(true);
        let stream = WriteTimeout::new(stream, patience);
        let (connection, encryption) = (connection.clone(), encryption.clone());
        tokio::spawn(async move {
            match encryption {
                None => connection.serve(stream).await,
                #[cfg(feature = "tls")]
                Some(acceptor) => {
                    // A client that does not complete the handshake is dropped.
                    if let Ok(Ok(stream)) = tokio::time::timeout(patience, acceptor.accept(stream)).await {
                        connection.serve(stream).await;
                    }
                }
                #[cfg(not(feature = "tls"))]
                Some(never) => match never {},
            }
            drop(place);
        });
    }
}

/// TLS acceptor of the connections, if configured.
#[cfg(feature = "tls")]
pub type Encryption = Option<tokio_rustls::TlsAcceptor>;
/// TLS acceptor of the connections; there is none without the feature `tls`.
#[cfg(not(feature = "tls"))]
pub type Encryption = Option<Never>;

/// Placeholder without the feature `tls`: no connection is encrypted.
#[cfg(not(feature = "tls"))]
#[derive(Clone, Debug)]
pub enum Never {}

/// State of one connection.
#[derive(Clone)]
enum Connection {
    Http {
        http: http1::Builder,
        router: Router,
        closing: watch::Receiver<bool>,
    },
    #[cfg(feature = "grpc")]
    Grpc(GrpcConnection),
}

impl Connection {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let (http, router, mut closing) = match self {
            Self::Http { http, router, closing } => (http, router, closing),
            #[cfg(feature = "grpc")]
            Self::Grpc(connection) => return connection.serve(stream).await,
        };
        let service = service_fn(move |request| answer(router.clone(), request));
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::pin!(connection);
        // The result of a connection is irrelevant: stored data was acknowledged.
        tokio::select! {
            _ = connection.as_mut() => {}
            () = stops(&mut closing) => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
}

/// Completes when the server is stopping.
pub(super) async fn stops(closing: &mut watch::Receiver<bool>) {
    drop(closing.wait_for(|closing| *closing).await);
}

async fn answer(mut router: Router, request: hyper::Request<Incoming>) -> Result<Response, Infallible> {
    let (mut parts, body) = request.into_parts();
    parts.uri = without_double_slash(parts.uri);
    let body = Body::new(Draining::new(body, &parts.headers));
    router.call(Request::from_parts(parts, body)).await
}

/// Removes the second slash of a path: a base URL with a trailing slash makes clients request `//api/…` (PROTOCOL.md
/// section 1).
fn without_double_slash(uri: Uri) -> Uri {
    let Some(rest) = uri.path_and_query().map(PathAndQuery::as_str).filter(|path| path.starts_with("//")) else {
        return uri;
    };
    let path = format!("/{}", rest.trim_start_matches('/')).parse();
    let mut parts = uri.clone().into_parts();
    let Ok(path) = path else { return uri };
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).unwrap_or(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_slashes_are_one() {
        for (sent, meant) in [
            ("/api/v1/traces?limit=1", "/api/v1/traces?limit=1"),
            ("//api/v1/traces?a=//b", "/api/v1/traces?a=//b"),
            ("///", "/"),
            ("/a//b", "/a//b"),
            ("http://localhost//api", "http://localhost/api"),
            ("*", "*"),
        ] {
            assert_eq!(without_double_slash(sent.parse().unwrap()).to_string(), meant);
        }
    }
}
