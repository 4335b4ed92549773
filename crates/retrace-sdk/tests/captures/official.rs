//! Runs of a capture, as a receiver has them in the end.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

type Record = Map<String, Value>;

/// The runs of a capture of `retrace-protocol`, in the order in which they began.
pub(crate) fn runs(capture: &str) -> Vec<Value> {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../retrace-protocol/tests/captures");
    let text = fs::read_to_string(captures.join(format!("{capture}.jsonl"))).unwrap();
    let mut runs = Vec::new();
    let mut live: BTreeMap<String, (Record, Vec<Record>)> = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["dir"] != "client" {
            continue;
        }
        if line["method"] == "POST" && line["path"] == "/api/v1/traces" {
            runs.push(line["body"].clone());
        }
        let data = line["frame"]["data"].as_object().cloned().unwrap_or_default();
        let id = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        match line["frame"]["type"].as_str() {
            Some("trace_started" | "trace_ended") => live.entry(id("id")).or_default().0.extend(data),
            Some("span_started") => live.entry(id("trace_id")).or_default().1.push(data),
            Some("span_ended") => {
                let spans = &mut live.entry(id("trace_id")).or_default().1;
                spans.iter_mut().find(|span| span["id"] == data["id"]).unwrap().extend(data);
            }
            _ => {}
        }
    }
    runs.extend(live.into_values().map(|(mut run, spans)| {
        run.insert("spans".to_owned(), spans.into_iter().map(Value::Object).collect());
        Value::Object(run)
    }));
    assert!(!runs.is_empty(), "{capture} has no run");
    runs.sort_by_key(|run| run["started_at"].as_str().map(str::to_owned));
    runs
}
