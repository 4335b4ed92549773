//! A stored run becomes a cassette, and a provider that answers from it gives clients what the real one gave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use axum::http::HeaderMap;
use integration_tests::wait::{HANG, flush};
use opentelemetry::trace::{FutureExt as _, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Array, Context, KeyValue, Value as Attribute};
use opentelemetry_instrumentation_genai::{Capture, Instrumentation, Request};
use opentelemetry_retrace::RetraceExporter;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanExporter as _};
use retrace_local::{ReplayServer, ReplaySettings, Server, TraceQuery, export_cassette};
use retrace_protocol::Trace;
use retrace_replay::render::{Answer, Api, Choice, ChoicePart, Fidelity, Usage, render};
use serde_json::{Map, Value, json};

/// A call with its response, as its provider writes it.
struct Exchange {
    api: Api,
    streamed: bool,
    url: String,
    request: Value,
    response: Vec<Vec<u8>>,
}

/// One exchange with each API, whole and streamed. Each asks for something else.
fn exchanges() -> Vec<Exchange> {
    let hosts = [
        (Api::OpenAiChat, "https://api.openai.com"),
        (Api::OpenAiResponses, "https://api.openai.com"),
        (Api::AnthropicMessages, "https://api.anthropic.com"),
        (Api::GeminiGenerateContent, "https://generativelanguage.googleapis.com"),
        (Api::CohereV2Chat, "https://api.cohere.com"),
        (Api::OllamaChat, "http://localhost:11434"),
        (Api::BedrockConverse, "https://bedrock-runtime.us-east-1.amazonaws.com"),
    ];
    let mut exchanges = Vec::new();
    for (api, host) in hosts {
        for streamed in [false, true] {
            let question = format!("When is high tide, by {api}, streamed: {streamed}?");
            let user = json!([{ "role": "user", "content": question }]);
            let request = match api {
                Api::OpenAiResponses => {
                    json!({ "model": "m", "input": question, "instructions": "Be terse.", "stream": streamed })
                }
                Api::GeminiGenerateContent => {
                    json!({ "contents": [{ "role": "user", "parts": [{ "text": question }] }],
                    "systemInstruction": { "parts": [{ "text": "Be terse." }] } })
                }
                Api::BedrockConverse => json!({ "messages": [{ "role": "user", "content": [{ "text": question }] }] }),
                Api::AnthropicMessages => {
                    json!({ "model": "m", "max_tokens": 99, "system": "Be terse.", "messages": user, "stream": streamed })
                }
                _ => json!({ "model": "m", "temperature": 0.5, "messages": user, "stream": streamed }),
            };
            let call = ChoicePart::ToolCall {
                id: Some("call_1".into()),
                name: "tide".into(),
                arguments: Some(json!({ "harbour": "Oslo" })),
            };
            let reason = match api {
                Api::OpenAiResponses => "completed",
                Api::AnthropicMessages | Api::BedrockConverse => "tool_use",
                Api::GeminiGenerateContent => "STOP",
                Api::CohereV2Chat => "TOOL_CALL",
                _ => "tool_calls",
            };
            let parts =
                vec![ChoicePart::Reasoning("Look it up.".into()), ChoicePart::Text("One moment, Käpt’n.".into()), call];
            let has_cache = api != Api::OllamaChat;
            let answer = Answer {
                id: (!matches!(api, Api::OllamaChat | Api::BedrockConverse)).then(|| format!("r-{}", exchanges.len())),
                model: (!matches!(api, Api::CohereV2Chat | Api::BedrockConverse)).then(|| "m-2026".to_owned()),
                choices: vec![Choice { parts, finish_reason: Some(reason.to_owned()) }],
                usage: Usage {
                    input: Some(20),
                    output: Some(7),
                    cache_read: has_cache.then_some(5),
                    ..Usage::default()
                },
                ..Answer::default()
            };
            let response = render(api, &answer, streamed).unwrap().response;
            let response = response.chunks.into_iter().map(|chunk| chunk.bytes).collect();
            exchanges.push(Exchange {
                api,
                streamed,
                url: format!("{host}{}", api.path("m", streamed)),
                request,
                response,
            });
        }
    }
    exchanges
}

fn make(genai: &Instrumentation, url: &str, request: &Value, response: &[Vec<u8>]) {
    let body = request.to_string();
    let mut call = genai.start(&Request { method: "POST", url, body: Some(body.as_bytes()) }).expect("a model call");
    call.response(200, &HeaderMap::new());
    response.iter().for_each(|chunk| call.chunk(chunk));
    call.end();
}

