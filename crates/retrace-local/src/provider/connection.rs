//! Connections of clients.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use retrace_otlp::server::WriteTimeout;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

use super::{Shared, http};

/// Largest number of concurrent connections; more wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
/// Time that a client has to send the head of a request, or to begin the next one.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// Time after which a client that accepts no more of a response is dropped.
const WRITE_TIME: Duration = Duration::from_secs(60);
/// Delay after a failed accept, which mostly means that the process has too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the sender of `stopped` is dropped. Open connections are then dropped.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    tokio::select! {
        _ = stopped => {}
        () = accept(listener, shared) => {}
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Each chunk of a stream is sent at once.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(http::answer(shared, request).await) }
        });
        let connection = http.serve_connection(TokioIo::new(WriteTimeout::new(stream, WRITE_TIME)), service);
        tokio::spawn(async move {
            // The result of a connection is irrelevant.
            let _ = connection.await;
            drop(place);
        });
    }
}
