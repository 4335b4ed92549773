//! Which spans become which run, and when it is emitted.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use retrace_protocol::{Id, Status};
use retrace_translate::{Options, Recorder, RecorderLimits, Resource, SpanSelection, Value};
use support::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

struct Stage {
    recorder: Recorder,
    outputs: Outputs,
}

impl Stage {
    fn new(limits: RecorderLimits) -> Self {
        Self { recorder: Recorder::new(Options::default(), limits), outputs: Outputs::default() }
    }

    fn ends(&mut self, span: &TestSpan, at: u64) -> &mut Self {
        self.recorder.record(span, &Arc::new(Resource::default()), ms(at));
        self.outputs.take(&mut self.recorder);
        self
    }

    fn at(&mut self, at: u64) -> &mut Self {
        self.recorder.advance(ms(at));
        self.outputs.take(&mut self.recorder);
        self
    }
}

#[test]
fn a_run_is_emitted_when_its_root_has_ended_and_the_linger_is_over() {
    let mut stage = Stage::new(RecorderLimits::default());
    stage.ends(&chat(2, 1), 0).ends(&agent(1, 0, "a"), 1_000).at(1_249);
    assert!(stage.outputs.runs.is_empty());
    assert_eq!(stage.recorder.next_deadline(), Some(ms(1_250)));
    stage.ends(&tool(3, 1, "t", "c"), 1_249).at(1_250);
    let run = &stage.outputs.runs[0];
    assert_eq!(run.trace.status, Some(Status::Completed));
    assert_eq!(run.trace.span_count, Some(3));
    assert_eq!(stage.recorder.next_deadline(), None);
    assert_eq!(stage.recorder.open_spans(), 0);
}

#[test]
fn settling_does_not_wait_but_leaves_open_what_has_not_ended() {
    let mut stage = Stage::new(RecorderLimits::default());
    let other = 7_u128.to_be_bytes();
    stage.ends(&chat(2, 1), 0).ends(&agent(1, 0, "a"), 0).ends(&chat(3, 9).in_trace(other), 0);
    stage.recorder.settle();
    stage.outputs.take(&mut stage.recorder);
    assert_eq!(stage.outputs.runs.len(), 1);
    assert_eq!(stage.recorder.open_spans(), 1);
}

#[test]
fn losses_of_a_trace_that_was_set_aside_are_stated_by_its_run() {
    let mut stage = Stage::new(RecorderLimits::default());
    stage.ends(&span(1, 0, "GET /"), 0).at(250);
    assert!(stage.recorder.mark_lossy(TRACE));
    stage.ends(&agent(2, 0, "a"), 300).at(600);
    assert_eq!(stage.outputs.runs[0].trace.lossy, Some(true));
}

#[test]
fn a_trace_without_genai_costs_nothing() {
    let outputs = record(&[span(2, 1, "SELECT"), span(1, 0, "GET /")]);
    assert!(outputs.runs.is_empty());
    assert_eq!(outputs.set_aside, 2);
}

#[test]
fn pain_22_genai_spans_and_the_root_are_sent_under_their_nearest_sent_ancestor() {
    let outputs = record(&[
        chat(5, 4),
        span(4, 3, "retry"),
        agent(3, 2, "a"),
        span(2, 1, "middleware"),
        span(6, 1, "SELECT"),
        span(1, 0, "GET /"),
    ]);
    assert_eq!(outputs.set_aside, 3);
    let (trace, spans) = outputs.one_run();
    assert_eq!(trace.name.as_deref(), Some("GET /"));
    let names: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.parent_id.clone())).collect();
    let uuid = |n| Some(Id::from_otel_span(TRACE, id(n)));
    assert_eq!(names, [("GET /", None), ("a", uuid(1)), ("chat m", uuid(3))]);
}

#[test]
fn everything_is_sent_when_everything_is_selected() {
    let mut options = Options::default();
    options.selection = SpanSelection::All;
    let outputs = record_with(options, &[span(2, 1, "SELECT"), span(1, 0, "GET /")]);
    assert_eq!(outputs.set_aside, 0);
    assert_eq!(outputs.one_run().1.len(), 2);
}

