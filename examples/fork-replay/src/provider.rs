//! A scripted provider that speaks OpenAI's chat completions and counts the requests it sees.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) struct Provider {
    address: SocketAddr,
    url: String,
    requests: Arc<AtomicUsize>,
    server: JoinHandle<io::Result<()>>,
}

impl Provider {
    /// Starts it on a free port of this machine.
    pub(crate) async fn start() -> io::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let requests = Arc::new(AtomicUsize::new(0));
        let router = Router::new().route("/v1/chat/completions", post(chat)).with_state(Arc::clone(&requests));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, url: format!("http://{address}/v1"), requests, server })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Stops it; gives the address, where nobody listens then.
    pub(crate) async fn stop(self) -> SocketAddr {
        self.server.abort();
        // An error is that of the stop.
        let _ = self.server.await;
        self.address
    }
}

async fn chat(State(requests): State<Arc<AtomicUsize>>, Json(request): Json<Value>) -> Response {
    requests.fetch_add(1, Ordering::SeqCst);
    let messages = request.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let result = messages.iter().rfind(|message| message.get("role").is_some_and(|role| role == "tool"));
    let result = result.and_then(|message| message.get("content")).and_then(Value::as_str);
    let (message, reason) = match result {
        None => {
            let function = json!({"name": "get_weather", "arguments": "{\"city\":\"Bergen\"}"});
            let calls = json!([{"id": "call_1", "type": "function", "function": function}]);
            (json!({"role": "assistant", "content": null, "tool_calls": calls}), "tool_calls")
        }
        Some(result) if result.contains("fog") => {
            (json!({"role": "assistant", "content": "Take the train: fog keeps the plane on the ground."}), "stop")
        }
        Some(_) => (json!({"role": "assistant", "content": "Take the plane: it is faster."}), "stop"),
    };
    if request.get("stream").is_some_and(|stream| stream == true) {
        let prompt = messages.first().and_then(|message| message.get("content")).and_then(Value::as_str);
        let word = if prompt.is_some_and(|prompt| prompt.contains("train")) { "train" } else { "plane" };
        return events(&["By ", word, "."]);
    }
    let usage = json!({"prompt_tokens": 40, "completion_tokens": 12, "total_tokens": 52});
    let choices = json!([{"index": 0, "message": message, "finish_reason": reason}]);
    Json(json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini", "choices": choices, "usage": usage}))
        .into_response()
}

fn events(words: &[&str]) -> Response {
    let event = |delta: Value, reason: Value| {
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": reason}]);
        format!(
            "data: {}\n\n",
            json!({"id": "chatcmpl-2", "object": "chat.completion.chunk", "model": "gpt-4o-mini", "choices": choices})
        )
    };
    let mut events: Vec<String> = words.iter().map(|word| event(json!({"content": word}), Value::Null)).collect();
    events.push(event(json!({}), "stop".into()));
    events.push("data: [DONE]\n\n".to_owned());
    let chunks = stream::iter(events.into_iter().map(|event| Ok::<_, Infallible>(Bytes::from(event))));
    ([("content-type", "text/event-stream")], Body::from_stream(chunks)).into_response()
}
