//! gRPC connections: HTTP/2 with limits of streams, headers and time.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::http::App;
use super::listener::asked;
use super::otlp;

/// Largest number of concurrent calls on one connection.
const MAX_STREAMS: u32 = 16;
/// Limit of the headers of one call, in bytes.
const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// Serves a gRPC connection.
#[derive(Clone)]
pub(super) struct GrpcConnection {
    app: Arc<App>,
    http: http2::Builder<TokioExecutor>,
    patience: Duration,
}

impl GrpcConnection {
    /// Creates a connection whose peer may be idle for `patience` before a ping, and as long until its answer.
    pub(super) fn new(app: Arc<App>, patience: Duration) -> Self {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADER_BYTES)
            .keep_alive_interval(patience)
            .keep_alive_timeout(patience);
        Self { app, http, patience }
    }

    pub(super) async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { app, http, patience } = self;
        let (mut closing, has_called) = (app.closing.subscribe(), Arc::new(AtomicBool::new(false)));
        let called = Arc::clone(&has_called);
        let service = service_fn(move |request| {
            called.store(true, Ordering::Relaxed);
            let app = Arc::clone(&app);
            async move { Ok::<_, Infallible>(otlp::grpc::answer(app, request).await) }
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
            () = asked(&mut closing) => {}
        }
        connection.as_mut().graceful_shutdown();
        // A connection without a call is not waited for.
        if has_called.load(Ordering::Relaxed) {
            let _ = connection.await;
        }
    }
}