/// P21, P22: what is sent is the application's decision, and the tree stays whole.
#[test]
fn pain_21_a_policy_selects_and_what_hangs_from_others_moves_up() {
    let mut options = Options::default();
    options.selection = SpanSelection::policy(|span| {
        span.attribute("db.system.name").is_some_and(|system| system.as_text() == Some("b")) || span.name == "a"
    });
    let query = |n, parent| span(n, parent, "SELECT").with("db.system.name", "a").with("db.system.name", "b");
    let spans =
        [query(5, 4), chat(4, 3), agent(3, 2, "a"), span(2, 1, "handler"), span(6, 1, "SELECT"), span(1, 0, "GET /")];
    let spans = spans.map(|span| if span.span_id == id(3) { TestSpan { name: "a".to_owned(), ..span } } else { span });
    let outputs = record_with(options.clone(), &spans);
    assert_eq!(outputs.set_aside, 3);
    let (_, spans) = outputs.one_run();
    let sent: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.parent_id.clone())).collect();
    let uuid = |n| Some(Id::from_otel_span(TRACE, id(n)));
    assert_eq!(sent, [("GET /", None), ("a", uuid(1)), ("SELECT", uuid(3))]);

    let outputs = record_with(options, &[chat(2, 1), span(1, 0, "GET /")]);
    assert_eq!((outputs.runs.len(), outputs.set_aside), (0, 2), "a run without a selected span is not emitted");
}

#[test]
fn pain_25_a_tool_that_is_not_sent_stands_between_two_calls() {
    let mut options = Options::default();
    options.selection = SpanSelection::policy(|span| span.name.starts_with("chat"));
    let tool = span(2, 1, "look").with("gen_ai.operation.name", "execute_tool");
    let outputs = record_with(options, &[chat(3, 2).usage(1, 2), tool, chat(1, 0).usage(10, 20)]);
    let (trace, spans) = outputs.one_run();
    assert_eq!((trace.total_tokens, spans.len()), (Some(33), 2));
}

#[test]
fn a_policy_that_panics_leaves_the_decision_to_the_default() {
    let mut options = Options::default();
    options.selection = SpanSelection::policy(|span| panic!("{}", span.name));
    let outputs = record_with(options, &[chat(2, 1), span(3, 1, "SELECT"), span(1, 0, "GET /")]);
    assert_eq!((outputs.set_aside, outputs.one_run().1.len()), (1, 2));
}

#[test]
fn the_parent_in_another_process_is_noted_and_not_pointed_to() {
    let (trace, spans) = run_of(&[chat(2, 1), agent(1, 0, "a").remote(77)]);
    assert_eq!(trace.id, Some(Id::from_otel_trace(TRACE)));
    assert_eq!(spans[0].parent_id, None);
    assert_eq!(metadata(&spans[0])["otel"]["remote_parent"], "000000000000004d");
}

