//! Model clients in one line each: what they send and receive is in the run, or nothing of it as `RETRACE_CAPTURE_CONTENT` states.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::env;
use std::process::Command;

use async_openai::config::OpenAIConfig;
use axum::body::Bytes;
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use integration_tests::scripted::{Act, ScriptedPeer};
use integration_tests::wait::HANG;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SimpleSpanProcessor};
use retrace::{Span, SpanType, Trace};
use retrace_local::{Server, TraceQuery};
use rig::http_client::ReqwestClient;
use rig::prelude::*;
use serde_json::{Value, json};
use tower::{Layer as _, Service as _, ServiceExt as _};

/// Addresses of the receiver and of the provider, for the program that calls models.
const RECEIVER: &str = "CLIENTS_TEST_RECEIVER";
const PROVIDER: &str = "CLIENTS_TEST_PROVIDER";

const ADAPTERS: [&str; 4] = ["reqwest", "tower", "async_openai", "rig"];
const QUESTION: &str = "question-canary";
const ANSWER: &str = "answer-canary";

fn answer() -> String {
    let message = json!({ "role": "assistant", "content": ANSWER });
    let choices = json!([{ "index": 0, "message": message, "finish_reason": "stop" }]);
    let usage = json!({ "prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11 });
    json!({ "id": "c-1", "object": "chat.completion", "created": 0, "model": "gpt-4o-mini", "choices": choices, "usage": usage })
        .to_string()
}

fn question() -> Value {
    json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": QUESTION }] })
}

/// Asks the model by one of the adapters; gives the body of the answer, or its text.
#[retrace::record]
async fn asked(adapter: &str, question: &str, provider: &str) -> String {
    assert_eq!(question, QUESTION);
    let url = format!("{provider}/v1/chat/completions");
    match adapter {
        "reqwest" => {
            let client = retrace::clients::reqwest::client(reqwest::Client::new());
            let request = client.post(url).header(CONTENT_TYPE, "application/json").body(self::question().to_string());
            request.send().await.unwrap().text().await.unwrap()
        }
        "tower" => {
            let client = Client::builder(TokioExecutor::new()).build_http();
            let mut client = retrace::clients::tower::layer().layer(client);
            let request = Request::post(url).header(CONTENT_TYPE, "application/json");
            let request = request.body(Full::new(Bytes::from(self::question().to_string()))).unwrap();
            let response = client.ready().await.unwrap().call(request).await.unwrap();
            String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
        }
        "async_openai" => {
            let config = OpenAIConfig::new().with_api_key("sk-canary").with_api_base(format!("{provider}/v1"));
            let client = retrace::clients::async_openai::client(async_openai::Client::with_config(config));
            let request = serde_json::from_value(self::question()).unwrap();
            client.chat().create(request).await.unwrap().choices[0].message.content.clone().unwrap()
        }
        "rig" => {
            let transport = retrace::clients::rig::client(ReqwestClient::default());
            let config = rig::providers::openai::OpenAIConfig::new("sk-canary").with_base_url(format!("{provider}/v1"));
            let agent = AgentBuilder::new(config.connect(transport).chat("gpt-4o-mini")).build();
            agent.prompt(question).await.unwrap().output().to_owned()
        }
        other => panic!("there is no adapter {other}"),
    }
}

/// The program: one run for each adapter.
#[test]
fn a_program_that_calls_models() {
    let (Ok(receiver), Ok(provider)) = (env::var(RECEIVER), env::var(PROVIDER)) else { return };
    // Another backend sees the spans as they are.
    let spans = InMemorySpanExporter::default();
    let configuration = retrace::configure().with_api_key("rt_local").with_base_url(receiver).with_flush_timeout(HANG);
    let retrace = configuration.with_span_processor(SimpleSpanProcessor::new(spans.clone())).install().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for adapter in ADAPTERS {
            let run = retrace::run(adapter).input(QUESTION);
            let answer = run.instrument(asked(adapter, QUESTION, &provider)).await;
            assert!(answer.contains(ANSWER), "{adapter}: {answer}");
        }
    });
    let seen = format!("{:?}", spans.get_finished_spans().unwrap());
    let captures_content = env::var_os("RETRACE_CAPTURE_CONTENT").is_none();
    assert_eq!((seen.contains(QUESTION), seen.contains(ANSWER)), (captures_content, captures_content), "{seen}");
    retrace.shutdown().unwrap();
}

