//! Real clients of model providers, watched, against a scripted provider: what arrives at the receiver is the run one expects.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};

use async_openai::Client as OpenAiClient;
use async_openai::config::OpenAIConfig;
use async_openai::middleware::ReqwestService;
use async_openai::types::chat::{ChatCompletionRequestUserMessage, CreateChatCompletionRequestArgs};
use async_openai::types::responses::CreateResponseArgs;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::{StreamExt as _, stream};
use integration_tests::wait::{HANG, flush};
use opentelemetry::Context;
use opentelemetry::KeyValue;
use opentelemetry::trace::{FutureExt as _, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry_instrumentation_genai::{self as genai, Capture, Instrumentation};
use opentelemetry_retrace::RetraceExporter;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter as _};
use retrace_local::{Server, TraceQuery};
use retrace_protocol::{Span, Trace};
use rig::http_client::ReqwestClient;
use rig::prelude::*;
use rig::tool::ToolExecutionError;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::Layer as _;

/// Starts a provider that knows its lines; its URL.
async fn provider() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/responses", post(responses))
        .route("/v1/messages", post(messages))
        .route("/v1beta/models/{method}", post(generate));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn sse(events: &[Value]) -> Response {
    let mut pieces: Vec<String> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    pieces.push("data: [DONE]\n\n".to_owned());
    let body = Body::from_stream(stream::iter(pieces.into_iter().map(|piece| Ok::<_, Infallible>(Bytes::from(piece)))));
    Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
}

/// Another id for each answer: tokens of two spans that tell of the same answer would be counted once.
fn fresh() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("chatcmpl-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn delta(delta: &Value, reason: &Value) -> Value {
    json!({ "id": fresh(), "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini-2024-07-18",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] })
}

async fn chat(Json(request): Json<Value>) -> Response {
    let answered = request["messages"].as_array().unwrap().iter().any(|message| message["role"] == "tool");
    let usage = json!({ "prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27 });
    if request["model"] == "no-such-model" {
        let error = json!({ "error": { "message": "There is none.", "type": "invalid_request_error", "param": null, "code": "model_not_found" } });
        return (StatusCode::NOT_FOUND, Json(error)).into_response();
    }
    let tools = request["tools"].as_array().is_some_and(|tools| !tools.is_empty());
    let call = json!({ "index": 0, "id": fresh(), "type": "function", "function": { "name": "tide", "arguments": "{\"harbour\":\"Oslo\"}" } });
    if request["stream"] == true {
        let mut last = delta(&json!({}), &json!("stop"));
        last["usage"] = usage;
        let none = Value::Null;
        if tools && !answered {
            let mut last = last.clone();
            last["choices"][0]["finish_reason"] = "tool_calls".into();
            return sse(&[delta(&json!({ "role": "assistant", "tool_calls": [call] }), &none), last]);
        }
        let words =
            ["High ", "tide ", "at six."].map(|word| delta(&json!({ "role": "assistant", "content": word }), &none));
        return sse(&[words.to_vec(), vec![last]].concat());
    }
    let (message, reason) = if tools && !answered {
        (json!({ "role": "assistant", "content": null, "tool_calls": [call] }), "tool_calls")
    } else {
        (json!({ "role": "assistant", "content": "High tide at six." }), "stop")
    };
    let answer = json!({ "id": fresh(), "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024-07-18",
        "choices": [{ "index": 0, "message": message, "finish_reason": reason,
            "logprobs": { "content": [{ "token": "High", "logprob": -0.5, "bytes": null, "top_logprobs": [] }], "refusal": null } }], "usage": usage });
    Json(answer).into_response()
}

async fn responses() -> Json<Value> {
    let message = json!({ "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
        "content": [{ "type": "output_text", "text": "High tide at six.", "annotations": [] }] });
    Json(
        json!({ "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "gpt-4o-mini-2024-07-18",
        "output": [message], "parallel_tool_calls": true, "tools": [], "tool_choice": "auto", "metadata": {},
        "usage": { "input_tokens": 11, "input_tokens_details": { "cached_tokens": 3 }, "output_tokens": 5,
            "output_tokens_details": { "reasoning_tokens": 2 }, "total_tokens": 16 } }),
    )
}

async fn messages() -> Json<Value> {
    Json(
        json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": [{ "type": "text", "text": "High tide at six." }],
        "stop_reason": "end_turn", "usage": { "input_tokens": 4, "cache_read_input_tokens": 100, "output_tokens": 6 } }),
    )
}

