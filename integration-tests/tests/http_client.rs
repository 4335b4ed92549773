//! HTTP clients of the application behind the exporter, before a real receiver.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use integration_tests::wait::{HANG, deliver};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Tracer as _, TracerProvider as _};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_retrace::{RetraceExporter, Transport};
use opentelemetry_sdk::trace::SdkTracerProvider;
use retrace_local::{Server, TraceQuery};

/// Counts requests, and fails the first ones.
#[derive(Clone, Debug)]
struct Flaky {
    client: reqwest::Client,
    requests: Arc<AtomicUsize>,
    failure: Failure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    None,
    /// The error text repeats a header of the request.
    Error,
    Panic,
    /// The response gets lost after the receiver has stored the run.
    LostResponse,
}

#[async_trait]
impl HttpClient for Flaky {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let is_first = self.requests.fetch_add(1, Ordering::Relaxed) == 0;
        match self.failure {
            Failure::Error if is_first => Err(format!(
                "cannot send {:?}",
                request.headers().get("x-retrace-key").map(|key| key.to_str().unwrap())
            )
            .into()),
            Failure::Panic if is_first => panic!("a client that cannot run here"),
            Failure::LostResponse if is_first => {
                self.client.send_bytes(request).await?;
                Err("the connection is gone".into())
            }
            _ => self.client.send_bytes(request).await,
        }
    }
}

/// Sends one run through such a client; returns the number of requests and the notices.
fn send(failure: Failure) -> (usize, Vec<String>) {
    let server = Server::start().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let client = Flaky { client: reqwest::Client::new(), requests: Arc::clone(&requests), failure };
    let notices: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&notices);
    let exporter = RetraceExporter::builder()
        .with_api_key("rt_local_secret")
        .with_base_url(server.url())
        .with_transport(Transport::Http)
        .with_flush_timeout(HANG)
        .with_http_client(client)
        .with_on_error(move |signal| kept.lock().unwrap().push(signal.to_string()))
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
    provider
        .tracer("test")
        .span_builder("chat")
        .with_attributes([KeyValue::new("gen_ai.operation.name", "chat")])
        .start(&provider.tracer("test"));
    deliver(&provider, &exporter);
    let stats = exporter.stats();
    assert_eq!((stats.accepted, stats.delivered, stats.lost.total()), (1, 1, 0), "{failure:?}: {stats:?}");
    assert_eq!(server.traces(&TraceQuery::default()).unwrap().traces.len(), 1, "{failure:?}");
    drop(provider);
    let notices = std::mem::take(&mut *notices.lock().unwrap());
    (requests.load(Ordering::Relaxed), notices)
}

#[test]
fn every_request_goes_through_the_client() {
    let (requests, notices) = send(Failure::None);
    assert_eq!((requests, notices), (1, Vec::new()));
}

#[test]
fn a_request_that_the_client_fails_is_made_again_and_its_error_shows_no_key() {
    let (requests, notices) = send(Failure::Error);
    assert_eq!(requests, 2);
    let text = notices.join("\n");
    assert!(text.contains("cannot send") && !text.contains("rt_local_secret"), "{text}");
}

#[test]
fn a_client_that_panics_has_failed() {
    let (requests, notices) = send(Failure::Panic);
    assert_eq!(requests, 2);
    assert!(notices.join("\n").contains("the HTTP client of the application panicked"), "{notices:?}");
}

#[test]
fn a_run_whose_response_is_lost_is_stored_once() {
    let (requests, _) = send(Failure::LostResponse);
    assert_eq!(requests, 2);
}
