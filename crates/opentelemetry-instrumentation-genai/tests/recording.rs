//! What is recorded when, and what a span is below.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use http::HeaderMap;
use opentelemetry::trace::{SpanKind, TraceContextExt as _, TraceState, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_instrumentation_genai::interceptor::Action;
use opentelemetry_instrumentation_genai::{
    Api, Capture, Instrumentation, Json, Kind, Message, Operation, Request, RequestFacts, ResponseFacts, Route, Target,
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample};
use serde_json::json;
use support::{Rig, attributes_of, expect};

const URL: &str = "https://api.openai.com/v1/chat/completions";
const CANARY: &str = "canary-7f3a";

fn body() -> String {
    let tools = json!([{ "type": "function", "function": { "name": "f", "description": CANARY } }]);
    let messages = json!([{ "role": "system", "content": CANARY }, { "role": "user", "content": CANARY }]);
    json!({ "model": "m", "messages": messages, "tools": tools, "seed": 7 }).to_string()
}

fn answer() -> String {
    let token = json!({ "token": CANARY, "id": 7, "logprob": -0.5 });
    let message = json!({ "content": CANARY, "refusal": CANARY, "tool_calls": [{ "id": "t", "function": { "name": CANARY, "arguments": CANARY } }] });
    json!({ "id": "c1", "choices": [{ "message": message, "finish_reason": "stop", "logprobs": { "content": [token] } }],
        "error": { "message": CANARY, "code": "odd" }, "usage": { "prompt_tokens": 1, "completion_tokens": 2 } })
    .to_string()
}

fn call(genai: &Instrumentation) {
    let body = body();
    let mut call = genai.start(&Request { method: "POST", url: URL, body: Some(body.as_bytes()) }).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", CANARY.parse().unwrap());
    call.response(200, &headers);
    call.chunk(answer().as_bytes());
    call.end();
}

#[test]
fn content_is_recorded_only_if_configured() {
    let rig = Rig::with(|builder| builder);
    call(&rig.genai);
    let span = rig.one();
    assert!(!span.to_string().contains(CANARY), "{span:#}");
    expect(
        &span,
        &json!({ "gen_ai.usage.output_tokens": 2, "error.type": "odd", "failed": "odd", "retrace.logprobs": [-0.5],
        "retrace.token_ids": null, "gen_ai.output.messages": null, "gen_ai.tool.definitions": null, "gen_ai.request.seed": 7 }),
    );
    let rig = Rig::new();
    call(&rig.genai);
    let span = rig.one();
    expect(&span, &json!({ "failed": CANARY, "retrace.token_ids": [7] }));
    assert_eq!(span["gen_ai.input.messages"][1]["parts"][0]["content"], CANARY);
}

#[derive(Clone, Debug)]
struct Watch;

impl ShouldSample for Watch {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: opentelemetry::TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        _: &[opentelemetry::trace::Link],
    ) -> SamplingResult {
        let first: Vec<String> = attributes.iter().take(5).map(|each| format!("{}={}", each.key, each.value)).collect();
        assert_eq!((name, kind), ("chat m", &SpanKind::Client));
        let expected =
            ["operation.name=chat", "provider.name=openai", "request.model=m"].map(|each| format!("gen_ai.{each}"));
        assert_eq!(first[..3], expected);
        assert_eq!(first[3..], ["server.address=api.openai.com", "server.port=443"]);
        SamplingResult { decision: SamplingDecision::Drop, attributes: Vec::new(), trace_state: TraceState::default() }
    }
}

#[test]
fn samplers_see_what_the_call_is_and_a_span_that_is_dropped_costs_nothing() {
    let provider = SdkTracerProvider::builder().with_sampler(Watch).build();
    let genai = Instrumentation::builder().with_tracer_provider(&provider).build();
    let body = body();
    let mut call = genai.start(&Request { method: "POST", url: URL, body: Some(body.as_bytes()) }).unwrap();
    assert!(!call.is_recording() && call.facts().is_none());
    assert!(call.context().span().span_context().is_valid(), "what is below follows the decision");
}

