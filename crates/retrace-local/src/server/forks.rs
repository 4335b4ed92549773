//! HTTP endpoints of forks: create, execute by an agent, claim, and watch (PROTOCOL.md sections 1 and 19).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::routing::{get, post};
use retrace_protocol::command::ForkClaim;
use retrace_protocol::endpoint::route;
use retrace_protocol::read::Refusal;
use retrace_protocol::{Id, ServerFrame, Trace};
use serde_json::Map;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::error::ApiError;
use super::http::{Answer, App, DONE, PathId, Shared, answer, heavy, no_trace, read, stops};
use super::stream::NoAgent;
use super::{comparison, recordings};
use crate::fork::command::{self, Call};
use crate::fork::{Fork, new_fork, now_micros};
use crate::ingest;
use crate::store::{Change, ForkChange, Outcome, Reader, StoreError};

const FORKS: &str = "/api/v1/forks";
const FORK: &str = "/api/v1/forks/{id}";
const FORK_REPLAY: &str = "/api/v1/forks/{id}/replay";
const FORK_DIFF: &str = "/api/v1/forks/{id}/diff";

/// Time to wait for a change of a fork before an unchanged response.
const WAIT: Duration = Duration::from_secs(25);
/// Largest number of forks on one page, and the default.
const MAX_LIMIT: u32 = 1_000;
const DEFAULT_LIMIT: u32 = 50;
/// Largest number of ancestors of a run, each forked from the next.
const MAX_ANCESTORS: usize = 16;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route(FORKS, get(list).post(create))
        .route(FORK, get(one))
        .route(FORK_REPLAY, post(replay))
        .route(FORK_DIFF, get(comparison::of_fork))
        .route(route::FORK_CLAIM, post(claim))
        .merge(recordings::router())
        .merge(comparison::router())
}

async fn create(State(app): Shared, request: Request) -> Answer {
    let (fork, room) = app.bodies.json(request).await?.parse(new_fork).await?;
    let (trace_id, span_id) = (fork.trace_id.clone(), fork.span_id.clone());
    let found =
        read(&app, move |reader| Ok((reader.trace(&trace_id, false)?, reader.span(&trace_id, &span_id)?))).await?;
    let missing = || no_trace(&fork.trace_id).with_field("trace_id");
    let (Some(_), span) = found else { return Err(missing()) };
    let Some(span) = span else {
        let reason = format!("there is no span {} in the trace {}", fork.span_id, fork.trace_id);
        return Err(ApiError::not_found(reason).with_field("span_id"));
    };
    if let Some(substitutions) = &fork.substitutions {
        substitutions.check_span(&span)?;
    }
    let missing = missing();
    let id = Uuid::new_v4().to_string();
    let create = ForkChange::Create { id: id.clone(), fork, now: now_micros() };
    match app.writer.write(Change::Fork(Box::new(create)), room).await? {
        Outcome::Done => Ok(answer(StatusCode::CREATED, &stored(&app, id).await?)),
        _ => Err(missing),
    }
}

async fn stored(app: &App, id: String) -> Result<Fork, ApiError> {
    let missing = no_fork(&id);
    read(app, move |reader| reader.fork(&id)).await?.ok_or(missing)
}

pub(super) fn no_fork(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no fork {id}"))
}

fn bad_parameter(name: &str, reason: &str) -> Refusal {
    Refusal { error: format!("query parameter `{name}`: {reason}"), field: Some(name.to_owned()) }
}

async fn list(State(app): Shared, uri: Uri) -> Answer {
    let (mut trace_id, mut limit, mut offset) = (None, DEFAULT_LIMIT, 0);
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match &*name {
            "trace_id" => trace_id = Some(Id::from(&*value)),
            "limit" => {
                let number = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                limit = number.ok_or_else(|| bad_parameter("limit", "expected a number from 1 to 1000"))?;
            }
            "offset" => offset = value.parse().map_err(|_| bad_parameter("offset", "expected a number from 0 on"))?,
            _ => {}
        }
    }
    let page = read(&app, move |reader| reader.forks(trace_id.as_ref(), limit, offset)).await?;
    Ok(answer(StatusCode::OK, &page))
}

/// Returns a fork. With `after`, its version, the response waits for a change, for some seconds. The end of a lease
/// changes no version: a client that has the fork as running adds `status=running`.
async fn one(State(app): Shared, PathId(id): PathId, uri: Uri) -> Answer {
    let id = id.to_string();
    let (mut after, mut known) = (None, None);
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match &*name {
            "after" => {
                let version = value.parse::<u64>();
                after = Some(version.map_err(|_| bad_parameter("after", "expected the version of a fork"))?);
            }
            "status" => known = Some(value.into_owned()),
            _ => {}
        }
    }
    let mut commits = app.reader.news();
    let mut closing = app.closing.subscribe();
    let deadline = Instant::now() + WAIT;
    loop {
        let fork = stored(&app, id.clone()).await?;
        let is_news = known.as_ref().is_some_and(|known| known != fork.status.as_str());
        if is_news || after != Some(fork.version) || Instant::now() >= deadline {
            return Ok(answer(StatusCode::OK, &fork));
        }
        let left = fork.lease_micros().map(|at| at.saturating_sub(now_micros().unsigned_abs()) + 1);
        let expires = left.and_then(|left| Instant::now().checked_add(Duration::from_micros(left)));
        tokio::select! {
            _ = commits.changed() => {}
            () = sleep_until(expires.unwrap_or(deadline).min(deadline)) => {}
            () = stops(&mut closing) => return Err(ApiError::busy("the receiver is stopping")),
        }
    }
}

