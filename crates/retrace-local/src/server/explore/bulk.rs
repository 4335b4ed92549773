//! Deletion and export of many runs.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use futures_util::stream;
use retrace_protocol::{Id, write};
use serde::{Deserialize, Serialize};

use super::blame;
use crate::ingest;
use crate::otlp_export::otlp_json;
use crate::server::http::{Answer, App, PathId, Shared, answer, large, no_trace, read};
use crate::store::{Change, Outcome, Reader};

/// Largest number of runs in one request.
const RUNS: usize = 1_000;

/// The runs to delete or export.
#[derive(Debug, Deserialize)]
struct Runs {
    ids: Vec<Id>,
}

/// Numbers of runs that were removed, and that did not exist.
#[derive(Debug, Serialize)]
struct Deleted {
    deleted: usize,
    missing: usize,
}

async fn runs(app: &App, request: Request) -> Result<Vec<Id>, crate::server::error::ApiError> {
    let (runs, _room) = app.bodies.json(request).await?.parse(ingest::json::<Runs>).await?;
    if runs.ids.len() > RUNS {
        return Err(blame("ids", format!("{} ids, at most {RUNS} are taken at once", runs.ids.len())).into());
    }
    Ok(runs.ids)
}

pub(super) async fn delete(State(app): Shared, request: Request) -> Answer {
    let ids = runs(&app, request).await?;
    let mut answered = Deleted { deleted: 0, missing: 0 };
    for id in ids {
        // The buffered OTLP data of the run would restore it.
        app.recording.forget(&id).await;
        match app.writer.write(Change::Delete(id), None).await? {
            Outcome::Done | Outcome::Merged => answered.deleted += 1,
            Outcome::Unknown | Outcome::Exists | Outcome::Superseded | Outcome::Expired => answered.missing += 1,
        }
    }
    Ok(answer(StatusCode::OK, &answered))
}

/// Responds with a run as OTLP JSON.
pub(super) async fn otlp(State(app): Shared, PathId(id): PathId) -> Answer {
    let missing = no_trace(&id);
    let read = move |reader: &Reader| {
        let Some(run) = reader.trace(&id, true)? else { return Ok(None) };
        Ok(Some(write::to_string(&otlp_json(&run.record))?))
    };
    large(&app, read).await?.ok_or(missing)
}

/// Answers with a line of JSON for each run that is there, whole, in the order of the ids. One is in memory at a time.
pub(super) async fn export(State(app): Shared, request: Request) -> Answer {
    let ids = runs(&app, request).await?.into_iter();
    let lines = stream::unfold((app, ids), |(app, mut ids): (Arc<App>, std::vec::IntoIter<Id>)| async move {
        loop {
            let id = ids.next()?;
            let line =
                read(&app, move |reader| Ok(reader.trace(&id, true)?.map(|run| write::to_string(&run)).transpose()?));
            // A run that cannot be read truncates the response, which the client detects.
            match line.await {
                Ok(Some(line)) => return Some((Ok::<_, Infallible>(Bytes::from(line + "\n")), (app, ids))),
                Ok(None) => {}
                Err(_) => return None,
            }
        }
    });
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((StatusCode::OK, headers, Body::from_stream(lines)).into_response())
}
