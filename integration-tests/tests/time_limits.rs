//! Limits in seconds that a test sets to the machine. Every wait of a test has one limit, which only a hang reaches; what has
//! another stands in a table here, with its reason.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

/// Code that compares with elapsed time, sleeps, or waits for a number of seconds. `.shutdown()` of the SDK waits for five.
const PATTERNS: &[&str] =
    &["elapsed() <", "sleep(", "now() + Duration::", "timeout(Duration::", "timeout(Some(Duration::", ".shutdown()"];

/// End of a path, code of a line, and the reason why it may stand there.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("integration-tests/src/bin/logging-agent.rs", "guard.shutdown()", "the flush timeout; its log is the subject"),
    ("integration-tests/src/bin/mortal-agent.rs", "elapsed() < HANG / 2", "only a hang reaches it"),
    ("integration-tests/src/bin/mortal-agent.rs", "guard.shutdown()", "the flush timeout, which its test sets"),
    ("integration-tests/src/faulty/mod.rs", "sleep(pause)", "the fault is a pause"),
    ("integration-tests/src/faulty/stream.rs", "sleep(Duration::from_millis(1))", "the fault is a pause"),
    ("integration-tests/src/soak.rs", "sleep(PAUSE)", "pace of the load"),
    ("integration-tests/src/soak.rs", "sleep(SAMPLE)", "pace of the samples"),
    ("integration-tests/src/soak.rs", "with_flush_timeout(Duration::from_millis(500))", "any result is right"),
    ("integration-tests/src/wait.rs", "sleep(POLL)", "pace of a poll"),
    ("integration-tests/tests/announced_runs.rs", "guard.shutdown()", "the flush timeout, which is long"),
    ("integration-tests/tests/bounds.rs", "with_timeout(Duration::from_secs(1))", "any result is right"),
    ("integration-tests/tests/exits.rs", "sleep(time)", "time of the operating system is the subject"),
    (
        "integration-tests/tests/failures.rs",
        "with_timeout(Duration::from_millis(200))",
        "what is too late is sent again",
    ),
    ("integration-tests/tests/faults.rs", "sleep(Duration::from_millis(1))", "pace of a poll"),
    ("integration-tests/tests/install.rs", "off.shutdown()", "nothing is recorded"),
    ("integration-tests/tests/runtimes.rs", "matches!(exporter.shutdown()", "it is shut down already"),
    ("opentelemetry-retrace/src/id_generator.rs", "sleep(Duration::from_micros(50))", "a lower bound"),
    ("integration-tests/stranger/src/main.rs", "retrace.shutdown()?", "as an application calls it; the flush timeout"),
    ("integration-tests/tests/buffer.rs", "with_flush_timeout(Duration::from_millis(20))", "any result is right"),
    ("integration-tests/tests/buffer.rs", "shutdown_with_timeout(Duration::from_millis(1))", "any result is right"),
    ("integration-tests/tests/burst.rs", "shutdown_with_timeout(Duration::from_millis(200))", "any result is right"),
    ("integration-tests/tests/clients.rs", "retrace.shutdown()", "the flush timeout, which is long"),
    ("integration-tests/tests/signals.rs", "retrace.shutdown()", "the flush timeout, which is long"),
    ("integration-tests/tests/parity/providers.rs", "retrace.shutdown()", "the flush timeout, which is long"),
    ("opentelemetry-retrace/src/recording/queue/room/tests.rs", "now() + Duration::from_millis(20)", "a lower bound"),
    (
        "retrace-gateway/tests/process_faults.rs",
        "SystemTime::now() + Duration::from_secs(DAY",
        "the clock is set ahead",
    ),
    ("opentelemetry-retrace/src/processor/mod.rs", "with_timeout(Duration::ZERO)", "there is no worker"),
    ("opentelemetry-retrace/src/transport/ws/tests/mod.rs", "timeout(Duration::from_secs(600)", "a paused clock"),
    ("retrace-gateway/tests/otlp_in.rs", "elapsed() < HANG", "only a hang reaches it"),
    ("retrace-gateway/tests/otlp_in.rs", "sleep(Duration::from_millis(20))", "pace of a poll"),
    ("retrace-gateway/tests/support/mod.rs", "elapsed() < HANG", "only a hang reaches it"),
    ("retrace-gateway/tests/support/mod.rs", "sleep(Duration::from_millis(10))", "pace of a poll"),
    ("retrace-local/src/store/tests.rs", "now() + Duration::from_millis(20)", "a lower bound"),
    ("retrace-local/tests/forks.rs", "elapsed() < HANG", "only a hang reaches it"),
    ("retrace-local/tests/hostile.rs", "elapsed() < HANG", "only a hang reaches it"),
    ("retrace-local/tests/hostile.rs", "sleep(SHORT / 10)", "pace of a slow client"),
    ("retrace-local/tests/lifecycle.rs", "elapsed() < HANG", "only a hang reaches it"),
    ("retrace-local/tests/retention.rs", "sleep(Duration::from_millis(20))", "pace of a poll"),
    ("retrace-local/tests/otlp.rs", "sleep(Duration::from_millis(10))", "pace of a poll"),
    ("retrace-local/tests/support/ws.rs", "get_mut().shutdown()", "half of a connection"),
    ("retrace-local/tests/ws.rs", "elapsed() < HANG", "only a hang reaches it"),
    ("retrace-sdk/tests/losses.rs", "shutdown().unwrap()", "nothing is recorded"),
    ("retrace-sdk/tests/parity.rs", "guard.shutdown()", "nothing is recorded"),
    ("retrace-sdk/tests/recording/live.rs", "elapsed() < LIMIT", "only a hang reaches it"),
    ("retrace-sdk/tests/recording/live.rs", "sleep(Duration::from_millis(2))", "pace of a poll"),
    ("retrace-sdk/tests/recording/pipelines.rs", "elapsed() < LIMIT", "only a hang reaches it"),
    ("retrace-sdk/tests/recording/pipelines.rs", "sleep(Duration::from_millis(2))", "pace of a poll"),
    (
        "retrace-sdk/tests/replay/enforcement.rs",
        "with_flush_timeout(Duration::from_millis(1))",
        "there is no receiver; any result is right",
    ),
    ("retrace-sdk/tests/serve/main.rs", "shutdown().unwrap()", "the flush timeout, which is long"),
    ("retrace-sdk/tests/support/mod.rs", "shutdown().unwrap()", "the flush timeout, which is long"),
    ("retrace-local/tests/ws_live.rs", "elapsed() < UNWOKEN / 2", "one attempt of several suffices"),
];