/// The answer in the span of a call.
fn answer(exchange: &Exchange, response: &[Vec<u8>]) -> Answer {
    let spans = InMemorySpanExporter::default();
    let tracers = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
    let genai = Instrumentation::builder().with_tracer_provider(&tracers).with_capture(Capture::SpanOnly).build();
    make(&genai, &exchange.url, &exchange.request, response);
    let span = spans.get_finished_spans().unwrap().remove(0);
    let attributes: Map<String, Value> = span
        .attributes
        .iter()
        .filter_map(|attribute| {
            let value = match &attribute.value {
                Attribute::I64(value) => json!(value),
                Attribute::String(value) => json!(value.as_str()),
                Attribute::Array(Array::String(list)) => list.iter().map(opentelemetry::StringValue::as_str).collect(),
                _ => return None,
            };
            Some((attribute.key.to_string(), value))
        })
        .collect();
    Answer::from_attributes(&attributes).unwrap()
}

/// The run of an agent that makes these calls, as a receiver stores it.
async fn stored(exchanges: &[Exchange]) -> Trace {
    let receiver = Server::start().unwrap();
    let exporter = RetraceExporter::builder().with_api_key("rt_local").with_base_url(receiver.url()).build().unwrap();
    let tracers = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
    let genai = Instrumentation::builder().with_tracer_provider(&tracers).with_capture(Capture::SpanOnly).build();
    let tracer = tracers.tracer("app");
    let agent = tracer
        .span_builder("invoke_agent harbour")
        .with_attributes([KeyValue::new("gen_ai.operation.name", "invoke_agent")]);
    let agent = Context::new().with_span(agent.start(&tracer));
    async {
        for Exchange { url, request, response, .. } in exchanges {
            make(&genai, url, request, response);
        }
    }
    .with_context(agent.clone())
    .await;
    agent.span().end();
    tokio::task::spawn_blocking(move || {
        flush(&tracers);
        exporter.shutdown_with_timeout(HANG).unwrap();
        let page = receiver.traces(&TraceQuery::default()).unwrap();
        receiver.trace(page.traces[0].id.as_ref().unwrap()).unwrap().unwrap()
    })
    .await
    .unwrap()
}

async fn post(server: &ReplayServer, exchange: &Exchange) -> reqwest::Response {
    let path: String = exchange.url.splitn(4, '/').nth(3).unwrap().to_owned();
    let request = reqwest::Client::new().post(format!("{}/{path}", server.url()));
    request.header("content-type", "application/json").body(exchange.request.to_string()).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_run_answers_the_clients_of_seven_apis() {
    let exchanges = exchanges();
    let trace = stored(&exchanges).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run.jsonl");
    let entries = export_cassette(&trace, &file, false).unwrap();
    let calls: Vec<_> = entries.iter().filter(|entry| entry.entry.span_type.as_str() == "llm_call").collect();
    assert_eq!(calls.len(), exchanges.len());
    for (stored, exchange) in calls.iter().zip(&exchanges) {
        let Fidelity::Rebuilt(_) = &stored.fidelity else { panic!("{}: {:?}", exchange.api, stored.fidelity) };
    }

    let server = ReplayServer::start(&file, ReplaySettings::default()).unwrap();
    // In another order than they were recorded: requests are found by what they state.
    for exchange in exchanges.iter().rev() {
        let response = post(&server, exchange).await;
        let (status, streamed) = (response.status().as_u16(), exchange.streamed);
        let body = response.bytes().await.unwrap().to_vec();
        assert_eq!(status, 200, "{} {}", exchange.api, String::from_utf8_lossy(&body));
        let expected = answer(exchange, &exchange.response);
        assert_eq!(answer(exchange, &[body]), expected, "{}, streamed: {streamed}", exchange.api);
    }
    let report = server.report();
    assert!(report.refusal.is_none() && report.unused.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_request_is_refused_in_the_shape_of_its_provider_with_the_diff() {
    let exchanges = exchanges();
    let trace = stored(&exchanges).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run.jsonl");
    export_cassette(&trace, &file, false).unwrap();
    let server = ReplayServer::start(&file, ReplaySettings::default()).unwrap();
    let client = reqwest::Client::new();
    for mut exchange in exchanges {
        client.post(format!("{}/retrace/reset", server.url())).send().await.unwrap().error_for_status().unwrap();
        let text = exchange.request.to_string().replace("high tide", "low tide");
        exchange.request = serde_json::from_str(&text).unwrap();
        let response = post(&server, &exchange).await;
        assert_eq!((response.status().as_u16(), response.headers()["x-should-retry"].as_bytes()), (422, &b"false"[..]));
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        let message = match exchange.api {
            Api::OllamaChat => &body["error"],
            Api::CohereV2Chat | Api::BedrockConverse => &body["message"],
            _ => &body["error"]["message"],
        };
        assert!(message.as_str().is_some_and(|message| message.contains("low tide")), "{}: {body:#}", exchange.api);
        assert!(body["retrace"]["reason"].is_object(), "{body:#}");
        let report =
            client.get(format!("{}/retrace/report", server.url())).send().await.unwrap().bytes().await.unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        assert!(report["refusal"].is_object(), "{report:#}");
    }
}
