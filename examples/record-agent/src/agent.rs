//! The agent: a researcher with tools, and a writer.

use std::error::Error;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::types::chat::CreateChatCompletionRequest;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::tools;

type OpenAi = Client<OpenAIConfig>;
type Failed = Box<dyn Error + Send + Sync>;

/// Answers a question. The call is a run, since no recorded span is around it.
#[retrace::record(name = "tide-agent", session = "harbour-7", tags("example"), skip(client))]
pub(crate) async fn answer(client: &OpenAi, question: &str) -> Result<String, Failed> {
    // An agent scope: what is recorded in it is done by this agent.
    let notes = retrace::agent("researcher").role("Researcher").scope(research(client, question)).await?;
    write(client, question, &notes).await
}

/// Calls the model until it calls no more tools. A step, since the run is around it.
#[retrace::record(skip(client))]
async fn research(client: &OpenAi, question: &str) -> Result<String, Failed> {
    let mut messages = vec![json!({ "role": "user", "content": question })];
    loop {
        let message = chat(client, &messages, Some(tools::schemas())).await?;
        let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
        if calls.is_empty() {
            return Ok(text(&message["content"]).to_owned());
        }
        messages.push(message);
        for call in &calls {
            let function = &call["function"];
            let arguments: Value = serde_json::from_str(text(&function["arguments"]))?;
            let [id, name, port] = [&call["id"], &function["name"], &arguments["port"]].map(text);
            let result = tools::execute(id, name, port).await;
            // A tool that fails is no end of the run: the model reads the error.
            let content = result.map_or_else(|error| format!("error: {error}"), |value| value.to_string());
            messages.push(json!({ "role": "tool", "tool_call_id": call["id"], "content": content }));
        }
    }
}

/// Turns notes into an answer: the same agent scope, by arguments of the attribute.
#[retrace::record(agent = "writer", role = "Writer", skip(client))]
async fn write(client: &OpenAi, question: &str, notes: &str) -> Result<String, Failed> {
    let prompt = format!("Answer in one sentence: {question}\n{notes}");
    let message = chat(client, &[json!({ "role": "user", "content": prompt })], None).await?;
    Ok(text(&message["content"]).to_owned())
}

/// Streams one reply of the model, and returns the whole message. It needs no attribute: the client records the call.
async fn chat(client: &OpenAi, messages: &[Value], tools: Option<Value>) -> Result<Value, Failed> {
    let mut body = json!({ "model": "gpt-4o-mini", "messages": messages, "stream_options": { "include_usage": true } });
    if let Some(tools) = tools {
        body["tools"] = tools;
    }
    let request: CreateChatCompletionRequest = serde_json::from_value(body)?;
    let mut stream = client.chat().create_stream(request).await?;
    let (mut content, mut calls) = (String::new(), Vec::new());
    while let Some(chunk) = stream.next().await {
        for delta in chunk?.choices.into_iter().map(|choice| choice.delta) {
            content.extend(delta.content);
            calls.extend(delta.tool_calls.unwrap_or_default());
        }
    }
    let mut message = json!({ "role": "assistant", "content": content });
    if !calls.is_empty() {
        // The scripted server sends each call in one piece.
        message["tool_calls"] = serde_json::to_value(calls)?;
    }
    Ok(message)
}

/// The text of a JSON string; empty for anything else.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
