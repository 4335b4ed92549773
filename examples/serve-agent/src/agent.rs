//! The agent: calls the model, executes the tools that it requests, and calls it again.

use std::error::Error;
use std::sync::OnceLock;

use serde_json::{Value, json};

pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

/// What is no input of a run is not an argument of the agent: a fork has only the recorded arguments.
static MODEL: OnceLock<String> = OnceLock::new();

/// Sets the URL of the model.
pub(crate) fn use_model(url: String) {
    MODEL.get_or_init(|| url);
}

/// A tool without effects. A fork uses its recorded result before the fork point.
#[retrace::record(type = tool_call, replay, effects = none)]
#[allow(clippy::print_stdout)]
async fn get_weather(city: &str) -> Result<String, AnyError> {
    println!("  (get_weather is executed for {city})");
    Ok(format!("{city}: fog until noon"))
}

/// A tool with effects. A fork that calls it with other arguments is refused unless `allow_external` names it.
#[retrace::record(type = tool_call, replay, effects = external)]
#[allow(clippy::print_stdout)]
async fn reserve(means: &str) -> Result<String, AnyError> {
    println!("  (reserve is executed for the {means})");
    Ok(format!("a seat on the {means}"))
}

#[retrace::record(name = "plan-trip", resumable)]
pub(crate) async fn plan_trip(question: &str, model: Option<&str>) -> Result<String, AnyError> {
    let client = retrace::clients::reqwest::client(reqwest::Client::new());
    let url = MODEL.get().ok_or("no model")?;
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}});
    let tools = json!([tool("get_weather"), tool("reserve")]);
    let mut messages = vec![json!({"role": "user", "content": question})];
    loop {
        let body = json!({"model": model.unwrap_or("gpt-4o-mini"), "messages": messages, "tools": tools});
        let request = client.post(format!("{url}/chat/completions")).header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await?;
        let body: Value = serde_json::from_slice(&response.bytes().await?)?;
        let message = body.pointer("/choices/0/message").cloned().unwrap_or_default();
        messages.push(message.clone());
        let Some(calls) = message.get("tool_calls").and_then(Value::as_array) else {
            return Ok(text(&message, "/content"));
        };
        for call in calls {
            let arguments: Value = serde_json::from_str(&text(call, "/function/arguments"))?;
            let result = match text(call, "/function/name").as_str() {
                "reserve" => reserve(&text(&arguments, "/means")).await?,
                _ => get_weather(&text(&arguments, "/city")).await?,
            };
            messages.push(json!({"role": "tool", "tool_call_id": call.get("id"), "content": result}));
        }
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
