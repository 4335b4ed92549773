//! The rows of the table that need a model client, and those that stand for a share of many runs.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_openai::config::OpenAIConfig;
use async_openai::types::chat::CreateChatCompletionRequest;
use futures_util::{FutureExt as _, StreamExt as _};
use retrace::{Configuration, SpanType, Trace};
use retrace_local::{Server, TraceQuery};
use serde_json::{Value, json};

use crate::model;

/// The pipeline is global: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Reached only by a hang.
const LIMIT: Duration = Duration::from_secs(60);

/// Records what `program` does, and reads the runs back.
async fn recorded(
    change: impl FnOnce(Configuration) -> Configuration,
    program: impl Future<Output = ()>,
) -> Vec<Trace> {
    let server = Server::start().unwrap();
    let configuration =
        retrace::configure().with_api_key("rt_local").with_base_url(server.url()).with_flush_timeout(LIMIT);
    let retrace = change(configuration).install().unwrap();
    program.await;
    retrace.shutdown().unwrap();
    let heads = server.traces(&TraceQuery::default()).unwrap().traces;
    heads.iter().map(|head| server.trace(head.id.as_ref().unwrap()).unwrap().unwrap()).collect()
}

/// Records one model call in a run, and compares what is stored of it.
fn records_the_call(model: &str, call: impl AsyncFnOnce(String) -> String) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let runs = runtime.block_on(recorded(
        |configuration| configuration,
        retrace::run("pipeline").scope(async |run| {
            let answer = call(model::start().await).await;
            assert_eq!(answer, "Hello");
            run.output(answer);
        }),
    ));
    let [run] = runs.as_slice() else { panic!("{runs:#?}") };
    let spans = run.spans.as_deref().unwrap();
    let root = spans.iter().find(|span| span.name == "pipeline").unwrap();
    let call = spans.iter().find(|span| span.span_type == SpanType::LlmCall).unwrap();
    assert_eq!(call.parent_id.as_ref(), Some(&root.id));
    assert_eq!((call.model.as_deref(), call.input_tokens, call.output_tokens), (Some(model), Some(9), Some(2)));
    let value = |json: &Option<retrace::Json>| json.as_ref().unwrap().to_value().unwrap();
    assert_eq!(value(&call.input), json!({ "messages": [{ "role": "user", "content": "hi" }] }));
    assert_eq!(value(&call.output), json!("Hello"));
    assert_eq!((run.total_tokens, value(&run.output)), (Some(11), json!("Hello")));
}

fn chat() -> CreateChatCompletionRequest {
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let usage = json!({ "include_usage": true });
    serde_json::from_value(json!({ "model": "gpt-4o-mini", "messages": messages, "stream_options": usage })).unwrap()
}

fn openai_at(url: &str) -> async_openai::Client<OpenAIConfig> {
    let config = OpenAIConfig::new().with_api_key("none").with_api_base(format!("{url}/v1"));
    retrace::clients::async_openai::client(async_openai::Client::with_config(config))
}

#[test]
fn openai() {
    records_the_call("gpt-4o-mini", async |url| {
        let request = CreateChatCompletionRequest { stream_options: None, ..chat() };
        let answer = openai_at(&url).chat().create(request).await.unwrap();
        answer.choices[0].message.content.clone().unwrap()
    });
}

#[test]
fn streaming() {
    records_the_call("gpt-4o-mini", async |url| {
        let mut stream = openai_at(&url).chat().create_stream(chat()).await.unwrap();
        let mut answer = String::new();
        while let Some(chunk) = stream.next().await {
            answer.extend(chunk.unwrap().choices.into_iter().filter_map(|choice| choice.delta.content));
        }
        answer
    });
}

async fn post(url: String, body: Value) -> Value {
    let http = retrace::clients::reqwest::client(reqwest::Client::new());
    let request = http.post(url).header("content-type", "application/json").body(body.to_string());
    serde_json::from_slice(&request.send().await.unwrap().bytes().await.unwrap()).unwrap()
}

#[test]
fn anthropic() {
    records_the_call("claude-sonnet-4-5", async |url| {
        let messages = json!([{ "role": "user", "content": "hi" }]);
        let body = json!({ "model": "claude-sonnet-4-5", "max_tokens": 9, "messages": messages });
        post(format!("{url}/v1/messages"), body).await["content"][0]["text"].as_str().unwrap().to_owned()
    });
}

#[test]
fn gemini() {
    records_the_call("gemini-2.0-flash", async |url| {
        let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] });
        let answer = post(format!("{url}/v1beta/models/gemini-2.0-flash:generateContent"), body).await;
        answer["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap().to_owned()
    });
}

#[test]
fn sampling() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let runs = |rate: f64| {
        let program = async {
            for _ in 0..40 {
                let run = retrace::run("pipeline").start();
                run.step("step", SpanType::Action).start().end();
            }
        };
        let change = |configuration: Configuration| configuration.with_sample_rate(rate).with_transport("http");
        recorded(change, program).now_or_never().unwrap()
    };
    assert_eq!(runs(0.0).len(), 0);
    let some = runs(0.5);
    assert!((1..40).contains(&some.len()), "{}", some.len());
    assert!(some.iter().all(|run| run.spans.as_deref().unwrap().len() == 2));
}