async fn generate(Path(method): Path<String>) -> Json<Value> {
    assert_eq!(method, "gemini-2.5-flash:generateContent");
    Json(
        json!({ "candidates": [{ "content": { "role": "model", "parts": [{ "text": "High tide at six." }] }, "finishReason": "STOP", "index": 0 }],
        "usageMetadata": { "promptTokenCount": 8, "candidatesTokenCount": 5, "thoughtsTokenCount": 3, "totalTokenCount": 16 }, "modelVersion": "gemini-2.5-flash" }),
    )
}

/// A receiver, and what sends to it.
struct Pipeline {
    receiver: Server,
    tracers: SdkTracerProvider,
    exporter: RetraceExporter,
    genai: Instrumentation,
}

impl Pipeline {
    fn new() -> Self {
        let receiver = Server::start().unwrap();
        let exporter =
            RetraceExporter::builder().with_api_key("rt_local").with_base_url(receiver.url()).build().unwrap();
        let tracers = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
        let genai = Instrumentation::builder().with_tracer_provider(&tracers).with_capture(Capture::SpanOnly).build();
        Self { receiver, tracers, exporter, genai }
    }

    /// The context of an agent that begins.
    fn agent(&self) -> Context {
        let tracer = self.tracers.tracer("app");
        let builder = tracer.span_builder("invoke_agent harbour").with_attributes([
            KeyValue::new("gen_ai.operation.name", "invoke_agent"),
            KeyValue::new("gen_ai.agent.name", "harbour"),
        ]);
        Context::new().with_span(builder.start(&tracer))
    }

    /// Ends the agent, and gives its run.
    async fn run(self, agent: Context) -> Trace {
        agent.span().end();
        tokio::task::spawn_blocking(move || {
            flush(&self.tracers);
            self.exporter.shutdown_with_timeout(HANG).unwrap();
            let page = self.receiver.traces(&TraceQuery::default()).unwrap();
            assert_eq!(page.total, 1, "{page:?}");
            self.receiver.trace(page.traces[0].id.as_ref().unwrap()).unwrap().unwrap()
        })
        .await
        .unwrap()
    }
}

/// Kind, name, model and tokens of a span.
type Row<'a> = (String, String, Option<&'a str>, Option<(u64, u64)>);

fn told(trace: &Trace) -> Vec<Row<'_>> {
    let spans = trace.spans.as_ref().unwrap();
    let told = |span: &'_ Span| -> (String, String) { (span.span_type.as_str().to_owned(), span.name.clone()) };
    spans
        .iter()
        .map(|span| {
            let (kind, name) = told(span);
            (kind, name, span.model.as_deref(), span.input_tokens.zip(span.output_tokens))
        })
        .collect()
}

fn output(span: &Span) -> String {
    span.output.as_ref().unwrap().to_value().unwrap().to_string()
}

fn row<'a>(kind: &str, name: &str, model: Option<&'a str>, tokens: Option<(u64, u64)>) -> Row<'a> {
    (kind.to_owned(), name.to_owned(), model, tokens)
}

const MINI: Option<&str> = Some("gpt-4o-mini-2024-07-18");

#[tokio::test]
async fn async_openai_chat_stream_responses_and_an_error() {
    let (url, pipeline) = (provider().await, Pipeline::new());
    let service =
        genai::async_openai::GenAiLayer::new(pipeline.genai.clone()).layer(ReqwestService::new(reqwest::Client::new()));
    let config = OpenAIConfig::new().with_api_key("sk-canary").with_api_base(format!("{url}/v1"));
    let client = OpenAiClient::with_config(config).with_http_service(service);
    let request = |model: &str| {
        let message = ChatCompletionRequestUserMessage::from("When?");
        CreateChatCompletionRequestArgs::default().model(model).messages(vec![message.into()]).build().unwrap()
    };
    let agent = pipeline.agent();
    async {
        let answer = client.chat().create(request("gpt-4o-mini")).await.unwrap();
        assert_eq!(answer.choices[0].message.content.as_deref(), Some("High tide at six."));

        let mut stream = client.chat().create_stream(request("gpt-4o-mini")).await.unwrap();
        let mut said = String::new();
        while let Some(chunk) = stream.next().await {
            said.extend(chunk.unwrap().choices.into_iter().filter_map(|choice| choice.delta.content));
        }
        assert_eq!(said, "High tide at six.");

        let request = |text: &str| CreateResponseArgs::default().model("gpt-4o-mini").input(text).build().unwrap();
        let answer = client.responses().create(request("When?")).await.unwrap();
        assert_eq!(answer.output_text().as_deref(), Some("High tide at six."));
    }
    .with_context(agent.clone())
    .await;
    let refused = client.chat().create(request("no-such-model")).with_context(agent.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("There is none."), "the caller's error is as it was: {refused}");
    let trace = pipeline.run(agent).await;

    let expected = [
        row("reasoning", "harbour", None, None),
        row("llm_call", "chat gpt-4o-mini", MINI, Some((20, 7))),
        row("llm_call", "chat gpt-4o-mini", MINI, Some((20, 7))),
        row("llm_call", "chat gpt-4o-mini", MINI, Some((11, 5))),
        row("llm_call", "chat no-such-model", Some("no-such-model"), None),
    ];
    assert_eq!(told(&trace)[1..], expected[1..]);
    let spans = trace.spans.as_ref().unwrap();
    assert_eq!(spans[1].logprobs.as_deref(), Some(&[-0.5][..]), "log-probabilities reach the wire");
    for span in &spans[1..4] {
        assert!(output(span).contains("High tide at six."), "{}", output(span));
        assert!(span.input.as_ref().unwrap().to_value().unwrap().to_string().contains("When?"));
    }
    assert!(spans[4].error.as_deref().is_some_and(|error| error.contains("There is none.")), "{:?}", spans[4].error);
    assert_eq!(trace.total_tokens, Some(70));
    assert!(!format!("{trace:?}").contains("sk-canary"), "no key is recorded");
}