/// Sends an execution of a fork to an agent: it supersedes an older execution.
async fn replay(State(app): Shared, PathId(id): PathId, request: Request) -> Answer {
    app.bodies.discard(request).await?;
    let id = id.to_string();
    let fork = stored(&app, id.clone()).await?;
    let missing = no_trace(&fork.trace_id);
    let execution = Uuid::new_v4().to_string();
    let (agents, named) = (Arc::clone(&app.agents), execution.clone());
    let found = heavy(&app, move |reader| {
        let Some((run, call)) = origin(reader, &fork.trace_id)? else { return Ok(None) };
        let chosen = agents.choose(&command::function_name(&run), run.project_id.as_deref());
        Ok(Some(call.map(|call| {
            chosen.map(|chosen| {
                let named = chosen.has_leases.then_some(named.as_str());
                (chosen, Box::new(command::resume(&fork, &run, &call, named)))
            })
        })))
    });
    let (chosen, data) = found.await?.ok_or(missing)??.map_err(no_agent)?;
    let now = now_micros();
    let begin =
        ForkChange::Begin { fork_id: id.clone(), execution_id: execution.clone(), now, lease: lease(&app, now) };
    if app.writer.write(Change::Fork(Box::new(begin)), None).await? != Outcome::Done {
        return Err(no_fork(&id));
    }
    let command = ServerFrame::Resume { data, other: Map::new() };
    if let Err(error) = app.agents.send(chosen, command, Some(execution.clone())) {
        let lost = ForkChange::Lost { executions: vec![execution], reason: "the agent could not be reached" };
        app.writer.write(Change::Fork(Box::new(lost)), None).await?;
        return Err(no_agent(error));
    }
    Ok(answer(StatusCode::ACCEPTED, &stored(&app, id).await?))
}

pub(super) fn no_agent(error: NoAgent) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, error.to_string())
}

fn lease(app: &App, now: i64) -> i64 {
    now.saturating_add(i64::try_from(app.fork_lease.as_micros()).unwrap_or(i64::MAX))
}

/// A run with the spans of the runs that it was forked from, and the call of its function where that is known.
pub(super) type Origin = (Trace, Result<Call, UnknownCall>);

/// The arguments of a fork's run are not known.
#[derive(Debug)]
pub(super) struct UnknownCall {
    /// A fork with a text as its new input.
    fork: String,
    /// Run that it was forked from.
    origin: String,
}

impl From<UnknownCall> for ApiError {
    fn from(UnknownCall { fork, origin }: UnknownCall) -> Self {
        let reason = format!(
            "the arguments of the run {fork} are not known: its new input is a text, and the call of {origin} has several arguments by \
             name. Fork {origin} with an object that names its arguments, and fork that run"
        );
        Self::new(StatusCode::CONFLICT, reason)
    }
}

/// Returns a run with the spans of the runs that it was forked from, and the call of its function.
pub(super) fn origin(reader: &Reader, id: &Id) -> Result<Option<Origin>, StoreError> {
    let Some(run) = reader.trace(id, true)? else { return Ok(None) };
    let mut descent = vec![run.record];
    while let Some(id) = descent.last().and_then(command::forked_from) {
        match reader.trace(&id.as_str().into(), true)? {
            Some(run) if descent.len() < MAX_ANCESTORS => descent.push(run.record),
            _ => break,
        }
    }
    let Some(mut run) = descent.pop() else { return Ok(None) };
    let mut call = Ok(Call::recorded(run.input.as_ref()));
    while let Some(mut next) = descent.pop() {
        command::with_prefix(&mut next, &run);
        call = call.and_then(|mut call| {
            let id = |run: &Trace| run.id.as_ref().map(ToString::to_string).unwrap_or_default();
            let unknown = |_| UnknownCall { fork: id(&next), origin: id(&run) };
            call.modify(next.input.as_ref()).map_err(unknown)?;
            Ok(call)
        });
        run = next;
    }
    Ok(Some((run, call)))
}

async fn claim(State(app): Shared, PathId(id): PathId, request: Request) -> Answer {
    let (claim, room) = app.bodies.json(request).await?.parse(ingest::json::<ForkClaim>).await?;
    let (fork_id, execution_id, now) = (id.to_string(), claim.execution_id, now_micros());
    let claim = ForkChange::Claim { fork_id: fork_id.clone(), execution_id, now, lease: lease(&app, now) };
    let conflict = |reason: &str| Err(ApiError::new(StatusCode::CONFLICT, reason));
    match app.writer.write(Change::Fork(Box::new(claim)), room).await? {
        Outcome::Done | Outcome::Merged => Ok(answer(StatusCode::OK, &DONE)),
        Outcome::Unknown | Outcome::Exists => Err(no_fork(&fork_id)),
        Outcome::Superseded => conflict("superseded: a newer execution of this fork has begun"),
        Outcome::Expired => conflict("expired: the lease of this execution has ended"),
    }
}
