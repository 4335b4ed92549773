//! JSON schemas, as far as those of the conventions go.

use std::error::Error;
use std::fs;
use std::path::Path;

use opentelemetry_sdk::trace::SpanData;
use serde_json::Value;

use crate::spans::attribute;
use crate::tally::{Tally, Verdict};

const FILES: [(&str, &str); 4] = [
    ("gen_ai.input.messages", "gen-ai-input-messages.json"),
    ("gen_ai.output.messages", "gen-ai-output-messages.json"),
    ("gen_ai.system_instructions", "gen-ai-system-instructions.json"),
    ("gen_ai.tool.definitions", "gen-ai-tool-definitions.json"),
];

/// The schemas of attributes that hold JSON.
#[derive(Debug)]
pub(crate) struct Schemas(Vec<(&'static str, Value)>);

impl Schemas {
    pub(crate) fn read(conventions: &Path) -> Result<Self, Box<dyn Error>> {
        let folder = conventions.join("docs/gen-ai");
        let read = |(key, file): (&'static str, &str)| -> Result<_, Box<dyn Error>> {
            Ok((key, serde_json::from_slice(&fs::read(folder.join(file))?)?))
        };
        Ok(Self(FILES.into_iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Holds what a span carries against them.
    pub(crate) fn check(&self, span: &SpanData, tally: &mut Tally, place: &str) {
        for (key, schema) in &self.0 {
            let held = attribute(span, key);
            let Some(text) = held.as_str() else { continue };
            let value: Value = match serde_json::from_str(text) {
                Ok(value) => value,
                Err(error) => {
                    tally.fault(place, &format!("{key} is no JSON: {error}"));
                    continue;
                }
            };
            let valid = fits(schema, schema, &value);
            tally.note("(schemas)", key, if valid { Verdict::Right } else { Verdict::Wrong });
            if !valid {
                tally.fault(place, &format!("{key} does not fit its schema: {text}"));
            }
        }
    }
}

/// Whether a value fits. A keyword that is not known here fails loudly: the schemas have changed.
fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    let Some(schema) = schema.as_object() else { return schema.as_bool().unwrap_or(false) };
    schema.iter().all(|(keyword, rule)| match keyword.as_str() {
        "$ref" => match rule.as_str().and_then(|place| place.strip_prefix("#/")) {
            Some(place) => root.pointer(&format!("/{place}")).is_some_and(|schema| fits(root, schema, value)),
            None => value.is_object() || value.is_boolean(), // a schema of JSON Schema's own
        },
        "anyOf" => rule.as_array().is_some_and(|any| any.iter().any(|schema| fits(root, schema, value))),
        "oneOf" => {
            rule.as_array().is_some_and(|one| one.iter().filter(|schema| fits(root, schema, value)).count() == 1)
        }
        "type" => match rule.as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("null") => value.is_null(),
            _ => false,
        },
        "const" => rule == value,
        "enum" => rule.as_array().is_some_and(|any| any.contains(value)),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| fits(root, rule, item))),
        "required" => rule.as_array().is_some_and(|keys| {
            keys.iter().all(|key| key.as_str().is_some_and(|key| value.get(key).is_some()) || !value.is_object())
        }),
        "properties" => rule.as_object().is_some_and(|rules| {
            rules.iter().all(|(key, schema)| value.get(key).is_none_or(|value| fits(root, schema, value)))
        }),
        "additionalProperties" => rule.as_bool() == Some(true),
        "title" | "description" | "default" | "format" | "$defs" | "$schema" => true,
        _ => false,
    })
}
