//! Spans of real instrumentations against the truth about the calls they recorded.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use integration_tests::corpus::{Table, scenarios, score};
use retrace_translate::Options;

/// What is not told although it was recorded, and why: variant, scenario, field, reason. `*` stands for any.
const EXCEPTIONS: &[(&str, &str, &str, &str)] = &[
    // What nobody can have back.
    (OPENAI_EVENTS, "chat_stream", "texts", "the record of an answer that was streamed names no span"),
    (OPENAI_EVENTS, "tool_call_stream", "texts", "the record of an answer that was streamed names no span"),
    (OPENAI_EVENTS, "tool_call_stream", "tool calls", "the record of an answer that was streamed names no span"),
    (OPENAI_V048, "responses_tool_roundtrip", "roles", "of the answer of the tool nothing was recorded"),
    (OPENAI_V048, "responses_tool_roundtrip", "messages", "of the answer of the tool nothing was recorded"),
    ("pydantic-ai", "tool_retry", "messages", "the text of a failure is recorded without the JSON it was sent in"),
    ("pydantic-ai.v6", "tool_retry", "messages", "the text of a failure is recorded without the JSON it was sent in"),
    ("vercel-ai-sdk", "tool_error", "messages", "the text of a failure is recorded without the JSON it was sent in"),
    ("rig.v0.30", "*", "totals", "each call is a trace of its own, and so is the agent that says the sum once more"),
    ("vercel-ai-sdk", "error_500_stream", "streaming", "that it was a stream stands in a stack trace only"),
    ("vercel-ai-sdk.v5", "responses_tool_roundtrip", "cached tokens", "the 0 that was recorded is of what was written"),
    ("vercel-ai-sdk.v7-legacy", "json_output", "texts", "the blanks of the JSON were not recorded"),
    (
        "vercel-ai-sdk.v7-legacy",
        "tool_error",
        "messages",
        "the text of a failure is recorded without the JSON it was sent in",
    ),
];

const OPENAI_EVENTS: &str = "opentelemetry-instrumentation-openai.events";
const OPENAI_V048: &str = "opentelemetry-instrumentation-openai.v0.48";

#[test]
fn what_was_recorded_is_told() {
    let mut table = Table::default();
    for scenario in scenarios() {
        let spans = std::fs::read(&scenario.spans).unwrap();
        let logs = scenario.logs.as_ref().map(|logs| std::fs::read(logs).unwrap());
        let inputs = std::iter::once(spans.as_slice()).chain(logs.as_deref());
        let runs = retrace_local::translate(inputs, Options::default())
            .unwrap_or_else(|error| panic!("{}/{}: {error}", scenario.variant, scenario.name))
            .traces;
        table.add(&scenario.variant, &scenario.name, score(&scenario.truth, &runs));
    }
    println!("{table}");
    let is_excepted = |failure: &str, (variant, scenario, field, _): &(&str, &str, &str, &str)| {
        let Some((place, rest)) = failure.split_once(' ') else { return false };
        let scenario_fits = |found: &str| *scenario == "*" || found == *scenario;
        place.split_once('/').is_some_and(|(v, s)| v == *variant && scenario_fits(s))
            && (*field == "*" || rest.starts_with(field))
    };
    let unexpected: Vec<_> =
        table.failures().iter().filter(|failure| !EXCEPTIONS.iter().any(|e| is_excepted(failure, e))).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    for exception in EXCEPTIONS {
        let needed = table.failures().iter().any(|failure| is_excepted(failure, exception));
        assert!(needed, "{exception:?} is told after all: strike it out");
    }
    assert!(table.right() > 2_000, "{} findings: the corpus was not read", table.right());
}