/// When the tide is high in a harbour.
#[allow(clippy::needless_pass_by_value)] // rig parses the arguments and gives them away
#[rig::rig_tool]
fn tide(
    /// The harbour.
    harbour: String,
) -> Result<String, ToolExecutionError> {
    Ok(format!("{harbour}: six"))
}

#[tokio::test]
async fn a_rig_agent_with_a_tool_asked_and_streamed() {
    let (url, pipeline) = (provider().await, Pipeline::new());
    let transport = genai::rig::GenAiHttpClient::new(ReqwestClient::default(), pipeline.genai.clone());
    let models =
        rig::providers::openai::OpenAIConfig::new("sk-canary").with_base_url(format!("{url}/v1")).connect(transport);
    let builder = AgentBuilder::new(models.chat("gpt-4o-mini")).name("harbour").preamble("Look it up.");
    let rig = builder.tool(Tide).build();
    let agent = pipeline.agent();
    async {
        let answer = rig.prompt("When?").max_turns(3).await.unwrap();
        assert_eq!(answer.output(), "High tide at six.");
        let mut stream = rig.prompt("And tomorrow?").max_turns(3).stream();
        while let Some(item) = stream.next().await {
            item.unwrap();
        }
    }
    .with_context(agent.clone())
    .await;
    let trace = pipeline.run(agent).await;

    // No span was made for the tool: what the messages show of it stands in the run nevertheless.
    let calls: Vec<_> = told(&trace).into_iter().filter(|(kind, ..)| kind == "llm_call").collect();
    assert_eq!(calls, vec![row("llm_call", "chat gpt-4o-mini", MINI, Some((20, 7))); 4]);
    let tools: Vec<&Span> =
        trace.spans.as_ref().unwrap().iter().filter(|span| span.span_type.as_str() == "tool_call").collect();
    assert_eq!(tools.len(), 2, "{:?}", told(&trace));
    for tool in tools {
        assert_eq!(tool.name, "tide");
        assert!(tool.input.as_ref().unwrap().to_value().unwrap().to_string().contains("Oslo"));
    }
    assert_eq!(trace.total_tokens, Some(108));
}

#[tokio::test]
async fn plain_requests_to_anthropic_and_gemini() {
    let (url, pipeline) = (provider().await, Pipeline::new());
    let middleware = genai::reqwest_middleware::GenAiMiddleware::new(pipeline.genai.clone());
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new()).with(middleware).build();
    let agent = pipeline.agent();
    async {
        let claude = json!({ "model": "claude-sonnet-4-5", "max_tokens": 99, "system": "Be terse.", "messages": [{ "role": "user", "content": "When?" }] });
        let gemini = json!({ "contents": [{ "role": "user", "parts": [{ "text": "When?" }] }], "systemInstruction": { "parts": [{ "text": "Be terse." }] } });
        for (place, body) in [("/v1/messages", claude), ("/v1beta/models/gemini-2.5-flash:generateContent?key=sk-canary", gemini)] {
            let request = client.post(format!("{url}{place}")).header("content-type", "application/json").header("x-api-key", "sk-canary");
            let answer = request.body(body.to_string()).send().await.unwrap().text().await.unwrap();
            assert!(answer.contains("High tide at six."));
        }
    }
    .with_context(agent.clone())
    .await;
    let trace = pipeline.run(agent).await;
    let expected = [
        row("llm_call", "chat claude-sonnet-4-5", Some("claude-sonnet-4-5"), Some((104, 6))),
        row("llm_call", "generate_content gemini-2.5-flash", Some("gemini-2.5-flash"), Some((8, 8))),
    ];
    assert_eq!(told(&trace)[1..], expected);
    for span in &trace.spans.as_ref().unwrap()[1..] {
        assert!(output(span).contains("High tide at six."));
        assert!(span.input.as_ref().unwrap().to_value().unwrap().to_string().contains("Be terse."), "{:?}", span.input);
    }
    assert!(!format!("{trace:?}").contains("sk-canary"), "no key is recorded");
}

