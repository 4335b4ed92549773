//! Features of the official Python SDK, row by row, recorded from Rust and read back from a receiver.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "serve/peer.rs"]
#[expect(dead_code, reason = "this program uses a part of it")]
mod peer;
#[path = "replay/provider.rs"]
#[expect(dead_code, reason = "this program uses a part of it")]
mod provider;
mod support;

use std::process::Command;

use retrace::{SpanType, Trace};
use retrace_local::Server;
use retrace_protocol::Status;
use serde_json::{Value, json};
use support::{above, alone, metadata, record, record_with, span, spans, stored, value};

/// Marks a process of this program that records.
const RECEIVER: &str = "RETRACE_TEST_PARITY";

#[test]
fn configure_by_code() {
    let recording = record_with(|configuration| {
        configuration
            .with_environment("staging")
            .with_project_id("p-1")
            .with_transport(retrace::Transport::Http)
            .with_sample_rate(1.0)
            .with_enabled(true)
    });
    retrace::run("pipeline").start().end();
    assert!(recording.guard.as_ref().unwrap().stats().accepted > 0);
    let run = recording.run();
    assert_eq!(run.project_id.as_deref(), Some("p-1"));
    assert_eq!(metadata(&run, "environment"), json!("staging"));
}

#[test]
fn configure_by_environment() {
    if std::env::var_os(RECEIVER).is_some() {
        let _retrace = retrace::install().unwrap();
        retrace::run("pipeline").input("secret").start().end();
        return;
    }
    for transport in ["http", "ws", "auto"] {
        let server = Server::start().unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.args(["--exact", "configure_by_environment"]).env(RECEIVER, "");
        process.env("RETRACE_API_KEY", "rt_local").env("RETRACE_BASE_URL", server.url());
        process.env("RETRACE_ENVIRONMENT", "staging").env("RETRACE_PROJECT_ID", "p-1");
        process.env("RETRACE_TRANSPORT", transport).env("RETRACE_CAPTURE_CONTENT", "false");
        assert!(process.output().unwrap().status.success());
        let run = stored(&server).remove(0);
        assert_eq!((run.name.as_deref(), run.project_id.as_deref()), (Some("pipeline"), Some("p-1")));
        assert_eq!((metadata(&run, "environment"), value(&run.input)), (json!("staging"), Value::Null));
    }
}

#[retrace::record(name = "research-agent")]
fn research(topic: &str) -> String {
    search(topic, 2).unwrap().join(", ")
}

#[retrace::record(type = tool_call)]
fn search(query: &str, count: usize) -> Result<Vec<String>, std::num::ParseIntError> {
    if query.is_empty() {
        query.parse::<u8>()?;
    }
    Ok(vec![query.to_owned(); count])
}

#[retrace::record]
async fn research_async(topic: String) -> Result<String, std::num::ParseIntError> {
    Ok(search(&topic, 1)?.concat())
}

#[test]
fn decorator_sync() {
    let recording = record();
    assert_eq!(research("tides"), "tides, tides");
    let run = recording.run();
    assert_eq!((run.name.as_deref(), run.status), (Some("research-agent"), Some(Status::Completed)));
    assert_eq!((value(&run.input), value(&run.output)), (json!({ "topic": "tides" }), json!("tides, tides")));
    let step = span(&run, "search");
    assert_eq!((step.span_type, above(&run, "search")), (SpanType::ToolCall, Some("research-agent")));
    assert_eq!(value(&step.input), json!({ "query": "tides", "count": 2 }));
    assert_eq!(value(&step.output), json!(["tides", "tides"]));
}

#[test]
fn decorator_async() {
    let recording = record();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let answer = runtime.block_on(async { tokio::spawn(research_async("tides".to_owned())).await.unwrap() });
    assert_eq!(answer.unwrap(), "tides");
    let run = recording.run();
    assert_eq!((run.name.as_deref(), value(&run.output)), (Some("research_async"), json!("tides")));
    assert_eq!(above(&run, "search"), Some("research_async"));
}

