//! Spans and log records that come over OTLP become runs.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::{Duration, Instant};

use retrace_local::{Server, translate};
use retrace_protocol::{Id, Status, Trace};
use retrace_translate::{Options, SpanSelection};
use serde_json::{Value, json};
use support::otlp::{FORMS, JSON, RUN, TRACE, agent, call, event, export, logs, span, spans};
use support::{Client, HANG, run};

fn id() -> Id {
    RUN.into()
}

/// The run as soon as it is as it should be.
fn wait(server: &Server, is_so: impl Fn(&Trace) -> bool) -> Trace {
    let deadline = Instant::now() + HANG;
    loop {
        let trace = server.trace(&id()).unwrap();
        match trace {
            Some(trace) if is_so(&trace) => return trace,
            trace if Instant::now() > deadline => panic!("{trace:#?}"),
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Waits until the list has the run with this mark; a run is stored before its mark follows.
fn wait_for_mark(server: &Server, live: &Value) -> Value {
    let deadline = Instant::now() + HANG;
    loop {
        let listed = Client::of(server).get("/api/v1/traces").json;
        if &listed["traces"][0]["live"] == live {
            return listed;
        }
        assert!(Instant::now() < deadline, "{listed}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn has_spans(count: usize) -> impl Fn(&Trace) -> bool {
    move |trace| trace.spans.iter().flatten().count() == count
}

fn ended(trace: &Trace) -> bool {
    trace.status == Some(Status::Completed)
}

/// What the translation makes of these requests, read together.
fn translated(requests: &[&Value]) -> Trace {
    let texts: Vec<String> = requests.iter().map(ToString::to_string).collect();
    let mut traces = translate(texts.iter().map(String::as_bytes), Options::default()).unwrap().traces;
    assert_eq!(traces.len(), 1);
    traces.remove(0)
}

#[test]
fn every_form_gives_the_run_that_translate_gives() {
    let request = spans(&[call(1), call(2), agent()]);
    let expected = translated(&[&request]);
    assert_eq!((expected.total_tokens, expected.spans.as_ref().unwrap().len()), (Some(30), 3));
    for form in FORMS {
        let server = Server::start().unwrap();
        export(&server, &request, form);
        let trace = server.wait_for_end(&id(), HANG).unwrap().unwrap_or_else(|| panic!("{form:?}"));
        assert_eq!(trace, expected, "{form:?}");
    }
}

#[test]
fn a_run_is_there_before_its_root_and_grows() {
    let server = Server::start().unwrap();
    export(&server, &spans(&[call(1)]), JSON);
    let trace = wait(&server, has_spans(1));
    assert_eq!((trace.status, trace.total_tokens), (Some(Status::Running), Some(15)));
    wait_for_mark(&server, &json!(true));

    let (first, second) = (spans(&[call(1)]), spans(&[call(2), agent()]));
    export(&server, &second, JSON);
    let trace = wait(&server, ended);
    assert_eq!(trace, translated(&[&first, &second]));
    assert_eq!(wait_for_mark(&server, &Value::Null)["total"].as_u64(), Some(1));

    // What comes when all seemed to be over is part of it all the same.
    let third = spans(&[call(3)]);
    export(&server, &third, JSON);
    assert_eq!(wait(&server, has_spans(4)), translated(&[&first, &second, &third]));
}

#[test]
fn spans_of_several_services_are_one_run() {
    let server = Server::start().unwrap();
    let mut callee = span("b000000000000001", "a000000000000001", "POST /ask", None, (call_start(), call_start() + 9));
    callee["kind"] = json!(2);
    callee["flags"] = json!(0x300);
    let below =
        span("b000000000000002", "b000000000000001", "chat", Some("chat"), (call_start() + 1, call_start() + 8));
    let (callee, caller) = (spans(&[below, callee]), spans(&[call(1), agent()]));
    export(&server, &callee, JSON);
    wait(&server, ended);
    export(&server, &caller, JSON);
    let trace = wait(&server, |trace| trace.name.as_deref() == Some("invoke_agent") && has_spans(3)(trace));
    assert_eq!(trace, translated(&[&callee, &caller]), "the callee's root is no span of the run any more");
    assert_eq!(server.traces(&retrace_local::TraceQuery::new()).unwrap().total, 1);
}

fn call_start() -> u64 {
    call(1)["startTimeUnixNano"].as_str().unwrap().parse().unwrap()
}

#[test]
fn log_records_find_their_span_whichever_comes_first() {
    let first_event = |trace: &Trace| {
        let span = &trace.spans.as_ref().unwrap()[1];
        let metadata = span.metadata.as_ref().map(|metadata| metadata.to_value().unwrap()).unwrap_or_default();
        metadata["events"][0]["name"].clone()
    };
    let (spans, logs) = (spans(&[call(1), agent()]), logs(&[event("c000000000000001", "app.note")]));
    for (first, second) in [(&spans, &logs), (&logs, &spans)] {
        for form in FORMS {
            let server = Server::start().unwrap();
            export(&server, first, form);
            if first == &spans {
                wait(&server, ended);
            }
            export(&server, second, form);
            let trace = wait(&server, |trace| ended(trace) && first_event(trace) == "app.note");
            assert_eq!(trace, translated(&[&spans, &logs]));
        }
    }
}

#[test]
fn spans_sent_again_replace_and_synthesized_ones_are_removed() {
    let server = Server::start().unwrap();
    let mut asks = call(1);
    let parts =
        json!([{"role": "assistant", "parts": [{"type": "tool_call", "id": "t1", "name": "look", "arguments": {}}]}]);
    asks["attributes"][6] = json!({"key": "gen_ai.output.messages", "value": {"stringValue": parts.to_string()}});
    let mut answered = call(2);
    let parts = json!([{"role": "tool", "parts": [{"type": "tool_call_response", "id": "t1", "response": "seen"}]}]);
    answered["attributes"][5] = json!({"key": "gen_ai.input.messages", "value": {"stringValue": parts.to_string()}});
    let first = spans(&[asks, answered, agent()]);
    export(&server, &first, JSON);
    let trace = wait(&server, ended);
    let made_up = trace.spans.unwrap().len();
    assert!(made_up > 3, "a tool that only messages show");

    let mut tool =
        span("d000000000000001", "a000000000000001", "look", Some("execute_tool"), (call_start(), call_start() + 5));
    let id = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    tool["attributes"]
        .as_array_mut()
        .unwrap()
        .extend([id("gen_ai.tool.call.id", "t1"), id("gen_ai.tool.name", "look")]);
    let second = spans(&[tool]);
    let expected = translated(&[&first, &second]);
    assert_ne!(expected.spans.as_ref().unwrap().len(), made_up + 1);
    export(&server, &second, JSON);
    let shows = |trace: &Trace| trace.spans.iter().flatten().any(|span| span.id.to_string().starts_with("d0000000"));
    assert_eq!(wait(&server, shows), expected);
}

#[test]
fn a_stop_stores_what_came_and_a_start_adds_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Server::builder().with_db(dir.path().join("runs.db")).start().unwrap();
    let server = start();
    let first = spans(&[call(1), agent()]);
    export(&server, &first, JSON);
    server.stop();

    let server = start();
    let trace = server.trace(&id()).unwrap().expect("stored before the stop, without any wait");
    assert_eq!(trace, translated(&[&first]));
    export(&server, &spans(&[call(2)]), JSON);
    let trace = wait(&server, has_spans(3));
    let expected = translated(&[&first, &spans(&[call(2)])]);
    assert_eq!((trace.status, trace.total_tokens, trace.span_count), (Some(Status::Completed), Some(30), Some(3)));
    assert_eq!(
        (&trace.name, &trace.started_at, &trace.ended_at),
        (&expected.name, &expected.started_at, &expected.ended_at)
    );
    assert_eq!(trace.spans, expected.spans, "it hangs where it belongs");
    // And goes on doing so.
    export(&server, &spans(&[call(3)]), JSON);
    let trace = wait(&server, has_spans(4));
    assert_eq!((trace.status, trace.total_tokens, trace.span_count), (Some(Status::Completed), Some(45), Some(4)));
}

#[test]
fn the_root_that_comes_after_a_restart_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Server::builder().with_db(dir.path().join("runs.db")).start().unwrap();
    let server = start();
    export(&server, &spans(&[call(1)]), JSON);
    server.stop();
    let server = start();
    assert_eq!(Client::of(&server).get("/api/v1/traces").json["traces"][0]["live"], json!(false), "interrupted");
    export(&server, &spans(&[agent()]), JSON);
    let trace = wait(&server, ended);
    let expected = translated(&[&spans(&[call(1), agent()])]);
    assert_eq!((&trace.name, &trace.started_at, trace.total_tokens), (&expected.name, &expected.started_at, Some(15)));
    assert_eq!(trace.spans.unwrap().len(), 2);
}

#[test]
fn otlp_adds_to_streamed_runs_and_changes_nothing() {
    let server = Server::start().unwrap();
    let mut uploaded = run(RUN);
    uploaded["spans"][0]["id"] = json!("c0000000-0000-0001-8448-eb211c80319c");
    Client::of(&server).upload(&uploaded);
    let before = server.trace(&id()).unwrap().unwrap();
    export(&server, &spans(&[call(1), call(2), agent()]), JSON);
    let after = wait(&server, |trace| trace.spans.iter().flatten().count() >= 4);
    let all = |trace: &Trace| Trace { spans: None, ..trace.clone() };
    assert_eq!(all(&after), all(&before), "its own words hold");
    for span in before.spans.unwrap() {
        assert!(after.spans.as_ref().unwrap().contains(&span), "{span:?}");
    }
}

#[test]
fn frames_of_a_run_that_came_over_otlp_are_stored() {
    let server = Server::start().unwrap();
    export(&server, &spans(&[call(1), agent()]), JSON);
    wait(&server, ended);
    let answer = Client::of(&server).post("/api/v1/traces", &run(RUN));
    assert_eq!(answer.status, 200, "{answer:?}");
    let merged = server.trace(&id()).unwrap().unwrap();
    assert_eq!((merged.name.as_deref(), merged.spans.unwrap().len()), (Some("agent"), 4));
    // From now on it is the wire's: OTLP adds spans, and a second upload is refused.
    export(&server, &spans(&[call(2)]), JSON);
    let trace = wait(&server, has_spans(5));
    assert_eq!(trace.name.as_deref(), Some("agent"));
    assert_eq!(Client::of(&server).post("/api/v1/traces", &run(RUN)).status, 409);
}

#[test]
fn a_deleted_run_does_not_come_back() {
    let server = Server::start().unwrap();
    export(&server, &spans(&[call(1), agent()]), JSON);
    wait(&server, ended);
    assert_eq!(Client::of(&server).delete(&format!("/api/v1/traces/{RUN}")).status, 204);
    export(&server, &spans(&[call(2)]), JSON);
    let trace = wait(&server, |_| true);
    assert_eq!(trace.spans.unwrap().len(), 1, "only what came later");
}

#[test]
fn options_say_what_becomes_of_spans() {
    let mut options = Options::default();
    (options.selection, options.capture_content) = (SpanSelection::All, false);
    (options.project_id, options.environment) = (Some("p".into()), Some("test".into()));
    let server = Server::builder().with_otlp_options(options.clone()).start().unwrap();
    let plain = span("e000000000000001", "a000000000000001", "GET /", None, (call_start(), call_start() + 1));
    let request = spans(&[plain, call(1), agent()]);
    export(&server, &request, JSON);
    let trace = wait(&server, ended);
    assert_eq!(trace, translate([request.to_string().as_bytes()], options).unwrap().traces[0]);
    assert_eq!((trace.project_id.as_deref(), trace.spans.as_ref().unwrap().len()), (Some("p"), 3));
    assert!(!serde_json::to_string(&trace).unwrap().contains("Zeit"));
}

#[test]
fn little_room_costs_no_span() {
    // Less than one trace takes: each is stored and forgotten at once, and its run grows in the database alone.
    let server = Server::builder().with_otlp_bytes(100).start().unwrap();
    for at in 1..=5 {
        export(&server, &spans(&[call(at)]), JSON);
    }
    export(&server, &spans(&[agent()]), JSON);
    let trace = wait(&server, |trace| ended(trace) && has_spans(6)(trace));
    assert_eq!((trace.total_tokens, trace.name.as_deref()), (Some(75), Some("invoke_agent")));
}

#[test]
fn what_is_no_run_is_none() {
    let server = Server::start().unwrap();
    let plain = span("e000000000000001", "", "GET /", None, (1, 2));
    export(&server, &spans(&[plain]), JSON);
    let mut other = agent();
    other["traceId"] = json!("1af7651916cd43dd8448eb211c80319c");
    export(&server, &spans(&[other]), JSON);
    server.wait_for_end(&"1af76519-16cd-43dd-8448-eb211c80319c".into(), HANG).unwrap().unwrap();
    assert!(server.trace(&id()).unwrap().is_none(), "{TRACE} has no GenAI span");
}