/// Reads until two events of a stream have come.
async fn read_two(response: &mut reqwest::Response) {
    let mut seen = String::new();
    while seen.matches("data:").count() < 2 {
        seen += std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap();
    }
}

/// The way of every adapter that has a real socket below it: the caller goes, one span stays.
#[tokio::test]
async fn callers_that_go_early_leave_one_partial_span() {
    let spans = opentelemetry_sdk::trace::InMemorySpanExporter::default();
    let tracers = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
    let genai = Instrumentation::builder().with_tracer_provider(&tracers).with_capture(Capture::SpanOnly).build();
    // Two chunks, and then nothing for ever.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/chat/completions", listener.local_addr().unwrap());
    let router = Router::new().route(
        "/v1/chat/completions",
        post(|body: Bytes| async move {
            if body.windows(7).any(|window| window == b"silence") {
                std::future::pending::<()>().await;
            }
            let none = Value::Null;
            let words = ["one ", "two "].map(|word| format!("data: {}\n\n", delta(&json!({ "content": word }), &none)));
            let words = stream::iter(words.map(|word| Ok::<_, Infallible>(Bytes::from(word)))).chain(stream::pending());
            Response::builder().header("content-type", "text/event-stream").body(Body::from_stream(words)).unwrap()
        }),
    );
    tokio::spawn(async move { axum::serve(listener, router).await });
    let body = |model: &str| {
        json!({ "model": model, "messages": [{ "role": "user", "content": "go" }], "stream": true }).to_string()
    };
    let one = |said: &str, error: Option<&str>| {
        let finished = spans.get_finished_spans().unwrap();
        spans.reset();
        assert_eq!(finished.len(), 1, "one span for each call");
        let of = |key: &str| {
            let found = finished[0].attributes.iter().find(|each| each.key.as_str() == key);
            found.map(|each| each.value.to_string()).unwrap_or_default()
        };
        assert_eq!((of("retrace.partial").as_str(), of("error.type").as_str()), ("true", error.unwrap_or_default()));
        assert!(of("gen_ai.output.messages").contains(said), "{}", of("gen_ai.output.messages"));
    };

    let middleware = genai::reqwest_middleware::GenAiMiddleware::new(genai.clone());
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new()).with(middleware).build();
    let send = |model: &str| client.post(&url).body(body(model)).send();
    // Before the head. While the clock is paused, it runs on when nothing else does: the provider is silent, and time is over.
    tokio::time::pause();
    assert!(tokio::time::timeout(HANG, send("silence")).await.is_err());
    one("", None);
    tokio::time::resume();
    // After chunks.
    let mut response = send("m").await.unwrap();
    read_two(&mut response).await;
    drop(response);
    one("one two ", None);
    // The client's own time limit, after chunks and before the head.
    let mut response = client.post(&url).body(body("m")).timeout(HANG).send().await.unwrap();
    read_two(&mut response).await;
    tokio::time::pause();
    let error = response.text().await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    one("one two ", Some("timeout"));
    let error = client.post(&url).body(body("silence")).timeout(HANG).send().await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    one("", Some("timeout"));
    tokio::time::resume();

    let transport = genai::rig::GenAiHttpClient::new(ReqwestClient::default(), genai.clone());
    let request = || axum::http::Request::post(&url).body(body("m")).unwrap();
    let mut stream = rig::http_client::HttpClientExt::send_streaming(&transport, request()).await.unwrap().into_body();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    one("one ", None);
    let sending = rig::http_client::HttpClientExt::send::<_, Bytes>(&transport, request().map(|_| body("silence")));
    tokio::time::pause();
    assert!(tokio::time::timeout(HANG, sending).await.is_err());
    one("", None);
}
