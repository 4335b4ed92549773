//! The HTTP API (PROTOCOL.md sections 1, 2, 9 and 20): converts requests to changes and reads, and results to
//! responses.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts as RequestParts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use retrace_otlp::server::{Bodies, Receiver, otlp_router};
use retrace_otlp::{OtlpRequest, Unreadable};
use retrace_protocol::endpoint::{self, route};
use retrace_protocol::golden::GoldenMark;
use retrace_protocol::read::{Created, Done, Stored, TracePage};
use retrace_protocol::{Id, Trace, write};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::auth::ApiKey;
use super::changes;
use super::enforcement::{self, Enforcement};
use super::error::ApiError;
use super::explore::{self, read_index};
use super::forks;
use super::guard::{Hosts, Stranger};
use super::page;
use super::recording::Recording;
use super::stream::{self, Agents, Live};
use crate::ingest;
use crate::query::{Parts, TraceQuery};
use crate::store::{Change, Outcome, Reader, StoreError, Writer};

/// Largest number of traces and spans, which may be large, that are in memory at a time for responses.
const LARGE_AT_ONCE: usize = 4;

/// Content security policy of the page: it may load its own scripts and styles and connect to this receiver only. The
/// page shows content of agents, which must never be executed.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Security headers of every response. None of them gives another site access.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// State that the handlers share.
#[derive(Debug)]
pub(super) struct App {
    pub(super) writer: Writer,
    pub(super) reader: Reader,
    pub(super) bodies: Bodies,
    pub(super) key: Option<ApiKey>,
    pub(super) hosts: Hosts,
    pub(super) live: Arc<Live>,
    /// Connections of agents that execute runs again.
    pub(super) agents: Arc<Agents>,
    /// Lease of a fork execution.
    pub(super) fork_lease: Duration,
    /// Permits for WebSockets.
    pub(super) streams: Arc<Semaphore>,
    /// True once the server is stopping.
    pub(super) closing: watch::Sender<bool>,
    /// Records OTLP requests.
    pub(super) recording: Recording,
    pub(super) enforcement: Enforcement,
    large: Arc<Semaphore>,
    /// Reason for which the database is read-only.
    read_only: Option<String>,
}

/// Rules that apply to requests.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) bodies: Bodies,
    pub(super) key: Option<ApiKey>,
    pub(super) hosts: Hosts,
    pub(super) fork_lease: Duration,
    pub(super) enforcement: Enforcement,
}

impl App {
    pub(super) fn new(writer: Writer, reader: Reader, recording: Recording, rules: Rules) -> Self {
        let Rules { bodies, key, hosts, fork_lease, enforcement } = rules;
        Self {
            writer,
            reader,
            bodies,
            key,
            hosts,
            live: Arc::default(),
            agents: Arc::default(),
            fork_lease,
            streams: stream::places(),
            closing: watch::Sender::new(false),
            recording,
            enforcement,
            large: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
            read_only: None,
        }
    }

    /// Rejects all requests that write, for this reason.
    pub(super) fn with_read_only(self, read_only: Option<String>) -> Self {
        Self { read_only, ..self }
    }
}

pub(super) type Shared = State<Arc<App>>;
pub(super) type Answer = Result<Response, ApiError>;

/// Returns the routes of this receiver.
pub(super) fn router(app: Arc<App>) -> Router {
    let api = Router::new()
        .route(endpoint::TRACES, get(list).post(create))
        .route(route::TRACE, get(trace).patch(patch).delete(delete))
        .route(route::SPAN, get(span))
        .route(route::CHANGES, get(changes::changes))
        .route(route::GOLDEN, post(golden))
        .merge(forks::router())
        .merge(enforcement::router())
        .merge(explore::router())
        .route_layer(middleware::from_fn_with_state(Arc::clone(&app), require_key));
    Router::new()
        .merge(api)
        .merge(page::router())
        .route(endpoint::TELEMETRY, post(telemetry))
        .merge(otlp_router())
        .route(endpoint::STREAM, get(stream::upgrade))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), keep_unchanged))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), keep_strangers_out))
        .with_state(app)
}

