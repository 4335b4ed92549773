//! An answer of OpenAI's, word by word, and the span that is left of it.
//!
//! The client is async-openai as it is; all that is added is a layer around its HTTP service. Offline: the model is a
//! scripted server on this machine, and the run is sent to a receiver on this machine and read back from there. With
//! `RETRACE_API_KEY` set it is sent to Retrace instead.

#![allow(clippy::print_stdout)]

mod model;

use std::error::Error;
use std::io::Write as _;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::middleware::ReqwestService;
use async_openai::types::chat::{
    ChatCompletionRequestUserMessage, ChatCompletionStreamOptions, CreateChatCompletionRequestArgs,
};
use futures_util::StreamExt as _;
use opentelemetry_instrumentation_genai::async_openai::GenAiLayer;
use opentelemetry_instrumentation_genai::{Capture, Instrumentation};
use opentelemetry_retrace::RetraceExporter;
use opentelemetry_sdk::trace::SdkTracerProvider;
use retrace_local::{Server, TraceQuery};
use tower::Layer as _;

const QUESTION: &str = "Why is the sea salt?";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let receiver = if std::env::var_os("RETRACE_API_KEY").is_none() { Some(Server::start()?) } else { None };
    let mut builder = RetraceExporter::builder();
    if let Some(receiver) = &receiver {
        builder = builder.with_api_key("rt_local").with_base_url(receiver.url());
    }
    let exporter = builder.build()?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
    // What is asked and answered goes into the span: a run is replayed from it. The default is to leave it out.
    let genai = Instrumentation::builder().with_tracer_provider(&provider).with_capture(Capture::SpanOnly).build();

    // An application leaves the base URL away.
    let config = OpenAIConfig::new().with_api_key("no-key-is-asked-for").with_api_base(model::start().await?);
    let watched = GenAiLayer::new(genai).layer(ReqwestService::new(reqwest::Client::new()));
    let client = Client::with_config(config).with_http_service(watched);

    println!("you:   {QUESTION}");
    print!("model: ");
    let question = ChatCompletionRequestUserMessage::from(QUESTION);
    let usage = ChatCompletionStreamOptions { include_usage: Some(true), include_obfuscation: None };
    let request = CreateChatCompletionRequestArgs::default()
        .model("gpt-4o-mini")
        .messages(vec![question.into()])
        .stream_options(usage)
        .build()?;
    let mut answer = client.chat().create_stream(request).await?;
    while let Some(chunk) = answer.next().await {
        for word in chunk?.choices.into_iter().filter_map(|choice| choice.delta.content) {
            print!("{word}");
            std::io::stdout().flush()?;
        }
    }
    println!("\n");

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