#[test]
fn decorator_failing() {
    let recording = record();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(research_async(String::new())).unwrap_err();
    let run = recording.run();
    assert_eq!(run.status, Some(Status::Failed));
    assert_eq!(run.error.as_deref(), Some("ParseIntError: cannot parse integer from empty string"));
}

#[test]
fn context_manager_output() {
    let recording = record();
    {
        let run = retrace::run("pipeline").input("tides").start();
        run.output(json!({ "answer": 42 }));
    }
    let run = recording.run();
    assert_eq!(run.name.as_deref(), Some("pipeline"));
    assert_eq!(value(&run.input), json!("tides"));
    assert_eq!(value(&run.output), json!({ "answer": 42 }));
    assert_eq!(run.status, Some(Status::Completed));
}

#[test]
fn context_manager_metadata() {
    let recording = record();
    {
        let run = retrace::run("pipeline").metadata("version", "1.2.0").metadata("provider", "mine").start();
        run.metadata("attempt", 3).metadata("version", String::from("1.2.1"));
        run.metadata("config", json!({ "k": [1, null] })).metadata("ratio", 0.5).metadata("on", true);
        run.metadata("digits", "42").metadata("large", u64::MAX);
    }
    let run = recording.run();
    for (key, expected) in [
        ("version", json!("1.2.1")),
        ("provider", json!("mine")),
        ("attempt", json!(3)),
        ("config", json!({ "k": [1, null] })),
        ("ratio", json!(0.5)),
        ("on", json!(true)),
        ("digits", json!("42")),
        ("large", json!(u64::MAX)),
    ] {
        assert_eq!(metadata(&run, key), expected, "{key}");
    }
}

#[test]
fn context_manager_status() {
    for (status, expected) in [("failed", Status::Failed), ("completed", Status::Completed)] {
        let recording = record();
        retrace::run("pipeline").start().status(status);
        assert_eq!(recording.run().status, Some(expected), "{status}");
    }
    let recording = record();
    retrace::run("pipeline").start().status("needs_review");
    let run = recording.run();
    assert_eq!(run.status, Some(Status::Completed));
    assert_eq!(metadata(&run, "status"), json!("needs_review"));
}

#[test]
fn context_manager_tags() {
    let recording = record();
    {
        let run = retrace::run("pipeline").tag("beta").start();
        run.tag("gold").tags(["a", "beta"]);
    }
    assert_eq!(metadata(&recording.run(), "tags"), json!(["beta", "gold", "a"]));
}

#[test]
fn context_manager_failing() {
    let recording = record();
    let result = retrace::run("pipeline").try_in_scope(|run| {
        run.step("parse", SpanType::Action).try_in_scope(|_| "x".parse::<u32>().map_err(|error| error.to_string()))
    });
    assert!(result.is_err());
    let run = recording.run();
    assert_eq!(run.status, Some(Status::Failed));
    assert_eq!(run.error.as_deref(), Some("invalid digit found in string"));
    assert_eq!(span(&run, "parse").error.as_deref(), Some("invalid digit found in string"));
}

#[test]
fn manual_spans_of_seven_types() {
    let recording = record();
    {
        let run = retrace::run("pipeline").start();
        for span_type in SpanType::ALL {
            run.step(span_type.as_str(), span_type).input(1).start().output(2);
        }
    }
    let run = recording.run();
    for span_type in SpanType::ALL {
        let step = span(&run, span_type.as_str());
        assert_eq!((step.span_type, value(&step.input), value(&step.output)), (span_type, json!(1), json!(2)));
        assert_eq!(above(&run, span_type.as_str()), Some("pipeline"));
    }
    assert_eq!(spans(&run).len(), 8);
}

