//! P27: whatever spelling of whatever year a span has, what it says is told.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use retrace_translate::Options;
use serde_json::{Value, json};

/// Keys whose values are not sent: one describes how others are written, one holds the headers of a request, with its
/// credentials.
const OF_OTHERS: &[&str] = &["logfire.json_schema", "llm.headers"];

/// The keys that spans of all dialects were seen with, one a line.
fn keys() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fuzz/keys.txt");
    std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

/// What becomes of a model call with this attribute.
fn told(key: &str, value: &Value) -> String {
    let attributes = json!([
        {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
        {"key": "gen_ai.provider.name", "value": {"stringValue": "openai"}},
        {"key": key, "value": value},
    ]);
    let span = json!({
        "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "chat", "kind": 3,
        "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001000000000", "attributes": attributes,
    });
    let request = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).to_string();
    let told = retrace_local::translate([request.as_bytes()], Options::default()).unwrap();
    serde_json::to_string(&told.traces).unwrap()
}

#[test]
fn pain_27_what_any_key_ever_said_is_told() {
    let (keys, mut silent) = (keys(), Vec::new());
    assert!(keys.len() > 250, "{} keys: the list was not read", keys.len());
    for key in &keys {
        // Each key takes texts or numbers, and what it does not take travels as it is.
        let text = told(key, &json!({"stringValue": "canary-of-words"})).contains("canary-of-words");
        let number = told(key, &json!({"intValue": "7031"})).contains("7031");
        if !(text && number || OF_OTHERS.contains(&key.as_str())) {
            silent.push((key, text, number));
        }
    }
    assert!(silent.is_empty(), "{} are not told: {silent:#?}", silent.len());
}

#[test]
fn pain_27_a_key_that_nobody_knows_yet_travels_as_it_is() {
    let told = told("gen_ai.something.of.next.year", &json!({"stringValue": "canary-of-words"}));
    assert!(told.contains(r#""gen_ai.something.of.next.year":"canary-of-words""#), "{told}");
}
