//! `/ws/v1/stream`: live runs, event by event (PROTOCOL.md sections 4 to 7).
//!
//! [`upgrade`] accepts a connection, [`session`] serves it, and [`Live`] tracks which runs are live.

mod agents;
mod live;
mod preauth_limit;
mod session;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

pub(super) use agents::{Agents, NoAgent};
pub(super) use live::{ChangeNotifier, Live};
use session::Session;

use super::error::ApiError;
use super::http::App;

/// Largest number of concurrent WebSockets. Each may hold one frame of the largest size, so the limit is lower than
/// that of other connections; the page always finds a free connection.
pub(super) const MAX_STREAMS: u32 = 64;

/// Permits for WebSockets.
pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_STREAMS as usize))
}

/// Accepts a WebSocket handshake. The client authenticates with its first frame.
pub(super) async fn upgrade(State(app): State<Arc<App>>, mut request: Request) -> Response {
    let accept = match accept_key(request.headers()) {
        Ok(accept) => accept,
        Err(error) => return error.into_response(),
    };
    let Ok(place) = Arc::clone(&app.streams).try_acquire_owned() else {
        return ApiError::busy("too many WebSockets at once").into_response();
    };
    // Browsers always send an `Origin`, this protocol's clients never do (section 2).
    let from_browser = request.headers().contains_key(header::ORIGIN);
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            let session = Session::new(&app, from_browser);
            session.run(TokioIo::new(upgraded)).await;
        }
        drop(place);
    });
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "websocket")];
    (StatusCode::SWITCHING_PROTOCOLS, headers, [(header::SEC_WEBSOCKET_ACCEPT, accept)]).into_response()
}

/// Returns the `Sec-WebSocket-Accept` value of a handshake, or the error of an invalid one.
fn accept_key(headers: &HeaderMap) -> Result<String, ApiError> {
    let has_token = |name: HeaderName, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|each| each.trim().eq_ignore_ascii_case(word))
    };
    if !has_token(header::CONNECTION, "upgrade") || !has_token(header::UPGRADE, "websocket") {
        return Err(ApiError::new(StatusCode::UPGRADE_REQUIRED, "this path is for WebSockets"));
    }
    if !has_token(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(ApiError::new(StatusCode::UPGRADE_REQUIRED, "only version 13 of WebSocket is spoken here"));
    }
    match headers.get(header::SEC_WEBSOCKET_KEY) {
        Some(key) => Ok(derive_accept_key(key.as_bytes())),
        None => Err(ApiError::new(StatusCode::BAD_REQUEST, "the handshake has no `Sec-WebSocket-Key`")),
    }
}
