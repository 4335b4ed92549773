//! The floor below an exporter that sends each run by a request of its own: the requests alone, and with their JSON.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_sdk::trace::SpanData;

use crate::peer::{Cost, measured};
use crate::plain;
use crate::spans::RUN;

/// Requests at a time, as many as the exporter makes.
const IN_FLIGHT: usize = 4;

/// Drops the batches and sends a body for every run in them.
pub(crate) fn send(url: &str, batches: Vec<Vec<SpanData>>, heap: fn() -> (u64, u64)) -> Cost {
    let first: Vec<SpanData> = batches.iter().flatten().take(RUN).cloned().collect();
    let body = plain::body(&first);
    // Each request has a body of its own, as those of an exporter; the time to fill it is not counted.
    let fresh = |_| Bytes::copy_from_slice(&body);
    let client = Connected::to(url);
    measured(heap, || {
        let spans: usize = batches.iter().map(Vec::len).sum();
        drop(batches);
        client.deliver((0..spans.div_ceil(RUN)).map(fresh));
    })
}

/// Writes every run as JSON, nothing of it read, and sends it.
pub(crate) fn send_plain(url: &str, batches: Vec<Vec<SpanData>>, heap: fn() -> (u64, u64)) -> Cost {
    let client = Connected::to(url);
    measured(heap, || {
        let mut spans = batches.into_iter().flatten();
        client.deliver(std::iter::from_fn(|| {
            let run: Vec<SpanData> = spans.by_ref().take(RUN).collect();
            (!run.is_empty()).then(|| plain::body(&run))
        }));
    })
}

/// The client that the exporter uses, on one thread.
struct Connected {
    runtime: tokio::runtime::Runtime,
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

impl Connected {
    /// Its connections are there before a clock starts.
    fn to(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let connected = Self { runtime, client, url: format!("{url}/api/v1/traces") };
        connected.deliver((0..IN_FLIGHT).map(|_| Bytes::from_static(b"{}")));
        connected
    }

    fn deliver(&self, bodies: impl Iterator<Item = Bytes>) {
        let request = |body| {
            let request =
                Request::post(&self.url).header("content-type", "application/json").body(Full::new(body)).unwrap();
            let answer = self.client.request(request);
            async move { answer.await.unwrap().into_body().collect().await.unwrap() }
        };
        let requests = stream::iter(bodies).map(request).buffer_unordered(IN_FLIGHT);
        self.runtime.block_on(requests.for_each(|_| std::future::ready(())));
    }
}
