//! Interceptors in front of `tower` services.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use opentelemetry_instrumentation_genai::Builder;
use opentelemetry_instrumentation_genai::interceptor::{Action, Pace, RecordedResponse, Refusal};
use opentelemetry_instrumentation_genai::tower::GenAiLayer;
use serde_json::json;
use support::intercept::{Script, Seen};
use support::{Rig, expect};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

const URL: &str = "https://api.openai.com/v1/chat/completions";
const BODY: &str = r#"{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

fn stream() -> Vec<Bytes> {
    let chunk = |delta: &str, reason: &str| {
        format!(
            "data: {{\"id\":\"c-1\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{reason}}}]}}\n\n"
        )
    };
    vec![
        chunk(r#"{"content":"Hel"}"#, "null").into(),
        chunk(r#"{"content":"lo"}"#, "\"stop\"").into(),
        "data: [DONE]\n\n".into(),
    ]
}

fn recorded() -> RecordedResponse {
    let mut recorded = RecordedResponse::new(StatusCode::OK);
    recorded.headers.insert("content-type", "text/event-stream".parse().unwrap());
    recorded.head_after = Duration::from_millis(300);
    let times = [500, 900, 900].map(Duration::from_millis);
    recorded.chunks = times.into_iter().zip(stream()).collect();
    recorded
}

/// A service that answers `{}` and counts.
fn service(
    rig: &Rig,
    calls: &Arc<AtomicUsize>,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<opentelemetry_instrumentation_genai::tower::InstrumentedBody<Full<Bytes>>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ use<> {
    let calls = Arc::clone(calls);
    GenAiLayer::new(rig.genai.clone()).layer(service_fn(move |_| {
        calls.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{}")))) }
    }))
}

fn rig(script: &Script, configure: impl FnOnce(Builder) -> Builder) -> Rig {
    Rig::with(|builder| configure(builder.with_interceptor(script.clone())))
}

fn request() -> Request<Full<Bytes>> {
    Request::post(URL).body(Full::new(Bytes::from(BODY))).unwrap()
}

#[tokio::test]
async fn an_answer_comes_chunk_by_chunk_and_the_service_is_not_called() {
    let script = Script::new(|_| Action::Answer(recorded()));
    let rig = rig(&script, |builder| builder);
    let calls = Arc::default();
    let response = service(&rig, &calls).oneshot(request()).await.unwrap();
    assert_eq!((response.status(), response.headers()), (StatusCode::OK, &recorded().headers));
    let mut body = response.into_body();
    let whole: usize = stream().iter().map(Bytes::len).sum();
    assert_eq!(body.size_hint().exact(), Some(whole as u64));
    let mut chunks = Vec::new();
    while let Some(frame) = body.frame().await {
        chunks.push(frame.unwrap().into_data().unwrap());
    }
    assert_eq!((chunks, calls.load(Ordering::Relaxed)), (stream(), 0));
    assert!(body.is_end_stream());
    let span = rig.one();
    expect(&span, &json!({ "gen_ai.response.finish_reasons": ["stop"], "retrace.partial": null, "error.type": null }));
}

/// Waits that are over when they are polled for the second time.
#[derive(Clone, Default)]
struct Waits(Arc<Mutex<Vec<Duration>>>);

impl Waits {
    fn wait(&self, duration: Duration) -> impl Future<Output = ()> + Send + use<> {
        self.0.lock().unwrap().push(duration);
        let mut polled = false;
        std::future::poll_fn(
            move |_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending },
        )
    }
}

#[tokio::test]
async fn the_recorded_pace_waits_before_the_head_and_between_chunks() {
    for (pace, expected) in [
        (Pace::Instant, vec![]),
        (Pace::Recorded, vec![300, 200, 400]),
        (Pace::Factor(0.5), vec![150, 100, 200]),
        (Pace::Factor(f64::NAN), vec![]),
        (Pace::Factor(-1.0), vec![]),
    ] {
        let script = Script::new(move |_| {
            let mut recorded = recorded();
            recorded.pace = pace;
            Action::Answer(recorded)
        });
        let waits = Waits::default();
        let timer = waits.clone();
        let rig = rig(&script, |builder| builder.with_timer(move |duration| timer.wait(duration)));
        let mut context = Context::from_waker(Waker::noop());
        let mut pending = 0;
        let mut future = Box::pin(service(&rig, &Arc::default()).oneshot(request()));
        let response = loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(response) => break response.unwrap(),
                Poll::Pending => pending += 1,
            }
        };
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        loop {
            match Pin::new(&mut body).poll_frame(&mut context) {
                Poll::Ready(Some(frame)) => bytes.push(frame.unwrap().into_data().unwrap()),
                Poll::Ready(None) => break,
                Poll::Pending => pending += 1,
            }
        }
        let expected: Vec<Duration> = expected.into_iter().map(Duration::from_millis).collect();
        assert_eq!((bytes, pending), (stream(), expected.len()), "{pace:?}");
        assert_eq!(*waits.0.lock().unwrap(), expected, "{pace:?}");
    }
}