#[test]
fn agents() {
    let recording = record();
    {
        let run = retrace::run("pipeline").start();
        retrace::agent("planner").role("Planner").in_scope(|| {
            run.step("plan", SpanType::Reasoning).start().end();
            let _writer = retrace::agent("writer").start();
            retrace::step("write", SpanType::Action).start().end();
        });
        retrace::step("after", SpanType::Action).start().end();
    }
    let run = recording.run();
    let of = |name: &str| {
        let span = span(&run, name);
        (span.agent_id.as_deref(), span.agent_role.as_deref(), span.parent_agent_id.as_deref())
    };
    assert_eq!(of("plan"), (Some("planner"), Some("Planner"), None));
    assert_eq!(of("write"), (Some("writer"), None, Some("planner")));
    assert_eq!(of("after"), (None, None, None));
    assert_eq!(run.name.as_deref(), Some("pipeline"));
}

#[test]
fn sessions() {
    let recording = record();
    retrace::run("first").session("s-1").user("u-1").start().end();
    retrace::run("second").start().session("s-1");
    let runs = recording.runs();
    assert_eq!(runs.iter().map(|run| run.session_id.as_deref()).collect::<Vec<_>>(), [Some("s-1"); 2]);
    assert_eq!(metadata(&runs[0], "user_id"), json!("u-1"));
}

#[test]
fn transports() {
    for transport in ["http", "ws", "auto"] {
        let recording = record_with(|configuration| configuration.with_transport(transport));
        let run = retrace::run("pipeline").tag("early").metadata("early", 1).input("q").start();
        run.step("search", SpanType::ToolCall).input("tides").start().output(["spring"]);
        run.output("a").tag("late").metadata("late", 2).metadata("early", 3);
        run.end();
        let run = recording.run();
        assert_eq!((value(&run.input), value(&run.output)), (json!("q"), json!("a")), "{transport}");
        assert_eq!(metadata(&run, "tags"), json!(["early", "late"]), "{transport}");
        assert_eq!((metadata(&run, "early"), metadata(&run, "late")), (json!(3), json!(2)), "{transport}");
        let step = span(&run, "search");
        assert_eq!((value(&step.input), value(&step.output)), (json!("tides"), json!(["spring"])), "{transport}");
    }
}

#[test]
fn disabled() {
    let _alone = alone();
    let guard = retrace::configure().with_enabled(false).install().unwrap();
    let run = retrace::run("pipeline").input(Unread).start();
    run.output(Unread).metadata("k", Unread);
    assert!(!run.is_recorded() && !retrace::current().is_recorded());
    assert_eq!(guard.stats(), retrace::Stats::default());
    drop(run);
    guard.shutdown().unwrap();
}

/// Must not be serialized.
struct Unread;

impl serde::Serialize for Unread {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("nothing is recorded")
    }
}

#[test]
fn resumable() {
    let recording = record();
    retrace::run("pipeline").resumable().input(json!({ "topic": "tides" })).start().end();
    retrace::run("pipeline").input("tides").resumable().start().end();
    let runs = recording.runs();
    for (run, input) in runs
        .iter()
        .zip([json!({ "args": [], "kwargs": { "topic": "tides" } }), json!({ "args": ["tides"], "kwargs": {} })])
    {
        assert_eq!((metadata(run, "_resumable"), value(&run.input)), (json!(true), input));
    }
}

#[test]
fn forks_requested_by_a_receiver() {
    #[retrace::record(name = "research", resumable)]
    async fn served(topic: &str) -> String {
        topic.to_uppercase()
    }
    let _alone = alone();
    let peer = peer::Peer::start();
    let configuration =
        retrace::configure().with_api_key("rt_local").with_base_url(peer.url()).with_remote_replay(true);
    let _guard = configuration.with_linger(std::time::Duration::ZERO).install().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let _serving = retrace::serve([retrace::resumable!(served)]).spawn();
    peer.wait_served_after(0);
    peer.send(json!({"type": "resume", "data": {"forkId": "f", "traceId": "t", "traceName": "research",
        "forkPointSpanId": "s", "modifiedInput": "tides", "originalArgs": [], "originalKwargs": {"topic": "storms"},
        "executionId": "e"}}));
    let run = peer.ended("Fork: research");
    assert_eq!(
        (&run["input"], &run["output"], &run["status"]),
        (&json!("tides"), &json!("TIDES"), &json!("completed"))
    );
    assert_eq!(peer.claims(), [("/api/v1/forks/f/replay/claim".to_owned(), json!({"execution_id": "e"}))]);
}