#[test]
fn the_span_is_below_the_callers_and_above_what_is_opened_inside() {
    let rig = Rig::new();
    let tracer = rig.provider.tracer("app");
    let body = body();
    let agent = Context::current().with_span(tracer.start("agent"));
    let call = {
        let _current = agent.clone().attach();
        rig.genai.start(&Request { method: "POST", url: URL, body: Some(body.as_bytes()) }).unwrap()
    };
    tracer.start_with_context("POST", call.context());
    call.end();
    agent.span().end();
    let spans = rig.take();
    let ids = |place: usize| (spans[place].span_context.span_id(), spans[place].parent_span_id);
    assert_eq!([&*spans[0].name, &*spans[1].name, &*spans[2].name], ["POST", "chat m", "agent"]);
    assert_eq!((ids(0).1, ids(1).1), (ids(1).0, ids(2).0));
    assert_eq!(spans[1].instrumentation_scope.name(), "opentelemetry-instrumentation-genai");
}

#[test]
fn suppressed_telemetry_makes_no_span() {
    let rig = Rig::new();
    let _suppressed = Context::enter_telemetry_suppressed_scope();
    let body = body();
    assert!(rig.genai.start(&Request { method: "POST", url: URL, body: Some(body.as_bytes()) }).is_none());
}

