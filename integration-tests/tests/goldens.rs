//! The whole output of one scenario for each dialect, as it was when somebody last read it.
//!
//! Inputs are scenarios of the corpus ([`GOLDENS`], [`RIG`]) and `golden/NAME.otlp.json`: spans as libraries write them that the
//! corpus does not have, made by hand after the source that the module of their dialect names. A file there is a test without
//! further registration. `RETRACE_REWRITE_GOLDENS=1` writes the expected output again; read what changed before it is committed.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
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

/// Ending of the files of inputs.
const INPUT: &str = ".otlp.json";

/// Streaming and other calls of rig, the current version and an old one, whose spans are filled in half.
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
    let made = made();
    assert!(made.len() > 30, "{} inputs in {}", made.len(), folder().display());
    compare(of_corpus.chain(made.into_iter().map(|name| (name.clone(), vec![input(&name)]))));
}

#[test]
fn every_golden_file_has_an_input() {
    let of_corpus = GOLDENS.iter().map(|(variant, _)| (*variant).to_owned());
    let of_rig = RIG.iter().map(|(variant, name)| format!("{variant}.{name}"));
    let known: BTreeSet<String> = of_corpus.chain(of_rig).chain(made()).collect();
    let stale: Vec<String> = names(".json").into_iter().filter(|name| !known.contains(name)).collect();
    assert!(stale.is_empty(), "no input is left for golden/NAME.json of these names; delete them: {stale:?}");
}

#[test]
fn pain_36_facts_of_rig_are_read_and_those_it_leaves_out_are_unknown() {
    let scenarios = scenarios();
    let runs =
        compare(RIG.iter().map(|(variant, name)| (format!("{variant}.{name}"), spans(&scenarios, variant, name))));
    for ((variant, name), traces) in RIG.iter().zip(runs) {
        let calls: Vec<&Value> = traces
            .iter()
            .flat_map(|trace| trace["spans"].as_array().unwrap())
            .filter(|span| span["span_type"] == "llm_call")
            .collect();
        assert!(!calls.is_empty(), "{variant} {name} shows no call of a model");
        // The old version declares the fields of the model and of the response, and never fills them in.
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

/// Names of the inputs that were made by hand.
fn made() -> Vec<String> {
    names(INPUT)
}

fn input(name: &str) -> PathBuf {
    folder().join(format!("{name}{INPUT}"))
}

/// Names of the files with this ending, in order; inputs only if it is that of inputs.
fn names(ending: &str) -> Vec<String> {
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let files = files.filter(|file| ending == INPUT || !file.ends_with(INPUT));
    let mut names: Vec<String> = files.filter_map(|file| Some(file.strip_suffix(ending)?.to_owned())).collect();
    names.sort();
    names
}

fn spans(scenarios: &[Scenario], variant: &str, name: &str) -> Vec<PathBuf> {
    let scenario = scenarios.iter().find(|scenario| scenario.variant == variant && scenario.name == name).unwrap();
    std::iter::once(&scenario.spans).chain(&scenario.logs).cloned().collect()
}

/// Translates each input, compares the runs with those in the golden file of its name, and returns them.
fn compare(inputs: impl Iterator<Item = (String, Vec<PathBuf>)>) -> Vec<Vec<Value>> {
    let rewrite = std::env::var_os("RETRACE_REWRITE_GOLDENS").is_some();
    let mut changed = Vec::new();
    let mut all = Vec::new();
    for (name, inputs) in inputs {
        let inputs: Vec<_> = inputs.iter().map(|path| fs::read(path).unwrap()).collect();
        let translated = retrace_local::translate(inputs.iter().map(Vec::as_slice), Options::default()).unwrap();
        let traces = sorted(serde_json::to_value(&translated.traces).unwrap());
        let output = serde_json::to_string_pretty(&traces).unwrap() + "\n";
        let file = folder().join(format!("{name}.json"));
        if rewrite {
            fs::create_dir_all(folder()).unwrap();
            fs::write(&file, &output).unwrap();
        }
        let golden = fs::read_to_string(&file).unwrap_or_default();
        if let Some(line) = first_difference(&golden, &output) {
            changed.push(format!("golden/{name}.json, line {line}"));
        }
        all.push(traces.as_array().unwrap().clone());
    }
    assert!(
        changed.is_empty(),
        "these outputs differ from their golden files: {changed:#?}\nIf the change is meant, run `RETRACE_REWRITE_GOLDENS=1 \
         cargo test -p integration-tests --test goldens` and read `git diff integration-tests/golden`"
    );
    all
}

/// Sorts the members of objects by name. Their order depends on the features of `serde_json` in the build.
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

/// Returns the number of the first line in which two texts differ, counted from 1.
fn first_difference(one: &str, other: &str) -> Option<usize> {
    let differs = one.lines().zip(other.lines()).position(|(one, other)| one != other);
    let is_longer = || one.lines().count() != other.lines().count();
    differs.or_else(|| is_longer().then(|| one.lines().count().min(other.lines().count()))).map(|line| line + 1)
}
