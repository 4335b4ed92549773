//! Endpoints of the page beside the API of the protocol: figures, sessions, values of filters, and bulk operations.

mod bulk;
mod conversation;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::routing::{get, post};
use retrace_protocol::read::Refusal;
use serde::Serialize;

use super::http::{Answer, App, Shared, answer, read};
use crate::query::{TraceQuery, zone};
use crate::store::{Reader, StoreError};

/// Time that a response waits until the index covers the latest data.
const INDEX_WAIT: Duration = Duration::from_secs(1);

/// Returns the routes.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/numbers", get(numbers))
        .route("/api/v1/sessions", get(sessions))
        .route("/api/v1/values", get(values))
        .route("/api/v1/traces/{id}/conversation", get(conversation::of_run))
        .route("/api/v1/traces/{id}/spans/{span_id}/conversation", get(conversation::of_span))
        .route("/api/v1/traces/{id}/otlp", get(bulk::otlp))
        .route("/api/v1/bulk/delete", post(bulk::delete))
        .route("/api/v1/bulk/export", post(bulk::export))
}

/// A response from the index.
#[derive(Serialize)]
pub(super) struct Indexed<T> {
    #[serde(flatten)]
    found: T,
    /// True if some runs are not indexed yet, as after a start or under high load.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
}

/// Reads by the index, after it covers the data that is stored now.
pub(super) async fn read_index<T: Send + 'static>(
    app: &App,
    look_up: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<Indexed<T>, super::error::ApiError> {
    read(app, move |reader| {
        let incomplete = !reader.wait_for_index(INDEX_WAIT);
        Ok(Indexed { found: look_up(reader)?, incomplete })
    })
    .await
}

async fn numbers(State(app): Shared, uri: Uri) -> Answer {
    let text = uri.query().unwrap_or_default();
    let (query, zone) = (TraceQuery::parse(text)?, zone(text)?);
    Ok(answer(StatusCode::OK, &read_index(&app, move |reader| reader.numbers(&query, zone)).await?))
}

async fn sessions(State(app): Shared, uri: Uri) -> Answer {
    let query = TraceQuery::parse(uri.query().unwrap_or_default())?;
    Ok(answer(StatusCode::OK, &read_index(&app, move |reader| reader.sessions(&query)).await?))
}

async fn values(State(app): Shared) -> Answer {
    Ok(answer(StatusCode::OK, &read_index(&app, Reader::values).await?))
}

/// Returns a refusal of one field of a body.
fn blame(field: &str, error: impl Into<String>) -> Refusal {
    Refusal { error: error.into(), field: Some(field.to_owned()) }
}
