//! Interceptors in front of calls by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use opentelemetry::{Context, KeyValue};
use opentelemetry_instrumentation_genai::interceptor::{Action, RecordedResponse, Refusal};
use opentelemetry_instrumentation_genai::{Call, Capture, Instrumentation, Request};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use serde_json::{Value as Json, json};
use support::intercept::{Script, Seen};
use support::{Rig, expect};

const URL: &str = "https://api.openai.com/v1/chat/completions";
const BODY: &[u8] = br#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;
const ANSWER: &[u8] = br#"{"id":"chatcmpl-1","model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"Hello!"}}],"usage":{"prompt_tokens":8,"completion_tokens":2}}"#;

fn request(body: &[u8]) -> Request<'_> {
    Request { method: "POST", url: URL, body: Some(body) }
}

fn rig(script: &Script) -> Rig {
    Rig::with(|builder| builder.with_capture(Capture::SpanOnly).with_interceptor(script.clone()))
}

fn headers() -> HeaderMap {
    HeaderMap::from_iter([(http::header::AUTHORIZATION, "Bearer sk-1".parse().unwrap())])
}

fn answer(call: &mut Call, pieces: &[&[u8]]) {
    call.response(200, &HeaderMap::new());
    pieces.iter().for_each(|piece| call.chunk(piece));
}

fn seen_before() -> Seen {
    let model = Some("gpt-4o-mini".to_owned());
    Seen::Before { api: "openai.chat", provider: "openai".to_owned(), model, body: Ok(BODY.to_vec()), headers: 1 }
}

#[test]
fn a_call_that_is_passed_is_observed_to_its_end() {
    let script = Script::passing();
    let rig = rig(&script);
    let (mut call, action) = rig.genai.intercept(&request(BODY), &headers()).unwrap();
    assert!(matches!(action, Action::Pass), "{action:?}");
    let (first, second) = ANSWER.split_at(20);
    answer(&mut call, &[first, second]);
    call.end();
    let end = Seen::End { outcome: "complete".to_owned(), input: Some(8), output: Some(2) };
    let chunks = [first, second].map(|piece| Seen::Chunk(piece.to_vec()));
    assert_eq!(script.take(), [&[seen_before(), Seen::Response(200, 0)], &chunks[..], &[end]].concat());
    assert!(script.elapsed().is_sorted(), "time goes on");
    expect(&rig.one(), &json!({ "gen_ai.response.id": "chatcmpl-1", "error.type": null }));
}

#[test]
fn a_call_that_is_printed_shows_no_credential_and_no_content() {
    let printed = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let place = std::sync::Arc::clone(&printed);
    let rig = rig(&Script::new(move |call| {
        *place.lock().unwrap() = format!("{call:?}");
        Action::Pass
    }));
    let url = "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent?key=AIza-canary";
    let body: &[u8] = br#"{"contents":[{"role":"user","parts":[{"text":"content-canary"}]}]}"#;
    let request = Request { method: "POST", url, body: Some(body) };
    drop(rig.genai.intercept(
        &request,
        &HeaderMap::from_iter([("x-goog-api-key".parse().unwrap(), "key-canary".parse().unwrap())]),
    ));
    let printed = printed.lock().unwrap();
    assert!(printed.contains("x-goog-api-key") && printed.contains(&format!("{} bytes", body.len())), "{printed}");
    assert!(!printed.contains("canary"), "{printed}");
}

#[test]
fn start_does_not_show_the_call() {
    let script = Script::passing();
    let rig = rig(&script);
    let mut call = rig.genai.start(&request(BODY)).unwrap();
    answer(&mut call, &[ANSWER]);
    call.end();
    assert_eq!(script.take(), []);
    rig.one();
}

#[test]
fn the_span_of_an_altered_call_is_that_of_the_request_that_is_sent() {
    let altered = br#"{"model":"gpt-4o","stream":true,"messages":[]}"#;
    let script = Script::new(|_| Action::PassAltered(Bytes::from_static(altered)));
    let rig = Rig::with(|builder| builder.with_interceptor(script.clone()).with_include_usage(true));
    let (call, action) = rig.genai.intercept(&request(BODY), &headers()).unwrap();
    let Action::PassAltered(body) = action else { panic!("{action:?}") };
    let body: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["stream_options"]["include_usage"], true, "what the settings add is added to the altered body");
    assert_eq!(body["model"], "gpt-4o");
    drop(call);
    expect(&rig.one(), &json!({ "gen_ai.request.model": "gpt-4o", "name": "chat gpt-4o" }));
    assert_eq!(script.take().len(), 2, "before and end");
}