/// Returns a JSON response.
pub(super) fn answer<T: Serialize>(status: StatusCode, body: &T) -> Response {
    match write::to_string(body) {
        Ok(text) => json(status, Body::from(text)),
        // Serialization of these bodies does not fail; if it did, only the status would remain.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn json(status: StatusCode, body: Body) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

pub(super) const DONE: Done = Done { ok: true };

async fn create(State(app): Shared, request: Request) -> Answer {
    let (upload, room) = app.bodies.json(request).await?.parse(ingest::upload).await?;
    let id = upload.trace.id.clone();
    match app.writer.write(Change::Create(Box::new(upload)), room).await? {
        Outcome::Exists => Err(ApiError::new(StatusCode::CONFLICT, format!("there is a trace {id} already"))),
        Outcome::Merged => Ok(answer(StatusCode::OK, &Created { id })),
        Outcome::Done | Outcome::Unknown | Outcome::Superseded | Outcome::Expired => {
            Ok(answer(StatusCode::CREATED, &Created { id }))
        }
    }
}

async fn patch(State(app): Shared, PathId(id): PathId, request: Request) -> Answer {
    let (patch, room) = app.bodies.json(request).await?.parse(ingest::patch).await?;
    changed(&id, app.writer.write(Change::Patch(id.clone(), Box::new(patch)), room).await?)?;
    Ok(answer(StatusCode::OK, &DONE))
}

async fn delete(State(app): Shared, PathId(id): PathId) -> Answer {
    // The buffered OTLP data of the run would restore it.
    app.recording.forget(&id).await;
    changed(&id, app.writer.write(Change::Delete(id.clone()), None).await?)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Marks a trace, which need not exist yet: the official client marks a run before it uploads it.
async fn golden(State(app): Shared, PathId(id): PathId, request: Request) -> Answer {
    let (mark, room) = app.bodies.json(request).await?.parse(ingest::json::<GoldenMark>).await?;
    app.writer.write(Change::Golden(id, mark.golden), room).await?;
    Ok(answer(StatusCode::OK, &DONE))
}

fn changed(id: &Id, outcome: Outcome) -> Result<(), ApiError> {
    match outcome {
        Outcome::Done | Outcome::Merged => Ok(()),
        Outcome::Unknown | Outcome::Exists | Outcome::Superseded | Outcome::Expired => Err(no_trace(id)),
    }
}

pub(super) fn no_trace(id: &Id) -> ApiError {
    ApiError::not_found(format!("there is no trace {id}"))
}

async fn list(State(app): Shared, uri: Uri) -> Answer {
    let query = TraceQuery::parse(uri.query().unwrap_or_default())?;
    let live = Arc::clone(&app.live);
    let marked = move |mut page: TracePage<Stored<Trace>>| {
        page.traces.iter_mut().for_each(|trace| live.mark(trace));
        page
    };
    if query.needs_index() {
        return Ok(answer(StatusCode::OK, &read_index(&app, move |reader| Ok(marked(reader.find(&query)?))).await?));
    }
    Ok(answer(StatusCode::OK, &read(&app, move |reader| Ok(marked(reader.page(&query)?))).await?))
}

async fn trace(State(app): Shared, PathId(id): PathId, uri: Uri) -> Answer {
    let parts = Parts::parse(uri.query().unwrap_or_default())?;
    let missing = no_trace(&id);
    let live = Arc::clone(&app.live);
    let read = move |reader: &Reader| {
        Ok(if parts.content {
            reader.trace(&id, parts.spans)?.map(|mut trace| {
                live.mark(&mut trace);
                write::to_string(&trace)
            })
        } else {
            reader.outline(&id, parts.spans)?.map(|mut outline| {
                live.mark(&mut outline.trace);
                write::to_string(&outline)
            })
        }
        .transpose()?)
    };
    large(&app, read).await?.ok_or(missing)
}

async fn span(State(app): Shared, path: Result<Path<(String, String)>, PathRejection>) -> Answer {
    let Path((trace_id, id)) = path.map_err(bad_path)?;
    let (trace_id, id) = (Id::from(trace_id), Id::from(id));
    let missing = ApiError::not_found(format!("there is no span {id} in a trace {trace_id}"));
    let read = move |reader: &Reader| {
        let span = reader.span(&trace_id, &id)?;
        Ok(span.map(|span| write::to_string(&span)).transpose()?)
    };
    large(&app, read).await?.ok_or(missing)
}

/// Responds with a text that may be large; the number of these in memory is limited.
pub(super) async fn large(
    app: &App,
    text: impl FnOnce(&Reader) -> Result<Option<String>, StoreError> + Send + 'static,
) -> Result<Option<Response>, ApiError> {
    let permit = Arc::clone(&app.large).acquire_owned().await;
    let permit = permit.map_err(|_| ApiError::busy("the receiver is stopping"))?;
    let text = read(app, text).await?;
    Ok(text.map(|text| json(StatusCode::OK, Bytes::from_owner(Counted { text, _permit: permit }).into())))
}

/// Performs a read of large data with a small result, within the same limit.
pub(super) async fn heavy<T: Send + 'static>(
    app: &App,
    look: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let permit = Arc::clone(&app.large).acquire_owned().await;
    let permit = permit.map_err(|_| ApiError::busy("the receiver is stopping"))?;
    read(app, move |reader| {
        // The permit is held until the read ends, even if the request is cancelled.
        let _permit = permit;
        look(reader)
    })
    .await
}

/// Performs a read on a blocking thread.
pub(super) async fn read<T: Send + 'static>(
    app: &App,
    read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let reader = app.reader.clone();
    match tokio::task::spawn_blocking(move || read(&reader)).await {
        Ok(found) => Ok(found?),
        Err(_) => Err(ApiError::busy("the receiver is stopping")),
    }
}

/// Accepts and discards the telemetry of the SDKs, so that they report no error.
async fn telemetry(State(app): Shared, request: Request) -> Answer {
    app.bodies.discard(request).await?;
    Ok(answer(StatusCode::ACCEPTED, &DONE))
}

async fn nothing_here() -> ApiError {
    ApiError::not_found("there is nothing at this path")
}

async fn wrong_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this path is not for this method")
}

