//! Runs as flat fields, comparable by their paths.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Every field of every run and span by its path, such as `run ctx-run.output` and `span tool_call get_weather.input`. Ids
/// become names, times and durations become marks.
pub(crate) fn of_runs(runs: &[Value]) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    for run in runs {
        let name = run["name"].as_str().unwrap_or_default();
        let spans = run["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
        flatten(&format!("run {name}"), run, spans, &mut fields);
        for span in spans {
            let label = label(span);
            assert_eq!(span["trace_id"], run["id"], "{label} belongs to its run");
            // The run's own span has its name.
            let label = if span["name"] == name { format!("root {name}") } else { format!("span {label}") };
            flatten(&label, span, spans, &mut fields);
        }
    }
    fields
}

fn label(span: &Value) -> String {
    format!("{} {}", span["span_type"].as_str().unwrap(), span["name"].as_str().unwrap())
}

fn flatten(label: &str, record: &Value, spans: &[Value], fields: &mut BTreeMap<String, Value>) {
    for (key, value) in record.as_object().unwrap() {
        let value = match key.as_str() {
            "id" | "trace_id" | "spans" => continue,
            "metadata" => {
                for (key, value) in value.as_object().unwrap() {
                    fields.insert(format!("{label}.metadata.{key}"), value.clone());
                }
                continue;
            }
            "parent_id" => {
                spans.iter().find(|span| span["id"] == *value).map_or(Value::Null, |span| self::label(span).into())
            }
            "started_at" | "ended_at" => {
                let time = value.as_str().unwrap();
                assert!(time.ends_with('Z') && time.len() >= 20, "{label}.{key} is a time: {time}");
                json!("TIME")
            }
            "duration_ms" | "total_duration_ms" => {
                assert!(value.is_u64(), "{label}.{key} is a duration: {value}");
                json!("MS")
            }
            _ => value.clone(),
        };
        fields.insert(format!("{label}.{key}"), value);
    }
}
