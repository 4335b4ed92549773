//! Real clients of model providers whose calls an interceptor answers or refuses: no connection is made, and the clients see
//! what they would see of the provider.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_openai::Client as OpenAiClient;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::middleware::ReqwestService;
use async_openai::middleware::retry::OpenAIRetryLayer;
use async_openai::types::chat::{
    ChatCompletionRequestUserMessage, CreateChatCompletionRequest, CreateChatCompletionRequestArgs,
};
use async_openai::types::responses::CreateResponseArgs;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioExecutor;
use integration_tests::canary::Canary;
use opentelemetry_instrumentation_genai::interceptor::{
    Action, CallEnd, CallId, CallView, Interceptor, PlaybackError, Ready, RecordedResponse, Refusal, RequestContent,
};
use opentelemetry_instrumentation_genai::{self as genai, Capture, Instrumentation};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use rig::http_client::ReqwestClient;
use rig::prelude::*;
use rig::tool::ToolExecutionError;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::{Layer as _, Service as _, ServiceExt as _};

/// Decides by the API and the request.
type Decide = dyn Fn(&str, &Value) -> Action + Send + Sync;

/// Answers as a function states, and counts.
#[derive(Clone)]
struct Provider {
    decide: Arc<Decide>,
    calls: Arc<AtomicUsize>,
    ends: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    fn new(decide: impl Fn(&str, &Value) -> Action + Send + Sync + 'static) -> Self {
        Self { decide: Arc::new(decide), calls: Arc::default(), ends: Arc::default() }
    }

