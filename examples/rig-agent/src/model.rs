//! A model server that has learned one conversation by heart. It speaks OpenAI's chat completions.

use std::error::Error;

use axum::routing::post;
use axum::{Json, Router};
use rig::http_client::ReqwestClient;
use rig::providers::openai::{OpenAI, OpenAIConfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Starts the server on a free port of this machine; a client of it.
pub(crate) async fn start() -> Result<OpenAI, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/v1", listener.local_addr()?);
    let router = Router::new().route("/v1/chat/completions", post(chat));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(OpenAIConfig::new("no-key-is-asked-for").with_base_url(url).connect(ReqwestClient::default()))
}

async fn chat(Json(request): Json<Value>) -> Json<Value> {
    let messages = request.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let has_looked = messages.last().and_then(|message| message.get("role")).is_some_and(|role| role == "tool");
    let call = |id: &str, name: &str, arguments: Value| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments.to_string()}});
    let (id, message, finish_reason, input, output) = if has_looked {
        let answer = "Take the 08:25 train: it arrives at 15:10, and fog may keep the plane on the ground until noon.";
        ("chatcmpl-2", json!({"role": "assistant", "content": answer}), "stop", 412, 31)
    } else {
        let calls = [
            call("call_1", "timetable", json!({"from": "Oslo", "to": "Bergen"})),
            call("call_2", "get_weather", json!({"city": "Bergen"})),
        ];
        let message = json!({"role": "assistant", "content": null, "tool_calls": calls});
        ("chatcmpl-1", message, "tool_calls", 287, 44)
    };
    Json(json!({
        "id": id,
        "object": "chat.completion",
        "created": 1_795_345_548,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output},
    }))
}