#[test]
fn without_an_interceptor_intercept_is_start() {
    let rig = Rig::with(|builder| builder.with_include_usage(true));
    let (call, action) = rig.genai.intercept(&request(BODY), &headers()).unwrap();
    assert!(matches!(action, Action::Pass), "{action:?}");
    call.end();
    let stream = br#"{"model":"gpt-4o-mini","stream":true,"messages":[]}"#;
    let (call, action) = rig.genai.intercept(&request(stream), &headers()).unwrap();
    assert!(matches!(action, Action::PassAltered(_)), "{action:?}");
    call.end();
    assert!(rig.genai.intercept(&Request { url: "https://example.com/", ..request(BODY) }, &headers()).is_none());
    assert_eq!(rig.take().len(), 2);
}

#[test]
fn an_answer_brings_its_attributes_and_is_not_observed() {
    let mut recorded = RecordedResponse::new(StatusCode::OK);
    recorded.attributes.push(KeyValue::new("retrace.replayed", true));
    recorded.chunks.push((std::time::Duration::ZERO, Bytes::from_static(ANSWER)));
    let script = Script::new(move |_| Action::Answer(recorded.clone()));
    let rig = rig(&script);
    let (mut call, action) = rig.genai.intercept(&request(BODY), &headers()).unwrap();
    let Action::Answer(recorded) = action else { panic!("{action:?}") };
    answer(&mut call, &[&recorded.body()]);
    call.end();
    assert_eq!(script.take(), [seen_before()]);
    expect(&rig.one(), &json!({ "retrace.replayed": true, "gen_ai.usage.input_tokens": 8, "error.type": null }));
}

#[test]
fn a_refusal_is_the_error_of_the_span() {
    let script = Script::new(|_| {
        let attribute = KeyValue::new("retrace.divergence", "/messages/0/content");
        Action::Refuse(Refusal::new("no entry is left").with_error_type("replay_miss").with_attribute(attribute))
    });
    let rig = rig(&script);
    let (call, action) = rig.genai.intercept(&request(BODY), &headers()).unwrap();
    let Action::Refuse(refusal) = action else { panic!("{action:?}") };
    call.refuse(&refusal);
    assert_eq!(script.take(), [seen_before()]);
    let expected = json!({ "error.type": "replay_miss", "failed": "replay_miss", "retrace.divergence": "/messages/0/content",
        "gen_ai.request.model": "gpt-4o-mini" });
    expect(&rig.one(), &expected);
}

#[test]
fn a_call_without_a_recorded_span_is_intercepted_as_well() {
    let script = Script::passing();
    let unsampled = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
    let genai = Instrumentation::builder().with_tracer_provider(&unsampled).with_interceptor(script.clone()).build();
    let end = || Seen::End { outcome: "complete".to_owned(), input: Some(8), output: Some(2) };
    let (mut call, _) = genai.intercept(&request(BODY), &headers()).unwrap();
    assert!(call.is_recording(), "somebody observes it");
    answer(&mut call, &[ANSWER]);
    call.end();
    assert_eq!(script.take().last(), Some(&end()), "the tokens are known");

    // Where telemetry is suppressed there is no span, and a call must not slip out of a replay.
    let rig = rig(&script);
    let suppressed = Context::new().with_telemetry_suppressed();
    let _current = suppressed.attach();
    let (mut call, _) = rig.genai.intercept(&request(BODY), &headers()).unwrap();
    answer(&mut call, &[ANSWER]);
    call.end();
    assert_eq!(script.take().len(), 4);
    assert!(rig.take().is_empty());
}