#[test]
fn sampling_seed() {
    // PROTOCOL.md section 16: with this seed `Agent` is sampled at one half, and `agent` is not.
    let recording = record_with(|configuration| {
        configuration.with_sample_rate(0.5).with_sample_seed("seed").with_transport("http")
    });
    for name in ["Agent", "agent", "Agent"] {
        let run = retrace::run(name).start();
        run.step("step", SpanType::Action).start().end();
    }
    let names: Vec<_> = recording.runs().into_iter().map(|run| run.name.unwrap()).collect();
    assert_eq!(names, ["Agent", "Agent"]);
}

#[test]
fn failures_always() {
    let recording = record_with(|configuration| configuration.with_sample_rate(0.0).with_transport("http"));
    retrace::run("good").start().end();
    retrace::run("bad").start().fail("no");
    let run = recording.run();
    assert_eq!((run.name.as_deref(), run.status), (Some("bad"), Some(Status::Failed)));
    assert_eq!(run.error.as_deref(), Some("no"));
}

#[test]
fn providers_streaming() {
    let recording = record();
    let run = retrace::run("pipeline").start();
    for (url, request, content_type, response) in [
        (
            "https://api.openai.com/v1/chat/completions",
            r#"{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"hi"}]}"#,
            "text/event-stream",
            concat!(
                "data: {\"id\":\"c-1\",\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n",
                "data: {\"id\":\"c-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}]}\n\n",
                "data: {\"id\":\"c-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\n",
                "data: [DONE]\n\n",
            ),
        ),
        (
            "https://api.anthropic.com/v1/messages",
            r#"{"model":"claude-sonnet-4-5","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
            "application/json",
            r#"{"id":"m-1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":2}}"#,
        ),
        (
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.0-flash:generateContent",
            r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#,
            "application/json",
            r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hello"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2},"modelVersion":"gemini-2.0-flash"}"#,
        ),
    ] {
        let genai = retrace::clients::instrumentation();
        let request = retrace::clients::genai::Request { method: "POST", url, body: Some(request.as_bytes()) };
        let mut call = genai.start(&request).unwrap();
        let headers = http::HeaderMap::from_iter([(http::header::CONTENT_TYPE, content_type.parse().unwrap())]);
        call.response(200, &headers);
        response.as_bytes().chunks(7).for_each(|chunk| call.chunk(chunk));
        call.end();
    }
    run.end();
    let run = recording.run();
    let calls: Vec<_> = spans(&run).iter().filter(|span| span.span_type == SpanType::LlmCall).collect();
    assert_eq!(calls.len(), 3);
    for call in calls {
        assert_eq!((call.input_tokens, call.output_tokens, value(&call.output)), (Some(9), Some(2), json!("Hello")));
        assert_eq!(value(&call.input), json!({ "messages": [{ "role": "user", "content": "hi" }] }));
        assert!(call.parent_id.is_some() && call.model.is_some());
    }
    assert_eq!(run.total_tokens, Some(33));
}

#[test]
fn traceparent() {
    use retrace::traceparent::{extract_traceparent, get_traceparent, inject_traceparent};
    let recording = record();
    let mut headers = http::HeaderMap::new();
    let caller = retrace::run("caller").in_scope(|run| {
        assert!(get_traceparent().is_some());
        inject_traceparent(&mut headers);
        run.run_id().unwrap()
    });
    let callee = {
        let _caller = extract_traceparent(&headers).attach();
        let run = retrace::run("callee").start();
        run.run_id().unwrap()
    };
    assert_eq!(caller, callee);
    let runs = recording.runs();
    assert!(runs.iter().any(|run| spans(run).iter().any(|span| span.name == "callee")));
}

