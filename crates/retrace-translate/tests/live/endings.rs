//! Ends of runs, and what comes after them.

use retrace_protocol::Id;
use retrace_translate::{LiveEvent, Value};

use crate::stage::*;
use crate::support::*;

#[test]
fn a_step_that_outlives_the_run_continues_it() {
    let mut stage = Stage::new();
    stage.starts(&agent(1, 0, "a")).starts(&agent(2, 1, "background")).ends(&agent(1, 0, "a"));
    assert_eq!(stage.recorder.next_deadline(), Some(ms(30_000)));
    stage.settle();
    assert_eq!(stage.news(), ["began a", "> a", "> background", "< a"], "nor does a flush cut it short");
    stage.at(30_000);
    assert_eq!(stage.news(), ["ended completed"]);
    stage.starts(&chat(3, 2)).ends(&chat(3, 2)).at(40_000).ends(&agent(2, 1, "background")).at(41_000);
    assert_eq!(stage.news(), NOTHING);
    let later = &stage.outputs.runs[0];
    assert_eq!((later.trace.name.as_deref(), later.spans.len()), (Some("background"), 2));
    assert_ne!(later.trace.id, Some(Id::from_otel_trace(TRACE)));
    stage.finish();
    assert_eq!(stage.outputs.sources(), 3);
}

#[test]
fn the_end_waits_for_a_step_no_longer_than_it_takes() {
    let mut stage = Stage::limited(|limits| limits.outlive = ms(5_000));
    stage.starts(&agent(1, 0, "a")).starts(&chat(2, 1)).ends(&agent(1, 0, "a")).at(4_000).ends(&chat(2, 1)).at(4_000);
    assert_eq!(stage.news(), ["began a", "> a", "< a", "< chat m", "ended completed"]);
    assert_eq!(stage.last_end().ended_at.as_ref().unwrap().to_string(), "1970-01-01T00:00:02Z", "the root's end");
}

#[test]
fn settling_skips_the_linger() {
    let mut stage = Stage::new();
    stage.starts(&agent(1, 0, "a")).ends(&agent(1, 0, "a")).settle();
    assert_eq!(stage.news(), ["began a", "> a", "< a", "ended completed"]);
}

#[test]
fn at_shutdown_runs_whose_root_ended_end_and_others_stay() {
    let mut stage = Stage::new();
    let other = 7_u128.to_be_bytes();
    stage.starts(&agent(1, 0, "a")).starts(&agent(2, 1, "b")).ends(&agent(1, 0, "a"));
    stage.starts(&agent(3, 0, "c").in_trace(other));
    stage.news();
    stage.finish();
    assert_eq!(stage.news(), ["ended completed", "let go"]);
}

#[test]
fn a_second_local_root_joins_while_the_run_is_open_and_continues_it_after() {
    let mut stage = Stage::new();
    let (first, second, third) =
        (agent(1, 0, "a").remote(77), agent(2, 0, "b").remote(77), agent(3, 0, "c").remote(77));
    stage.starts(&first).ends(&first).at(200).starts(&second).at(100_000);
    assert_eq!(stage.news(), ["began a", "> a", "< a", "> b"]);
    stage.ends(&second).at(100_250);
    assert_eq!(stage.news(), ["< b", "ended completed"]);
    stage.starts(&third).ends(&third).at(101_000);
    assert_eq!(stage.news(), ["began c", "> c", "< c", "ended completed"]);
    let (first, third) = (&stage.outputs.live[0].run, &stage.outputs.live.last().unwrap().run);
    assert_ne!(first, third);
    let origin = json(stage.last_beginning().metadata.as_ref());
    assert_eq!(origin["otel"]["continues"], first.to_string());
    assert_eq!(stage.outputs.corrections[0].id, *first);
}

#[test]
fn a_call_that_messages_show_is_emitted_with_the_end_of_the_run() {
    let mut stage = Stage::new();
    let first = chat(2, 1).with("gen_ai.output.messages", ASKS);
    let second = chat(3, 1).with("gen_ai.input.messages", TOOL_HISTORY);
    stage.starts(&agent(1, 0, "a")).ends(&first).ends(&second).ends(&agent(1, 0, "a")).at(250);
    let news = stage.news();
    assert_eq!(&news[..5], ["began a", "> a", "< chat m", "< chat m", "< a"]);
    assert_eq!(&news[5..], ["made tool_call look", "made tool_result look", "ended completed"]);
    assert_eq!(stage.last_end().span_count, Some(5));
}

#[test]
fn a_result_that_was_emitted_is_not_synthesized_again() {
    let mut stage = Stage::limited(|limits| limits.bytes = 200_000);
    let look = tool(3, 1, "look", "c1").with("gen_ai.tool.call.result", "found");
    stage.starts(&agent(1, 0, "a").with("retrace.input", "hi").with("retrace.output", "ho"));
    stage.ends(&chat(2, 1).with("gen_ai.output.messages", ASKS)).starts(&look).ends(&look);
    let weight = stage.recorder.weight();
    let long = TOOL_HISTORY.replace("found", &"found".repeat(20_000));
    stage.ends(&chat(4, 1).with_value("gen_ai.input.messages", Value::Str(long.into()))).news();
    assert!(stage.recorder.weight() < weight + 2_000, "neither the message nor the call is kept");
    stage.ends(&agent(1, 0, "a").with("retrace.input", "hi").with("retrace.output", "ho")).at(250);
    assert_eq!(stage.news(), ["< a", "ended completed"]);
}

#[test]
fn a_failed_tool_has_the_result_that_the_messages_show() {
    let mut stage = Stage::new();
    let look = tool(2, 1, "look", "c1");
    stage.starts(&agent(1, 0, "a")).starts(&look).ends(&look.clone().failed("boom"));
    stage.ends(&chat(3, 1).with("gen_ai.input.messages", TOOL_HISTORY)).ends(&agent(1, 0, "a")).at(250);
    let made = stage.outputs.live.iter().find_map(|live| match &live.event {
        LiveEvent::SpanEnded(recorded) if recorded.sources == 0 => Some(&recorded.span),
        _ => None,
    });
    let made = made.unwrap();
    assert_eq!((json(made.output.as_ref()), made.error.as_deref()), ("found".into(), Some("boom")));
    assert_eq!(made.parent_id, uuid(2));
}

#[test]
fn what_a_recording_answers_is_emitted_once_and_marks_the_run() {
    let replayed = chat(2, 1).usage(10, 1).with_value("retrace.replayed", Value::Bool(true));
    let root = agent(1, 0, "planner");
    let mut stage = Stage::new();
    stage.starts(&root).starts_without(&replayed, &["retrace.replayed"]).ends(&replayed);
    assert_eq!((stage.span(2).input_tokens, &metadata(stage.span(2))["usage"]["input_tokens"]), (None, &10.into()));
    stage.news();
    stage.ends(&root).finish();
    let news = stage.news();
    assert!(!news.iter().any(|line| line.starts_with("again")), "{news:?}");
    assert_eq!(stage.last_end().total_tokens, Some(0));
    assert_eq!(json(stage.last_beginning().metadata.as_ref())["replayed"], true);
}