#[test]
fn the_span_around_a_call_without_a_span_goes_on() {
    use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};

    let script = Script::passing();
    let rig = rig(&script);
    let around = Context::new().with_span(rig.provider.tracer("app").start("around"));
    {
        let _current = around.clone().with_telemetry_suppressed().attach();
        rig.genai.intercept(&request(BODY), &headers()).unwrap().0.end();
    }
    assert!(around.span().is_recording() && rig.take().is_empty());
    let _current = around.clone().attach();
    let unknown = Request { url: "http://localhost:1/v1/chat/completions", body: None, ..request(BODY) };
    rig.genai.intercept(&unknown, &headers()).unwrap().0.end();
    assert!(around.span().is_recording() && rig.take().is_empty());
}

#[test]
fn a_body_that_is_not_here_has_its_reason() {
    let script = Script::passing();
    let rig = rig(&script);
    let known = Request { body: None, ..request(BODY) };
    rig.genai.intercept(&known, &headers()).unwrap().0.end();
    let seen = script.take();
    let Seen::Before { body, model: None, .. } = &seen[0] else { panic!("{seen:?}") };
    assert_eq!(body.as_deref(), Err(&"the request body is a stream".to_owned()));
    assert_eq!(rig.take().len(), 1);

    // It may be something else than a model call, so it has no span unless it is answered or refused.
    let unknown = Request { url: "http://localhost:1/v1/chat/completions", body: None, ..request(BODY) };
    assert!(rig.genai.start(&unknown).is_none());
    let (mut call, _) = rig.genai.intercept(&unknown, &headers()).unwrap();
    answer(&mut call, &[ANSWER]);
    call.end();
    assert_eq!((script.take().len(), rig.take().len()), (4, 0));
    let refusing = Rig::with(|builder| builder.with_interceptor(Script::new(|_| Action::Refuse(Refusal::new("no")))));
    let (call, action) = refusing.genai.intercept(&unknown, &headers()).unwrap();
    let Action::Refuse(refusal) = action else { panic!("{action:?}") };
    call.refuse(&refusal);
    expect(&refusing.one(), &json!({ "error.type": "refused" }));
}

#[test]
fn a_call_that_is_dropped_or_fails_ends_once() {
    let script = Script::passing();
    let rig = rig(&script);
    let begin = || rig.genai.intercept(&request(BODY), &headers()).unwrap().0;
    let end = |outcome: &str| Seen::End { outcome: outcome.to_owned(), input: None, output: None };
    drop(begin());
    assert_eq!(script.take()[1..], [end("dropped")]);
    begin().fail("timeout");
    assert_eq!(script.take()[1..], [end("failed: timeout")]);
}

#[test]
fn an_interceptor_that_panics_lets_nothing_out_and_breaks_nothing() {
    let rig = rig(&Script::new(|_| panic!("this interceptor decides nothing")));
    let (call, action) = rig.genai.intercept(&request(BODY), &headers()).unwrap();
    let Action::Refuse(refusal) = action else { panic!("{action:?}") };
    call.refuse(&refusal);
    expect(&rig.one(), &json!({ "error.type": "interceptor_panic" }));

    let script = Script::passing();
    let rig = self::rig(&script);
    let (mut call, _) = rig.genai.intercept(&request(BODY), &headers()).unwrap();
    answer(&mut call, &[b"panic", ANSWER]);
    call.end();
    assert_eq!(script.take().len(), 3, "nothing after the panic");
    rig.one();
}

#[test]
fn a_refusal_is_found_within_other_errors() {
    #[derive(Debug)]
    struct Around(Refusal);

    impl std::fmt::Display for Around {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("the client failed")
        }
    }

    impl std::error::Error for Around {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    let refusal = Refusal::new("no").with_source(std::io::Error::other("the reason"));
    let around = Around(refusal);
    let found = Refusal::find(&around).unwrap();
    assert_eq!(found.to_string(), "no");
    assert_eq!(std::error::Error::source(found).unwrap().to_string(), "the reason");
    assert!(Refusal::find(&std::io::Error::other("another")).is_none());
    let response = found.response();
    assert_eq!((response.status.as_u16(), response.headers["x-should-retry"].as_bytes()), (422, &b"false"[..]));
    let body: Json = serde_json::from_slice(&response.body()).unwrap();
    assert_eq!(body, json!({ "error": { "message": "no", "type": "refused", "code": "refused" } }));
}