    fn refusing() -> Self {
        let refusal = Refusal::new("no entry is left of the cassette").with_error_type("replay_miss");
        Self::new(move |_, _| Action::Refuse(refusal.clone()))
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Interceptor for Provider {
    fn before(&self, call: &CallView<'_>) -> Action {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let RequestContent::Whole(body) = call.body else { panic!("{:?}", call.body) };
        (self.decide)(call.api, &serde_json::from_slice(body).unwrap())
    }

    fn end(&self, _: CallId, end: &CallEnd<'_>) {
        self.ends.lock().unwrap().push(format!("{:?}", end.outcome));
    }
}

/// The instrumentation with this interceptor, and its spans.
fn instrumentation(provider: &Provider) -> (Instrumentation, InMemorySpanExporter) {
    let spans = InMemorySpanExporter::default();
    let tracers = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
    let builder = Instrumentation::builder().with_tracer_provider(&tracers).with_capture(Capture::SpanOnly);
    (builder.with_interceptor(provider.clone()).build(), spans)
}

fn whole(status: StatusCode, body: &Value) -> Action {
    let mut recorded = RecordedResponse::new(status);
    recorded.headers.insert("content-type", "application/json".parse().unwrap());
    recorded.headers.insert("x-request-id", "req_1".parse().unwrap());
    recorded.chunks.push((Duration::from_millis(900), body.to_string().into()));
    Action::Answer(recorded)
}

/// The chunks of a stream, which end where they end: within an event, within a character.
fn cut(events: &[Value]) -> Vec<Bytes> {
    let mut text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    text.push_str("data: [DONE]\n\n");
    text.as_bytes().chunks(41).map(Bytes::copy_from_slice).collect()
}

fn streamed(chunks: Vec<Bytes>) -> RecordedResponse {
    let mut recorded = RecordedResponse::new(StatusCode::OK);
    recorded.headers.insert("content-type", "text/event-stream".parse().unwrap());
    recorded.chunks = chunks.into_iter().map(|chunk| (Duration::ZERO, chunk)).collect();
    recorded
}

fn delta(delta: &Value, reason: Option<&str>) -> Value {
    json!({ "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini-2024-07-18",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] })
}

/// Speaks chat completions and responses, with one tool.
fn scripted(api: &str, request: &Value) -> Action {
    if request["model"] == "no-such-model" {
        let error = json!({ "error": { "message": "There is none.", "type": "invalid_request_error", "param": null, "code": "model_not_found" } });
        return whole(StatusCode::NOT_FOUND, &error);
    }
    if api == "openai.responses" {
        let message = json!({ "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
            "content": [{ "type": "output_text", "text": "Flut um sechs, Größe 2 m.", "annotations": [] }] });
        let response = json!({ "id": "resp_1", "object": "response", "created_at": 1, "status": "completed",
            "model": "gpt-4o-mini-2024-07-18", "output": [message], "parallel_tool_calls": true, "tools": [],
            "tool_choice": "auto", "metadata": {} });
        return whole(StatusCode::OK, &response);
    }
    assert_eq!(api, "openai.chat");
    let answered = request["messages"].as_array().unwrap().iter().any(|message| message["role"] == "tool");
    let tools = request["tools"].as_array().is_some_and(|tools| !tools.is_empty());
    let function = json!({ "name": "tide", "arguments": "{\"harbour\":\"Oslo\"}" });
    if request["stream"] == true {
        if tools && !answered {
            let call = json!({ "index": 0, "id": "call_1", "type": "function", "function": function });
            let first = delta(&json!({ "role": "assistant", "tool_calls": [call] }), None);
            return Action::Answer(streamed(cut(&[first, delta(&json!({}), Some("tool_calls"))])));
        }
        let words = ["Flut ", "um sechs, ", "Größe 2 m."].map(|word| delta(&json!({ "content": word }), None));
        return Action::Answer(streamed(cut(&[words.to_vec(), vec![delta(&json!({}), Some("stop"))]].concat())));
    }
    let (message, reason) = if tools && !answered {
        let call = json!({ "id": "call_1", "type": "function", "function": function });
        (json!({ "role": "assistant", "content": null, "tool_calls": [call] }), "tool_calls")
    } else {
        (json!({ "role": "assistant", "content": "Flut um sechs, Größe 2 m." }), "stop")
    };
    let usage = json!({ "prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27 });
    whole(
        StatusCode::OK,
        &json!({ "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024-07-18",
            "choices": [{ "index": 0, "message": message, "finish_reason": reason }], "usage": usage }),
    )
}

const ANSWER: &str = "Flut um sechs, Größe 2 m.";

fn chat(model: &str) -> CreateChatCompletionRequest {
    let message = ChatCompletionRequestUserMessage::from("When?");
    CreateChatCompletionRequestArgs::default().model(model).messages(vec![message.into()]).build().unwrap()
}

/// A client with the retries that `async-openai` has by default, around ours and below.
fn openai(canary: &Canary, genai: &Instrumentation) -> OpenAiClient<OpenAIConfig> {
    let below = OpenAIRetryLayer::default().layer(ReqwestService::new(reqwest::Client::new()));
    let ours = genai::async_openai::GenAiLayer::new(genai.clone()).layer(below);
    let config = OpenAIConfig::new().with_api_key("sk-canary").with_api_base(format!("{}/v1", canary.url()));
    OpenAiClient::with_config(config).with_http_service(OpenAIRetryLayer::default().layer(ours))
}

#[tokio::test]
async fn async_openai_is_answered() {
    let (canary, provider) = (Canary::new(), Provider::new(scripted));
    let (genai, spans) = instrumentation(&provider);
    let client = openai(&canary, &genai);
    let answer = client.chat().create(chat("gpt-4o-mini")).await.unwrap();
    assert_eq!(answer.choices[0].message.content.as_deref(), Some(ANSWER));
    assert_eq!(answer.usage.unwrap().total_tokens, 27);

    let mut stream = client.chat().create_stream(chat("gpt-4o-mini")).await.unwrap();
    let mut text = String::new();
    while let Some(chunk) = stream.next().await {
        text.extend(chunk.unwrap().choices.into_iter().filter_map(|choice| choice.delta.content));
    }
    assert_eq!(text, ANSWER);

    let request = CreateResponseArgs::default().model("gpt-4o-mini").input("When?").build().unwrap();
    assert_eq!(client.responses().create(request).await.unwrap().output_text().as_deref(), Some(ANSWER));

    // A recorded failure is a failure.
    let error = client.chat().create(chat("no-such-model")).await.unwrap_err();
    let OpenAIError::ApiError(error) = error else { panic!("{error:?}") };
    assert_eq!((error.status_code.as_u16(), error.api_error.code.as_deref()), (404, Some("model_not_found")));
    assert_eq!((provider.calls(), canary.connections()), (4, 0));
    let spans = spans.get_finished_spans().unwrap();
    let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["chat gpt-4o-mini", "chat gpt-4o-mini", "chat gpt-4o-mini", "chat no-such-model"]);
    assert!(provider.ends.lock().unwrap().is_empty(), "answers are not observed");
}

#[tokio::test]
async fn async_openai_does_not_retry_a_refusal() {
    let (canary, provider) = (Canary::new(), Provider::refusing());
    let (genai, _) = instrumentation(&provider);
    let client = openai(&canary, &genai);
    let error = client.chat().create(chat("gpt-4o-mini")).await.unwrap_err();
    assert_eq!(Refusal::find(&error).map(Refusal::error_type), Some("replay_miss"), "{error:?}");
    assert_eq!(error.to_string(), "no entry is left of the cassette");
    let error = client.chat().create_stream(chat("gpt-4o-mini")).await.err().unwrap();
    assert!(Refusal::find(&error).is_some(), "{error:?}");
    assert_eq!((provider.calls(), canary.connections()), (2, 0));
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
async fn a_rig_agent_is_answered_and_refused() {
    let (canary, provider) = (Canary::new(), Provider::new(scripted));
    let connect = |genai: Instrumentation| {
        let transport = genai::rig::GenAiHttpClient::new(ReqwestClient::default(), genai);
        let models =
            rig::providers::openai::OpenAIConfig::new("sk-canary").with_base_url(format!("{}/v1", canary.url()));
        let models = models.connect(transport);
        AgentBuilder::new(models.chat("gpt-4o-mini")).preamble("Look it up.").tool(Tide).build()
    };
    let agent = connect(instrumentation(&provider).0);
    assert_eq!(agent.prompt("When?").max_turns(3).await.unwrap().output(), ANSWER);
    let mut stream = agent.prompt("And tomorrow?").max_turns(3).stream();
    while let Some(item) = stream.next().await {
        item.unwrap();
    }
    assert_eq!((provider.calls(), canary.connections()), (4, 0));

    let provider = Provider::refusing();
    let agent = connect(instrumentation(&provider).0);
    let error = agent.prompt("When?").max_turns(3).await.unwrap_err();
    assert!(error.to_string().contains("no entry is left of the cassette"), "{error}");
    let mut stream = agent.prompt("When?").max_turns(3).stream();
    let mut failed = false;
    while let Some(item) = stream.next().await {
        failed |= item.is_err();
    }
    assert!(failed);
    assert_eq!((provider.calls(), canary.connections()), (2, 0));
}

#[tokio::test]
async fn the_transport_of_rig_fails_with_what_was_recorded() {
    use rig::http_client::{Error, HttpClientExt as _};

    let canary = Canary::new();
    let request = |model: &str| {
        let body = json!({ "model": model, "stream": true, "messages": [{ "role": "user", "content": "When?" }] });
        axum::http::Request::post(format!("{}/v1/chat/completions", canary.url())).body(body.to_string()).unwrap()
    };
    let transport =
        |provider: &Provider| genai::rig::GenAiHttpClient::new(ReqwestClient::default(), instrumentation(provider).0);
    let answering = transport(&Provider::new(scripted));
    let Err(Error::InvalidStatusCodeWithDetails { status, body, headers }) =
        answering.send::<_, Bytes>(request("no-such-model")).await
    else {
        panic!("a status of failure is an error of the transport");
    };
    assert_eq!((status.as_u16(), &headers["x-request-id"]), (404, &"req_1".parse().unwrap()));
    assert!(body.contains("model_not_found"));

    let broken = transport(&Provider::new(|_, _| {
        let mut recorded = streamed(vec!["data: {}\n\n".into()]);
        recorded.broken = Some("timeout".to_owned());
        Action::Answer(recorded)
    }));
    let mut stream = broken.send_streaming(request("m")).await.unwrap().into_body();
    assert_eq!(stream.next().await.unwrap().unwrap(), "data: {}\n\n");
    let Some(Err(Error::Instance(error))) = stream.next().await else { panic!("it broke off") };
    assert_eq!(error.downcast_ref::<PlaybackError>().unwrap().name(), "timeout");

    let Err(error) = transport(&Provider::refusing()).send::<_, Bytes>(request("m")).await else {
        panic!("it is refused")
    };
    assert!(Refusal::find(&error).is_some(), "{error:?}");
    assert_eq!(canary.connections(), 0);
}

fn reqwest_client(provider: &Provider) -> reqwest_middleware::ClientWithMiddleware {
    let middleware = genai::reqwest_middleware::GenAiMiddleware::new(instrumentation(provider).0);
    reqwest_middleware::ClientBuilder::new(reqwest::Client::new()).with(middleware).build()
}

#[tokio::test]
async fn reqwest_is_answered_chunk_by_chunk() {
    let canary = Canary::new();
    let url = format!("{}/v1/chat/completions", canary.url());
    let client = reqwest_client(&Provider::new(scripted));
    let body = |stream| json!({ "model": "m", "stream": stream, "messages": [{ "role": "user", "content": "When?" }] });
    let response = client.post(&url).body(body(false).to_string()).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.url().as_str()), (200, url.as_str()));
    assert_eq!(response.headers()["x-request-id"], "req_1");
    assert!(response.content_length().is_some_and(|length| length > 100));
    assert_eq!(response.json::<Value>().await.unwrap()["choices"][0]["message"]["content"], ANSWER);

    let Action::Answer(expected) = scripted("openai.chat", &body(true)) else { panic!("it is answered") };
    let response = client.post(&url).body(body(true).to_string()).send().await.unwrap();
    let chunks: Vec<Bytes> = response.bytes_stream().map(Result::unwrap).collect().await;
    assert_eq!(chunks, expected.chunks.into_iter().map(|(_, chunk)| chunk).collect::<Vec<_>>());

    let broken = reqwest_client(&Provider::new(|_, _| {
        let mut recorded = streamed(vec!["data: {}\n\n".into()]);
        recorded.broken = Some("timeout".to_owned());
        Action::Answer(recorded)
    }));
    let mut response = broken.post(&url).body(body(true).to_string()).send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "data: {}\n\n");
    let error = response.chunk().await.unwrap_err();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    let found = std::iter::from_fn(|| {
        let error = cause?;
        cause = error.source();
        Some(error.downcast_ref::<PlaybackError>())
    });
    assert_eq!(found.flatten().next().map(PlaybackError::name), Some("timeout"), "{error:?}");

