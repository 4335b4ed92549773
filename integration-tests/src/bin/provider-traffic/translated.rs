//! Usage of an exchange as the translation of spans reads it, where a span has the answer of the provider.

use std::error::Error;

use retrace_translate::Options;
use serde_json::{Value, json};

use crate::exchange::Exchange;
use crate::tally::{Tally, Verdict};

/// Facts, and where the translated span has them.
const FACTS: &[(&str, &str)] = &[
    ("input_tokens", "/input_tokens"),
    ("output_tokens", "/output_tokens"),
    ("cache_read_input_tokens", "/metadata/usage/cache_read_tokens"),
    ("cache_creation_input_tokens", "/metadata/usage/cache_creation_tokens"),
    ("reasoning_output_tokens", "/metadata/usage/reasoning_tokens"),
];

/// Compares the counts that the translation reads with those of the truth. Counts of headers are not in an answer.
pub(crate) fn compare(exchange: &Exchange, tally: &mut Tally) -> Result<(), Box<dyn Error>> {
    let truth = &exchange.truth;
    if !truth["usage"].is_object() || truth["operation"] == "embeddings" {
        return Ok(());
    }
    let attribute = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let output = json!({ "usage": truth["usage"] }).to_string();
    let attributes = [
        attribute("gen_ai.operation.name", "chat"),
        attribute("gen_ai.request.model", "m"),
        attribute("output.value", &output),
    ];
    let span = json!({ "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "chat m",
        "startTimeUnixNano": "1795345548000000000", "endTimeUnixNano": "1795345549000000000", "attributes": attributes });
    let request = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] }).to_string();
    let read = retrace_local::translate([request.as_bytes()], Options::default())?;
    let span = read.traces.first().and_then(|run| run.spans.as_ref()?.first()).ok_or("no span")?;
    let span = serde_json::to_value(span)?;
    let from_headers =
        |field: &str| truth["from_headers"].as_array().is_some_and(|names| names.contains(&field.into()));
    for (field, place) in FACTS {
        let (expected, found) = (truth[*field].as_u64(), span.pointer(place).and_then(Value::as_u64));
        // A zero is as good as nothing there.
        let (expected, found) = (expected.filter(|count| *count > 0), found.filter(|count| *count > 0));
        if expected.is_none() || from_headers(field) {
            continue;
        }
        let verdict = match found {
            found if found == expected => Verdict::Right,
            Some(_) => Verdict::Wrong,
            None => Verdict::Missing,
        };
        tally.note(&exchange.provider, &format!("translated {field}"), verdict);
        if verdict != Verdict::Right {
            tally.fault(&exchange.name, &format!("translated {field}: {found:?} for {expected:?}, of {output}"));
        }
    }
    Ok(())
}