/// Runs the program with this setting; gives its runs.
fn runs(captures_content: Option<&str>) -> Vec<Trace> {
    let server = Server::start().unwrap();
    let headers = vec![("content-type", "application/json".to_owned())];
    let provider = ScriptedPeer::always([], Act::Answer { status: 200, headers, body: answer() });
    let mut program = Command::new(env::current_exe().unwrap());
    program.args(["--exact", "a_program_that_calls_models", "--nocapture"]);
    program.env(RECEIVER, server.url()).env(PROVIDER, provider.url()).env("RETRACE_TRANSPORT", "http");
    program.env_remove("RETRACE_CAPTURE_CONTENT").env_remove("RETRACE_ENABLED");
    if let Some(captures_content) = captures_content {
        program.env("RETRACE_CAPTURE_CONTENT", captures_content);
    }
    assert!(program.status().unwrap().success());
    assert_eq!(provider.requests().len(), ADAPTERS.len(), "one request of each client");
    let heads = server.traces(&TraceQuery::default()).unwrap().traces;
    heads.iter().map(|head| server.trace(head.id.as_ref().unwrap()).unwrap().unwrap()).collect()
}

/// The run of an adapter, and its model call, which stands below the function that makes it.
fn model_call<'a>(runs: &'a [Trace], adapter: &str) -> (&'a Trace, &'a Span) {
    let run = runs.iter().find(|run| run.name.as_deref() == Some(adapter)).unwrap_or_else(|| panic!("{runs:#?}"));
    let spans = run.spans.as_deref().unwrap();
    let asked = spans.iter().find(|span| span.name == "asked").unwrap();
    let mut calls = spans.iter().filter(|span| span.span_type == SpanType::LlmCall);
    let call = calls.next().unwrap_or_else(|| panic!("{adapter}: {run:#?}"));
    assert!(calls.next().is_none(), "{adapter}: {run:#?}");
    assert_eq!(call.parent_id.as_ref(), Some(&asked.id), "{adapter}");
    assert_eq!(call.model.as_deref(), Some("gpt-4o-mini"), "{adapter}");
    assert_eq!((call.input_tokens, call.output_tokens), (Some(9), Some(2)), "{adapter}");
    (run, call)
}

#[test]
fn model_calls_of_every_client_are_steps_of_the_run_with_their_content() {
    let runs = runs(None);
    assert_eq!(runs.len(), ADAPTERS.len());
    for adapter in ADAPTERS {
        let (run, call) = model_call(&runs, adapter);
        let value = |json: &Option<retrace::Json>| json.as_ref().unwrap().to_value().unwrap();
        assert!(value(&call.input).to_string().contains(QUESTION), "{adapter}: {call:?}");
        assert_eq!(value(&call.output), json!(ANSWER), "{adapter}");
        let asked = run.spans.as_deref().unwrap().iter().find(|span| span.name == "asked").unwrap();
        assert!(value(&asked.output).to_string().contains(ANSWER), "{adapter}: {asked:?}");
        assert!(!serde_json::to_string(run).unwrap().contains("sk-canary"), "{adapter}: no key is recorded");
    }
}

#[test]
fn without_content_the_same_runs_have_no_word_of_it() {
    for off in ["false", "off", "no such value"] {
        let runs = runs(Some(off));
        assert_eq!(runs.len(), ADAPTERS.len());
        for adapter in ADAPTERS {
            let (run, _) = model_call(&runs, adapter);
            let text = serde_json::to_string(run).unwrap();
            assert!(!text.contains(QUESTION) && !text.contains(ANSWER), "{off}, {adapter}: {text}");
        }
    }
}
