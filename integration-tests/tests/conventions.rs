//! Promise 27: a run carries the value of every attribute key, in whichever version of whichever dialect it is written.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use retrace_translate::Options;
use serde_json::{Value, json};

/// Keys whose values are not sent: one describes how others are written, one holds the headers of a request, with its
/// credentials.
const OF_OTHERS: &[&str] = &["logfire.json_schema", "llm.headers"];

/// Attribute keys of all dialects.
fn keys() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fuzz/keys.txt");
    std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

/// Translates a model call with this attribute, and returns its run as JSON.
fn run_with(key: &str, value: &Value) -> String {
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
    let translated = retrace_local::translate([request.as_bytes()], Options::default()).unwrap();
    serde_json::to_string(&translated.traces).unwrap()
}

#[test]
fn pain_27_the_value_of_every_key_is_carried() {
    let (keys, mut lost) = (keys(), Vec::new());
    assert!(keys.len() > 250, "{} keys: the list was not read", keys.len());
    for key in &keys {
        // Each key takes texts or numbers; a value that it does not take stays an attribute.
        let text = run_with(key, &json!({"stringValue": "canary-of-words"})).contains("canary-of-words");
        let number = run_with(key, &json!({"intValue": "7031"})).contains("7031");
        if !(text && number || OF_OTHERS.contains(&key.as_str())) {
            lost.push((key, text, number));
        }
    }
    assert!(
        lost.is_empty(),
        "the run lacks the text or the number of {} keys (key, text, number): {lost:#?}",
        lost.len()
    );
}

#[test]
fn pain_27_an_unknown_key_stays_an_attribute() {
    let run = run_with("gen_ai.something.of.next.year", &json!({"stringValue": "canary-of-words"}));
    assert!(run.contains(r#""gen_ai.something.of.next.year":"canary-of-words""#), "{run}");
}