#[test]
fn token_ids() {
    let recording = record();
    {
        let run = retrace::run("pipeline").start();
        let call = run.step("chat", SpanType::LlmCall).model("gpt-4o-mini").start();
        call.tokens(12, 3_usize).cost(0.25).token_ids([1_u32, 2, 3]).logprobs(vec![-0.5, -0.25]);
    }
    let run: Trace = recording.run();
    let call = span(&run, "chat");
    assert_eq!(call.token_ids.as_deref(), Some(&[1, 2, 3][..]));
    assert_eq!(call.logprobs.as_deref(), Some(&[-0.5, -0.25][..]));
    assert_eq!((call.input_tokens, call.output_tokens, call.cost), (Some(12), Some(3), Some(0.25)));
    assert_eq!(call.model.as_deref(), Some("gpt-4o-mini"));
    assert_eq!((run.total_tokens, run.total_cost), (Some(15), Some(0.25)));
    let _: Value = value(&run.output);
}

// The tests below wait for the others: a call without a context belongs to the only replay of the process.

#[expect(clippy::await_holding_lock, reason = "the runtime is of this test alone")]
#[tokio::test]
async fn replay() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("research.jsonl");
    let provider = provider::Provider::new();
    let recorded = retrace::record_cassette(&path).run(provider.chat("tides")).await.unwrap().value.unwrap();
    let replayed = retrace::replay(&path).run(provider.chat("tides")).await.unwrap();
    assert_eq!((replayed.value.unwrap(), provider.seen().len()), (recorded, 1));
}

#[expect(clippy::await_holding_lock, reason = "the runtime is of this test alone")]
#[tokio::test]
async fn golden_cassettes() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let golden = directory.path().join("golden.json");
    let provider = provider::Provider::new();
    let recorded = retrace::record_cassette(directory.path().join("research.jsonl")).name("research");
    recorded.run(provider.chat("tides")).await.unwrap().write_golden(&golden).unwrap();
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
    assert_eq!(
        (&golden["version"], &golden["name"], &golden["status"]),
        (&json!(1), &json!("research"), &json!("completed"))
    );
    let step = &golden["steps"][0];
    assert_eq!(
        (&step["index"], &step["span_type"], &step["model"]),
        (&json!(0), &json!("llm_call"), &json!("gpt-4o-mini"))
    );
    assert_eq!(step["error"], Value::Null);
}

#[expect(clippy::await_holding_lock, reason = "the runtime is of this test alone")]
#[tokio::test]
async fn ceilings() {
    let _alone = alone();
    if std::env::var_os("RETRACE_MAX_STEPS_PER_RUN").is_none() {
        let provider = provider::Provider::new();
        retrace::limits().steps(1).scope(async { provider.chat("a").await.unwrap() }).await;
        let client = provider.clone();
        let error = retrace::limits().steps(0).scope(async move { client.chat("b").await.unwrap_err() }).await;
        assert_eq!(retrace::refusal(&*error).unwrap().enforcement().unwrap().limit, Some(0.0));
        assert_eq!(provider.seen(), ["a"]);
        // By the environment: of each run, by itself, also where recording is switched off.
        for (ceiling, enabled, passes) in [("2", "", true), ("2", "off", true), ("many", "", false)] {
            let mut process = Command::new(std::env::current_exe().unwrap());
            process.args(["--exact", "ceilings"]).env("RETRACE_MAX_STEPS_PER_RUN", ceiling);
            process.env("RETRACE_ENABLED", enabled);
            let output = process.output().unwrap();
            assert_eq!(output.status.success(), passes, "{output:?}");
            let printed =
                String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(passes || printed.contains("is not a ceiling; set a whole number"), "{printed}");
        }
        return;
    }
    let is_off = std::env::var("RETRACE_ENABLED").is_ok_and(|enabled| !enabled.is_empty());
    let _guard = is_off.then(|| retrace::install().unwrap());
    for _ in 0..2 {
        let provider = provider::Provider::new();
        retrace::run("limited")
            .scope(async |_| {
                provider.chat("a").await.unwrap();
                provider.chat("b").await.unwrap();
                provider.chat("c").await.unwrap_err();
            })
            .await;
        assert_eq!(provider.seen(), ["a", "b"]);
    }
}
