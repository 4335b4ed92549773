//! A model server that knows one answer by heart and takes its time. It speaks OpenAI's chat completions.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::response::Sse;
use axum::response::sse::Event;
use axum::routing::post;
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const ANSWER: &str = "Rivers carry salt from the rocks into the sea, and the sun takes only the water back.";

/// Starts the server on a free port of this machine; its base URL.
pub(crate) async fn start() -> Result<String, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/v1", listener.local_addr()?);
    let router = Router::new().route("/v1/chat/completions", post(chat));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

async fn chat() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let chunk = |choices: Value, usage: Value| {
        json!({ "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_795_345_548,
            "model": "gpt-4o-mini-2024-07-18", "choices": choices, "usage": usage })
    };
    let choice = |delta: Value, reason: Value| json!([{ "index": 0, "delta": delta, "finish_reason": reason }]);
    let words =
        ANSWER.split_inclusive(' ').map(|word| choice(json!({ "role": "assistant", "content": word }), Value::Null));
    let mut chunks: Vec<Value> = words.map(|choices| chunk(choices, Value::Null)).collect();
    chunks.push(chunk(choice(json!({}), json!("stop")), Value::Null));
    let usage = json!({ "prompt_tokens": 12, "completion_tokens": 20, "total_tokens": 32 });
    chunks.push(chunk(json!([]), usage));
    let mut data: Vec<String> = chunks.iter().map(Value::to_string).collect();
    data.push("[DONE]".to_owned());
    Sse::new(stream::iter(data).then(|data| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(Event::default().data(data))
    }))
}
