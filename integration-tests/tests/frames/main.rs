//! The frames of the span processor beside those of the official SDK for the same agents: the same events in the same order,
//! the same fields of the same JSON types. What differs stands in the table of each agent, with its reason.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod agents;
mod difference;
mod receiver;
mod shape;

use difference::{Difference, check};
use integration_tests::wait::HANG;
use opentelemetry::Context;
use opentelemetry_retrace::{RetraceSpanProcessor, Transport};
use opentelemetry_sdk::trace::SdkTracerProvider;
use receiver::Receiver;
use serde_json::Value;

/// An agent; returns the step that it left open.
type Agent = fn(&SdkTracerProvider) -> Option<Context>;

/// What the SDK said of one trace, from a capture of its traffic.
fn captured(file: &str, trace: &str) -> Vec<Value> {
    let path = format!("{}/../crates/retrace-protocol/tests/captures/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let lines = std::fs::read_to_string(path).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let frames: Vec<Value> = lines.filter(|line| line["dir"] == "client").map(|line| line["frame"].clone()).collect();
    let started = frames.iter().find(|frame| frame["type"] == "trace_started" && frame["data"]["name"] == trace);
    let id = started.unwrap_or_else(|| panic!("{file} has a trace {trace}"))["data"]["id"].clone();
    frames.into_iter().filter(|frame| frame["data"]["id"] == id || frame["data"]["trace_id"] == id).collect()
}

/// What we say of an agent.
fn said(agent: Agent) -> Vec<Value> {
    let receiver = Receiver::start();
    let processor = RetraceSpanProcessor::builder()
        .with_api_key("rt_local")
        .with_base_url(receiver.url())
        .with_transport(Transport::Ws)
        .with_flush_timeout(HANG)
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
    let open = agent(&provider);
    provider.shutdown_with_timeout(HANG).unwrap();
    drop(open);
    let stats = processor.stats();
    assert_eq!((stats.delivered, stats.lost.total()), (stats.accepted, 0), "{stats:?}");
    let frames = receiver.frames();
    let numbers: Vec<_> = frames.iter().skip(1).map(|frame| frame["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "numbers count from 1");
    frames
}

/// The first frame of a connection, without the key.
fn auth(frame: &Value) -> Value {
    let mut frame = frame.clone();
    assert!(frame["api_key"].take().is_string());
    frame
}

#[test]
fn the_first_frame_is_that_of_the_sdk() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/retrace-protocol/tests/captures/ws-a-plain.jsonl");
    let lines = std::fs::read_to_string(path).unwrap();
    let sdk = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["frame"].clone());
    let sdk = sdk.into_iter().find(|frame| frame["type"] == "auth").unwrap();
    assert_eq!(auth(&said(agents::plain)[0]), auth(&sdk));
}

#[test]
fn a_plain_agent() {
    compare(&captured("ws-a-plain", "plain-agent"), agents::plain, difference::PLAIN);
}

#[test]
fn an_agent_that_calls_a_tool() {
    compare(&captured("ws-f-openai-tools", "oai-tools"), agents::tools, difference::TOOLS);
}

#[test]
fn nested_steps_of_all_types() {
    compare(&captured("ws-c-nested", "nested"), agents::nested, difference::NESTED);
}

fn compare(sdk: &[Value], agent: Agent, table: &[Difference]) {
    let ours = said(agent);
    if let Err(problem) = check(&shape::of(sdk), &shape::of(&ours[1..]), table) {
        panic!("{problem}");
    }
}