#[test]
fn what_outlives_its_root_becomes_a_run_that_continues_it() {
    let mut stage = Stage::new(RecorderLimits::default());
    stage.ends(&chat(2, 1), 0).ends(&agent(1, 0, "a"), 0);
    // A task that the root started and that is still at work: its first call has ended, itself has not.
    stage.ends(&chat(4, 3), 100).at(5_000);
    assert_eq!(stage.outputs.runs[0].spans.len(), 2, "the call of the open task waits for its task");
    stage.ends(&agent(3, 1, "background"), 9_000).at(10_000);
    let later = &stage.outputs.runs[1];
    assert_eq!(later.spans.len(), 2);
    assert_eq!(later.trace.name.as_deref(), Some("background"));
    assert_eq!(later.trace.status, Some(Status::Completed));
    assert_ne!(later.trace.id, stage.outputs.runs[0].trace.id);
    assert!(later.trace.id.as_ref().unwrap().is_rfc4122());
    let origin = json(later.trace.metadata.as_ref());
    assert_eq!(origin["otel"]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(origin["otel"]["continues"], "0af76519-16cd-43dd-8448-eb211c80319c");
    let correction = &stage.outputs.corrections[0];
    assert_eq!(correction.id, Id::from_otel_trace(TRACE));
    assert_eq!(serde_json::to_value(&correction.patch).unwrap(), serde_json::json!({"lossy": true}));
}

#[test]
fn an_agent_that_outlives_a_root_of_no_interest_keeps_the_trace_id() {
    // A handler that starts an agent in the background and answers at once.
    let mut stage = Stage::new(RecorderLimits::default());
    stage.ends(&span(1, 0, "POST /start"), 0).at(1_000);
    assert_eq!(stage.outputs.set_aside, 1);
    stage.ends(&chat(3, 2), 2_000).at(3_000).ends(&agent(2, 1, "a"), 60_000).at(61_000);
    let run = &stage.outputs.runs[0];
    assert_eq!(run.trace.id, Some(Id::from_otel_trace(TRACE)));
    assert_eq!((run.trace.name.as_deref(), run.spans.len()), (Some("a"), 2));
    assert!(stage.outputs.corrections.is_empty());
}

#[test]
fn a_second_request_of_the_same_trace_is_a_run_of_its_own() {
    let mut stage = Stage::new(RecorderLimits::default());
    stage.ends(&agent(1, 0, "a").remote(77), 0).ends(&chat(12, 11), 100).at(5_000);
    stage.ends(&agent(11, 0, "b").remote(78), 9_000).at(10_000);
    let ids: Vec<_> = stage.outputs.runs.iter().map(|run| run.trace.id.clone()).collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
    assert_eq!(stage.outputs.runs[1].spans.len(), 2);
}

#[test]
fn a_span_is_emitted_once() {
    let mut stage = Stage::new(RecorderLimits::default());
    stage.ends(&agent(1, 0, "a"), 0).at(1_000).ends(&agent(1, 0, "a"), 2_000).at(3_000);
    assert_eq!((stage.outputs.runs.len(), stage.outputs.set_aside), (1, 1));
}

#[test]
fn the_same_span_twice_is_one_and_another_under_its_id_is_another() {
    let outputs =
        record(&[chat(2, 1), chat(2, 1), chat(2, 1).with("gen_ai.tool.name", "x").during(7, 8), agent(1, 0, "a")]);
    let run = &outputs.runs[0];
    let sources: Vec<_> = run.spans.iter().map(|recorded| recorded.sources).collect();
    assert_eq!(sources, [1, 2, 1]);
    let mut ids: Vec<_> = run.spans.iter().map(|recorded| recorded.span.id.to_string()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert_eq!(metadata(&run.spans[2].span)["otel"]["span_id"], "0000000000000002");
}

#[test]
fn a_run_that_never_ends_is_let_go_by_age_and_completed_later() {
    let mut stage = Stage::new(RecorderLimits::default());
    stage.ends(&chat(2, 1).usage(5, 2), 0);
    let idle = u64::try_from(RecorderLimits::IDLE.as_millis()).unwrap();
    assert_eq!(stage.recorder.next_deadline(), Some(ms(idle)));
    stage.at(idle - 1);
    assert!(stage.outputs.runs.is_empty());
    stage.at(idle);
    let first = &stage.outputs.runs[0].trace;
    assert_eq!(first.status, Some(Status::Running));
    assert_eq!((&first.ended_at, first.span_count, first.lossy, first.terminated_early), (&None, None, None, None));
    assert_eq!(first.total_tokens, Some(7));

    stage.ends(&chat(3, 1).usage(1, 1), idle + 1).ends(&agent(1, 0, "a").failed("no"), idle + 2).at(idle + 1_000);
    let patch = serde_json::to_value(&stage.outputs.corrections[0].patch).unwrap();
    assert_eq!(patch["status"], "failed");
    assert_eq!(patch["lossy"], true);
    assert_eq!(patch["total_tokens"], 7, "what the rest used comes with the rest");
    assert_eq!(patch.get("span_count"), None);
    assert_eq!(stage.outputs.runs[1].trace.total_tokens, Some(2));
    assert_eq!(stage.outputs.sources(), 3);
}

#[test]
fn an_open_run_that_another_open_one_continues_is_not_all() {
    let mut stage = Stage::new(RecorderLimits::default());
    let idle = u64::try_from(RecorderLimits::IDLE.as_millis()).unwrap();
    stage.ends(&chat(2, 1), 0).at(idle).ends(&chat(3, 1), idle).at(2 * idle);
    let statuses: Vec<_> = stage.outputs.runs.iter().map(|run| run.trace.status).collect();
    assert_eq!(statuses, [Some(Status::Running); 2]);
    assert_eq!(stage.outputs.corrections[0].id, Id::from_otel_trace(TRACE));
    assert_eq!(serde_json::to_value(&stage.outputs.corrections[0].patch).unwrap(), serde_json::json!({"lossy": true}));
}

#[test]
fn the_run_that_was_silent_longest_goes_when_there_are_too_many() {
    let mut limits = RecorderLimits::default();
    limits.runs = 2;
    let mut stage = Stage::new(limits);
    for (n, at) in [(1_u128, 0), (2, 1), (1, 2), (3, 3)] {
        let span_id = u64::try_from(n).unwrap() * 10 + at;
        stage.ends(&chat(span_id, 5).in_trace(n.to_be_bytes()), at);
    }
    let ids: Vec<_> = stage.outputs.runs.iter().map(|run| run.trace.id.clone().unwrap()).collect();
    assert_eq!(ids, [Id::from_otel_trace(2_u128.to_be_bytes())]);
}

#[test]
fn open_runs_are_bounded_in_bytes_and_in_spans() {
    let mut limits = RecorderLimits::default();
    limits.bytes = 100_000;
    limits.run_spans = 50;
    let mut stage = Stage::new(limits);
    for n in 1..=500 {
        let content = "x".repeat(if n % 7 == 0 { 20_000 } else { 10 });
        let span = chat(n, 100_000).with_value("gen_ai.input.messages", Value::Str(content.into()));
        stage.ends(&span.in_trace(u128::from(n / 40).to_be_bytes()), n);
        assert!(stage.recorder.weight() <= limits.bytes, "{}", stage.recorder.weight());
    }
    stage.recorder.finish();
    stage.outputs.take(&mut stage.recorder);
    assert_eq!(stage.outputs.sources(), 500);
    assert!(stage.outputs.runs.iter().all(|run| run.spans.len() <= limits.run_spans));
}

#[test]
fn a_cycle_of_parents_is_emitted_in_the_end() {
    let outputs = record(&[chat(1, 2), chat(2, 1), chat(3, 3)]);
    let (trace, spans) = outputs.one_run();
    assert_eq!(trace.status, Some(Status::Running));
    assert_eq!(spans.len(), 3);
}

#[test]
fn pain_34_agents_sessions_and_users_are_inherited() {
    let (trace, spans) = run_of(&[
        chat(4, 3),
        agent(3, 2, "inner").with("gen_ai.agent.id", "id-inner"),
        tool(2, 1, "delegate", "c"),
        agent(1, 0, "outer").with("gen_ai.conversation.id", "s-1").with("user.id", "u-1"),
    ]);
    assert_eq!(trace.session_id.as_deref(), Some("s-1"));
    assert_eq!(json(trace.metadata.as_ref())["user_id"], "u-1");
    let agents: Vec<_> = spans
        .iter()
        .map(|span| (span.agent_id.as_deref(), span.agent_role.as_deref(), span.parent_agent_id.as_deref()))
        .collect();
    assert_eq!(
        agents,
        [
            (Some("outer"), Some("outer"), None),
            (Some("outer"), Some("outer"), None),
            (Some("id-inner"), Some("inner"), Some("outer")),
            (Some("id-inner"), Some("inner"), Some("outer")),
        ]
    );
}

#[test]
fn the_session_is_found_root_down_even_on_spans_that_are_not_sent() {
    let (trace, _) = run_of(&[
        chat(3, 2).with("session.id", "deep"),
        span(2, 1, "handler").with("session.id", "shallow"),
        agent(1, 0, "a"),
    ]);
    assert_eq!(trace.session_id.as_deref(), Some("shallow"));
}

#[test]
fn tokens_are_counted_once() {
    // The agent repeats its calls; a second library saw the first call too; an outer call wraps the second one.
    let (trace, spans) = run_of(&[
        chat(3, 2).usage(10, 1).with("gen_ai.response.id", "r-1"),
        chat(4, 2).usage(10, 1).with("gen_ai.response.id", "r-1").during(3, 9),
        chat(6, 5).usage(20, 2),
        chat(5, 2).usage(20, 2),
        agent(2, 1, "a").usage(30, 3),
        agent(1, 0, "outer").usage(30, 3),
    ]);
    assert_eq!(trace.total_tokens, Some(33));
    let counted: Vec<_> = spans.iter().map(|span| span.input_tokens).collect();
    assert_eq!(counted, [None, None, Some(10), None, None, Some(20)]);
    assert_eq!(metadata(&spans[0])["usage"], serde_json::json!({"input_tokens": 30, "output_tokens": 3}));
}

#[test]
fn sums_stay_within_what_can_be_written() {
    let huge = |n| chat(n, 1).usage(i64::MAX, i64::MAX).with_value("retrace.cost", Value::Float(f64::MAX));
    let (trace, _) = run_of(&[huge(2), huge(3), agent(1, 0, "a")]);
    assert_eq!((trace.total_tokens, trace.total_cost), (Some(u64::MAX), Some(f64::MAX)));
}

#[test]
fn of_a_call_recorded_twice_the_record_with_content_counts() {
    let answer = r#"[{"role":"assistant","parts":[{"type":"text","content":"x"}]}]"#;
    // The outer one knows what was outputs.
    let (trace, spans) = run_of(&[
        chat(3, 2).usage(10, 1),
        chat(2, 1).usage(10, 1).with("gen_ai.output.messages", answer),
        agent(1, 0, "a"),
    ]);
    assert_eq!((trace.total_tokens, spans[1].input_tokens, spans[2].input_tokens), (Some(11), Some(10), None));
    // Side by side at one time, under one response id.
    let (trace, spans) = run_of(&[
        chat(2, 1).usage(10, 1).with("gen_ai.response.id", "r"),
        chat(3, 1).usage(10, 1).with("gen_ai.response.id", "r").with("gen_ai.output.messages", answer).during(2, 4),
        agent(1, 0, "a"),
    ]);
    assert_eq!((trace.total_tokens, spans[1].input_tokens, spans[2].input_tokens), (Some(11), None, Some(10)));
}

#[test]
fn a_call_around_several_attempts_repeats_them() {
    let answer = r#"[{"role":"assistant","parts":[{"type":"text","content":"x"}]}]"#;
    let (trace, _) = run_of(&[
        chat(3, 2).usage(10, 1),
        chat(4, 2).usage(20, 2),
        chat(2, 1).usage(30, 3).with("gen_ai.output.messages", answer),
        agent(1, 0, "a"),
    ]);
    assert_eq!(trace.total_tokens, Some(33));
}

#[test]
fn a_container_counts_when_nothing_below_it_reports() {
    let (trace, spans) = run_of(&[chat(2, 1), agent(1, 0, "a").usage(30, 3)]);
    assert_eq!(trace.total_tokens, Some(33));
    assert_eq!(spans[0].input_tokens, Some(30));
}

#[test]
fn a_call_made_by_a_tool_of_another_call_is_another_call() {
    let (trace, _) = run_of(&[chat(3, 2).usage(1, 1), tool(2, 1, "ask", "c"), chat(1, 0).usage(10, 10)]);
    assert_eq!(trace.total_tokens, Some(22));
}

const ASKS: &str = r#"[{"role":"assistant","parts":[{"type":"tool_call","id":"c1","name":"look","arguments":{"q":1}}],
    "finish_reason":"tool_call"}]"#;
