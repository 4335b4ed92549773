//! Recordings of a stored run: the `cassette` of a frame, and files.

use retrace_protocol::golden::{GoldenCassette, GoldenStep};
use retrace_protocol::{Id, Json, Span, Status, Timestamp, Trace};
use retrace_replay::Secrets;
use retrace_replay::cassette::{CassetteError, CassetteWriter, Header, Origin};
use retrace_replay::render::{StoredEntry, entries};
use serde_json::{Map, Value};

/// Name under which the official client records a call of Gemini, and the one under which it looks it up in a cassette.
const GEMINI: (&str, &str) = ("retrace.ai.generate", "gemini.generate_content");

/// Creates the `cassette` of a `resume` or `replay` frame: all spans in stored order, each with all of its fields. The
/// official client reads name, type, output, tokens and error (PROTOCOL.md section 19) and ignores the rest, from which
/// others can rebuild the provider's response.
pub(crate) fn of_frame(spans: &[Span]) -> Value {
    let entry = |span: &Span| {
        let mut entry = match serde_json::to_value(span) {
            Ok(Value::Object(entry)) => entry,
            // Serialization of a stored record does not fail.
            _ => Map::new(),
        };
        if span.name == GEMINI.0 {
            entry.insert("name".to_owned(), GEMINI.1.into());
        }
        Value::Object(entry)
    };
    spans.iter().map(entry).collect()
}

/// Writes the model calls and tools of a run as a cassette of `retrace-replay`, and refuses to write secrets of this
/// process's environment. `name` is the name of the file in errors.
///
/// # Errors
/// Returns the error of the writer, or an error if the cassette would contain a secret.
pub(crate) fn write<W: std::io::Write>(
    run: &Trace,
    name: &str,
    writer: W,
) -> Result<(W, Vec<StoredEntry>), CassetteError> {
    let entries = entries(run);
    let mut header = Header::new(run.name.clone().unwrap_or_default());
    header.run_id = run.id.as_ref().map(ToString::to_string);
    header.recorded_at = run.started_at.as_ref().map(ToString::to_string);
    header.recorder = Some(concat!("retrace-local ", env!("CARGO_PKG_VERSION")).to_owned());
    header.origin = Origin::Run;
    let mut secrets = Secrets::default();
    secrets.add_environment(
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
    );
    let mut cassette = CassetteWriter::begin(name, writer, &header, secrets)?;
    for StoredEntry { entry, .. } in &entries {
        cassette.push(entry.clone())?;
    }
    Ok((cassette.finish()?, entries))
}

/// Creates the golden file of the official client, version 1 (PROTOCOL.md section 20): every span is a step.
pub(crate) fn golden(run: &Trace) -> GoldenCassette {
    let steps = run.spans.iter().flatten().zip(0..).map(|(span, index)| GoldenStep {
        index,
        span_type: span.span_type,
        name: span.name.clone(),
        model: span.model.clone(),
        input: span.input.clone(),
        output: span.output.clone().filter(|output| !output.is_null()),
        error: span.error.clone(),
    });
    GoldenCassette {
        version: 1,
        name: run.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "trace".to_owned()),
        trace_id: run.id.clone().unwrap_or_else(|| Id::from("")),
        recorded_at: run.ended_at.clone().or_else(|| run.started_at.clone()).unwrap_or_else(|| Timestamp::from("")),
        status: run.status.unwrap_or(Status::Running),
        steps: steps.collect(),
        tolerance: None,
    }
}

/// Returns the size of a recording in a frame, in bytes of JSON.
pub(crate) fn weight(recording: &Value) -> usize {
    Json::from_serialize(recording).as_str().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run() -> Trace {
        let at = "2026-01-02T03:04:05Z";
        let span = |id: &str, kind: &str, output: Value| {
            json!({"id": id, "trace_id": "t", "parent_id": null, "span_type": kind, "name": "look", "started_at": at,
                "input": {"q": 1}, "output": output})
        };
        let spans = [span("a", "tool_call", json!(1)), span("b", "reasoning", Value::Null)];
        let run = json!({"id": "t", "status": "completed", "started_at": at, "ended_at": at, "spans": spans});
        serde_json::from_value(run).unwrap()
    }

    #[test]
    fn a_golden_file_has_every_span() {
        let golden = serde_json::to_value(golden(&run())).unwrap();
        assert_eq!(
            (&golden["version"], &golden["name"], &golden["status"]),
            (&json!(1), &json!("trace"), &json!("completed"))
        );
        let step = json!({"index": 1, "span_type": "reasoning", "name": "look", "model": null, "input": {"q": 1},
            "output": null, "error": null});
        assert_eq!(golden["steps"][1], step);
        let written = serde_json::to_vec(&golden).unwrap();
        assert_eq!(retrace_replay::golden::read("golden.json", written.as_slice()).unwrap().steps.len(), 2);
    }

    #[test]
    fn a_cassette_is_read_back() {
        let (written, entries) = write(&run(), "t.jsonl", Vec::new()).unwrap();
        assert_eq!(entries.len(), 1, "the tool alone");
        let lines = String::from_utf8(written).unwrap();
        assert!(lines.contains(r#""run_id":"t""#) && lines.contains(r#""name":"look""#), "{lines}");
    }
}
