//! The agent: asks the model, executes the tool that it calls, asks again, and streams a summary.

use std::error::Error;

use serde_json::{Value, json};

pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

/// Result of a run, and the chunks in which the summary arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trip {
    pub(crate) answer: String,
    pub(crate) summary: String,
    pub(crate) chunks: Vec<Vec<u8>>,
}

/// A tool. A replay uses its recorded result.
#[retrace::record(type = tool_call, replay, effects = none)]
#[allow(clippy::print_stdout)]
async fn get_weather(city: &str) -> Result<String, AnyError> {
    println!("  (the tool is executed)");
    Ok(format!("{city}: fog until noon"))
}

#[retrace::record(name = "plan-trip")]
pub(crate) async fn plan_trip(url: &str, question: &str) -> Result<Trip, AnyError> {
    let client = retrace::clients::reqwest::client(reqwest::Client::new());
    let post = |body: Value| {
        let request = client.post(format!("{url}/chat/completions")).header("content-type", "application/json");
        request.body(body.to_string()).send()
    };
    let tools = json!([{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]);
    let mut messages = vec![json!({"role": "user", "content": question})];
    let answer = loop {
        let response = post(json!({"model": "gpt-4o-mini", "messages": messages, "tools": tools})).await?;
        let body: Value = serde_json::from_slice(&response.bytes().await?)?;
        let message = body.pointer("/choices/0/message").cloned().unwrap_or_default();
        messages.push(message.clone());
        let Some(calls) = message.get("tool_calls").and_then(Value::as_array) else {
            break text(&message, "/content");
        };
        for call in calls {
            let arguments: Value = serde_json::from_str(&text(call, "/function/arguments"))?;
            let result = get_weather(&text(&arguments, "/city")).await?;
            messages.push(json!({"role": "tool", "tool_call_id": call.get("id"), "content": result}));
        }
    };
    let ask = json!([{"role": "user", "content": format!("Summarise: {answer}")}]);
    let mut response = post(json!({"model": "gpt-4o-mini", "messages": ask, "stream": true})).await?;
    let (mut summary, mut chunks) = (String::new(), Vec::new());
    while let Some(chunk) = response.chunk().await? {
        for event in String::from_utf8_lossy(&chunk).split("\n\n") {
            let event = event.strip_prefix("data: ").and_then(|data| serde_json::from_str::<Value>(data).ok());
            summary.push_str(&event.map(|event| text(&event, "/choices/0/delta/content")).unwrap_or_default());
        }
        chunks.push(chunk.to_vec());
    }
    Ok(Trip { answer, summary, chunks })
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
