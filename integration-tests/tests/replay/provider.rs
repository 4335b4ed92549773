//! A scripted provider on a real socket, and a canary: a listener that counts connections and answers nobody.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A provider that speaks OpenAI's chat completions, and keeps what it was sent.
#[derive(Clone, Default)]
pub struct Provider {
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Provider {
    /// Starts it; gives its base URL.
    pub async fn start() -> (Self, String) {
        let provider = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/chat/completions", post(chat)).with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (provider, url)
    }

    /// Requests that it saw.
    pub fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }
}

/// A listener in the place of the provider.
#[derive(Clone, Default)]
pub struct Canary {
    connections: Arc<AtomicUsize>,
}

impl Canary {
    /// Starts it; gives its base URL.
    pub async fn start() -> (Self, String) {
        let canary = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let connections = Arc::clone(&canary.connections);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                drop(connection);
            }
        });
        (canary, url)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn sse(events: &[Value]) -> Response {
    let mut pieces: Vec<String> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    pieces.push("data: [DONE]\n\n".to_owned());
    let body = Body::from_stream(stream::iter(pieces.into_iter().map(|piece| Ok::<_, Infallible>(Bytes::from(piece)))));
    let response = Response::builder().header("content-type", "text/event-stream").header("x-request-id", "req-canary");
    response.body(body).unwrap()
}

async fn chat(State(provider): State<Provider>, Json(request): Json<Value>) -> Response {
    let number = {
        let mut seen = provider.seen.lock().unwrap();
        seen.push(request.clone());
        seen.len()
    };
    let messages = request["messages"].as_array().unwrap();
    let has_result = messages.iter().any(|message| message["role"] == "tool");
    let asked =
        messages.iter().rev().find(|message| message["role"] == "user").map(|message| message["content"].to_string());
    let asked = asked.unwrap_or_default();
    if asked.contains("fail") {
        let error =
            json!({ "error": { "message": "slow down", "type": "rate_limit_error", "param": null, "code": null } });
        return (axum::http::StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    let has_tools = request["tools"].as_array().is_some_and(|tools| !tools.is_empty());
    let usage = json!({ "prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27 });
    let harbour = if asked.contains("Bergen") { "Bergen" } else { "Oslo" };
    let arguments = json!({ "harbour": harbour }).to_string();
    let call = json!({ "index": 0, "id": format!("call_{number}"), "type": "function", "function": { "name": "tide", "arguments": arguments } });
    let head = json!({ "id": format!("chatcmpl-{number}"), "created": number, "model": "gpt-4o-mini-2024-07-18" });
    let answer = format!("High tide in {harbour} at six, says call {number}.");
    if request["stream"] == true {
        let event = |delta: Value, reason: Value| {
            let mut event = head.clone();
            event["object"] = "chat.completion.chunk".into();
            event["choices"] = json!([{ "index": 0, "delta": delta, "finish_reason": reason }]);
            event
        };
        let (mut events, reason) = if has_tools && !has_result {
            (vec![event(json!({ "role": "assistant", "tool_calls": [call] }), Value::Null)], "tool_calls")
        } else {
            (
                answer
                    .split_inclusive(' ')
                    .map(|word| event(json!({ "role": "assistant", "content": word }), Value::Null))
                    .collect(),
                "stop",
            )
        };
        let mut last = event(json!({}), reason.into());
        last["usage"] = usage;
        events.push(last);
        return sse(&events);
    }
    let (message, reason) = if has_tools && !has_result {
        (json!({ "role": "assistant", "content": null, "tool_calls": [call] }), "tool_calls")
    } else {
        (json!({ "role": "assistant", "content": answer }), "stop")
    };
    let mut body = head;
    body["object"] = "chat.completion".into();
    body["choices"] = json!([{ "index": 0, "message": message, "finish_reason": reason }]);
    body["usage"] = usage;
    Json(body).into_response()
}
