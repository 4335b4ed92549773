//! Connections: accepted up to a number, read and written with patience up to a limit, ended in good order.

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
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tower_service::Service as _;

use super::body::Draining;
use super::http::{self, App};
use super::patience::Patient;
use super::stream::MAX_STREAMS;

/// How many connections are served at once; more wait to be accepted.
const MAX_CONNECTIONS: u32 = 256;
/// How long to wait after accepting failed, which mostly means that the process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long requests that are being answered may take to end when the receiver stops.
const GRACE: Duration = Duration::from_secs(2);

/// Serves until `stop` ends, then lets requests end that have begun, and WebSockets say goodbye.
pub(super) async fn serve(
    listener: TcpListener,
    app: App,
    patience: Duration,
    encryption: Encryption,
    stop: impl Future<Output = ()>,
) {
    let app = Arc::new(app);
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    tokio::select! {
        () = stop => {}
        () = accept(listener, &app, patience, &encryption, &connections) => {}
    }
    app.closing.send_replace(true);
    // A connection leaves its place when it is over, a WebSocket when all that it has read is stored.
    let over = async { tokio::join!(connections.acquire_many(MAX_CONNECTIONS), app.streams.acquire_many(MAX_STREAMS)) };
    let _ = tokio::time::timeout(GRACE, over).await;
}

async fn accept(
    listener: TcpListener,
    app: &Arc<App>,
    patience: Duration,
    encryption: &Encryption,
    connections: &Arc<Semaphore>,
) {
    let router = http::router(Arc::clone(app));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience);
    while let Ok(place) = Arc::clone(connections).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Answers are written whole, so there is nothing to gain from waiting for more.
        let _ = stream.set_nodelay(true);
        let stream = Patient::new(stream, patience);
        let connection = Connection { http: http.clone(), router: router.clone(), closing: app.closing.subscribe() };
        let encryption = encryption.clone();
        tokio::spawn(async move {
            match encryption {
                None => connection.serve(stream).await,
                #[cfg(feature = "tls")]
                Some(acceptor) => {
                    // A client that does not complete the handshake is let go.
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

/// Encryption of connections, if there is one.
#[cfg(feature = "tls")]
pub(super) type Encryption = Option<tokio_rustls::TlsAcceptor>;
#[cfg(not(feature = "tls"))]
pub(super) type Encryption = Option<Never>;

/// Without the feature `tls` nothing is encrypted.
#[cfg(not(feature = "tls"))]
#[derive(Clone, Debug)]
pub(super) enum Never {}

/// State of one connection.
struct Connection {
    http: http1::Builder,
    router: Router,
    closing: watch::Receiver<bool>,
}

impl Connection {
    async fn serve(mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let router = self.router;
        let service = service_fn(move |request| answer(router.clone(), request));
        let connection = self.http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::pin!(connection);
        // How a connection ends is the client's business: what was stored was answered.
        tokio::select! {
            _ = connection.as_mut() => {}
            () = asked(&mut self.closing) => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
}

/// Ends when the server is asked to stop.
pub(super) async fn asked(closing: &mut watch::Receiver<bool>) {
    drop(closing.wait_for(|closing| *closing).await);
}

async fn answer(mut router: Router, request: hyper::Request<Incoming>) -> Result<Response, Infallible> {
    let (mut parts, body) = request.into_parts();
    parts.uri = without_double_slash(parts.uri);
    let body = Body::new(Draining::new(body, &parts.headers));
    router.call(Request::from_parts(parts, body)).await
}

/// A base URL that ends in a slash makes clients ask for `//api/…` (PROTOCOL.md section 1): the same is meant.
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
