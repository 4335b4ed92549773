//! Every value that a real instrumentation recorded is somewhere in what is told.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;

use integration_tests::corpus::scenarios;
use retrace_translate::{Options, SpanSelection};
use serde_json::Value;

/// Keys whose values are words of a form that all dialects lose on the way into one shape, or are told in another.
const FORM: &[&str] = &[
    "type",
    "role",
    "index",
    "detail",
    // Told as milliseconds, and as that structured output was asked for.
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.output.type",
    "gen_ai.openai.request.response_format",
    // The sum of what is told.
    "total_tokens",
    "totalTokens",
    "total",
    // Which message an event is shows in its role.
    "event.name",
    // What a provider calls a part of a message, for itself.
    "itemId",
    // Of two spellings of one reason, that of a message and that of the span, the latter is told.
    "finish_reason",
];

/// Texts and numbers inside a value, with the key that each stands under. JSON inside texts is read.
fn leaves(key: &str, value: &Value, told: &mut impl FnMut(&str, String)) {
    match value {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ (Value::Array(_) | Value::Object(_))) => leaves(key, &inner, told),
            Ok(Value::String(inner)) => told(key, inner),
            _ => told(key, text.clone()),
        },
        Value::Number(number) => told(key, number.as_f64().unwrap().to_string()),
        Value::Array(list) => list.iter().for_each(|value| leaves(key, value, told)),
        Value::Object(map) => map.iter().for_each(|(key, value)| leaves(key, value, told)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn keys(value: &Value, found: &mut HashSet<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| keys(value, found)),
        Value::Object(map) => {
            found.extend(map.keys().cloned());
            map.values().for_each(|value| keys(value, found));
        }
        _ => {}
    }
}

/// An OTLP value as the JSON it stands for.
fn plain(value: &Value) -> Value {
    let (kind, value) = value.as_object().and_then(|value| value.iter().next()).unwrap_or_else(|| panic!("{value}"));
    let list = |value: &Value| value["values"].as_array().cloned().unwrap_or_default();
    match kind.as_str() {
        "arrayValue" => list(value).iter().filter(|v| !v.as_object().unwrap().is_empty()).map(plain).collect(),
        "kvlistValue" => attributes(&list(value)),
        "intValue" => value.as_str().map_or_else(|| value.clone(), |digits| serde_json::from_str(digits).unwrap()),
        _ => value.clone(),
    }
}

fn attributes(list: &[Value]) -> Value {
    let there = list.iter().filter(|entry| entry["value"].as_object().is_some_and(|value| !value.is_empty()));
    there.map(|entry| (entry["key"].as_str().unwrap().to_owned(), plain(&entry["value"]))).collect()
}

fn list<'v>(value: &'v Value, keys: [&str; 3]) -> Vec<&'v Value> {
    keys.iter().fold(vec![value], |values, key| {
        values.into_iter().flat_map(|value| value[*key].as_array().into_iter().flatten()).collect()
    })
}

#[test]
fn every_value_of_the_corpus_is_told() {
    let mut lost: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut checked = 0_usize;
    for scenario in scenarios() {
        let inputs: Vec<_> =
            std::iter::once(&scenario.spans).chain(&scenario.logs).map(|path| fs::read(path).unwrap()).collect();
        let mut options = Options::default();
        options.selection = SpanSelection::All;
        let told = retrace_local::translate(inputs.iter().map(Vec::as_slice), options).unwrap();
        let (mut values, mut text) = (HashSet::new(), String::new());
        let told = serde_json::to_value(&told.traces).unwrap();
        leaves("", &told, &mut |_, value| {
            text.push_str(&value);
            text.push('\n');
            values.insert(value);
        });
        // Tools stand under their names.
        keys(&told, &mut values);
        let spans: Value = serde_json::from_slice(&inputs[0]).unwrap();
        let logs: Value = inputs.get(1).map_or(Value::Null, |logs| serde_json::from_slice(logs).unwrap());
        let mut recorded = Vec::new();
        for span in list(&spans, ["resourceSpans", "scopeSpans", "spans"]) {
            recorded.push(attributes(span["attributes"].as_array().map_or(&[], Vec::as_slice)));
            for event in span["events"].as_array().into_iter().flatten() {
                recorded.push(attributes(event["attributes"].as_array().map_or(&[], Vec::as_slice)));
            }
        }
        for record in list(&logs, ["resourceLogs", "scopeLogs", "logRecords"]) {
            if record["spanId"].is_string() && record["body"].as_object().is_some_and(|body| !body.is_empty()) {
                recorded.push(plain(&record["body"]));
            }
        }
        for value in recorded {
            leaves("", &value, &mut |key, value| {
                checked += 1;
                let form = key.rsplit('.').next().unwrap_or_default();
                if FORM.contains(&key) || FORM.contains(&form) {
                    return;
                }
                // The content of a medium is told without the scheme around it.
                let value = value.split_once(";base64,").map_or(value.as_str(), |(_, data)| data).to_owned();
                if !values.contains(&value) && !text.contains(&value) {
                    lost.entry(format!("{} {key}", scenario.variant)).or_default().insert(value);
                }
            });
        }
    }
    println!("{checked} values");
    assert!(checked > 10_000, "{checked} values: the corpus was not read");
    assert!(lost.is_empty(), "{lost:#?}");
}
