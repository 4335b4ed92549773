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
use super::grpc::GrpcConnection;
use super::http::{self, App};
use super::stream::MAX_STREAMS;
use super::write_timeout::WriteTimeout;

/// Largest number of concurrent connections; more wait to be accepted.
const MAX_CONNECTIONS: u32 = 256;
/// Delay after a failed accept, which mostly means that the process has too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time that running requests have to end when the receiver stops.
const GRACE: Duration = Duration::from_secs(2);

/// A socket, and the protocol of its connections.
pub(super) struct Endpoint {
    pub(super) listener: TcpListener,
    pub(super) encryption: Encryption,
    pub(super) protocol: Protocol,
}

/// Protocol of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Protocol {
    /// HTTP/1: the API, the page, WebSockets and OTLP over HTTP.
    Http,
    /// HTTP/2: OTLP over gRPC.
    #[cfg(feature = "grpc")]
    Grpc,
}

/// Serves until `stop` completes, then lets running requests end and closes WebSockets.
pub(super) async fn serve(endpoints: Vec<Endpoint>, app: App, patience: Duration, stop: impl Future<Output = ()>) {
    let app = Arc::new(app);
    // Each endpoint has its own permits: the persistent connections of exporters do not block the page.
    let places: Vec<_> = endpoints.iter().map(|_| Arc::new(Semaphore::new(MAX_CONNECTIONS as usize))).collect();
    let accepting =
        endpoints.into_iter().zip(&places).map(|(endpoint, places)| accept(endpoint, &app, patience, places));
    tokio::select! {
        () = stop => {}
        _ = join_all(accepting) => {}
    }
    app.closing.send_replace(true);
    // A connection releases its permit when it ends, a WebSocket when all frames that it has read are stored.
    let connections = join_all(places.iter().map(|places| places.acquire_many(MAX_CONNECTIONS)));
    let over = async { tokio::join!(connections, app.streams.acquire_many(MAX_STREAMS)) };
    let _ = tokio::time::timeout(GRACE, over).await;
}

async fn accept(endpoint: Endpoint, app: &Arc<App>, patience: Duration, places: &Arc<Semaphore>) {
    let Endpoint { listener, encryption, protocol } = endpoint;
    let connection = match protocol {
        Protocol::Http => {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(patience);
            Connection::Http { http, router: http::router(Arc::clone(app)), closing: app.closing.subscribe() }
        }
        #[cfg(feature = "grpc")]
        Protocol::Grpc => Connection::Grpc(GrpcConnection::new(Arc::clone(app), patience)),
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
pub(super) type Encryption = Option<tokio_rustls::TlsAcceptor>;
#[cfg(not(feature = "tls"))]
pub(super) type Encryption = Option<Never>;

/// Placeholder without the feature `tls`: no connection is encrypted.
#[cfg(not(feature = "tls"))]
#[derive(Clone, Debug)]
pub(super) enum Never {}

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
            () = asked(&mut closing) => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
}

/// Completes when the server is stopping.
pub(super) async fn asked(closing: &mut watch::Receiver<bool>) {
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
