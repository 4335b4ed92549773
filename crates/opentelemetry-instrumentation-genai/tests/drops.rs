//! Calls that end early: one finished span each, whatever became of the caller.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_instrumentation_genai::Capture;
use opentelemetry_instrumentation_genai::tower::{GenAiLayer, RequestBody};
use serde_json::json;
use support::{Rig, expect, parts};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

const URL: &str = "https://api.openai.com/v1/chat/completions";

/// A body that follows a script, and stays pending at its end.
struct Scripted(VecDeque<Step>);

enum Step {
    Data(String),
    Fail,
    End,
}

#[derive(Debug, PartialEq, Eq)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("broken")
    }
}

impl std::error::Error for Broken {}

impl Body for Scripted {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.0.pop_front() {
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(data))))),
            Some(Step::Fail) => Poll::Ready(Some(Err(Broken))),
            Some(Step::End) => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

fn chunk(text: &str) -> Step {
    Step::Data(format!("data: {}\n\n", json!({ "id": "c1", "choices": [{ "delta": { "content": text } }] })))
}

fn request() -> Request<Full<Bytes>> {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "stream": true });
    Request::post(URL).body(Full::from(body.to_string())).unwrap()
}

/// A response of this body, through the layer.
async fn respond(rig: &Rig, steps: Vec<Step>) -> impl Body<Data = Bytes, Error = Broken> + Unpin + use<> {
    let mut body = Some(Scripted(steps.into()));
    let inner = service_fn(move |_: Request<_>| {
        let response = Response::new(body.take().unwrap());
        async move { Ok::<_, Infallible>(response) }
    });
    GenAiLayer::new(rig.genai.clone()).layer(inner).oneshot(request()).await.unwrap().into_body()
}

#[tokio::test]
async fn pain_23_a_future_that_is_dropped_before_the_head() {
    let rig = Rig::new();
    for polled in [false, true] {
        let inner = service_fn(|_: Request<_>| std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>());
        let mut future = Box::pin(GenAiLayer::new(rig.genai.clone()).layer(inner).call(request()));
        if polled {
            assert!(futures_poll(future.as_mut()).is_pending());
        }
        assert!(rig.take().is_empty(), "it goes on");
        drop(future);
        expect(
            &rig.one(),
            &json!({ "retrace.partial": true, "error.type": null, "http.response.status_code": null, "gen_ai.request.model": "m" }),
        );
    }
}

fn futures_poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test]
async fn pain_23_a_body_that_is_dropped_after_some_chunks() {
    let rig = Rig::new();
    for read in 0..4 {
        let words = ["one ", "two ", "three "];
        let mut body = respond(&rig, words.iter().map(|word| chunk(word)).collect()).await;
        for _ in 0..read.min(3) {
            body.frame().await.unwrap().unwrap();
        }
        assert!(rig.take().is_empty(), "it goes on");
        drop(body);
        let span = rig.one();
        expect(&span, &json!({ "retrace.partial": true, "http.response.status_code": 200 }));
        let expected = words[..read.min(3)].concat();
        assert_eq!(parts(&span)[0]["content"].as_str().unwrap_or_default(), expected);
    }
}

#[tokio::test]
async fn pain_23_a_body_that_fails() {
    let rig = Rig::new();
    let mut body = respond(&rig, vec![chunk("one "), Step::Data("data: {\"cho".to_owned()), Step::Fail]).await;
    body.frame().await.unwrap().unwrap();
    body.frame().await.unwrap().unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap_err(), Broken, "the caller's error is the body's own");
    let span = rig.one();
    expect(&span, &json!({ "retrace.partial": true, "error.type": "drops::Broken" }));
    assert_eq!(parts(&span)[0]["content"], "one ");
    drop(body);
    assert!(rig.take().is_empty(), "it had ended");
}

#[tokio::test]
async fn a_service_that_fails() {
    let rig = Rig::new();
    let inner = service_fn(|_: Request<_>| async { Err::<Response<Full<Bytes>>, _>(Broken) });
    let error = GenAiLayer::new(rig.genai.clone()).layer(inner).oneshot(request()).await.unwrap_err();
    assert_eq!(error, Broken);
    expect(&rig.one(), &json!({ "retrace.partial": true, "error.type": "drops::Broken" }));
}

