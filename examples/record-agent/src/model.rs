//! A scripted model server. It speaks OpenAI's chat completions, streamed.

use std::convert::Infallible;
use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::response::Sse;
use axum::response::sse::Event;
use axum::routing::post;
use axum::{Json, Router};
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Replies so far: each has an id of its own.
static REPLIES: AtomicU32 = AtomicU32::new(1);

/// One reply of the script: text, or calls of tools by name and arguments.
enum Reply {
    Text(&'static str),
    Calls(&'static [(&'static str, &'static str)]),
}

/// Starts the server on a free port of this machine and returns its base URL.
pub(crate) async fn start() -> Result<String, Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/v1", listener.local_addr()?);
    let router = Router::new().route("/v1/chat/completions", post(chat));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

/// The script: the writer has no tools; the researcher calls its two tools first.
fn reply(request: &Value) -> Reply {
    let has_tools = request.get("tools").is_some_and(Value::is_array);
    let messages = request.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let has_results = messages.iter().any(|message| message.get("role").is_some_and(|role| role == "tool"));
    match (has_tools, has_results) {
        (false, _) => Reply::Text("Bergen has high water at 14:20 and at 02:50."),
        (true, false) => {
            Reply::Calls(&[("tide_table", r#"{"port":"Bergen"}"#), ("harbour_log", r#"{"port":"Bergen"}"#)])
        }
        (true, true) => Reply::Text("High water 14:20, then 02:50. The log is closed."),
    }
}

async fn chat(Json(request): Json<Value>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let (deltas, reason) = match reply(&request) {
        Reply::Text(text) => (text.split_inclusive(' ').map(|word| json!({ "content": word })).collect(), "stop"),
        Reply::Calls(calls) => (calls.iter().enumerate().map(call).collect::<Vec<_>>(), "tool_calls"),
    };
    let output = deltas.len();
    let input = request.get("messages").map_or(0, |messages| messages.to_string().len() / 4);
    let mut chunks: Vec<Value> = deltas.into_iter().map(|delta| json!([choice(&delta, &Value::Null)])).collect();
    chunks.push(json!([choice(&json!({}), &json!(reason))]));
    let usage = json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output });
    let id = format!("chatcmpl-{}", REPLIES.fetch_add(1, Ordering::Relaxed));
    let mut data: Vec<String> = chunks.iter().map(|choices| chunk(&id, choices, &Value::Null)).collect();
    data.push(chunk(&id, &json!([]), &usage));
    data.push("[DONE]".to_owned());
    Sse::new(stream::iter(data.into_iter().map(|data| Ok(Event::default().data(data)))))
}

/// The part of a message that calls a tool.
fn call((at, (name, arguments)): (usize, &(&str, &str))) -> Value {
    let function = json!({ "name": name, "arguments": arguments });
    json!({ "tool_calls": [{ "index": at, "id": format!("call_{}", at + 1), "type": "function", "function": function }] })
}

fn choice(delta: &Value, reason: &Value) -> Value {
    json!({ "index": 0, "delta": delta, "finish_reason": reason })
}

fn chunk(id: &str, choices: &Value, usage: &Value) -> String {
    let head = json!({ "id": id, "object": "chat.completion.chunk", "created": 1_795_345_548,
        "model": "gpt-4o-mini-2024-07-18", "choices": choices, "usage": usage });
    head.to_string()
}
