//! An agent without a framework: plain requests to Anthropic's messages, a tool, and one span above them all.
//!
//! The model's calls become spans by a middleware of the HTTP client; the agent's own span is ordinary OpenTelemetry, and
//! the tool shows in the messages. Offline: the model is a scripted server on this machine, and the run is sent to a receiver
//! on this machine and read back from there. With `RETRACE_API_KEY` set it is sent to Retrace instead.

#![allow(clippy::print_stdout)]

mod model;

use std::error::Error;

use opentelemetry::trace::{FutureExt as _, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_instrumentation_genai::reqwest_middleware::GenAiMiddleware;
use opentelemetry_instrumentation_genai::{Capture, Instrumentation};
use opentelemetry_retrace::RetraceExporter;
use opentelemetry_sdk::trace::SdkTracerProvider;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use retrace_local::{Server, TraceQuery};
use serde_json::{Value, json};

const QUESTION: &str = "Can I swim in Oslo today?";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let receiver = if std::env::var_os("RETRACE_API_KEY").is_none() { Some(Server::start()?) } else { None };
    let mut builder = RetraceExporter::builder();
    if let Some(receiver) = &receiver {
        builder = builder.with_api_key("rt_local").with_base_url(receiver.url());
    }
    let exporter = builder.build()?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
    // What is asked and answered goes into the spans: a run is replayed from it. The default is to leave it out.
    let genai = Instrumentation::builder().with_tracer_provider(&provider).with_capture(Capture::SpanOnly).build();
    let client = ClientBuilder::new(reqwest::Client::new()).with(GenAiMiddleware::new(genai)).build();

    let tracer = provider.tracer("example");
    let agent = tracer.span_builder("invoke_agent lifeguard").with_attributes([
        KeyValue::new("gen_ai.operation.name", "invoke_agent"),
        KeyValue::new("gen_ai.agent.name", "lifeguard"),
    ]);
    let agent = Context::current().with_span(agent.start(&tracer));
    let answer = ask(&client, QUESTION).with_context(agent.clone()).await;
    agent.span().end();
    println!("you:   {QUESTION}\nagent: {}\n", answer?);

    provider.shutdown()?;
    let stats = exporter.stats();
    println!("{} spans accepted, {} delivered, {} lost", stats.accepted, stats.delivered, stats.lost.total());
    let Some(receiver) = receiver else {
        println!("The run is in Retrace.");
        return Ok(());
    };
    println!("What the receiver has:\n");
    for head in receiver.traces(&TraceQuery::default())?.traces {
        if let Some(trace) = head.id.and_then(|id| receiver.trace(&id).transpose()).transpose()? {
            run_tree::print(&trace)?;
        }
    }
    Ok(())
}

/// Asks until the model has an answer; between, it may use its tool.
async fn ask(client: &ClientWithMiddleware, question: &str) -> Result<String, Box<dyn Error>> {
    let url = format!("{}/v1/messages", model::start().await?); // https://api.anthropic.com in an application
    let mut messages = vec![json!({ "role": "user", "content": question })];
    let tool = json!({ "name": "water_temperature", "description": "In degrees, today.",
        "input_schema": { "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] } });
    loop {
        let body = json!({ "model": "claude-sonnet-4-5", "max_tokens": 256, "system": "You watch over swimmers.",
            "messages": messages, "tools": [tool] });
        let request =
            client.post(&url).header("x-api-key", "no-key-is-asked-for").header("anthropic-version", "2023-06-01");
        let response = request.header("content-type", "application/json").body(body.to_string()).send().await?;
        let answer: Value = serde_json::from_slice(&response.error_for_status()?.bytes().await?)?;
        let content = answer.get("content").cloned().unwrap_or_default();
        let blocks = content.as_array().map(Vec::as_slice).unwrap_or_default();
        let results: Vec<Value> = blocks.iter().filter_map(use_tool).collect();
        if results.is_empty() {
            return Ok(blocks.iter().filter_map(|block| block.get("text")?.as_str()).collect());
        }
        messages.push(json!({ "role": "assistant", "content": content }));
        messages.push(json!({ "role": "user", "content": results }));
    }
}

/// What the tool returns, if the block asks for it.
fn use_tool(block: &Value) -> Option<Value> {
    let city = block.get("input")?.get("city")?.as_str()?;
    let celsius = if city == "Oslo" { 19 } else { 12 };
    Some(json!({ "type": "tool_result", "tool_use_id": block.get("id")?, "content": format!("{city}: {celsius} °C") }))
}
