//! One agent on three clients: a question with a tool, then a stream.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_openai::Client as OpenAiClient;
use async_openai::config::OpenAIConfig;
use futures_util::StreamExt as _;
use rig::http_client::ReqwestClient;
use rig::prelude::*;
use rig::tool::ToolExecutionError;
use serde_json::{Value, json};

pub type AnyError = Box<dyn Error + Send + Sync>;

/// Number of times that the tool was executed, in this program.
pub static EXECUTED: AtomicUsize = AtomicUsize::new(0);

#[retrace::record(name = "tide", type = tool_call, replay)]
async fn tide_table(harbour: &str) -> Result<String, AnyError> {
    EXECUTED.fetch_add(1, Ordering::SeqCst);
    Ok(format!("{harbour}: six"))
}

fn tools() -> Value {
    json!([{ "type": "function", "function": { "name": "tide", "description": "Tides.",
        "parameters": { "type": "object", "properties": { "harbour": { "type": "string" } } } } }])
}

/// What a run gave the caller: texts, and the chunks of the stream as they came.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub texts: Vec<String>,
    pub chunks: Vec<Vec<u8>>,
}

/// An agent by plain requests.
#[retrace::record(name = "plain-agent")]
pub async fn plain(url: &str, question: &str) -> Result<Outcome, AnyError> {
    let client = retrace::clients::reqwest::client(reqwest::Client::new());
    let post = |body: Value| {
        let request = client.post(format!("{url}/chat/completions")).bearer_auth("sk-canary-key-0123456789abcdef");
        request.header("content-type", "application/json").body(body.to_string()).send()
    };
    let mut messages = vec![json!({ "role": "user", "content": question })];
    let mut texts = Vec::new();
    loop {
        let request = json!({ "model": "gpt-4o-mini", "messages": messages, "tools": tools() });
        let response = post(request).await?;
        let status = response.status();
        let answer: Value = serde_json::from_slice(&response.bytes().await?)?;
        if !status.is_success() {
            return Err(format!("{status}: {}", answer["error"]["message"]).into());
        }
        let message = &answer["choices"][0]["message"];
        messages.push(message.clone());
        let Some(calls) = message["tool_calls"].as_array() else {
            texts.push(message["content"].as_str().unwrap_or_default().to_owned());
            break;
        };
        for call in calls {
            let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap_or_default())?;
            let result = tide_table(arguments["harbour"].as_str().unwrap_or_default()).await?;
            messages.push(json!({ "role": "tool", "tool_call_id": call["id"], "content": result }));
        }
    }
    let question = format!("Summarise: {}", texts[0]);
    let request =
        json!({ "model": "gpt-4o-mini", "stream": true, "messages": [{ "role": "user", "content": question }] });
    let mut response = post(request).await?;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut chunks = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        chunks.push(chunk.to_vec());
    }
    Ok(Outcome { texts, chunks })
}

/// An agent by `async-openai`.
#[retrace::record(name = "openai-agent")]
pub async fn openai(url: &str, question: &str) -> Result<Outcome, AnyError> {
    use async_openai::types::chat::CreateChatCompletionRequest;

    let config = OpenAIConfig::new().with_api_key("sk-canary-key-0123456789abcdef").with_api_base(url);
    let client = retrace::clients::async_openai::client(OpenAiClient::with_config(config));
    let mut messages = vec![json!({ "role": "user", "content": question })];
    let mut texts = Vec::new();
    loop {
        let request: CreateChatCompletionRequest =
            serde_json::from_value(json!({ "model": "gpt-4o-mini", "messages": messages, "tools": tools() }))?;
        let answer = client.chat().create(request).await?;
        let message = serde_json::to_value(&answer.choices[0].message)?;
        let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
        messages.push(message.clone());
        if calls.is_empty() {
            texts.push(message["content"].as_str().unwrap_or_default().to_owned());
            break;
        }
        for call in calls {
            let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap_or_default())?;
            let result = tide_table(arguments["harbour"].as_str().unwrap_or_default()).await?;
            messages.push(json!({ "role": "tool", "tool_call_id": call["id"], "content": result }));
        }
    }
    let question = format!("Summarise: {}", texts[0]);
    let request: CreateChatCompletionRequest = serde_json::from_value(
        json!({ "model": "gpt-4o-mini", "stream": true, "messages": [{ "role": "user", "content": question }] }),
    )?;
    let mut stream = client.chat().create_stream(request).await?;
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.next().await {
        chunks.push(serde_json::to_vec(&chunk?)?);
    }
    Ok(Outcome { texts, chunks })
}

/// When the tide is high in a harbour.
#[rig::rig_tool]
async fn tide(
    /// The harbour.
    harbour: String,
) -> Result<String, ToolExecutionError> {
    Ok(tide_table(&harbour).await.unwrap_or_else(|error| error.to_string()))
}

/// An agent by `rig`.
#[retrace::record(name = "rig-agent")]
pub async fn rig(url: &str, question: &str) -> Result<Outcome, AnyError> {
    let transport = retrace::clients::rig::client(ReqwestClient::default());
    let models = rig::providers::openai::OpenAIConfig::new("sk-canary-key-0123456789abcdef")
        .with_base_url(url)
        .connect(transport);
    let agent =
        AgentBuilder::new(models.chat("gpt-4o-mini")).name("harbour").preamble("Look it up.").tool(Tide).build();
    let answer = agent.prompt(question).max_turns(3).await?;
    let texts = vec![answer.output().to_owned()];
    let mut stream = agent.prompt(format!("Summarise: {}", texts[0])).max_turns(3).stream();
    let mut chunks = Vec::new();
    while let Some(item) = stream.next().await {
        chunks.push(format!("{:?}", item?).into_bytes());
    }
    Ok(Outcome { texts, chunks })
}