    let provider = Provider::refusing();
    let error = reqwest_client(&provider).post(&url).body(body(true).to_string()).send().await.unwrap_err();
    assert!(error.is_middleware() && Refusal::find(&error).is_some(), "{error:?}");
    assert_eq!((provider.calls(), canary.connections()), (1, 0));
}

/// A provider that answers with what it received.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/chat/completions", listener.local_addr().unwrap());
    let answer = |headers: HeaderMap, body: Bytes| async move {
        let encoding = headers.get("transfer-encoding").map(|value| value.to_str().unwrap().to_owned());
        Json(json!({ "received": serde_json::from_slice::<Value>(&body).unwrap(), "encoding": encoding }))
    };
    let router = Router::new().route("/v1/chat/completions", post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test]
async fn reqwest_bodies_that_are_streams_are_read_first_and_sent_as_they_are() {
    let url = echo().await;
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "When?" }] });
    let expected = body.clone();
    let provider = Provider::new(move |_, request| {
        assert_eq!(*request, expected);
        Action::Pass
    });
    let pieces: Vec<Result<Bytes, std::io::Error>> =
        body.to_string().as_bytes().chunks(7).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let send = |client: reqwest_middleware::ClientWithMiddleware, body: reqwest::Body| {
        let request = client.post(&url).body(body).send();
        async move { request.await.unwrap().json::<Value>().await.unwrap() }
    };
    // This one panics when it is polled after its end.
    let pieces = stream::unfold(pieces.into_iter(), |mut left| async move { Some((left.next()?, left)) });
    let received = send(reqwest_client(&provider), reqwest::Body::wrap_stream(pieces)).await;
    assert_eq!(received, json!({ "received": body, "encoding": "chunked" }));
    assert_eq!(*provider.ends.lock().unwrap(), ["Complete"]);

    // The altered body has its own length.
    let altered = json!({ "model": "another", "messages": [] });
    let bytes = Bytes::from(altered.to_string());
    let client = reqwest_client(&Provider::new(move |_, _| Action::PassAltered(bytes.clone())));
    assert_eq!(send(client, body.to_string().into()).await, json!({ "received": altered, "encoding": null }));
}