async fn require_key(State(app): Shared, request: Request, next: Next) -> Answer {
    check_key(&app, request.headers())?;
    Ok(next.run(request).await)
}

/// Checks the API key of a request, if one is required.
pub(super) fn check_key(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(key) = &app.key else { return Ok(()) };
    key.admit(headers).map_err(|denied| ApiError::new(StatusCode::UNAUTHORIZED, denied.to_string()))
}

impl Receiver for App {
    type Caller = ();

    fn bodies(&self) -> &Bodies {
        &self.bodies
    }

    fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        self.hosts.admit(uri, headers).map_err(|stranger| ApiError::new(StatusCode::FORBIDDEN, stranger.to_string()))
    }

    fn authorize(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        check_key(self, headers)
    }

    async fn take(
        &self,
        (): (),
        request: OtlpRequest,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Unreadable, ApiError> {
        self.recording.take(request, room).await?;
        Ok(Unreadable::default())
    }
}

/// Completes when the server is stopping.
pub(super) async fn stops(closing: &mut watch::Receiver<bool>) {
    drop(closing.wait_for(|closing| *closing).await);
}

/// Rejects writes to a read-only database. Clients keep their data after a 503.
async fn keep_unchanged(State(app): Shared, request: Request, next: Next) -> Answer {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD) && request.uri().path() != endpoint::STREAM;
    match &app.read_only {
        Some(reason) if !is_read => Err(ApiError::busy(reason)),
        _ => Ok(next.run(request).await),
    }
}

async fn keep_strangers_out(State(app): Shared, request: Request, next: Next) -> Response {
    let admitted = match app.hosts.admit(request.uri(), request.headers()) {
        // A WebSocket from a page is rejected after the handshake, with a close code (section 4).
        Err(Stranger::Origin) if request.uri().path() == endpoint::STREAM => Ok(()),
        admitted => admitted,
    };
    let mut response = match admitted {
        Ok(()) => next.run(request).await,
        Err(stranger) => ApiError::new(StatusCode::FORBIDDEN, stranger.to_string()).into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The decoded id of the path.
pub(super) struct PathId(pub(super) Id);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut RequestParts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(Id::from(id))).map_err(bad_path)
    }
}

pub(super) fn bad_path(_: PathRejection) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "the id in the path is not percent-encoded UTF-8")
}

/// A response body that holds its permit until it is sent or dropped.
struct Counted {
    text: String,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}
