//! Cassettes in memory, and calls.

#![allow(dead_code, reason = "each test program uses some of it")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Cursor;

use retrace_protocol::{Json, SpanType};
use retrace_replay::cassette::{Cassette, CassetteWriter, Effects, Entry, Header, Outcome};
use retrace_replay::replay::{Call, Decision, Options, Refused, Replay};
use retrace_replay::{Chunk, Fingerprint, Lane, Response, Secrets};
use serde_json::{Value, json};

pub(crate) fn chat(prompt: &str) -> Value {
    json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]})
}

pub(crate) fn model_entry(lane: &str, request: &Value, answer: &str) -> Entry {
    let mut entry = Entry::new(SpanType::LlmCall, "chat", Json::from_serialize(request));
    entry.lane = Lane::parse(lane);
    entry.model = Some("gpt-4o-mini".to_owned());
    entry.fingerprint = Fingerprint::of("chat", entry.model.as_deref(), request);
    let chunks = vec![Chunk { ms: 1, bytes: answer.as_bytes().to_vec() }];
    entry.outcome = Outcome::Response(Response { status: 200, chunks, ..Response::default() });
    entry
}

pub(crate) fn tool_entry(lane: &str, name: &str, arguments: &Value, result: &Value) -> Entry {
    let mut entry = Entry::new(SpanType::ToolCall, name, Json::from_serialize(arguments));
    entry.lane = Lane::parse(lane);
    entry.step = Some(0);
    entry.outcome = Outcome::Value(Json::from_serialize(result));
    entry
}

pub(crate) fn file(entries: Vec<Entry>) -> Vec<u8> {
    let mut writer = CassetteWriter::begin("run.jsonl", Vec::new(), &Header::new("run"), Secrets::default()).unwrap();
    for entry in entries {
        writer.push(entry).unwrap();
    }
    writer.finish().unwrap()
}

pub(crate) fn cassette(entries: Vec<Entry>) -> Cassette {
    Cassette::open("run.jsonl", Cursor::new(file(entries))).unwrap()
}

pub(crate) fn replay(entries: Vec<Entry>, options: Options) -> Replay {
    Replay::new(cassette(entries), options).unwrap()
}

pub(crate) fn model_call<'a>(lane: &'a Lane, request: Value) -> Call<'a> {
    let model = Some("gpt-4o-mini");
    let effects = Effects::None;
    Call { lane, span_type: SpanType::LlmCall, name: "chat", model, request, effects, inner: None }
}

pub(crate) fn tool_call<'a>(lane: &'a Lane, name: &'a str, arguments: Value, effects: Effects) -> Call<'a> {
    Call { lane, span_type: SpanType::ToolCall, name, model: None, request: arguments, effects, inner: None }
}

#[track_caller]
pub(crate) fn answer(decision: Decision) -> String {
    match decision {
        Decision::Answer(entry) => match entry.outcome {
            Outcome::Response(response) => String::from_utf8(response.body()).unwrap(),
            Outcome::Value(value) => value.as_str().to_owned(),
            other => panic!("not an answer: {other:?}"),
        },
        other => panic!("not answered: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn refusal(decision: Decision) -> Refused {
    match decision {
        Decision::Refuse(refused) => *refused,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn live(decision: Decision) -> Option<Value> {
    match decision {
        Decision::Live { altered, .. } => altered,
        other => panic!("not live: {other:?}"),
    }
}