#[test]
fn time_to_first_chunk_is_that_of_streams() {
    let rig = Rig::new();
    for (stream, expected) in [(true, true), (false, false)] {
        let body = json!({ "model": "m", "messages": [], "stream": stream }).to_string();
        let mut call = rig.genai.start(&Request { method: "POST", url: URL, body: Some(body.as_bytes()) }).unwrap();
        call.chunk(b": waiting\n\n");
        call.chunk(b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
        call.end();
        let span = rig.one();
        assert_eq!(span.get("gen_ai.response.time_to_first_chunk").is_some(), expected);
        assert_eq!(span.get("gen_ai.request.stream").is_some(), expected);
    }
}

#[test]
fn an_answer_that_was_seen_whole_is_whole_though_nobody_waits_for_the_end() {
    let rig = Rig::new();
    let body = body();
    for (read, partial) in [(answer().len(), json!(null)), (answer().len() - 1, json!(true))] {
        let mut call = rig.genai.start(&Request { method: "POST", url: URL, body: Some(body.as_bytes()) }).unwrap();
        call.chunk(&answer().as_bytes()[..read]);
        assert_eq!(call.is_complete(), partial.is_null());
        drop(call);
        expect(&rig.one(), &json!({ "retrace.partial": partial, "gen_ai.response.id": "c1" }));
    }
}

#[test]
fn usage_is_requested_only_if_configured() {
    let rig = Rig::with(|builder| builder.with_include_usage(true));
    let altered = |body: &str| {
        let request = Request { method: "POST", url: URL, body: Some(body.as_bytes()) };
        let sent = |rig: &Rig| match rig.genai.intercept(&request, &HeaderMap::new())?.1 {
            Action::PassAltered(body) => Some(String::from_utf8(body.to_vec()).unwrap()),
            _ => None,
        };
        assert_eq!(sent(&Rig::new()), None, "off by default");
        sent(&rig)
    };
    let body = r#" { "model":"m", "messages":[],"stream":true}"#;
    let expected = r#" {"stream_options":{"include_usage":true}, "model":"m", "messages":[],"stream":true}"#;
    assert_eq!(altered(body).as_deref(), Some(expected));
    for other in [
        r#"{"model":"m","messages":[],"stream":false}"#,
        r#"{"model":"m","messages":[],"stream":true,"stream_options":{}}"#,
        r#"{"model":"m","messages":[],"stream":true,"stream_options":null}"#,
        "[]",
        "x",
    ] {
        assert_eq!(altered(other), None, "{other}");
    }
}

#[derive(Debug)]
struct Oracle;

impl Api for Oracle {
    fn route(&self, target: &Target<'_>) -> Option<Route> {
        (target.path() == "/ask").then(|| Route::new(Operation::Chat, "oracle"))
    }

    fn request(&self, _: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        facts.messages.extend(body.get("question").as_str().map(|text| Message::text("user", text)));
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        facts.choice(0).append(Kind::Text, document.get("answer").as_str().unwrap_or_default());
    }
}

#[test]
fn apis_and_providers_can_be_added() {
    let rig = Rig::with(|builder| {
        builder.with_api(Oracle).with_provider("localhost:8000", "vllm").with_capture(Capture::SpanOnly)
    });
    let start = |url: &str, body: &str| rig.genai.start(&Request { method: "POST", url, body: Some(body.as_bytes()) });
    let mut call = start("http://delphi/ask", r#"{"question":"Why?"}"#).unwrap();
    call.chunk(br#"{"answer":"Because."}"#);
    call.end();
    let span = rig.one();
    expect(&span, &json!({ "gen_ai.provider.name": "oracle", "name": "chat" }));
    assert_eq!(support::parts(&span)[0]["content"], "Because.");
    start("http://localhost:8000/v1/chat/completions", &body()).unwrap().end();
    expect(&rig.one(), &json!({ "gen_ai.provider.name": "vllm" }));
    start("http://localhost:9000/v1/chat/completions", &body()).unwrap().end();
    expect(&rig.one(), &json!({ "gen_ai.provider.name": "openai" }));
}

/// Panics in one of its methods.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Broken {
    Route,
    Accepts,
    Request,
    Headers,
    Response,
}

impl Api for Broken {
    fn route(&self, target: &Target<'_>) -> Option<Route> {
        assert_ne!(*self, Self::Route);
        Oracle.route(target)
    }

    fn accepts(&self, _: &Json<'_>) -> bool {
        assert_ne!(*self, Self::Accepts);
        true
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        facts.model = Some("pythia".to_owned());
        assert_ne!(*self, Self::Request);
        Oracle.request(target, body, facts);
    }

    fn headers(&self, _: &HeaderMap, facts: &mut ResponseFacts) {
        facts.id = Some("r1".to_owned());
        assert_ne!(*self, Self::Headers);
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        Oracle.response(document, facts);
        facts.usage.output = Some(facts.usage.output.unwrap_or(0) + 1);
        assert_ne!(*self, Self::Response);
    }
}

#[test]
fn pain_35_an_api_of_the_users_that_panics_breaks_no_call() {
    let call = |broken: Broken| {
        let rig = Rig::with(|builder| builder.with_api(broken).with_capture(Capture::SpanOnly));
        let request = Request { method: "POST", url: "http://delphi/ask", body: Some(br#"{"question":"Why?"}"#) };
        let mut call = rig.genai.start(&request)?;
        for _ in 0..3 {
            call.response(200, &HeaderMap::new());
            call.chunk(b"data: {\"answer\":\"Because.\"}\n\n");
        }
        call.end();
        Some(rig.one())
    };
    for broken in [Broken::Route, Broken::Accepts] {
        assert_eq!(call(broken), None, "{broken:?}: no model call");
    }
    let read = |broken: Broken, documents: Option<i64>| {
        let expected = json!({
            "name": "chat pythia", "gen_ai.response.id": "r1", "gen_ai.usage.output_tokens": documents,
            "retrace.partial": true,
        });
        expect(&call(broken).unwrap(), &expected);
    };
    read(Broken::Request, Some(3));
    read(Broken::Headers, None);
    read(Broken::Response, Some(1));
}

#[test]
fn sampling_of_the_sdk_is_followed() {
    let provider = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
    let genai = Instrumentation::builder().with_tracer_provider(&provider).build();
    call(&genai);
    let rig = Rig::new();
    let call =
        rig.genai.start_by_hand(Route::new(Operation::Embeddings, "house"), "https://h:9/x", RequestFacts::default());
    drop(call);
    let spans = rig.take();
    expect(
        &attributes_of(&spans[0]),
        &json!({ "server.port": 9, "gen_ai.provider.name": "house", "retrace.partial": true }),
    );
}