const TOOL_HISTORY: &str = r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]},
    {"role":"assistant","parts":[{"type":"tool_call","id":"c1","name":"look","arguments":{"q":1}}]},
    {"role":"tool","parts":[{"type":"tool_call_response","id":"c1","response":"found"}]}]"#;

#[test]
fn tools_that_no_span_shows_are_made_from_messages_once() {
    let (_, spans) = run_of(&[
        chat(2, 1).with("gen_ai.output.messages", ASKS),
        chat(3, 1).with("gen_ai.input.messages", TOOL_HISTORY),
        chat(4, 1).with("gen_ai.input.messages", TOOL_HISTORY),
        agent(1, 0, "a"),
    ]);
    let made: Vec<_> = spans.iter().filter(|span| metadata(span)["tool_call_id"] == "c1").collect();
    assert_eq!(made.len(), 2);
    let (call, result) = (made[0], made[1]);
    assert_eq!((call.span_type.as_str(), call.name.as_str()), ("tool_call", "look"));
    assert_eq!(json(call.input.as_ref()), serde_json::json!({"q": 1}));
    assert_eq!(call.parent_id, Some(Id::from_otel_span(TRACE, id(2))));
    assert_eq!(call.started_at.to_string(), "1970-01-01T00:00:03Z", "requested when the first call ended");
    assert_eq!((result.span_type.as_str(), result.parent_id.as_ref()), ("tool_result", Some(&call.id)));
    assert_eq!(json(result.output.as_ref()), "found");
    assert_eq!(call.agent_id.as_deref(), Some("a"));
}

