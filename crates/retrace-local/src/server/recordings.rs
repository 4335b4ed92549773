//! HTTP endpoints of recordings: the eligibility of a run, its cassette, and its replay by an agent (PROTOCOL.md
//! sections 12, 19 and 20).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use retrace_protocol::read::Refusal;
use retrace_protocol::{ServerFrame, write};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::error::ApiError;
use super::forks::{no_agent, origin};
use super::http::{Answer, App, DONE, PathId, Shared, answer, heavy, large, no_trace};
use crate::fork::cassette;
use crate::fork::command::{self, MAX_CASSETTE_BYTES};
use crate::fork::eligibility::{Eligibility, Reason, eligibility};
use crate::ingest;
use crate::store::{Reader, StoreError};

const ELIGIBILITY: &str = "/api/v1/traces/{id}/eligibility";
const CASSETTE: &str = "/api/v1/traces/{id}/cassette";
const REPLAY: &str = "/api/v1/traces/{id}/replay";

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route(ELIGIBILITY, get(eligible)).route(CASSETTE, get(recording)).route(REPLAY, post(replay))
}

#[derive(Serialize)]
struct Eligible {
    #[serde(flatten)]
    eligibility: Eligibility,
    golden: bool,
    /// True if an agent is connected that can execute the run again.
    agent: bool,
}

async fn eligible(State(app): Shared, PathId(id): PathId) -> Answer {
    let missing = no_trace(&id);
    let found = heavy(&app, move |reader| {
        let run = reader.trace(&id, true)?;
        Ok(run.map(|run| {
            let (name, project) = (command::function_name(&run.record), run.record.project_id.clone());
            (eligibility(&run.record), run.golden == Some(true), name, project)
        }))
    });
    let (eligibility, golden, name, project) = found.await?.ok_or(missing)?;
    let agent = app.agents.choose(&name, project.as_deref()).is_ok();
    Ok(answer(StatusCode::OK, &Eligible { eligibility, golden, agent }))
}

/// Form of a recording.
#[derive(Clone, Copy)]
enum Form {
    /// JSON Lines of `retrace-replay`.
    Cassette,
    /// The golden file of the official client.
    Golden,
    /// The list of a `resume` or `replay` frame.
    Frame,
}

async fn recording(State(app): Shared, PathId(id): PathId, uri: Uri) -> Answer {
    let mut form = Form::Cassette;
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if name == "format" {
            form = match &*value {
                "cassette" => Form::Cassette,
                "golden" => Form::Golden,
                "frame" => Form::Frame,
                _ => {
                    let error = "query parameter `format`: expected `cassette`, `golden` or `frame`".to_owned();
                    return Err(Refusal { error, field: Some("format".to_owned()) }.into());
                }
            };
        }
    }
    let missing = no_trace(&id);
    let name = match form {
        Form::Cassette => format!("{}.jsonl", file_name(&id.as_text())),
        Form::Golden => format!("{}.golden.json", file_name(&id.as_text())),
        Form::Frame => format!("{}.json", file_name(&id.as_text())),
    };
    // The writer detects secrets that a recording must not contain; the reason does not show them.
    let (refuse, mut refused) = tokio::sync::oneshot::channel();
    let file = name.clone();
    let written = large(&app, move |reader: &Reader| {
        let run = match form {
            Form::Frame => origin(reader, &id)?.map(|(run, _)| run),
            Form::Cassette | Form::Golden => reader.trace(&id, true)?.map(|run| run.record),
        };
        let Some(run) = run else { return Ok(None) };
        Ok(Some(match form {
            Form::Frame => write::to_string(&cassette::of_frame(run.spans.as_deref().unwrap_or_default()))?,
            Form::Golden => serde_json::to_string_pretty(&cassette::golden(&run)).map_err(StoreError::from)? + "\n",
            Form::Cassette => match cassette::write(&run, &file, Vec::new()) {
                Ok((bytes, _)) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(error) => {
                    let _ = refuse.send(error.to_string());
                    return Ok(None);
                }
            },
        }))
    });
    let mut response: Response = match written.await? {
        Some(response) => response,
        None => match refused.try_recv() {
            Ok(reason) => return Err(ApiError::new(StatusCode::CONFLICT, reason)),
            Err(_) => return Err(missing),
        },
    };
    let headers = response.headers_mut();
    if matches!(form, Form::Cassette) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    }
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

/// Converts an id to a file name.
fn file_name(id: &str) -> String {
    let is_plain = |each: char| each.is_ascii_alphanumeric() || matches!(each, '-' | '_');
    id.chars().take(100).map(|each| if is_plain(each) { each } else { '_' }).collect()
}

#[derive(Default, Deserialize)]
struct ReplayBody {
    /// Also replays a run that is not eligible.
    #[serde(default)]
    force: bool,
}

#[derive(Serialize)]
struct NotEligible {
    error: String,
    reasons: Vec<Reason>,
}

/// Sends a replay of a run to an agent, with model calls answered from the recording.
async fn replay(State(app): Shared, PathId(id): PathId, request: Request) -> Answer {
    let body = if request.headers().contains_key(header::CONTENT_TYPE) {
        app.bodies.json(request).await?.parse(ingest::json::<ReplayBody>).await?.0
    } else {
        // A request without a body uses the defaults.
        app.bodies.discard(request).await?;
        ReplayBody::default()
    };
    let missing = no_trace(&id);
    let found = heavy(&app, move |reader| {
        let Some(stored) = reader.trace(&id, true)? else { return Ok(None) };
        let eligibility = eligibility(&stored.record);
        Ok(origin(reader, &id)?.map(|(run, call)| {
            let agent_of = (command::function_name(&run), run.project_id.clone());
            (eligibility, agent_of, call.map(|call| command::replay(&run, &call)))
        }))
    });
    let (eligibility, (name, project), replay) = found.await?.ok_or(missing)?;
    if !eligibility.eligible && !body.force {
        let error =
            "the run is not eligible for a byte-exact replay: give `force` to replay it all the same".to_owned();
        return Ok(answer(StatusCode::CONFLICT, &NotEligible { error, reasons: eligibility.reasons }).into_response());
    }
    let Some(replay) = replay? else {
        let reason = format!(
            "the recording of the run has more than {MAX_CASSETTE_BYTES} bytes, more than a frame takes: replay its cassette instead"
        );
        return Err(ApiError::new(StatusCode::CONFLICT, reason));
    };
    let chosen = app.agents.choose(&name, project.as_deref()).map_err(no_agent)?;
    let command = ServerFrame::Replay { data: Box::new(replay), other: Map::new() };
    app.agents.send(chosen, command, None).map_err(no_agent)?;
    Ok(answer(StatusCode::ACCEPTED, &DONE))
}
