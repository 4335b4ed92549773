//! Events of `tracing` on a span, and the name of a run behind a server.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use retrace_protocol::Json;
use retrace_translate::{Kind, Value};
use serde_json::{Value as JsonValue, json};
use support::*;

fn text(text: &'static str) -> Value<'static> {
    Value::Str(text.into())
}

fn event(name: &str, level: &'static str, fields: &[(&str, &'static str)]) -> (String, Attributes) {
    let mut attributes = vec![("level".to_owned(), text(level)), ("target".to_owned(), text("app"))];
    attributes.extend(fields.iter().map(|(key, value)| ((*key).to_owned(), text(value))));
    (name.to_owned(), attributes)
}

fn metadata(json: &Option<Json>) -> JsonValue {
    json.as_ref().map_or(JsonValue::Null, |json| json.to_value().unwrap())
}

#[test]
fn events_below_info_are_bounded_and_those_left_out_are_counted() {
    let mut agent = agent(1, 0, "a");
    for n in 0..50 {
        agent.events.push(event("parsed 3 headers", if n % 2 == 0 { "TRACE" } else { "DEBUG" }, &[]));
        agent.events.push(event("step", "INFO", &[]));
    }
    let (_, spans) = run_of(&[agent]);
    let metadata = metadata(&spans[0].metadata);
    let events = metadata["events"].as_array().unwrap();
    let count = |name: &str| events.iter().filter(|event| event["name"] == name).count();
    assert_eq!((count("step"), count("parsed 3 headers")), (50, 8));
    assert_eq!(metadata["otel"]["dropped_events"], 42);
}

#[test]
fn events_of_others_are_not_taken_for_those_of_tracing() {
    let mut agent = agent(1, 0, "a");
    let level = || vec![("level".to_owned(), text("DEBUG"))];
    agent.events = (0..50).map(|_| ("e".to_owned(), level())).collect();
    let (_, spans) = run_of(&[agent]);
    assert_eq!(metadata(&spans[0].metadata)["events"].as_array().unwrap().len(), 50);
}

#[test]
fn an_error_that_was_logged_is_the_error_of_a_span_without_another() {
    for (events, description, expected) in [
        (vec![event("event src/main.rs:7", "ERROR", &[("error", "no tide")])], "", "no tide"),
        (vec![event("it broke", "ERROR", &[]), event("later", "INFO", &[])], "", "it broke"),
        (vec![event("it broke", "ERROR", &[])], "stated", "stated"),
        (vec![event("fine", "WARN", &[])], "", "Error"),
    ] {
        let mut agent = agent(1, 0, "a");
        (agent.events, agent.error) = (events, Some(description.to_owned()));
        let (trace, spans) = run_of(&[agent]);
        assert_eq!(spans[0].error.as_deref(), Some(expected));
        assert_eq!(trace.error.as_deref(), Some(expected));
    }
    let mut agent = agent(1, 0, "a");
    agent.events = vec![event("it broke", "ERROR", &[])];
    assert_eq!(run_of(&[agent]).1[0].error, None, "a span that did not fail has no error");
}

#[test]
fn what_instrument_returns_is_the_output() {
    for (returned, output) in [("high at noon", json!("high at noon")), (r#"{"at":"noon"}"#, json!({"at": "noon"}))] {
        let mut agent = agent(1, 0, "a");
        agent.events = vec![event("event src/main.rs:7", "INFO", &[("return", returned)])];
        let (_, spans) = run_of(&[agent.clone()]);
        assert_eq!(metadata(&spans[0].output), output);
        assert_eq!(metadata(&spans[0].metadata)["events"][0]["attributes"]["return"], JsonValue::Null);
        let (_, spans) = run_of(&[agent.with("retrace.output", "stated")]);
        assert_eq!(metadata(&spans[0].output), json!("stated"));
        assert_eq!(metadata(&spans[0].metadata)["events"][0]["attributes"]["return"], returned);
    }
}

#[test]
fn the_first_genai_span_names_a_run_that_a_server_began() {
    let mut server = span(1, 0, "POST /ask");
    server.kind = Kind::Server;
    let (first, second) = (agent(3, 2, "planner"), agent(5, 2, "writer"));
    let spans = [server.clone(), span(2, 1, "handler"), first, chat(4, 3), second];
    let (trace, sent) = run_of(&spans);
    assert_eq!(trace.name.as_deref(), Some(sent[1].name.as_str()));
    assert_eq!(metadata(&trace.metadata)["entry_span"], "POST /ask");
    assert_eq!(sent[0].name, "POST /ask");
    // A stated name, and a root that is a GenAI span, come first.
    let (trace, _) = run_of(&[server.clone().with("retrace.trace.name", "mine"), chat(2, 1)]);
    assert_eq!(trace.name.as_deref(), Some("mine"));
    let (trace, _) = run_of(&[server.clone().with("gen_ai.operation.name", "invoke_agent"), chat(2, 1)]);
    assert_eq!((trace.name.as_deref(), &metadata(&trace.metadata)["entry_span"]), (Some("POST /ask"), &json!(null)));
    // So does any other root.
    let (trace, _) = run_of(&[span(1, 0, "job"), chat(2, 1)]);
    assert_eq!(trace.name.as_deref(), Some("job"));
}
