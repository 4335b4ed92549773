//! A scripted server of the three providers.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Starts the server; gives its address as a URL.
pub(crate) async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/v1/chat/completions", post(openai))
        .route("/v1/messages", post(anthropic))
        .route("/v1beta/models/{call}", post(gemini));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn openai(axum::Json(request): axum::Json<Value>) -> impl IntoResponse {
    let usage = json!({ "prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11 });
    if request["stream"] != true {
        let message = json!({ "role": "assistant", "content": "Hello" });
        let choices = json!([{ "index": 0, "message": message, "finish_reason": "stop" }]);
        let answer = json!({ "id": "c-1", "object": "chat.completion", "created": 0, "model": "gpt-4o-mini", "choices": choices,
            "usage": usage });
        return ([(CONTENT_TYPE, "application/json")], answer.to_string());
    }
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({ "id": "c-1", "object": "chat.completion.chunk", "created": 0, "model": "gpt-4o-mini",
            "choices": choices, "usage": usage });
        format!("data: {chunk}\n\n")
    };
    let delta =
        |text: &str, reason: Value| json!([{ "index": 0, "delta": { "content": text }, "finish_reason": reason }]);
    let events = [
        chunk(delta("Hel", Value::Null), Value::Null),
        chunk(delta("lo", json!("stop")), Value::Null),
        chunk(json!([]), usage),
        "data: [DONE]\n\n".to_owned(),
    ];
    ([(CONTENT_TYPE, "text/event-stream")], events.concat())
}

async fn anthropic() -> impl IntoResponse {
    let content = json!([{ "type": "text", "text": "Hello" }]);
    axum::Json(
        json!({ "id": "m-1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": content,
        "stop_reason": "end_turn", "usage": { "input_tokens": 9, "output_tokens": 2 } }),
    )
}

async fn gemini() -> impl IntoResponse {
    let content = json!({ "role": "model", "parts": [{ "text": "Hello" }] });
    axum::Json(
        json!({ "candidates": [{ "content": content, "finishReason": "STOP" }], "modelVersion": "gemini-2.0-flash",
        "usageMetadata": { "promptTokenCount": 9, "candidatesTokenCount": 2 } }),
    )
}
