//! The whole output of one scenario for each dialect, as it was when somebody last looked at it.
//!
//! `RETRACE_REWRITE_GOLDENS=1` writes the files anew: look at what changed before it is committed.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

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

/// Spans as libraries write them that the corpus has not, made by hand: `golden/*.otlp.json`. Each follows the source that the
/// module of its dialect names.
const MADE: &[&str] = &[
    "adk",
    "agent-framework",
    "braintrust",
    "cache-read-tokens-key",
    "claude-code",
    "claude-code-tools",
    "crewai",
    "crewai-traceloop",
    "dify",
    "gemini-tool-use-tokens",
    "genkit",
    "haystack",
    "langchain-tool-message",
    "langfuse",
    "langsmith",
    "langsmith-langchain",
    "livekit",
    "logfire",
    "mcp",
    "mcp-tool-wrapped",
    "metadata-environment",
    "mlflow",
    "openlit",
    "openinference-input-value",
    "openlit-call-id",
    "responses-mcp-call",
    "spring-ai",
    "strands",
    "strands-text-parts",
    "vercel-v4",
    "vllm",
    "vllm-server-span",
];

/// What rig and its half-filled spans become, streaming and not, as it is and as it was.
const RIG: &[(&str, &str)] = &[
    ("rig", "tool_call_stream"),
    ("rig", "chat_stream"),
    ("rig.v0.30", "tool_call_roundtrip"),
    ("rig.v0.30", "tool_call_stream"),
    ("rig.v0.30", "chat_stream"),
];

#[test]
fn what_a_run_becomes_does_not_change_by_itself() {
    let scenarios = scenarios();
    let of_corpus = GOLDENS.iter().map(|(variant, name)| ((*variant).to_owned(), spans(&scenarios, variant, name)));
    let made = MADE.iter().map(|name| ((*name).to_owned(), vec![folder().join(format!("{name}.otlp.json"))]));
    compare(of_corpus.chain(made));
}

#[test]
fn pain_36_what_rig_says_is_read_and_what_it_leaves_out_is_unknown() {
    let scenarios = scenarios();
    let told =
        compare(RIG.iter().map(|(variant, name)| (format!("{variant}.{name}"), spans(&scenarios, variant, name))));
    for ((variant, name), traces) in RIG.iter().zip(told) {
        let calls: Vec<&Value> = traces
            .iter()
            .flat_map(|trace| trace["spans"].as_array().unwrap())
            .filter(|span| span["span_type"] == "llm_call")
            .collect();
        assert!(!calls.is_empty(), "{variant} {name} shows no call of a model");
        // The elder one declares which model answered and what it said, and never fills it in.
        let is_filled = *variant == "rig";
        for call in calls {
            for member in ["model", "cost", "output"] {
                assert_eq!(!call[member].is_null(), is_filled, "{variant} {name}, {member}: {call}");
            }
            for member in ["input_tokens", "output_tokens"] {
                assert!(call[member].as_u64() > Some(0), "{variant} {name}, {member}: {call}");
            }
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn spans(scenarios: &[Scenario], variant: &str, name: &str) -> Vec<PathBuf> {
    let scenario = scenarios.iter().find(|scenario| scenario.variant == variant && scenario.name == name).unwrap();
    std::iter::once(&scenario.spans).chain(&scenario.logs).cloned().collect()
}

/// The runs that each becomes, when they are those in the file of its name.
fn compare(inputs: impl Iterator<Item = (String, Vec<PathBuf>)>) -> Vec<Vec<Value>> {
    let rewrite = std::env::var_os("RETRACE_REWRITE_GOLDENS").is_some();
    let mut changed = Vec::new();
    let mut all = Vec::new();
    for (name, inputs) in inputs {
        let inputs: Vec<_> = inputs.iter().map(|path| fs::read(path).unwrap()).collect();
        let told = retrace_local::translate(inputs.iter().map(Vec::as_slice), Options::default()).unwrap();
        let traces = sorted(serde_json::to_value(&told.traces).unwrap());
        let told = serde_json::to_string_pretty(&traces).unwrap() + "\n";
        let file = folder().join(format!("{name}.json"));
        if rewrite {
            fs::create_dir_all(folder()).unwrap();
            fs::write(&file, &told).unwrap();
        }
        let golden = fs::read_to_string(&file).unwrap_or_default();
        if let Some(line) = first_difference(&golden, &told) {
            changed.push(format!("{name}, line {line}"));
        }
        all.push(traces.as_array().unwrap().clone());
    }
    assert!(changed.is_empty(), "{changed:#?}");
    all
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
