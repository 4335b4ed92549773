//! An agent with a golden test: see `tests/golden.rs`.

use std::error::Error;

use serde_json::{Value, json};

/// Any error of the agent.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// Number of inhabitants of a harbour town: a tool of the agent.
///
/// # Errors
/// A town that is not known.
#[retrace::record(type = tool_call, replay, effects = none)]
pub async fn inhabitants(town: &str) -> Result<u32, AnyError> {
    match town {
        "Bergen" => Ok(291_940),
        "Oslo" => Ok(717_710),
        other => Err(format!("{other} is not known").into()),
    }
}

/// Describes a town: looks its size up and asks a model. `url` is the base URL of an API in OpenAI's manner.
///
/// # Errors
/// Those of the tool and of the model.
#[retrace::record(name = "describe-town")]
pub async fn describe_town(url: &str, town: &str) -> Result<String, AnyError> {
    let size = inhabitants(town).await?;
    let prompt = format!("Describe {town}, a town of {size} inhabitants, in one sentence.");
    let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]});
    let client = retrace::clients::reqwest::client(reqwest::Client::new());
    let request = client.post(format!("{url}/chat/completions")).header("content-type", "application/json");
    let key = std::env::var("OPENAI_API_KEY").unwrap_or_default();
    let response = request.bearer_auth(key).body(body.to_string()).send().await?;
    let answer: Value = serde_json::from_slice(&response.bytes().await?)?;
    let text = answer.pointer("/choices/0/message/content").and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| format!("the model gave no answer: {answer}").into())
}
