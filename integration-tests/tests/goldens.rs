//! The whole output of one scenario for each dialect, as it was when somebody last looked at it.
//!
//! `RETRACE_REWRITE_GOLDENS=1` writes the files anew: look at what changed before it is committed.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use integration_tests::corpus::{Scenario, scenarios};
use retrace_translate::Options;
use serde_json::Value;

/// Instrumentation and scenario, one for each dialect.
const GOLDENS: &[(&str, &str)] = &[
    // OpenTelemetry's conventions as they stand; with the content in an event; with one event for each message.
    ("opentelemetry-instrumentation-genai-openai", "tool_call_roundtrip"),
    ("opentelemetry-instrumentation-openai-v2.latest-experimental-events", "tool_call_roundtrip"),
    ("opentelemetry-instrumentation-openai-v2", "tool_call_roundtrip"),
    // OpenInference.
    ("openinference-instrumentation-openai", "tool_call_roundtrip"),
    // OpenLLMetry, with messages in indexed keys; its workflows, agents and tools.
    ("opentelemetry-instrumentation-openai.v0.48", "tool_call_roundtrip"),
    ("opentelemetry-instrumentation-openai.traceloop-sdk", "workflow_agent_session"),
    // The Vercel AI SDK: in OpenTelemetry's words, in its own, and texts to embed.
    ("vercel-ai-sdk", "agent_session"),
    ("vercel-ai-sdk.v6", "tool_call_roundtrip"),
    ("vercel-ai-sdk.v5", "embeddings"),
    // pydantic-ai, as it is and as it was.
    ("pydantic-ai", "tool_call_roundtrip"),
    ("pydantic-ai.v1-events-attr", "tool_call_roundtrip"),
    // rig, as it is and as it was.
    ("rig", "tool_call_roundtrip"),
    ("rig.v0.30", "chat_basic"),
];

/// Spans in dialects that the corpus has not, made after the sources of the libraries: `golden/*.otlp.json`.
const MADE: &[&str] = &["langfuse", "livekit", "logfire", "mcp", "mlflow", "vercel-v4"];

#[test]
fn what_a_run_becomes_does_not_change_by_itself() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let rewrite = std::env::var_os("RETRACE_REWRITE_GOLDENS").is_some();
    let scenarios = scenarios();
    let of_corpus = GOLDENS.iter().map(|(variant, name)| {
        let is_meant = |scenario: &&Scenario| scenario.variant == *variant && scenario.name == *name;
        let scenario = scenarios.iter().find(is_meant).unwrap();
        (*variant, std::iter::once(&scenario.spans).chain(&scenario.logs).cloned().collect::<Vec<_>>())
    });
    let made = MADE.iter().map(|name| (*name, vec![folder.join(format!("{name}.otlp.json"))]));
    let mut changed = Vec::new();
    for (name, inputs) in of_corpus.chain(made) {
        let inputs: Vec<_> = inputs.iter().map(|path| fs::read(path).unwrap()).collect();
        let told = retrace_local::translate(inputs.iter().map(Vec::as_slice), Options::default()).unwrap();
        let told = serde_json::to_string_pretty(&sorted(serde_json::to_value(&told.traces).unwrap())).unwrap() + "\n";
        let file = folder.join(format!("{name}.json"));
        if rewrite {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &told).unwrap();
        }
        let golden = fs::read_to_string(&file).unwrap_or_default();
        if let Some(line) = first_difference(&golden, &told) {
            changed.push(format!("{name}, line {line}"));
        }
    }
    assert!(changed.is_empty(), "{changed:#?}");
}

/// The same with the members of objects in the order of their names: in which they come depends on what else is built.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(list) => list.into_iter().map(sorted).collect(),
        Value::Object(members) => {
            let members: BTreeMap<String, Value> = members.into_iter().collect();
            members.into_iter().map(|(name, value)| (name, sorted(value))).collect()
        }
        other => other,
    }
}

/// The first line, from 1, in which two texts differ.
fn first_difference(one: &str, other: &str) -> Option<usize> {
    let differs = one.lines().zip(other.lines()).position(|(one, other)| one != other);
    let is_longer = || one.lines().count() != other.lines().count();
    differs.or_else(|| is_longer().then(|| one.lines().count().min(other.lines().count()))).map(|line| line + 1)
}
