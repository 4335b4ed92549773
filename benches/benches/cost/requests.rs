//! Requests and nothing else: the floor below an exporter that sends each run by a request of its own.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_sdk::trace::SpanData;

use crate::peer::{Cost, measured};
use crate::spans::{RUN, Size};

/// Requests at a time, as many as the exporter makes.
const IN_FLIGHT: usize = 4;

/// Drops the batches and sends a body for every run in them, on one thread, with the client that the exporter uses.
pub(crate) fn send(url: &str, size: Size, batches: Vec<Vec<SpanData>>, heap: fn() -> (u64, u64)) -> Cost {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let (url, body) = (format!("{url}/api/v1/traces"), Bytes::from(vec![b' '; size.body]));
    let deliver = |runs: usize| {
        let request = |_| {
            // A body of its own for each, as in life; without the time it takes to fill it.
            let body = Full::new(Bytes::from(body.to_vec()));
            let request = Request::post(&url).header("content-type", "application/json").body(body).unwrap();
            let answer = client.request(request);
            async move { answer.await.unwrap().into_body().collect().await.unwrap() }
        };
        let requests = stream::iter(0..runs).map(request).buffer_unordered(IN_FLIGHT);
        runtime.block_on(requests.for_each(|_| std::future::ready(())));
    };
    // The connections are made before the clock starts.
    deliver(IN_FLIGHT);
    measured(heap, || {
        let spans: usize = batches.iter().map(Vec::len).sum();
        drop(batches);
        deliver(spans.div_ceil(RUN));
    })
}
