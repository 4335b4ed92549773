//! Losses and limits of runs, and their names.

use retrace_translate::{RecorderLimits, Value};

use crate::stage::*;
use crate::support::*;

#[test]
fn losses_of_a_trace_that_was_set_aside_are_stated_by_its_run() {
    let lossy_ends = |stage: &Stage| stage.last_end().lossy == Some(true);
    let mut stage = Stage::new();
    stage.starts(&span(1, 0, "GET /")).ends(&span(1, 0, "GET /")).at(250);
    stage.recorder.mark_lossy(TRACE);
    stage.starts(&agent(2, 0, "a")).ends(&agent(2, 0, "a")).at(500);
    assert!(lossy_ends(&stage), "lost after it");
    let mut stage = Stage::new();
    stage.starts(&span(1, 0, "GET /"));
    stage.recorder.mark_lossy(TRACE);
    stage.ends(&span(1, 0, "GET /")).at(250);
    stage.starts(&span(2, 0, "GET /")).ends(&span(2, 0, "GET /")).at(500);
    stage.starts(&agent(3, 0, "a")).ends(&agent(3, 0, "a")).at(750);
    assert!(lossy_ends(&stage), "lost in it");
    let mut stage = Stage::new();
    stage.starts(&agent(2, 0, "a")).ends(&agent(2, 0, "a")).at(250);
    assert!(!lossy_ends(&stage) && stage.outputs.corrections.is_empty());
    stage.starts(&span(3, 0, "GET /"));
    stage.recorder.mark_lossy(TRACE);
    stage.ends(&span(3, 0, "GET /")).at(500);
    assert_eq!(stage.outputs.corrections[0].patch.lossy, Some(true), "what was emitted before is corrected");
}

#[test]
fn a_silent_run_is_let_go_and_completed_later() {
    let mut stage = Stage::new();
    let idle = u64::try_from(RecorderLimits::IDLE.as_millis()).unwrap();
    stage.starts(&agent(1, 0, "a")).ends(&chat(2, 1).usage(5, 2)).at(idle - 1).starts(&chat(3, 1)).at(idle);
    assert_eq!(stage.recorder.next_deadline(), Some(ms(2 * idle - 1)), "a start is a sign of life");
    stage.at(2 * idle);
    assert_eq!(stage.news(), ["began a", "> a", "< chat m", "let go"]);
    assert_eq!(stage.recorder.weight(), 0);
    stage.ends(&chat(3, 1).usage(1, 1)).ends(&agent(1, 0, "a").failed("no")).at(3 * idle);
    assert_eq!(stage.news(), NOTHING);
    let patch = serde_json::to_value(&stage.outputs.corrections[0].patch).unwrap();
    assert_eq!(
        (&patch["status"], &patch["lossy"], &patch["total_tokens"]),
        (&"failed".into(), &true.into(), &7.into())
    );
    assert_eq!(stage.outputs.runs[0].spans.len(), 2);
    assert_eq!(stage.outputs.sources(), 3);
}

#[test]
fn live_runs_are_bounded_in_number_in_bytes_and_in_spans() {
    let mut stage = Stage::limited(|limits| (limits.runs, limits.bytes, limits.run_spans) = (3, 100_000, 50));
    for n in 1..=500_u64 {
        let trace = u128::from(n / 5 % 7 + 1).to_be_bytes();
        let root = n % 5 == 1;
        let content = "x".repeat(if n % 11 == 0 { 20_000 } else { 10 });
        let span = agent(n, u64::from(!root) * (n - 1), "a").with_value("retrace.input", Value::Str(content.into()));
        let span = span.in_trace(trace);
        stage.starts(&span);
        if n % 3 == 0 {
            stage.ends(&span);
        }
        stage.at(n);
        assert!(stage.recorder.weight() <= 100_000, "{}", stage.recorder.weight());
    }
    stage.finish();
    assert_eq!(stage.outputs.sources(), 166);
}

#[test]
fn emitted_spans_leave_a_bounded_share_behind() {
    let mut stage = Stage::limited(|limits| limits.bytes = 4_000_000);
    stage
        .starts(&agent(1, 0, "a").with("retrace.input", "hi"))
        .ends(&chat(2, 1).with("gen_ai.input.messages", QUESTION));
    let before = stage.recorder.weight();
    for n in 10..110 {
        let content = Value::Str("x".repeat(100_000).into());
        let look = tool(n, 1, "look", "c").with_value("gen_ai.tool.call.arguments", content);
        stage.starts(&look).ends(&look);
        assert!(stage.recorder.weight() < before + 1_100_000, "a quarter is for content");
    }
    let content = 9 * 100_000;
    let each = (stage.recorder.weight() - before - content) / 100;
    assert!(each < 1_500, "{each} bytes for a span");
}

#[test]
fn the_genai_span_that_begins_first_names_a_run_that_a_server_began() {
    let mut server = span(1, 0, "POST /ask");
    server.kind = retrace_translate::Kind::Server;
    let (planner, call) = (agent(2, 1, "planner"), chat(3, 2));
    let mut stage = Stage::new();
    stage.starts(&server).starts(&planner).starts(&call).ends(&call).ends(&planner).ends(&server).finish();
    let (began, ended) = (stage.last_beginning(), stage.last_end());
    let whole = run_of(&[server, planner, call]).0;
    assert_eq!((&began.name, &ended.name), (&whole.name, &whole.name));
    assert!(whole.name.as_deref().is_some_and(|name| name.contains("planner")), "{:?}", whole.name);
    assert_eq!(json(ended.metadata.as_ref())["entry_span"], "POST /ask");
    assert_eq!(json(began.metadata.as_ref())["entry_span"], "POST /ask");
}

/// `in_span` and `set_attribute`, the usual way: nothing but the name is known when a span begins.
#[test]
fn a_span_with_the_name_of_an_agent_is_emitted_when_it_begins() {
    for (name, span_type) in [
        ("invoke_agent planner", "reasoning"),
        ("create_agent planner", "reasoning"),
        ("invoke_workflow trip", "reasoning"),
        ("execute_tool search", "tool_call"),
        ("retrace.plan", "action"),
    ] {
        let mut stage = Stage::new();
        stage.starts(&span(1, 0, name));
        assert_eq!(stage.news(), [format!("began {name}"), format!("> {name}")]);
        assert_eq!(stage.span(1).span_type.as_str(), span_type, "{name}");
        let ended = span(1, 0, name).with("gen_ai.agent.name", "planner").with("gen_ai.conversation.id", "s-1");
        stage.ends(&ended).at(1_000);
        assert_eq!(stage.last_end().session_id.as_deref(), Some("s-1"), "{name}");
    }
    for name in ["chat m", "plan the trip", "invoke_agents", "POST /ask"] {
        let mut stage = Stage::new();
        stage.starts(&span(1, 0, name));
        assert_eq!(stage.news(), NOTHING, "{name}");
    }
}
