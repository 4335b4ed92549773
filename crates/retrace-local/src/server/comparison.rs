//! HTTP endpoints that compare two runs.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use retrace_protocol::read::Refusal;
use retrace_protocol::{Id, write};

use super::error::ApiError;
use super::forks::no_fork;
use super::http::{Answer, App, PathId, Shared, large, no_trace, read};
use crate::diff::{ForkFacts, diff, fork_id};
use crate::store::Reader;

const DIFF: &str = "/api/v1/diff";

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route(DIFF, get(of_runs))
}

/// Compares the runs `a` and `b` of the query.
async fn of_runs(State(app): Shared, uri: Uri) -> Answer {
    let named = |name: &str| {
        let mut parameters = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let found = parameters.find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, id)| Id::from(&*id)).ok_or_else(|| Refusal {
            error: format!("query parameter `{name}`: expected the id of a run"),
            field: Some(name.to_owned()),
        })
    };
    compare(&app, named("a")?, named("b")?).await
}

/// Compares the run of a fork with the one that it was forked from.
pub(super) async fn of_fork(State(app): Shared, PathId(id): PathId) -> Answer {
    let id = id.to_string();
    let missing = no_fork(&id);
    let fork = read(&app, move |reader| reader.fork(&id)).await?.ok_or(missing)?;
    let Some(result) = fork.result_trace_id else {
        let reason = format!("the fork has no run to compare yet: it is {}", fork.status.as_str());
        return Err(ApiError::new(StatusCode::CONFLICT, reason));
    };
    compare(&app, fork.trace_id, result).await
}

async fn compare(app: &App, a: Id, b: Id) -> Answer {
    for (id, field) in [(&a, "a"), (&b, "b")] {
        let wanted = id.clone();
        if read(app, move |reader| reader.outline(&wanted, false)).await?.is_none() {
            return Err(no_trace(id).with_field(field));
        }
    }
    let missing = no_trace(&b);
    let compared = large(app, move |reader: &Reader| {
        let Some((a, b)) = reader.trace(&a, true)?.zip(reader.trace(&b, true)?) else { return Ok(None) };
        let fork = fork_id(&b.record).map(|id| reader.fork(&id)).transpose()?.flatten();
        let fork = fork.filter(|fork| a.record.id.as_ref() == Some(&fork.trace_id));
        let facts = fork.as_ref().map(ForkFacts::of).unwrap_or_default();
        Ok(Some(write::to_string(&diff(&a.record, &b.record, facts))?))
    });
    compared.await?.ok_or(missing)
}
