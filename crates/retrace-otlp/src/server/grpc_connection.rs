//! gRPC connections: HTTP/2 with limits of streams, headers and time.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{Request, Response};
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::sleep;
use tonic::body::Body;

use super::Receiver;
use super::grpc;
use super::listener::stops;

/// Largest number of concurrent calls on one connection.
const MAX_STREAMS: u32 = 16;
/// Bytes that a connection may send before they are read, over all its calls. With the largest number of connections this is
/// 64 MiB; what is read of a request counts as a body.
const WINDOW_BYTES: u32 = 256 * 1024;
/// Limit of the headers of one call, in bytes.
const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// Service of gRPC calls.
#[derive(Clone)]
pub struct GrpcService(Arc<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<Body>> + Send + Sync>);

impl GrpcService {
    /// Creates the services `TraceService`, `LogsService` and `MetricsService` of OTLP.
    pub fn new<R: Receiver>(receiver: Arc<R>) -> Self {
        Self(Arc::new(move |request| Box::pin(grpc::answer(Arc::clone(&receiver), request))))
    }
}

impl fmt::Debug for GrpcService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcService").finish_non_exhaustive()
    }
}

/// Serves a gRPC connection.
#[derive(Clone)]
pub(super) struct GrpcConnection {
    service: GrpcService,
    http: http2::Builder<TokioExecutor>,
    patience: Duration,
    closing: watch::Receiver<bool>,
}

impl GrpcConnection {
    /// Creates a connection whose peer may be idle for `patience` before a ping, and as long until its answer.
    pub(super) fn new(service: GrpcService, patience: Duration, closing: watch::Receiver<bool>) -> Self {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_connection_window_size(WINDOW_BYTES)
            .initial_stream_window_size(WINDOW_BYTES)
            .max_header_list_size(MAX_HEADER_BYTES)
            .keep_alive_interval(patience)
            .keep_alive_timeout(patience);
        Self { service, http, patience, closing }
    }

    pub(super) async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { service: GrpcService(answer), http, patience, mut closing } = self;
        let has_called = Arc::new(AtomicBool::new(false));
        let called = Arc::clone(&has_called);
        let service = service_fn(move |request| {
            called.store(true, Ordering::Relaxed);
            let answered = answer(request);
            async move { Ok::<_, Infallible>(answered.await) }
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let silent = async {
            sleep(patience).await;
            if has_called.load(Ordering::Relaxed) {
                pending::<()>().await;
            }
        };
        tokio::select! {
            _ = connection.as_mut() => return,
            // A peer without a call by then may not speak HTTP/2 at all. Pings keep other connections alive.
            () = silent => return,
            () = stops(&mut closing) => {}
        }
        connection.as_mut().graceful_shutdown();
        // A connection without a call is not waited for.
        if has_called.load(Ordering::Relaxed) {
            let _ = connection.await;
        }
    }
}