#[test]
fn the_timer_of_ours_needs_no_timer_of_a_runtime() {
    let script = Script::new(|_| {
        let mut recorded = recorded();
        recorded.pace = Pace::Factor(0.001);
        Action::Answer(recorded)
    });
    let rig = rig(&script, |builder| builder);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let response = runtime.block_on(service(&rig, &Arc::default()).oneshot(request())).unwrap();
    let body = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
    assert_eq!(body, stream().concat());
}

#[tokio::test]
async fn an_answer_that_is_dropped_halfway_ends_its_span() {
    let script = Script::new(|_| Action::Answer(recorded()));
    let rig = rig(&script, |builder| builder);
    let mut body = service(&rig, &Arc::default()).oneshot(request()).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert!(rig.take().is_empty());
    drop(body);
    expect(&rig.one(), &json!({ "retrace.partial": true, "gen_ai.response.id": "c-1" }));

    // Before its head.
    let mut slow = recorded();
    slow.pace = Pace::Recorded;
    let script = Script::new(move |_| Action::Answer(slow.clone()));
    let rig = self::rig(&script, |builder| builder.with_timer(|_| std::future::pending()));
    let mut future = Box::pin(service(&rig, &Arc::default()).oneshot(request()));
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(future);
    expect(&rig.one(), &json!({ "retrace.partial": true }));
}

#[tokio::test]
async fn a_body_that_broke_off_ends_early_and_names_its_error() {
    let script = Script::new(|_| {
        let mut recorded = recorded();
        recorded.chunks.truncate(1);
        recorded.broken = Some("timeout".to_owned());
        Action::Answer(recorded)
    });
    let rig = rig(&script, |builder| builder);
    let body = service(&rig, &Arc::default()).oneshot(request()).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), stream()[0]);
    expect(&rig.one(), &json!({ "error.type": "timeout", "retrace.partial": true }));
}

#[tokio::test]
async fn a_refusal_is_a_response_that_no_client_retries() {
    let script = Script::new(|_| Action::Refuse(Refusal::new("no entry is left").with_error_type("replay_miss")));
    let rig = rig(&script, |builder| builder);
    let calls = Arc::default();
    let response = service(&rig, &calls).oneshot(request()).await.unwrap();
    assert_eq!((response.status(), calls.load(Ordering::Relaxed)), (Refusal::STATUS, 0));
    assert_eq!(response.extensions().get::<Refusal>().unwrap().message(), "no entry is left");
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap()["error"]["message"], "no entry is left");
    expect(&rig.one(), &json!({ "error.type": "replay_miss", "http.response.status_code": null }));
}

#[tokio::test]
async fn an_altered_body_is_sent_with_its_length() {
    const ALTERED: &str = r#"{"model":"gpt-4o","messages":[]}"#;
    let script = Script::new(|_| Action::PassAltered(Bytes::from_static(ALTERED.as_bytes())));
    let rig = rig(&script, |builder| builder);
    let echo = service_fn(|request: Request<_>| async move {
        let length = request.headers()["content-length"].clone();
        let body = BodyExt::collect(request.into_body()).await.map_err(|error: Infallible| error)?.to_bytes();
        assert_eq!(length.to_str().unwrap(), body.len().to_string());
        Ok::<_, Infallible>(Response::new(Full::new(body)))
    });
    let mut request = request();
    request.headers_mut().insert("content-length", BODY.len().into());
    let response = GenAiLayer::new(rig.genai.clone()).layer(echo).oneshot(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), ALTERED);
    expect(&rig.one(), &json!({ "gen_ai.request.model": "gpt-4o" }));
    assert_eq!(script.take().len(), 4, "what is sent is observed");
}

/// A body that waits, and then comes in two frames.
struct Slow(Vec<&'static str>, bool);

impl Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.1 = !self.1;
        if self.1 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.0.pop().map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }
}

#[tokio::test]
async fn a_request_that_is_a_stream_is_passed_with_the_reason() {
    let script = Script::passing();
    let rig = rig(&script, |builder| builder);
    let echo = service_fn(|request: Request<_>| async move {
        let body = BodyExt::collect(request.into_body()).await.map_err(|error: Infallible| error)?.to_bytes();
        Ok::<_, Infallible>(Response::new(Full::new(body)))
    });
    let (first, second) = BODY.split_at(10);
    let request = Request::post(URL).body(Slow(vec![second, first], false)).unwrap();
    let response = GenAiLayer::new(rig.genai.clone()).layer(echo).oneshot(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), BODY);
    let seen = script.take();
    let Seen::Before { body, .. } = &seen[0] else { panic!("{seen:?}") };
    assert_eq!(body.as_ref().unwrap_err(), "the request body is a stream");
}
