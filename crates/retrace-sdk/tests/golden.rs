//! Golden tests: `#[retrace::test]`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr)]

#[path = "replay/provider.rs"]
#[expect(dead_code, reason = "this program uses a part of it")]
mod provider;

use std::path::Path;
use std::process::{Command, Output};

use provider::Provider;
use retrace::cassettes::Diff;
use serde_json::Value;

/// Cassette of the test that only children run.
const CHILD: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/golden-child.jsonl");

async fn research(topic: &str) -> String {
    let provider = Provider::new();
    let plan = provider.chat(&format!("plan {topic}")).await.unwrap_or_default();
    let answer = provider.chat("answer").await.unwrap_or_default();
    eprintln!("the provider saw {} requests", provider.seen().len());
    format!("{plan}; {answer}")
}

#[retrace::test(cassette = "tests/golden/research.jsonl")]
async fn research_is_stable() {
    assert_eq!(research("tides").await, "plan tides: answer 1; answer: answer 2");
}

#[retrace::test(cassette = "tests/golden/research.jsonl", tolerance(default = exact, "chat*" = shape))]
async fn prose_may_change() {
    assert_eq!(research("storms").await, "plan tides: answer 1; answer: answer 2");
}

fn only_prompts(_: &Value, _: &Value, diff: &Diff) -> bool {
    diff.differences.iter().all(|found| found.pointer.ends_with("/content"))
}

#[retrace::test(cassette = "tests/golden/research.jsonl", tolerance("chat" = only_prompts))]
async fn a_function_decides() {
    research("storms").await;
}

#[retrace::test(cassette = "tests/golden/research.jsonl")]
#[should_panic(expected = "first divergence: llm_call `chat` differs from entry 0")]
async fn a_changed_prompt_fails_though_the_agent_swallows_the_refusal() {
    research("storms").await;
}

#[retrace::test(cassette = "tests/golden/research.jsonl")]
#[should_panic(expected = "unused: entry 1 (llm_call `chat`)")]
fn a_recorded_call_that_is_not_made_fails() -> () {
    Provider::new().chat_sync("plan tides").unwrap();
}

#[retrace::test(cassette = "tests/golden/none.jsonl")]
#[should_panic(expected = "RETRACE_CASSETTE=record cargo test a_missing_cassette_fails")]
fn a_missing_cassette_fails() {}

#[retrace::test(cassette = CHILD)]
#[ignore = "run by the test below"]
async fn child() -> Result<(), std::env::VarError> {
    research(&std::env::var("TOPIC")?).await;
    Ok(())
}

fn run_child(mode: Option<&str>, is_ci: bool, topic: &str) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", "--exact", "--include-ignored", "--nocapture"]);
    command.env_remove("CI").env_remove("RETRACE_CASSETTE").env("TOPIC", topic).env("RUST_BACKTRACE", "0");
    command.envs(mode.map(|mode| ("RETRACE_CASSETTE", mode))).envs(is_ci.then_some(("CI", "true")));
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.success(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

#[test]
fn a_cassette_is_recorded_replayed_and_updated() {
    let path = Path::new(CHILD);
    let _ = std::fs::remove_file(path);
    for mode in [None, Some("update")] {
        let (passed, output) = run_child(mode, false, "tides");
        assert!(!passed && output.contains("record it first"), "{output}");
        assert!(
            output.contains("To record it") && output.contains("RETRACE_CASSETTE=record cargo test child"),
            "{output}"
        );
        assert!(!output.contains("RETRACE_CASSETTE=update"), "there is nothing to update: {output}");
    }
    let (passed, output) = run_child(Some("record"), true, "tides");
    assert!(!passed && output.contains("CI is set") && !path.exists(), "{output}");
    let (passed, output) = run_child(Some("record"), false, "tides");
    assert!(passed && output.contains("the provider saw 2 requests") && path.exists(), "{output}");
    let (passed, output) = run_child(Some("replay"), true, "tides");
    assert!(passed && output.contains("the provider saw 0 requests"), "{output}");
    let (passed, output) = run_child(None, false, "storms");
    assert!(!passed && output.contains("the provider saw 0 requests"), "{output}");
    for part in ["expected", "got", "\"plan tides\"", "\"plan storms\"", "RETRACE_CASSETTE=update cargo test child"] {
        assert!(output.contains(part), "{part}: {output}");
    }
    let (passed, output) = run_child(Some("update"), false, "storms");
    assert!(passed && output.contains("the provider saw 1 requests"), "only the changed call: {output}");
    let (passed, output) = run_child(None, false, "storms");
    assert!(passed && output.contains("the provider saw 0 requests"), "{output}");
}
