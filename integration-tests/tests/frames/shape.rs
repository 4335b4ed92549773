//! Frames without their contents: which events come in which order, and which fields of which JSON types each has.

use std::collections::BTreeMap;

use serde_json::Value;

/// What a list of frames looks like.
#[derive(Debug)]
pub(crate) struct Shape {
    /// The events: `trace_started`, `span_ended llm_call 2`, …
    pub order: Vec<String>,
    /// By event and field, the JSON type.
    pub fields: BTreeMap<String, &'static str>,
}

/// The shape of frames of one trace. A step named like the trace is its root, the others are called by their type and number, an event that comes again by `again`.
pub(crate) fn of(frames: &[Value]) -> Shape {
    let name = &frames[0]["data"]["name"];
    let mut labels = BTreeMap::new();
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut shape = Shape { order: Vec::new(), fields: BTreeMap::new() };
    for frame in frames {
        let (event, data) = (frame["type"].as_str().unwrap(), &frame["data"]);
        let id = data["id"].as_str().unwrap();
        let mut label = event.to_owned();
        if event.starts_with("span_") {
            let step = labels.entry(id).or_insert_with(|| {
                if data["name"] == *name {
                    return "root".to_owned();
                }
                let kind = data["span_type"].as_str().unwrap_or("unknown");
                let number = numbers.entry(kind).or_default();
                *number += 1;
                format!("{kind} {number}")
            });
            label = format!("{event} {step}");
        }
        while shape.order.contains(&label) {
            label.push_str(" again");
        }
        flatten(&label, frame, &mut shape.fields);
        shape.order.push(label);
    }
    shape
}

/// Metadata key by key, everything else a field of a record has as a whole.
fn flatten(place: &str, record: &Value, fields: &mut BTreeMap<String, &'static str>) {
    for (key, value) in record.as_object().unwrap() {
        let place = format!("{place}.{key}");
        if ["data", "metadata"].contains(&key.as_str()) && value.is_object() {
            flatten(&place, value, fields);
        } else {
            fields.insert(place, json_type(value));
        }
    }
}

/// The type, of numbers whether they are written with a fraction.
fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "fraction",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
