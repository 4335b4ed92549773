//! A model server that has learned one conversation by heart. It speaks Anthropic's messages.

use std::error::Error;

use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Starts the server on a free port of this machine; its URL.
pub(crate) async fn start() -> Result<String, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let router = Router::new().route("/v1/messages", post(messages));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

async fn messages(Json(request): Json<Value>) -> Json<Value> {
    let turns = request.get("messages").and_then(Value::as_array).map_or(0, Vec::len);
    let (id, content, reason, output) = if turns > 1 {
        (
            "msg_2",
            json!([{ "type": "text", "text": "Yes: the water has 19 °C. Stay where you can stand." }]),
            "end_turn",
            18,
        )
    } else {
        let call =
            json!({ "type": "tool_use", "id": "toolu_1", "name": "water_temperature", "input": { "city": "Oslo" } });
        ("msg_1", json!([{ "type": "text", "text": "I look it up." }, call]), "tool_use", 34)
    };
    // What the cache held is not in `input_tokens` here; in the span it is.
    let usage = json!({ "input_tokens": 21 + turns, "cache_read_input_tokens": 400, "cache_creation_input_tokens": 0, "output_tokens": output });
    Json(
        json!({ "id": id, "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929", "content": content,
        "stop_reason": reason, "stop_sequence": null, "usage": usage }),
    )
}
