//! What both services have in common: an address, an end, and the trace of whoever calls.

use std::error::Error;

use axum::Router;
use axum::http::HeaderMap;
use opentelemetry::{Context, global};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_retrace::Guard;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

/// Serves on any free port of this machine, which it prints, until the standard input ends.
pub(crate) async fn serve(routes: Router) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("http://{}", listener.local_addr()?);
    let end = async {
        let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    };
    Ok(axum::serve(listener, routes).with_graceful_shutdown(end).await?)
}

/// The trace that a request belongs to.
pub(crate) fn caller(headers: &HeaderMap) -> Context {
    global::get_text_map_propagator(|propagator| propagator.extract(&HeaderExtractor(headers)))
}

/// Headers that hand the trace on.
pub(crate) fn headers(cx: &Context) -> HeaderMap {
    let mut headers = HeaderMap::new();
    global::get_text_map_propagator(|propagator| propagator.inject_context(cx, &mut HeaderInjector(&mut headers)));
    headers
}

/// Sends what there still is, and says what became of it all.
pub(crate) fn say_delivered(name: &str, retrace: &Guard) -> Result<(), Box<dyn Error>> {
    if let Some(provider) = retrace.provider() {
        provider.force_flush()?;
    }
    let stats = retrace.stats();
    println!("{name}: {} spans, {} delivered, {} lost", stats.accepted, stats.delivered, stats.lost.total());
    Ok(())
}