#[test]
fn a_tool_with_a_span_gives_its_own_result() {
    let (_, spans) = run_of(&[
        chat(2, 1).with("gen_ai.output.messages", ASKS),
        tool(3, 1, "look", "c1").with("gen_ai.tool.call.result", r#"{"found":true}"#),
        chat(5, 1).with("gen_ai.input.messages", TOOL_HISTORY),
        agent(1, 0, "a"),
    ]);
    let types: Vec<_> = spans.iter().map(|span| span.span_type.as_str()).collect();
    assert_eq!(types, ["reasoning", "llm_call", "tool_call", "tool_result", "llm_call"]);
    assert_eq!(json(spans[3].output.as_ref()), serde_json::json!({"found": true}));
    assert_eq!(spans[3].parent_id.as_ref(), Some(&spans[2].id));
}

#[test]
fn what_is_made_of_a_span_stands_before_what_begins_at_the_same_time() {
    let types = |spans: &[TestSpan]| -> Vec<String> {
        run_of(spans).1.iter().map(|span| span.span_type.as_str().to_owned()).collect()
    };
    let tool = |start, end| tool(3, 1, "look", "c1").with("gen_ai.tool.call.result", "found").during(start, end);
    let asks = || chat(2, 1).with("gen_ai.output.messages", ASKS);
    let shows = || chat(4, 1).with("gen_ai.input.messages", TOOL_HISTORY);
    let expected = ["reasoning", "llm_call", "tool_call", "tool_result", "llm_call"];
    for (start, end) in [(3, 4), (4, 4)] {
        assert_eq!(types(&[asks(), tool(start, end), shows(), agent(1, 0, "a")]), expected, "{start} to {end}");
    }
    let at_once = [asks().during(2, 2), shows().during(2, 2), agent(1, 0, "a").during(2, 2)];
    assert_eq!(types(&at_once), expected);
}

#[test]
fn a_failed_tool_has_the_result_that_the_messages_show() {
    let (_, spans) = run_of(&[
        tool(3, 1, "look", "c1").failed("boom"),
        chat(5, 1).with("gen_ai.input.messages", TOOL_HISTORY),
        agent(1, 0, "a"),
    ]);
    let result = spans.iter().find(|span| span.span_type.as_str() == "tool_result").unwrap();
    assert_eq!((json(result.output.as_ref()), result.error.as_deref()), ("found".into(), Some("boom")));
}

#[test]
fn input_and_output_of_a_silent_root_are_inferred() {
    let answers = r#"[{"role":"assistant","parts":[{"type":"text","content":"done"}],"finish_reason":"stop"}]"#;
    let (trace, _) = run_of(&[
        chat(2, 1).with("gen_ai.input.messages", TOOL_HISTORY),
        chat(3, 1).with("gen_ai.output.messages", answers),
        span(1, 0, "GET /"),
    ]);
    assert_eq!((json(trace.input.as_ref()), json(trace.output.as_ref())), ("hi".into(), "done".into()));
    assert_eq!(json(trace.metadata.as_ref())["inferred_io"], true);
    let (trace, _) = run_of(&[chat(2, 1).with("gen_ai.output.messages", answers), span(1, 0, "GET /").failed("500")]);
    assert_eq!((trace.status, json(trace.output.as_ref())), (Some(Status::Failed), serde_json::Value::Null));
}

#[test]
fn what_the_process_and_the_user_say_is_on_the_trace() {
    let mut options = Options::default();
    options.project_id = Some("p".to_owned());
    let mut recorder = Recorder::new(options, RecorderLimits::default());
    let resource = Resource::from_attributes([
        ("service.name", Value::from("shop")),
        ("service.version", Value::from("1.2")),
        ("deployment.environment.name", Value::from("staging")),
    ]);
    let root = agent(1, 0, "a")
        .with("retrace.trace.name", "checkout")
        .with("retrace.metadata.tenant", "t-1")
        .with_value("retrace.tags", Value::Json(r#"["x","y"]"#.into()));
    recorder.record(&root, &Arc::new(resource), Duration::ZERO);
    recorder.finish();
    let mut outputs = Outputs::default();
    outputs.take(&mut recorder);
    let (trace, _) = outputs.one_run();
    assert_eq!((trace.name.as_deref(), trace.project_id.as_deref()), (Some("checkout"), Some("p")));
    assert_eq!(
        json(trace.metadata.as_ref()),
        serde_json::json!({
            "environment": "staging",
            "service": {"name": "shop", "version": "1.2"},
            "tags": ["x", "y"],
            "tenant": "t-1",
        })
    );
}

/// Bounds in bytes are worth what the bytes are that are counted.
#[test]
fn every_content_of_a_span_has_its_weight() {
    const LONG: usize = 100_000;
    let long = || "x".repeat(LONG);
    let mut uncounted = Vec::new();
    for operation in ["chat", "execute_tool", "invoke_agent"] {
        let one = || span(1, 0, "s").with("gen_ai.operation.name", operation);
        let object = format!("{{\"k\":[\"{}\"]}}", long());
        let values = [Value::Str(long().into()), Value::Json(object.into())];
        let attributes = any::KEYS.iter().flat_map(|key| values.iter().map(move |value| (*key, value.clone())));
        for (key, value) in attributes.filter(|(key, _)| *key != "gen_ai.operation.name") {
            let mut stage = Stage::new(RecorderLimits::default());
            stage.ends(&one().with_value(key, value), 0);
            let held = stage.recorder.weight();
            stage.recorder.finish();
            stage.outputs.take(&mut stage.recorder);
            let (trace, spans) = stage.outputs.one_run();
            let sent = serde_json::to_string(&trace).unwrap().len() + serde_json::to_string(&spans).unwrap().len();
            // The trace repeats what its root was given, returned and is called.
            if 3 * held + 20_000 < sent {
                uncounted.push(format!("{operation} {key}: {sent} of {held}"));
            }
        }
    }
    assert!(uncounted.is_empty(), "{}", uncounted.join("\n"));
}

#[test]
fn what_is_kept_of_a_call_under_way_has_its_weight() {
    let mut limits = RecorderLimits::default();
    limits.bytes = 300_000;
    let mut recorder = Recorder::new(Options::default(), limits);
    let resource = Arc::new(Resource::default());
    recorder.start(&agent(1, 0, "planner"), &resource, ms(0));
    let before = recorder.weight();
    let call = chat(2, 1).with_value("retrace.metadata.note", Value::Str("x".repeat(100_000).into()));
    recorder.start(&call, &resource, ms(1));
    let during = recorder.weight();
    assert!(during - before > 100_000, "{}", during - before);
    recorder.record(&call, &resource, ms(2));
    assert!(recorder.weight() < during - 98_000, "what is emitted is free if it is more than a quarter of the limit");
}
