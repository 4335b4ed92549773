//! Exchanges in the forms that the documentation of each API describes, and the spans of their calls.
//!
//! Each file in this folder holds the cases of one group of APIs: `source` names where the form is described, `response` is
//! a body, `events` are the data of an event stream, `text` is the body as it is. `expect` lists attributes of the span, with
//! `parts` for those of the first answer, `answers` for those of every answer, `input` for the parts of the last message and
//! `roles` for the roles of all messages; null is an attribute that must be absent. `no_call` marks a request that is no
//! model call.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

use opentelemetry_instrumentation_genai::Request;
use serde_json::{Map, Value, json};
use support::{Exchange, Rig, parts};

fn check(file: &str) {
    let cases: Vec<Value> = serde_json::from_str(file).unwrap();
    let wrong: Vec<String> = cases.iter().filter_map(|case| wrong(case).map(|span| report(case, &span))).collect();
    assert!(wrong.is_empty(), "{} of {} cases are wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn report(case: &Value, span: &Value) -> String {
    let expected: Map<String, Value> = case["expect"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| &member(span, key) != *value)
        .map(|(key, value)| (key.clone(), json!({ "expected": value, "found": member(span, key) })))
        .collect();
    format!("{}: {:#}", case["name"], Value::Object(expected))
}

/// The span, where it is not as expected.
fn wrong(case: &Value) -> Option<Value> {
    let url = case["url"].as_str().unwrap();
    let request = case["request"].to_string();
    if case["no_call"] == true {
        let call = Rig::new().genai.start(&Request { method: "POST", url, body: Some(request.as_bytes()) });
        return call.map(|_| json!("a span"));
    }
    let mut exchange = Exchange::new(url, &case["request"], response(case));
    if let Some(status) = case["status"].as_u64() {
        exchange = exchange.status(u16::try_from(status).unwrap());
    }
    let call = Rig::new().genai.start(&Request { method: "POST", url, body: Some(request.as_bytes()) });
    if call.is_none() {
        return Some(json!("no span"));
    }
    drop(call);
    let span = exchange.span();
    let expected = case["expect"].as_object().unwrap();
    expected.iter().any(|(key, value)| &member(&span, key) != value).then_some(span)
}

fn response(case: &Value) -> String {
    match (case["events"].as_array(), case["text"].as_str()) {
        (Some(events), _) => events
            .iter()
            .map(|event| match event.as_str() {
                Some(text) => format!("data: {text}\n\n"),
                None => format!("data: {event}\n\n"),
            })
            .collect(),
        (None, Some(text)) => text.to_owned(),
        (None, None) => case["response"].to_string(),
    }
}

fn member(span: &Value, key: &str) -> Value {
    let messages = || span["gen_ai.input.messages"].as_array();
    match key {
        "parts" => parts(span).clone(),
        "answers" => {
            let answers = span["gen_ai.output.messages"].as_array();
            answers.map_or(Value::Null, |answers| answers.iter().map(|answer| answer["parts"].clone()).collect())
        }
        "input" => messages().and_then(|list| list.last()).map_or(Value::Null, |last| last["parts"].clone()),
        "roles" => messages().map_or(Value::Null, |list| list.iter().map(|each| each["role"].clone()).collect()),
        key => span[key].clone(),
    }
}

#[test]
fn openai() {
    check(include_str!("openai.json"));
}

#[test]
fn responses() {
    check(include_str!("responses.json"));
}

#[test]
fn anthropic() {
    check(include_str!("anthropic.json"));
}

#[test]
fn gemini() {
    check(include_str!("gemini.json"));
}

#[test]
fn bedrock() {
    check(include_str!("bedrock.json"));
}

#[test]
fn mistral() {
    check(include_str!("mistral.json"));
}

#[test]
fn servers() {
    check(include_str!("servers.json"));
}
