//! An OTLP backend in miniature: takes `ExportTraceServiceRequest`s over HTTP and remembers their spans.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// The backend. Runs on a thread of its own for as long as the process does.
pub(crate) struct Collector {
    addr: SocketAddr,
    spans: Spans,
}

/// What is remembered of a span.
#[derive(Clone)]
pub(crate) struct Received {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    pub(crate) name: String,
    started: u64,
}

type Spans = Arc<Mutex<Vec<Received>>>;

impl Collector {
    /// Starts on a free port of this machine.
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let addr = listener.local_addr()?;
        let spans = Spans::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&spans));
        thread::Builder::new()
            .name("collector".to_owned())
            .spawn(move || runtime.block_on(async { axum::serve(listener, router).await }))?;
        Ok(Self { addr, spans })
    }

    /// Where exporters send traces.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1/traces", self.addr)
    }

    /// The spans so far, in the order of their start.
    pub(crate) fn spans(&self) -> Vec<Received> {
        let mut spans = lock(&self.spans).clone();
        spans.sort_by_key(|span| span.started);
        spans
    }
}

async fn take(State(spans): State<Spans>, body: Bytes) -> Response {
    match ExportTraceServiceRequest::decode(body) {
        Ok(request) => {
            let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            lock(&spans).extend(scopes.flat_map(|scope| scope.spans).filter_map(received));
            let answer = ExportTraceServiceResponse::default().encode_to_vec();
            ([(header::CONTENT_TYPE, "application/x-protobuf")], answer).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

fn received(span: Span) -> Option<Received> {
    Some(Received {
        trace_id: span.trace_id.try_into().ok()?,
        span_id: span.span_id.try_into().ok()?,
        name: span.name,
        started: span.start_time_unix_nano,
    })
}

fn lock(spans: &Spans) -> MutexGuard<'_, Vec<Received>> {
    spans.lock().unwrap_or_else(PoisonError::into_inner)
}
