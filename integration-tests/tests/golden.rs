//! All that is told of one run in each dialect, byte for byte.
//!
//! Spans are those of the corpus, or, of libraries that it has not, made after their sources. `BLESS=1` writes what is
//! told now.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use retrace_translate::Options;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn check(name: &str, spans: &Path) {
    let spans = fs::read(spans).unwrap();
    let runs = retrace_local::translate([spans.as_slice()], Options::default()).unwrap().traces;
    let told = format!("{}\n", serde_json::to_string_pretty(&runs).unwrap());
    let golden = folder("golden").join(name).with_extension("json");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&golden, &told).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap();
    for (at, (told, expected)) in told.lines().zip(expected.lines()).enumerate() {
        assert_eq!(told, expected, "{name}, line {}", at + 1);
    }
    assert_eq!(told.len(), expected.len(), "{name}");
}

#[test]
fn what_the_corpus_becomes() {
    for (name, scenario) in [
        ("vercel-v6", "vercel-ai-sdk.v6/tool_call_roundtrip"),
        ("vercel-v7", "vercel-ai-sdk/agent_session"),
        ("vercel-embeddings", "vercel-ai-sdk.v5/embeddings"),
        ("pydantic-ai", "pydantic-ai/tool_call_roundtrip"),
        ("pydantic-ai-v1", "pydantic-ai.v1-events-attr/tool_call_roundtrip"),
        ("rig", "rig/tool_call_roundtrip"),
        ("rig-older", "rig.v0.30/chat_basic"),
    ] {
        check(name, &folder("corpus").join(scenario).join("spans.otlp.json"));
    }
}

#[test]
fn what_spans_made_after_the_sources_of_libraries_become() {
    for name in ["langfuse", "livekit", "logfire", "mcp", "mlflow", "vercel-v4"] {
        check(name, &folder("golden").join(format!("{name}.otlp.json")));
    }
}
