//! Runs over a WebSocket, seen while they go on.

use std::time::{Duration, Instant};

use retrace::{SpanType, Trace};
use retrace_protocol::Status;
use serde_json::json;

use crate::support::{LIMIT, Recording, metadata, record_with, span, spans, stored, value};

fn live() -> Recording {
    record_with(|configuration| configuration.with_transport("ws"))
}

/// Waits until the receiver has a run for which `is_so` holds.
fn wait(recording: &Recording, is_so: impl Fn(&Trace) -> bool) -> Trace {
    let began = Instant::now();
    loop {
        if let Some(run) = stored(&recording.server).into_iter().find(&is_so) {
            return run;
        }
        assert!(began.elapsed() < LIMIT, "{:#?}", stored(&recording.server));
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_run_is_there_with_what_it_began_with() {
    let recording = live();
    let run = retrace::run("pipeline").session("s-1").user("u-1").tag("beta").input("tides").metadata("v", 1).start();
    let began = wait(&recording, |_| true);
    assert_eq!((began.name.as_deref(), began.session_id.as_deref()), (Some("pipeline"), Some("s-1")));
    assert_eq!((began.status, value(&began.input)), (Some(Status::Running), json!("tides")));
    assert_eq!((metadata(&began, "v"), metadata(&began, "tags")), (json!(1), json!(["beta"])));
    assert_eq!(metadata(&began, "user_id"), json!("u-1"));

    let _planner = retrace::agent("planner").role("Planner").start();
    let step = run.step("search", SpanType::ToolCall).input("tides").start();
    let began = wait(&recording, |run| spans(run).len() == 2);
    let seen = span(&began, "search");
    assert_eq!((value(&seen.input), seen.agent_id.as_deref()), (json!("tides"), Some("planner")));
    assert!(seen.ended_at.is_none());
    step.output("spring").end();
    run.tag("gold").metadata("v", 2).metadata("w", json!({ "k": 1 })).output("neap");
    drop(step);
    drop(run);

    let run = recording.run();
    assert_eq!((run.status, value(&run.output)), (Some(Status::Completed), json!("neap")));
    assert_eq!((metadata(&run, "v"), metadata(&run, "w")), (json!(2), json!({ "k": 1 })));
    assert_eq!(metadata(&run, "tags"), json!(["beta", "gold"]));
    assert_eq!(value(&span(&run, "search").output), json!("spring"));
}

#[test]
fn the_end_of_a_run_is_live_too() {
    for (status, expected) in [("needs_review", Status::Completed), ("failed", Status::Failed)] {
        let recording = live();
        let run = retrace::run("pipeline").start();
        wait(&recording, |_| true);
        run.status(status);
        run.end();
        let ended = wait(&recording, |run| run.ended_at.is_some());
        assert_eq!(ended.status, Some(expected));
        drop(recording.run());
    }
}

/// The function of a tool: its name and arguments are those that the model gives.
#[retrace::record(type = tool_call)]
fn search(query: &str, limit: u32) -> Vec<String> {
    vec![query.to_owned(); usize::try_from(limit).unwrap()]
}

/// A model call that requests the tool twice.
fn model_requests_tools() {
    let call = |id: &str, query: &str| {
        let arguments = json!({ "query": query, "limit": 1 }).to_string();
        json!({ "id": id, "type": "function", "function": { "name": "search", "arguments": arguments } })
    };
    let message =
        json!({ "role": "assistant", "content": null, "tool_calls": [call("c1", "neap"), call("c2", "spring")] });
    let choices = json!([{ "index": 0, "message": message, "finish_reason": "tool_calls" }]);
    let answer =
        json!({ "id": "r-1", "object": "chat.completion", "created": 0, "model": "gpt-4o-mini", "choices": choices });
    let genai = retrace::clients::instrumentation();
    let url = "https://api.openai.com/v1/chat/completions";
    let body = br#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;
    let mut call = genai.start(&retrace::clients::genai::Request { method: "POST", url, body: Some(body) }).unwrap();
    let headers =
        http::HeaderMap::from_iter([(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"))]);
    call.response(200, &headers);
    call.chunk(answer.to_string().as_bytes());
    call.end();
}

#[test]
fn the_function_of_a_tool_is_the_call_that_the_model_requested() {
    for transport in ["ws", "http"] {
        let recording = record_with(|configuration| configuration.with_transport(transport));
        retrace::run("agent").in_scope(|_| {
            model_requests_tools();
            search("spring", 1);
            search("neap", 1);
        });
        let run = recording.run();
        let mut tools: Vec<_> = spans(&run)
            .iter()
            .filter(|span| span.name == "search")
            .map(|span| (span.span_type.as_str(), value(&span.metadata)["tool_call_id"].clone(), value(&span.output)))
            .collect();
        tools.sort_by_key(|tool| (tool.0, tool.1.to_string()));
        let expected = [
            ("tool_call", json!("c1"), json!(["neap"])),
            ("tool_call", json!("c2"), json!(["spring"])),
            ("tool_result", json!("c1"), json!(["neap"])),
            ("tool_result", json!("c2"), json!(["spring"])),
        ];
        assert_eq!(tools, expected, "{transport}");
    }
}