#[tokio::test]
async fn a_stream_that_nobody_reads_beyond_its_last_word() {
    let rig = Rig::new();
    let mut body = respond(&rig, vec![chunk("all"), Step::Data("data: [DONE]\n\n".to_owned())]).await;
    body.frame().await.unwrap().unwrap();
    body.frame().await.unwrap().unwrap();
    drop(body);
    expect(&rig.one(), &json!({ "retrace.partial": null, "error.type": null }));
}

#[tokio::test]
async fn a_body_that_is_read_to_its_end() {
    let rig = Rig::new();
    let mut body = respond(&rig, vec![chunk("all"), Step::Data("data: [DONE]\n\n".to_owned()), Step::End]).await;
    while body.frame().await.is_some() {}
    expect(&rig.one(), &json!({ "retrace.partial": null }));
    drop(body);
    assert!(rig.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn pain_23_a_task_that_is_aborted_and_a_timeout() {
    let rig = Rig::new();
    let mut body = respond(&rig, vec![chunk("one ")]).await;
    let task = tokio::spawn(async move { while body.frame().await.is_some() {} });
    tokio::task::yield_now().await;
    assert!(rig.take().is_empty(), "it waits for the second chunk");
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    let span = rig.one();
    expect(&span, &json!({ "retrace.partial": true }));
    assert_eq!(parts(&span)[0]["content"], "one ");

    let mut body = respond(&rig, vec![chunk("one ")]).await;
    let read = async { while body.frame().await.is_some() {} };
    assert!(tokio::time::timeout(Duration::from_secs(3), read).await.is_err());
    drop(body);
    expect(&rig.one(), &json!({ "retrace.partial": true }));
}

#[tokio::test]
async fn pain_35_requests_and_responses_pass_untouched() {
    let rig = Rig::with(|builder| builder.with_capture(Capture::SpanOnly));
    let answer = json!({ "id": "c1", "choices": [] }).to_string();
    let inner = service_fn(|request: Request<RequestBody<Full<Bytes>>>| {
        let answer = answer.clone();
        let current = opentelemetry::Context::current();
        assert!(current.span().span_context().is_valid(), "also while the call is made");
        async move {
            let length = Body::size_hint(request.body()).exact();
            let headers = request.headers().clone();
            let current = opentelemetry::Context::current();
            assert!(current.span().span_context().is_valid(), "what is opened below is below the call");
            let body = request.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(
                (length, headers.len()),
                (Some(body.len() as u64), 0),
                "no header was added, the length is known"
            );
            let echo = Response::builder().header("x-echo", body.len()).body(Full::<Bytes>::from(answer)).unwrap();
            Ok::<_, Infallible>(echo)
        }
    });
    let layer = GenAiLayer::new(rig.genai.clone()).layer(inner);
    let response = layer.oneshot(request()).await.unwrap();
    assert_eq!(response.body().size_hint().exact(), Some(answer.len() as u64));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), answer);
    expect(&rig.one(), &json!({ "gen_ai.response.id": "c1" }));

    let inner = service_fn(|_: Request<_>| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hi"))) });
    let other = Request::post("https://example.com/upload").body(Full::<Bytes>::from("{}")).unwrap();
    GenAiLayer::new(rig.genai.clone()).layer(inner).oneshot(other).await.unwrap();
    assert!(rig.take().is_empty(), "what is no model call makes no span");
}

/// A request body that states its length, and breaks off.
struct Short(Scripted);

impl Body for Short {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(1_000)
    }
}

#[tokio::test]
async fn a_request_that_breaks_off_breaks_off_for_who_sends_it_too() {
    let rig = Rig::new();
    let sent = service_fn(|request: Request<RequestBody<Short>>| async move {
        let mut body = request.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, r#"{"model":"#);
        assert!(!body.is_end_stream());
        assert_eq!(body.frame().await.unwrap().unwrap_err(), Broken);
        Err::<Response<Full<Bytes>>, _>(Broken)
    });
    let steps = VecDeque::from([Step::Data(r#"{"model":"#.to_owned()), Step::Fail, Step::End]);
    let request = Request::post(URL).body(Short(Scripted(steps))).unwrap();
    assert_eq!(GenAiLayer::new(rig.genai.clone()).layer(sent).oneshot(request).await.unwrap_err(), Broken);
}
