//! Facts that an application states outright, by `retrace.*`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use retrace_protocol::Status;
use retrace_translate::Value;
use serde_json::{Value as Json, json as value};
use support::*;

fn run(id: u64, parent: u64) -> TestSpan {
    span(id, parent, "pipeline").with("retrace.span_type", "reasoning").with("retrace.trace.name", "pipeline")
}

fn metadata(json: &Option<retrace_protocol::Json>) -> Json {
    json.as_ref().map_or(Json::Null, |json| json.to_value().unwrap())
}

#[test]
fn a_status_of_the_protocol_holds_and_another_is_metadata() {
    for (stated, status, error, kept) in [
        ("completed", Status::Completed, None, value!(null)),
        ("failed", Status::Failed, Some("Error"), value!(null)),
        ("needs_review", Status::Completed, None, value!("needs_review")),
    ] {
        let (trace, spans) = run_of(&[run(1, 0).with("retrace.status", stated)]);
        assert_eq!((trace.status, trace.error.as_deref()), (Some(status), error), "{stated}");
        assert_eq!(metadata(&trace.metadata)["status"], kept);
        assert_eq!(metadata(&spans[0].metadata)["attributes"], value!(null));
    }
    let failed = run(1, 0).with("retrace.status", "completed").with("retrace.error", "no");
    assert_eq!(run_of(&[failed]).0.status, Some(Status::Completed));
}

#[test]
fn an_error_that_is_stated_fails_the_run() {
    let (trace, spans) = run_of(&[run(1, 0).with("retrace.error", "no").with("error.type", "E")]);
    assert_eq!((trace.status, trace.error.as_deref()), (Some(Status::Failed), Some("E: no")));
    assert_eq!(spans[0].error.as_deref(), Some("E: no"));
    assert_eq!(metadata(&spans[0].metadata)["attributes"], value!(null));
}

#[test]
fn the_agent_above_is_the_stated_one_before_that_of_the_tree() {
    let above = run(1, 0).with("retrace.agent_id", "outer");
    let own = span(2, 1, "plan").with("retrace.span_type", "action").with("retrace.agent_id", "planner");
    let of_tree = own.clone().with("retrace.agent_role", "Planner");
    let stated = own.with("retrace.parent_agent_id", "caller");
    for (step, parent) in [(of_tree, "outer"), (stated, "caller")] {
        let (_, spans) = run_of(&[above.clone(), step]);
        assert_eq!(
            (spans[1].agent_id.as_deref(), spans[1].parent_agent_id.as_deref()),
            (Some("planner"), Some(parent))
        );
    }
}

#[test]
fn metadata_of_a_run_is_its_own_and_keeps_its_types() {
    let own = run(1, 0)
        .with("retrace.metadata.provider", "mine")
        .with("retrace.metadata.k", "old")
        .with("retrace.metadata.environment", "staging")
        .with("retrace.metadata", r#"{"k":{"deep":[1,null]},"large":18446744073709551615,"user_id":"u"}"#);
    let step = span(2, 1, "step").with("retrace.span_type", "action");
    let step =
        step.with("retrace.metadata", r#"{"provider":"p","own":1}"#).with_value("retrace.partial", Value::Bool(true));
    let (trace, spans) = run_of(&[own, step.with_value("retrace.truncated", Value::Bool(true))]);
    let of_run = metadata(&trace.metadata);
    assert_eq!((&of_run["provider"], &of_run["environment"]), (&value!("mine"), &value!("staging")));
    assert_eq!((&of_run["k"], &of_run["large"]), (&value!({ "deep": [1, null] }), &value!(u64::MAX)));
    let of_step = metadata(&spans[1].metadata);
    assert_eq!(
        (&of_step["own"], &of_step["partial"], &of_step["truncated"]),
        (&value!(1), &value!(true), &value!(true))
    );
    assert!(of_step.to_string().contains(r#""provider":"p""#), "nothing is thrown away: {of_step}");
}

#[test]
fn a_run_below_the_span_of_a_server_gives_what_that_does_not_state() {
    let server = span(1, 0, "POST /chat").with("http.request.method", "POST");
    let inner = run(2, 1).with("retrace.input", "tides").with("retrace.output", "spring").with("retrace.error", "no");
    let (trace, _) = run_of(&[server, inner.with("retrace.metadata.version", "1")]);
    assert_eq!((trace.name.as_deref(), trace.error.as_deref()), (Some("pipeline"), Some("no")));
    assert_eq!((metadata(&trace.input), metadata(&trace.output)), (value!("tides"), value!("spring")));
    assert_eq!((trace.status, &metadata(&trace.metadata)["version"]), (Some(Status::Failed), &value!("1")));
}

#[test]
fn a_type_is_read_in_any_case_and_an_unknown_one_is_kept() {
    use retrace_protocol::SpanType;
    for (stated, expected) in [
        ("tool_call", SpanType::ToolCall),
        ("TOOL_CALL", SpanType::ToolCall),
        (" Reasoning ", SpanType::Reasoning),
        ("Fork_Point", SpanType::ForkPoint),
    ] {
        let (_, spans) = run_of(&[run(1, 0), span(2, 1, "step").with("retrace.span_type", stated)]);
        assert_eq!(spans[1].span_type, expected, "{stated}");
        assert_eq!(metadata(&spans[1].metadata)["attributes"], value!(null), "{stated}");
    }
    let (_, spans) = run_of(&[run(1, 0), span(2, 1, "step").with("retrace.span_type", "thought")]);
    assert_eq!(metadata(&spans[1].metadata)["attributes"]["retrace.span_type"], "thought");
}

/// `set_attribute` replaces a value; a span of the SDK has both.
#[test]
fn of_a_fact_that_is_stated_again_the_later_value_holds_and_the_earlier_one_is_kept_nowhere() {
    let root = run(1, 0)
        .with("retrace.tags", "early")
        .with_value("retrace.metadata.k", Value::Int(2))
        .with("gen_ai.completion", "first")
        .with("app.other", "kept")
        .with("retrace.tags", "late")
        .with_value("retrace.metadata.k", Value::Int(3))
        .with("gen_ai.completion", "second");
    let (trace, spans) = run_of(&[root]);
    let of_run = metadata(&trace.metadata);
    assert_eq!((&of_run["tags"], &of_run["k"]), (&value!("late"), &value!(3)));
    // Of a library the earlier value stays.
    let kept = value!({ "app.other": "kept", "gen_ai.completion": "first" });
    assert_eq!(metadata(&spans[0].metadata)["attributes"], kept);
}
