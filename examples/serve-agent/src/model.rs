//! A scripted model that speaks OpenAI's chat completions: it requests the weather, then reserves what goes in it.

use std::io;

use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Starts it on a free port of this machine; gives its URL.
pub(crate) async fn start() -> io::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://{}/v1", listener.local_addr()?);
    let router = Router::new().route("/v1/chat/completions", post(chat));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

async fn chat(Json(request): Json<Value>) -> Json<Value> {
    let messages = request.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let content = |role: &str| {
        let message = messages.iter().rfind(|message| message.get("role").is_some_and(|is| is == role));
        message.and_then(|message| message.get("content")).and_then(Value::as_str).unwrap_or_default()
    };
    let result = content("tool");
    let (message, reason) = if result.is_empty() {
        let city = content("user").trim_end_matches('?').rsplit(' ').next().unwrap_or_default().to_owned();
        (call("get_weather", &json!({"city": city})), "tool_calls")
    } else if result.starts_with("a seat") {
        (json!({"role": "assistant", "content": format!("You have {result}.")}), "stop")
    } else {
        let means = if result.contains("fog") || result.contains("storm") { "train" } else { "plane" };
        (call("reserve", &json!({"means": means})), "tool_calls")
    };
    let usage = json!({"prompt_tokens": 40, "completion_tokens": 12, "total_tokens": 52});
    let choices = json!([{"index": 0, "message": message, "finish_reason": reason}]);
    Json(
        json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": request.get("model"), "choices": choices, "usage": usage}),
    )
}

fn call(name: &str, arguments: &Value) -> Value {
    let function = json!({"name": name, "arguments": arguments.to_string()});
    let calls = json!([{"id": format!("call_{name}"), "type": "function", "function": function}]);
    json!({"role": "assistant", "content": null, "tool_calls": calls})
}