#[tokio::test]
async fn async_openai_and_rig_send_the_altered_body() {
    use rig::http_client::HttpClientExt as _;

    let url = echo().await;
    let altered = json!({ "model": "another", "messages": [] });
    let bytes = Bytes::from(altered.to_string());
    let provider = Provider::new(move |_, _| Action::PassAltered(bytes.clone()));
    let (genai, spans) = instrumentation(&provider);
    let transport = genai::rig::GenAiHttpClient::new(ReqwestClient::default(), genai.clone());
    let body = json!({ "model": "m", "messages": [] }).to_string();
    let request = axum::http::Request::post(&url).body(body).unwrap();
    let received = transport.send::<_, Bytes>(request).await.unwrap().into_body().await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&received).unwrap()["received"], altered);

    let config = OpenAIConfig::new().with_api_key("sk-canary").with_api_base(url.replace("/chat/completions", ""));
    let service = genai::async_openai::GenAiLayer::new(genai).layer(ReqwestService::new(reqwest::Client::new()));
    let error =
        OpenAiClient::with_config(config).with_http_service(service).chat().create(chat("m")).await.unwrap_err();
    let OpenAIError::JSONDeserialize(_, received) = error else { panic!("the echo is no completion: {error:?}") };
    assert_eq!(serde_json::from_str::<Value>(&received).unwrap()["received"], altered);
    let names: Vec<_> = spans.get_finished_spans().unwrap().into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["chat another", "chat another"]);
    assert_eq!(provider.ends.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_hyper_client_is_answered_and_refused() {
    let canary = Canary::new();
    let client =
        hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http::<genai::tower::RequestBody<_>>();
    let request = || {
        let body = json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "When?" }] });
        let url = format!("{}/v1/chat/completions", canary.url());
        axum::http::Request::post(url).body(Full::new(Bytes::from(body.to_string()))).unwrap()
    };
    let mut service = genai::tower::GenAiLayer::new(instrumentation(&Provider::new(scripted)).0).layer(client.clone());
    let response = service.ready().await.unwrap().call(request()).await.unwrap();
    let text = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");

    let mut service = genai::tower::GenAiLayer::new(instrumentation(&Provider::refusing()).0).layer(client);
    let response = service.ready().await.unwrap().call(request()).await.unwrap();
    assert_eq!((response.status(), canary.connections()), (Refusal::STATUS, 0));
}

