//! Whole trees, as they are printed.

use retrace_protocol::{Id, Json, Span, SpanType, Status, Timestamp, Trace};
use serde_json::json;

use super::*;

const BEGAN: u64 = 1_795_345_548_000_000;

fn span(id: &str, parent: Option<&str>, span_type: SpanType, name: &str, at_ms: u64, took_ms: Option<u64>) -> Span {
    let mut span =
        Span::new(id.into(), "t".into(), span_type, name, Timestamp::from_unix_micros(BEGAN + at_ms * 1_000));
    span.parent_id = parent.map(Id::from);
    span.duration_ms = took_ms;
    span.ended_at = took_ms.map(|ms| Timestamp::from_unix_micros(BEGAN + (at_ms + ms) * 1_000));
    span
}

fn trace(spans: Vec<Span>) -> Trace {
    Trace { name: Some("weather".to_owned()), spans: Some(spans), ..Trace::started("t".into(), at(0)) }
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix_micros(BEGAN + ms * 1_000)
}

fn written(trace: &Trace, style: Style) -> String {
    let mut out = Vec::new();
    write(&mut out, trace, style).unwrap();
    String::from_utf8(out).unwrap()
}

fn agent() -> Trace {
    let question = Json::from(&json!({"messages": [{"role": "user", "content": "Weather in Oslo?"}]}));
    let mut root = span("root", None, SpanType::Reasoning, "weather", 0, Some(1_210));
    root.input = Some(Json::text("Weather in Oslo?"));
    root.output = Some(Json::text("4 degrees,\nand rain."));
    let mut asks = span("asks", Some("root"), SpanType::LlmCall, "chat", 1, Some(810));
    (asks.model, asks.input) = (Some("gpt-4o-mini".to_owned()), Some(question));
    asks.output = Some(Json::text(r#"[tool calls] get_weather({"city":"Oslo"})"#));
    (asks.input_tokens, asks.output_tokens, asks.cost) = (Some(1_100), Some(20), Some(0.000_177));
    let mut tool = span("tool", Some("root"), SpanType::ToolCall, "get_weather", 820, Some(12));
    (tool.input, tool.output) = (Some(Json::from(&json!({"city": "Oslo"}))), Some(Json::null()));
    tool.error = Some("TimeoutError: upstream".to_owned());
    let retry = span("retry", Some("tool"), SpanType::Action, "retry", 825, Some(3));
    let mut answers = span("answers", Some("root"), SpanType::LlmCall, "chat", 840, None);
    answers.model = Some("gpt-4o-mini-2024".to_owned());
    let mut trace = trace(vec![tool, answers, root, retry, asks]);
    (trace.input, trace.output) = (Some(Json::text("Weather in Oslo?")), Some(Json::text("4 degrees,\nand rain.")));
    trace.status = Some(Status::Completed);
    (trace.total_tokens, trace.total_cost, trace.total_duration_ms) = (Some(1_120), Some(0.000_177), Some(1_210));
    trace.session_id = Some("s-1".to_owned());
    trace
}

#[test]
fn a_run_is_a_tree_in_columns() {
    assert_eq!(
        written(&agent(), Style::Plain),
        r#"weather · completed · 1.21 s · 1,120 tokens · $0.000177
trace t · session s-1
└─ reasoning weather          1.21 s
   │ in    Weather in Oslo?
   │ out   4 degrees, and rain.
   ├─ llm_call  chat          810 ms  gpt-4o-mini       1,100 → 20 tokens  $0.000177
   │    in    user: Weather in Oslo?
   │    out   [tool calls] get_weather({"city":"Oslo"})
   ├─ tool_call get_weather    12 ms
   │  │ in    {"city":"Oslo"}
   │  │ error TimeoutError: upstream
   │  └─ action    retry        3 ms
   └─ llm_call  chat         running  gpt-4o-mini-2024
"#
    );
}

#[test]
fn colours_change_nothing_but_colours() {
    let coloured = written(&agent(), Style::Coloured);
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    assert!(coloured.contains("\u{1b}[31mTimeoutError: upstream\u{1b}[0m"), "{coloured}");
    assert_eq!(plain, written(&agent(), Style::Plain));
}

#[test]
fn what_the_run_says_and_no_root_repeats_is_said_above() {
    let mut trace = agent();
    trace.input = Some(Json::text("another question"));
    (trace.status, trace.error) = (Some(Status::Failed), Some("E: no".to_owned()));
    (trace.span_count, trace.lossy, trace.terminated_early) = (Some(7), Some(true), Some(true));
    let text = written(&trace, Style::Plain);
    let head: Vec<_> = text.lines().take(4).collect();
    assert_eq!(
        head,
        [
            "weather · failed · 1.21 s · 1,120 tokens · $0.000177 · 5 of 7 spans · lossy · ended early",
            "trace t · session s-1",
            "in    another question",
            "error E: no",
        ]
    );
}

#[test]
fn a_run_without_anything_is_printed() {
    assert_eq!(written(&Trace::default(), Style::Plain), "(no name)\n\n");
}

#[test]
fn every_span_is_printed_once_whoever_its_parent_is() {
    let tool = |id, parent, at| span(id, parent, SpanType::Action, id, at, Some(1));
    let text = written(
        &trace(vec![
            tool("itself", Some("itself"), 5),
            tool("left", Some("right"), 6),
            tool("right", Some("left"), 7),
            tool("below", Some("right"), 8),
            tool("orphan", Some("gone"), 1),
            tool("twin", None, 2),
            tool("twin", None, 3),
            tool("child of a twin", Some("twin"), 4),
        ]),
        Style::Plain,
    );
    assert_eq!(
        text.lines().skip(2).map(|line| line.trim_end_matches("1 ms").trim_end()).collect::<Vec<_>>(),
        [
            "├─ action orphan",
            "├─ action twin",
            "│  └─ action child of a twin",
            "├─ action twin",
            "├─ action itself",
            "└─ action left",
            "   └─ action right",
            "      └─ action below",
        ]
    );
}

#[test]
fn a_long_chain_takes_neither_the_stack_nor_the_memory() {
    let spans = 20_000;
    let chain = (0..spans).map(|n: u32| {
        let parent = n.checked_sub(1).map(|n| n.to_string());
        span(&n.to_string(), parent.as_deref(), SpanType::Action, "link", u64::from(n), Some(1))
    });
    let text = written(&trace(chain.collect()), Style::Plain);
    assert_eq!(text.lines().count(), 20_002);
    assert!(text.lines().all(|line| line.chars().count() < 120));
}

#[test]
fn nothing_written_by_a_model_is_a_command_to_the_terminal() {
    let mut bad = span("a", None, SpanType::LlmCall, "x\u{1b}]0;title\u{7}", 0, Some(1));
    bad.model = Some("m\u{9b}2J".to_owned());
    bad.output = Some(Json::text("\u{1b}[2J\u{1b}[H"));
    bad.error = Some("\u{1b}c".to_owned());
    let mut trace = trace(vec![bad]);
    trace.name = Some("\u{1b}[8m".to_owned());
    assert!(!written(&trace, Style::Plain).contains(|c: char| c.is_control() && c != '\n'));
}
