//! A provider that answers what was recorded, in the pieces that are asked for, and looks at what it is sent.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use futures_util::stream;
use tokio::net::TcpListener;

use crate::exchange::{Exchange, Split};

/// The server; it ends with the runtime.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
}

struct Recorded {
    request: Vec<u8>,
    status: u16,
    headers: Vec<(String, String)>,
    response: Vec<u8>,
}

struct Shelf {
    recorded: Vec<Recorded>,
    seed: u64,
}

impl Server {
    pub(crate) async fn start(exchanges: &[Exchange], seed: u64) -> Result<Self, Box<dyn Error>> {
        let recorded = exchanges.iter().map(|exchange| Recorded {
            request: exchange.request.clone(),
            status: exchange.status,
            headers: exchange.headers.clone(),
            response: exchange.response.clone(),
        });
        let shelf = Shelf { recorded: recorded.collect(), seed };
        let router = Router::new().route("/{place}/{split}", post(answer)).with_state(Arc::new(shelf));
        let router = router.layer(axum::extract::DefaultBodyLimit::disable());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url })
    }

    /// Where the answer of an exchange is, cut like this.
    pub(crate) fn url(&self, place: usize, split: Split) -> String {
        let split = Split::ALL.iter().position(|each| *each == split).unwrap_or_default();
        format!("{}/{place}/{split}", self.url)
    }
}

async fn answer(
    State(shelf): State<Arc<Shelf>>,
    Path((place, split)): Path<(usize, usize)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let refuse = |why: &str| {
        let mut response = Response::new(Body::from(why.to_owned()));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    };
    let (Some(recorded), Some(split)) = (shelf.recorded.get(place), Split::ALL.get(split)) else {
        return refuse("no such exchange");
    };
    if body != recorded.request {
        return refuse("the request was altered");
    }
    if ["traceparent", "tracestate", "baggage"].iter().any(|name| headers.contains_key(*name)) {
        return refuse("a context was injected");
    }
    let pieces = split.pieces(&recorded.response, shelf.seed);
    let pieces = pieces.into_iter().map(|piece| Ok::<_, Infallible>(Bytes::from(piece)));
    let mut response = Response::builder().status(recorded.status);
    for (name, value) in &recorded.headers {
        response = response.header(name, value);
    }
    response.body(Body::from_stream(stream::iter(pieces))).unwrap_or_else(|_| refuse("a header that is none"))
}