/// README's recipes stand there as an application has them, with the five seconds that the SDK has for a shutdown.
const RECIPES: &str = "integration-tests/stranger/recipes";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Rust sources below a directory.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("time_limits.rs") {
            found.push(path);
        }
    }
}

/// The part of a source that is a test, or helps one.
fn test_code<'a>(path: &Path, text: &'a str) -> &'a str {
    let path = path.strip_prefix(root()).unwrap();
    let is_test = path.starts_with("integration-tests") || path.components().any(|part| part.as_os_str() == "tests");
    if is_test || path.ends_with("tests.rs") {
        return text;
    }
    text.split_once("\nmod tests {").map_or("", |(_, tests)| tests)
}

#[test]
fn no_test_sets_the_machine_a_limit() {
    let mut paths = Vec::new();
    for dir in ["crates", "examples", "integration-tests"] {
        sources(&root().join(dir), &mut paths);
    }
    let (mut found, mut used) = (Vec::new(), vec![false; ALLOWED.len()]);
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        // Time passes by itself there.
        if text.contains("start_paused") || path.starts_with(root().join(RECIPES)) {
            continue;
        }
        for line in test_code(&path, &text).lines().map(str::trim) {
            if line.starts_with("//") || !PATTERNS.iter().any(|pattern| line.contains(pattern)) {
                continue;
            }
            let allowed = ALLOWED.iter().position(|(file, code, _)| path.ends_with(file) && line.contains(code));
            match allowed {
                Some(entry) => used.iter_mut().skip(entry).take(1).for_each(|used| *used = true),
                None => found.push(format!("{}: {line}", path.display())),
            }
        }
    }
    assert!(found.is_empty(), "wait for an event, under the limit that only a hang reaches:\n{}", found.join("\n"));
    let unused: Vec<_> = ALLOWED.iter().zip(used).filter(|(_, used)| !used).map(|(entry, _)| entry).collect();
    assert!(unused.is_empty(), "{unused:?}");
}
