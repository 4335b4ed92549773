//! Changes of a run as a long poll, which replaces polling by the page.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use retrace_protocol::write;
use tokio::time::{Instant, sleep, sleep_until};

use super::error::ApiError;
use super::http::{App, PathId, large, no_trace, read, stops};
use crate::query::Since;
use crate::store::Reader;

/// Time to wait for a change before an empty response.
const WAIT: Duration = Duration::from_secs(25);
/// Time for which changes are collected before a read: a run may be stored in hundreds of commits a second.
const GATHER: Duration = Duration::from_millis(50);

/// Responds when the run is newer than the state of the client, or with no changes after [`WAIT`].
pub(super) async fn changes(State(app): State<Arc<App>>, PathId(id): PathId, uri: Uri) -> Result<Response, ApiError> {
    let since = Since::parse(uri.query().unwrap_or_default())?;
    let (mut commits, mut lives) = (app.reader.news(), app.live.news());
    let mut closing = app.closing.subscribe();
    let deadline = Instant::now() + WAIT;
    loop {
        let at = id.clone();
        let found = read(&app, move |reader| reader.version(&at)).await?;
        let (mut trace, version) = found.ok_or_else(|| no_trace(&id))?;
        app.live.mark(&mut trace);
        // A version that is older than the client's belongs to another database.
        if version != since.after || trace.live != since.live || Instant::now() >= deadline {
            break;
        }
        tokio::select! {
            _ = commits.changed() => sleep(GATHER).await,
            _ = lives.changed() => {}
            () = sleep_until(deadline) => {}
            () = stops(&mut closing) => return Err(ApiError::busy("the receiver is stopping")),
        }
    }
    let (live, missing) = (Arc::clone(&app.live), no_trace(&id));
    let read = move |reader: &Reader| {
        let Some(mut changes) = reader.changes(&id, since.after)? else { return Ok(None) };
        live.mark(&mut changes.trace);
        Ok(Some(write::to_string(&changes)?))
    };
    large(&app, read).await?.ok_or(missing)
}
