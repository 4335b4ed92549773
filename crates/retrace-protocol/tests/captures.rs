//! Every captured frame and body deserialises, and serialises back to equal JSON.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use retrace_protocol::command::ForkClaim;
use retrace_protocol::enforcement::{EnforcementCheck, EnforcementVerdict, TelemetryReport};
use retrace_protocol::golden::GoldenMark;
use retrace_protocol::json::non_finite_to_null;
use retrace_protocol::{ClientFrame, ServerFrame, Trace, TracePatch, write};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn again<T: Serialize + DeserializeOwned>(text: &str) -> Value {
    value_of(&serde_json::from_str::<T>(text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

fn value_of<T: Serialize>(typed: &T) -> Value {
    assert_eq!(write::to_string(typed).unwrap(), serde_json::to_string(typed).unwrap());
    serde_json::to_value(typed).unwrap()
}

/// The JSON text of the line's frame or body. Where the capture states that the text was no JSON, the words that JSON
/// lacks are read as null.
fn text_of(line: &Value, field: &str) -> Option<String> {
    match (&line[field], line["raw"].as_str()) {
        (Value::Null, Some(raw)) if line["invalid_json"] == true => Some(non_finite_to_null(raw).into_owned()),
        (Value::Null, _) => None,
        (value, _) => Some(value.to_string()),
    }
}

fn body_again(method: &str, path: &str, text: &str) -> Value {
    match (method, path.trim_start_matches("/api/v1/")) {
        ("POST", "traces") => again::<Trace>(text),
        ("PATCH", path) if path.starts_with("traces/") => again::<TracePatch>(text),
        ("POST", path) if path.ends_with("/golden") => again::<GoldenMark>(text),
        ("POST", path) if path.ends_with("/replay/claim") => again::<ForkClaim>(text),
        ("POST", "enforcement/check") => again::<EnforcementCheck>(text),
        ("POST", "internal/logs") => again::<TelemetryReport>(text),
        other => panic!("no type for {other:?}"),
    }
}

#[test]
fn every_captured_frame_and_body_comes_back() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "jsonl") {
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let from_client = line["dir"] == "client";
            if let Some(text) = text_of(&line, "frame").filter(|_| line["transport"] == "ws") {
                let back = if from_client {
                    value_of(&ClientFrame::parse(&text).unwrap())
                } else {
                    value_of(&ServerFrame::parse(&text).unwrap())
                };
                assert_eq!(back, serde_json::from_str::<Value>(&text).unwrap(), "{}", path.display());
                *seen.entry(if from_client { "client frames" } else { "server frames" }).or_default() += 1;
            }
            if let Some(text) = text_of(&line, "body").filter(|_| line["transport"] == "http") {
                let sent: Value = serde_json::from_str(&text).unwrap();
                if from_client {
                    let back = body_again(line["method"].as_str().unwrap(), line["path"].as_str().unwrap(), &text);
                    assert_eq!(back, sent, "{}", path.display());
                    *seen.entry("bodies").or_default() += 1;
                } else if sent.get("verdict").is_some() {
                    assert_eq!(again::<EnforcementVerdict>(&text), sent);
                }
            }
        }
    }
    // Guards against a reader that skips: these are what the captures hold.
    assert_eq!(seen, BTreeMap::from([("bodies", 60), ("client frames", 237), ("server frames", 229)]));
}