/// Passes nothing before it is opened.
struct Closed(watch::Receiver<bool>);

impl Interceptor for Closed {
    fn ready(&self, _: &opentelemetry::Context) -> Option<Ready> {
        let mut opened = self.0.clone();
        Some(Box::pin(async move { drop(opened.wait_for(|is_open| *is_open).await) }))
    }

    fn before(&self, _: &CallView<'_>) -> Action {
        assert!(*self.0.borrow(), "the call was not to be decided about yet");
        Action::Refuse(Refusal::new("it was opened"))
    }
}

#[tokio::test]
async fn a_hyper_client_waits_in_poll_ready_and_a_call_by_hand_blocks() {
    let (open, opened) = watch::channel(false);
    let genai = Instrumentation::builder().with_interceptor(Closed(opened)).build();
    let client =
        hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http::<genai::tower::RequestBody<_>>();
    let mut service = genai::tower::GenAiLayer::new(genai.clone()).layer(client);
    let body = json!({ "model": "m", "messages": [] }).to_string();
    {
        let mut ready = std::pin::pin!(service.ready());
        assert!(futures_util::poll!(&mut ready).is_pending());
        open.send(true).unwrap();
        ready.await.unwrap();
    }
    let url = "http://127.0.0.1:9/v1/chat/completions";
    let request = axum::http::Request::post(url).body(Full::new(Bytes::from(body.clone()))).unwrap();
    assert_eq!(service.call(request).await.unwrap().status(), Refusal::STATUS);

    open.send(false).unwrap();
    let by_hand = std::thread::spawn(move || {
        let request = genai::Request { method: "POST", url, body: Some(body.as_bytes()) };
        let (call, action) = genai.intercept(&request, &HeaderMap::new()).unwrap();
        drop(call);
        action
    });
    open.send(true).unwrap();
    let Action::Refuse(refusal) = by_hand.join().unwrap() else { panic!("it is refused") };
    assert_eq!(refusal.message(), "it was opened");
}
