//! Runs that are told while they happen: each rule by an example. What holds for all of them is in `live_properties.rs`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use retrace_protocol::{Id, Span, Status, Trace};
use retrace_translate::{LiveEvent, Options, Recorder, RecorderLimits, Resource, SpanSelection, Value};
use support::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A recorder that sees starts and ends. What it says is read as short lines.
struct Stage {
    recorder: Recorder,
    said: Said,
    now: u64,
    read: usize,
}

impl Stage {
    fn new() -> Self {
        Self::with(Options::default(), RecorderLimits::default())
    }

    fn with(options: Options, limits: RecorderLimits) -> Self {
        Self { recorder: Recorder::new(options, limits), said: Said::default(), now: 0, read: 0 }
    }

    fn limited(change: impl FnOnce(&mut RecorderLimits)) -> Self {
        let mut limits = RecorderLimits::default();
        change(&mut limits);
        Self::with(Options::default(), limits)
    }

    fn all() -> Self {
        let mut options = Options::default();
        options.selection = SpanSelection::All;
        Self::with(options, RecorderLimits::default())
    }

    /// The span begins, with all its attributes.
    fn starts(&mut self, span: &TestSpan) -> &mut Self {
        self.starts_without(span, &[])
    }

    /// The span begins; these attributes are set later.
    fn starts_without(&mut self, span: &TestSpan, later: &[&str]) -> &mut Self {
        self.recorder.start(&span.begun_without(later), &Arc::new(Resource::default()), ms(self.now));
        self.said.take(&mut self.recorder);
        self
    }

    fn ends(&mut self, span: &TestSpan) -> &mut Self {
        self.recorder.record(span, &Arc::new(Resource::default()), ms(self.now));
        self.said.take(&mut self.recorder);
        self
    }

    fn at(&mut self, at: u64) -> &mut Self {
        self.now = at;
        self.recorder.advance(ms(at));
        self.said.take(&mut self.recorder);
        self
    }

    fn settle(&mut self) -> &mut Self {
        self.recorder.settle();
        self.said.take(&mut self.recorder);
        self
    }

    fn finish(&mut self) -> &mut Self {
        self.recorder.finish();
        self.said.take(&mut self.recorder);
        assert_eq!((self.recorder.open_spans(), self.recorder.weight()), (0, 0), "nothing is left behind");
        self
    }

    /// What was said since this was asked last.
    fn news(&mut self) -> Vec<String> {
        let news = self.said.live.iter().skip(self.read).map(|live| match &live.event {
            LiveEvent::RunStarted(trace) => format!("began {}", trace.name.as_deref().unwrap_or_default()),
            LiveEvent::SpanStarted(span) => format!("> {}", span.name),
            LiveEvent::SpanEnded(recorded)
                if recorded.sources == 0 && metadata(&recorded.span).get("otel").is_some() =>
            {
                format!("again {}", recorded.span.name)
            }
            LiveEvent::SpanEnded(recorded) if recorded.sources == 0 => {
                format!("made {} {}", recorded.span.span_type.as_str(), recorded.span.name)
            }
            LiveEvent::SpanEnded(recorded) => format!("< {}", recorded.span.name),
            LiveEvent::RunEnded(trace) => format!("ended {}", trace.status.unwrap().as_str()),
            LiveEvent::RunAbandoned => "let go".to_owned(),
        });
        let news = news.collect();
        self.read = self.said.live.len();
        news
    }

    fn last_end(&self) -> &Trace {
        let ends = self.said.live.iter().rev().find_map(|live| match &live.event {
            LiveEvent::RunEnded(trace) => Some(trace),
            _ => None,
        });
        ends.unwrap()
    }

    fn last_beginning(&self) -> &Trace {
        let beginnings = self.said.live.iter().rev().find_map(|live| match &live.event {
            LiveEvent::RunStarted(trace) => Some(trace),
            _ => None,
        });
        beginnings.unwrap()
    }

    /// What was told last of the span.
    fn span(&self, n: u64) -> &Span {
        let of = |span: &Span| span.id.to_otel_span() == Some(id(n));
        let told = self.said.live.iter().rev().find_map(|live| match &live.event {
            LiveEvent::SpanStarted(span) => of(span).then_some(span),
            LiveEvent::SpanEnded(recorded) => of(&recorded.span).then_some(&recorded.span),
            _ => None,
        });
        told.unwrap()
    }
}

fn uuid(n: u64) -> Option<Id> {
    Some(Id::from_otel_span(TRACE, id(n)))
}

const NOTHING: [&str; 0] = [];
const ANSWER: &str = r#"[{"role":"assistant","parts":[{"type":"text","content":"done"}],"finish_reason":"stop"}]"#;
const QUESTION: &str = r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]}]"#;
const ASKS: &str = r#"[{"role":"assistant","parts":[{"type":"tool_call","id":"c1","name":"look","arguments":{"q":1}}],
    "finish_reason":"tool_call"}]"#;
const TOLD: &str = r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]},
    {"role":"assistant","parts":[{"type":"tool_call","id":"c1","name":"look","arguments":{"q":1}}]},
    {"role":"tool","parts":[{"type":"tool_call_response","id":"c1","response":"found"}]}]"#;

#[test]
fn a_run_is_told_step_by_step() {
    let mut stage = Stage::new();
    let (root, call, look) = (agent(1, 0, "a"), chat(2, 1).usage(5, 2), tool(3, 1, "look", "c1"));
    stage.starts(&root);
    assert_eq!(stage.news(), ["began a", "> a"]);
    stage.starts(&call);
    assert_eq!(stage.news(), NOTHING, "a model call is told when it ends");
    stage.ends(&call).starts(&look);
    assert_eq!(stage.news(), ["< chat m", "> look"]);
    stage.ends(&look.with("gen_ai.tool.call.result", "found"));
    assert_eq!(stage.news(), ["< look", "made tool_result look"]);
    stage.ends(&root);
    assert_eq!(stage.news(), ["< a"]);
    assert_eq!(stage.recorder.next_deadline(), Some(ms(250)));
    stage.at(249);
    assert_eq!(stage.news(), NOTHING);
    stage.at(250);
    assert_eq!(stage.news(), ["ended completed"]);
    let end = stage.last_end();
    assert_eq!((end.total_tokens, end.span_count, end.total_duration_ms), (Some(7), Some(4), Some(1_000)));
    assert_eq!(stage.recorder.next_deadline(), None);
    stage.finish();
    assert_eq!(stage.said.sources(), 3);
}

#[test]
fn what_is_under_way_has_no_end() {
    let mut stage = Stage::new();
    let look = tool(2, 1, "look", "c1").usage(1, 1).with("gen_ai.tool.call.arguments", r#"{"q":1}"#);
    stage.starts(&agent(1, 0, "a")).starts(&look);
    let span = stage.span(2);
    assert_eq!(
        (&span.ended_at, &span.duration_ms, &span.output, &span.error, span.input_tokens),
        (&None, &None, &None, &None, None)
    );
    assert_eq!((json(span.input.as_ref()), span.agent_id.as_deref()), (serde_json::json!({"q": 1}), Some("a")));
    assert_eq!(metadata(span)["tool_call_id"], "c1");
    let began = stage.last_beginning();
    assert_eq!((began.status, began.total_tokens, &began.ended_at), (Some(Status::Running), Some(0), &None));
}

#[test]
fn nothing_is_said_before_the_first_genai_span() {
    let mut stage = Stage::new();
    stage.starts(&span(1, 0, "GET /")).starts(&span(2, 1, "SELECT")).ends(&span(2, 1, "SELECT"));
    assert_eq!((stage.news(), stage.recorder.open_spans(), stage.said.set_aside), (vec![], 1, 0));
    stage.starts(&span(3, 1, "handler")).starts(&agent(4, 3, "a"));
    assert_eq!(stage.news(), ["began GET /", "> GET /", "> a"]);
    assert_eq!(stage.span(4).parent_id, uuid(1), "under the nearest that is told");
    assert_eq!((stage.said.set_aside, stage.recorder.open_spans()), (1, 0));
    stage.ends(&agent(4, 3, "a")).ends(&span(3, 1, "handler"));
    assert_eq!(stage.said.set_aside, 2, "what nobody selected is set aside as soon as it ends");
    stage.ends(&span(1, 0, "GET /")).at(1_000);
    assert_eq!(stage.news(), ["< a", "< GET /", "ended completed"]);
    assert_eq!(stage.last_end().span_count, Some(2));
}

#[test]
fn a_span_that_shows_only_at_its_end_what_it_is_is_told_then() {
    let mut stage = Stage::new();
    let call = chat(2, 1);
    stage.starts(&span(1, 0, "GET /"));
    stage.starts_without(&call, &["gen_ai.operation.name", "gen_ai.request.model"]);
    assert_eq!(stage.news(), NOTHING);
    stage.ends(&call);
    assert_eq!(stage.news(), ["began GET /", "> GET /", "< chat m"]);
}

#[test]
fn a_span_moves_below_a_parent_that_turns_out_to_be_sent() {
    let mut stage = Stage::new();
    // Not even its name shows at its start what it is.
    let operation = |span: TestSpan| span.with("gen_ai.operation.name", "invoke_agent");
    let late = operation(span(2, 1, "late")).with("gen_ai.agent.name", "late");
    stage.starts(&agent(1, 0, "a")).starts_without(&late, &["gen_ai.operation.name", "gen_ai.agent.name"]);
    stage.starts(&tool(3, 2, "t", "c")).ends(&tool(4, 2, "u", "d"));
    assert_eq!((&stage.span(3).parent_id, &stage.span(4).parent_id), (&uuid(1), &uuid(1)));
    stage.ends(&late).ends(&tool(3, 2, "t", "c")).ends(&agent(1, 0, "a"));
    assert_eq!((&stage.span(3).parent_id, &stage.span(4).parent_id), (&uuid(2), &uuid(1)));
    stage.news();
    stage.at(250);
    assert_eq!(stage.news(), ["again u", "ended completed"]);
    assert_eq!((&stage.span(4).parent_id, stage.span(4).agent_id.as_deref()), (&uuid(2), Some("late")));
}

#[test]
fn a_root_that_ended_before_the_run_showed_what_it_is_is_told_whole() {
    let mut stage = Stage::new();
    stage.starts(&span(1, 0, "GET /")).ends(&span(1, 0, "GET /"));
    assert_eq!(stage.recorder.open_spans(), 1);
    stage.at(100).starts(&agent(2, 1, "a"));
    assert_eq!(stage.news(), ["began GET /", "< GET /", "> a"]);
    stage.at(5_000);
    assert_eq!(stage.news(), NOTHING, "a step is under way");
    stage.ends(&agent(2, 1, "a")).at(5_000);
    assert_eq!(stage.news(), ["< a", "ended completed"]);
}

#[test]
fn a_run_without_genai_is_set_aside() {
    let mut stage = Stage::new();
    stage.starts(&span(1, 0, "GET /")).starts(&span(2, 1, "SELECT")).ends(&span(2, 1, "SELECT"));
    stage.ends(&span(1, 0, "GET /")).at(250);
    assert_eq!((stage.news(), stage.said.set_aside, stage.recorder.weight()), (vec![], 2, 0));
}

#[test]
fn everything_is_told_when_everything_is_selected() {
    let mut stage = Stage::all();
    stage.starts(&span(1, 0, "GET /")).starts(&span(2, 1, "SELECT"));
    assert_eq!(stage.news(), ["began GET /", "> GET /", "> SELECT"]);
}

#[test]
fn who_sees_no_root_begin_is_told_whole_runs() {
    let mut stage = Stage::new();
    stage.starts(&chat(2, 1)).starts(&tool(3, 1, "t", "c"));
    assert_eq!(stage.recorder.weight(), 0, "starts of other traces are not kept");
    stage.ends(&chat(2, 1)).ends(&agent(1, 0, "a")).at(250);
    assert_eq!((stage.news(), stage.said.runs.len()), (vec![], 1));
}

#[test]
fn live_runs_and_whole_runs_live_side_by_side() {
    let mut stage = Stage::new();
    let other = 7_u128.to_be_bytes();
    stage.starts(&agent(1, 0, "a")).ends(&chat(3, 2).in_trace(other)).ends(&agent(2, 0, "b").in_trace(other));
    stage.ends(&agent(1, 0, "a")).at(250);
    assert_eq!((stage.news().len(), stage.said.runs.len(), stage.said.corrections.len()), (4, 1, 0));
}

#[test]
fn repeats_are_ignored() {
    let mut stage = Stage::new();
    let (root, call) = (agent(1, 0, "a"), chat(2, 1));
    stage.starts(&root).starts(&root).starts(&call).starts(&call).ends(&call).starts(&call).ends(&call);
    assert_eq!(stage.news(), ["began a", "> a", "< chat m"]);
    assert_eq!(stage.said.set_aside, 1);
    stage.ends(&root).ends(&root).at(250).starts(&root).ends(&root).starts(&call).at(1_000);
    assert_eq!(stage.news(), ["< a", "ended completed"]);
    assert_eq!((stage.said.set_aside, stage.said.runs.len()), (3, 0));
}

#[test]
fn another_span_under_the_id_of_the_root_is_no_root() {
    let mut stage = Stage::new();
    stage.starts(&agent(1, 0, "a")).ends(&agent(1, 0, "a")).ends(&span(1, 5, "other").during(7, 8)).finish();
    assert_eq!((stage.said.sources(), stage.said.set_aside), (2, 1));
}

#[test]
fn an_end_without_a_start_is_a_whole_span() {
    let mut stage = Stage::new();
    stage.starts(&agent(1, 0, "a")).ends(&tool(2, 1, "t", "c")).ends(&chat(3, 99)).starts(&tool(2, 1, "t", "c"));
    assert_eq!(stage.news(), ["began a", "> a", "< t", "< chat m"]);
    assert_eq!(stage.span(3).parent_id, uuid(1), "what hangs from nothing hangs from the root");
}

#[test]
fn a_root_that_is_a_model_call_is_told_when_it_ends() {
    let mut stage = Stage::new();
    stage.starts(&chat(1, 0)).starts(&tool(2, 1, "t", "c"));
    assert_eq!(stage.news(), ["began chat m", "> t"]);
    assert_eq!(stage.span(2).parent_id, uuid(1));
    stage.ends(&tool(2, 1, "t", "c")).ends(&chat(1, 0)).at(250);
    assert_eq!(stage.news(), ["< t", "< chat m", "ended completed"]);
}

#[test]
fn a_model_call_that_never_ends_is_told_as_begun_if_something_hangs_from_it() {
    let mut stage = Stage::new();
    let (root, call, look) =
        (agent(1, 0, "a"), chat(2, 1).with("gen_ai.input.messages", QUESTION), tool(3, 2, "t", "c"));
    stage.starts(&root).starts(&call).starts(&chat(4, 1)).starts(&look).ends(&look).ends(&root);
    assert_eq!(stage.news(), ["began a", "> a", "> t", "< t", "< a"]);
    stage.at(29_999);
    assert_eq!(stage.news(), NOTHING, "the calls are under way");
    stage.at(30_000);
    assert_eq!(stage.news(), ["> chat m", "ended completed"]);
    let told = stage.span(2);
    assert_eq!((&told.id, told.model.as_deref(), &told.input), (&uuid(2).unwrap(), Some("m"), &None));
    assert_eq!(stage.last_end().span_count, Some(3));
    // Its end makes a run that continues, under an id of its own.
    stage.ends(&call).at(31_000);
    let later = &stage.said.runs[0];
    assert_eq!(json(later.trace.metadata.as_ref())["otel"]["continues"], "0af76519-16cd-43dd-8448-eb211c80319c");
    assert_ne!(Some(later.spans[0].span.id.clone()), uuid(2));
    assert_eq!(metadata(&later.spans[0].span)["otel"]["span_id"], "0000000000000002");
    assert_eq!(serde_json::to_value(&stage.said.corrections[0].patch).unwrap(), serde_json::json!({"lossy": true}));
}

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
    let later = &stage.said.runs[0];
    assert_eq!((later.trace.name.as_deref(), later.spans.len()), (Some("background"), 2));
    assert_ne!(later.trace.id, Some(Id::from_otel_trace(TRACE)));
    stage.finish();
    assert_eq!(stage.said.sources(), 3);
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
    let (first, third) = (&stage.said.live[0].run, &stage.said.live.last().unwrap().run);
    assert_ne!(first, third);
    let origin = json(stage.last_beginning().metadata.as_ref());
    assert_eq!(origin["otel"]["continues"], first.to_string());
    assert_eq!(stage.said.corrections[0].id, *first);
}

#[test]
fn a_call_that_messages_show_is_told_with_the_end_of_the_run() {
    let mut stage = Stage::new();
    let first = chat(2, 1).with("gen_ai.output.messages", ASKS);
    let second = chat(3, 1).with("gen_ai.input.messages", TOLD);
    stage.starts(&agent(1, 0, "a")).ends(&first).ends(&second).ends(&agent(1, 0, "a")).at(250);
    let news = stage.news();
    assert_eq!(&news[..5], ["began a", "> a", "< chat m", "< chat m", "< a"]);
    assert_eq!(&news[5..], ["made tool_call look", "made tool_result look", "ended completed"]);
    assert_eq!(stage.last_end().span_count, Some(5));
}

#[test]
fn a_result_that_was_told_is_not_made_again() {
    let mut stage = Stage::limited(|limits| limits.bytes = 200_000);
    let look = tool(3, 1, "look", "c1").with("gen_ai.tool.call.result", "found");
    stage.starts(&agent(1, 0, "a").with("retrace.input", "hi").with("retrace.output", "ho"));
    stage.ends(&chat(2, 1).with("gen_ai.output.messages", ASKS)).starts(&look).ends(&look);
    let weight = stage.recorder.weight();
    let told = TOLD.replace("found", &"found".repeat(20_000));
    stage.ends(&chat(4, 1).with_value("gen_ai.input.messages", Value::Str(told.into()))).news();
    assert!(stage.recorder.weight() < weight + 2_000, "neither the message nor the call is kept");
    stage.ends(&agent(1, 0, "a").with("retrace.input", "hi").with("retrace.output", "ho")).at(250);
    assert_eq!(stage.news(), ["< a", "ended completed"]);
}

#[test]
fn of_a_tool_that_failed_the_model_was_told_something() {
    let mut stage = Stage::new();
    let look = tool(2, 1, "look", "c1");
    stage.starts(&agent(1, 0, "a")).starts(&look).ends(&look.clone().failed("boom"));
    stage.ends(&chat(3, 1).with("gen_ai.input.messages", TOLD)).ends(&agent(1, 0, "a")).at(250);
    let made = stage.said.live.iter().find_map(|live| match &live.event {
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

#[test]
fn tokens_are_counted_once() {
    let mut stage = Stage::new();
    let (root, inner) = (agent(1, 0, "outer").usage(30, 3), agent(2, 1, "a").usage(30, 3));
    stage.starts(&root).starts(&inner).starts(&chat(5, 2));
    stage.ends(&chat(3, 2).usage(10, 1).with("gen_ai.response.id", "r-1"));
    stage.ends(&chat(4, 2).usage(10, 1).with("gen_ai.response.id", "r-1").during(3, 5));
    stage.starts(&chat(6, 5)).ends(&chat(6, 5).usage(20, 2)).ends(&chat(5, 2).usage(20, 2)).ends(&inner).ends(&root);
    stage.at(250);
    let counted: Vec<_> = (1..=6).map(|n| stage.span(n).input_tokens).collect();
    assert_eq!(counted, [None, None, Some(10), None, None, Some(20)]);
    assert_eq!(stage.last_end().total_tokens, Some(33));
    assert_eq!(metadata(stage.span(1))["usage"], serde_json::json!({"input_tokens": 30, "output_tokens": 3}));
}

#[test]
fn what_was_told_as_counting_is_corrected_at_the_end() {
    // An agent that ends before its call; a call that ends before the same call within it.
    let mut stage = Stage::new();
    stage
        .starts(&span(1, 0, "GET /"))
        .starts(&agent(2, 1, "a"))
        .starts(&chat(3, 2))
        .ends(&agent(2, 1, "a").usage(7, 0));
    stage.ends(&chat(3, 2).usage(5, 0)).starts(&chat(4, 1)).starts(&chat(5, 4)).ends(&chat(4, 1).usage(20, 0));
    stage.ends(&chat(5, 4).usage(20, 0)).ends(&span(1, 0, "GET /")).at(250);
    let counted: Vec<_> = (2..=5).map(|n| stage.span(n).input_tokens).collect();
    assert_eq!(counted, [None, Some(5), None, Some(20)]);
    assert_eq!(stage.last_end().total_tokens, Some(25));
}

#[test]
fn the_beginning_is_told_again_when_more_is_known() {
    let mut stage = Stage::new();
    stage.starts(&span(1, 0, "GET")).ends(&chat(2, 1).with("gen_ai.input.messages", QUESTION));
    stage.ends(&chat(3, 1).with("gen_ai.output.messages", ANSWER));
    let root = span(1, 0, "GET /").with("session.id", "s-1");
    stage.ends(&root).at(250);
    assert_eq!(
        stage.news(),
        ["began GET", "> GET", "< chat m", "< chat m", "< GET /", "began GET /", "ended completed"]
    );
    let (began, ended) = (stage.last_beginning(), stage.last_end());
    assert_eq!((began.status, began.total_tokens, &began.ended_at), (Some(Status::Running), Some(0), &None));
    for trace in [began, ended] {
        assert_eq!((trace.session_id.as_deref(), json(trace.input.as_ref())), (Some("s-1"), "hi".into()));
        assert_eq!(json(trace.metadata.as_ref())["inferred_io"], true);
    }
    assert_eq!(json(ended.output.as_ref()), "done");
}

#[test]
fn a_session_that_differs_from_that_of_the_run_is_on_its_span() {
    let mut stage = Stage::new();
    let (planner, call) = (agent(2, 1, "a").with("session.id", "s-1"), chat(3, 2).with("session.id", "s-1"));
    stage.starts(&span(1, 0, "GET /")).starts(&planner).ends(&call);
    stage.ends(&chat(4, 1).with("session.id", "s-2")).ends(&planner);
    assert_eq!(metadata(stage.span(4))["session_id"], "s-2");
    // The root has the last word.
    stage.ends(&span(1, 0, "GET /").with("session.id", "s-2")).at(250);
    assert_eq!(stage.last_end().session_id.as_deref(), Some("s-2"));
    assert_eq!([2, 3].map(|n| metadata(stage.span(n))["session_id"].clone()), ["s-1", "s-1"]);
    assert_eq!(metadata(stage.span(4)).get("session_id"), None);
}

#[test]
fn a_run_that_lost_spans_says_so() {
    let mut stage = Stage::new();
    stage.starts(&agent(1, 0, "a"));
    stage.recorder.mark_lossy(TRACE);
    stage.ends(&agent(1, 0, "a")).at(250);
    assert_eq!(stage.last_end().lossy, Some(true));
    assert!(stage.said.corrections.is_empty());
    let mut stage = Stage::new();
    stage.starts(&agent(1, 0, "a"));
    stage.recorder.mark_lossy(TRACE);
    stage.finish();
    assert_eq!(stage.said.corrections[0].patch.lossy, Some(true), "also one that did not end");
}

#[test]
fn what_was_lost_of_a_trace_that_was_set_aside_is_said_by_the_run_that_is_told_of_it() {
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
    assert!(!lossy_ends(&stage) && stage.said.corrections.is_empty());
    stage.starts(&span(3, 0, "GET /"));
    stage.recorder.mark_lossy(TRACE);
    stage.ends(&span(3, 0, "GET /")).at(500);
    assert_eq!(stage.said.corrections[0].patch.lossy, Some(true), "what was told before is corrected");
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
    let patch = serde_json::to_value(&stage.said.corrections[0].patch).unwrap();
    assert_eq!(
        (&patch["status"], &patch["lossy"], &patch["total_tokens"]),
        (&"failed".into(), &true.into(), &7.into())
    );
    assert_eq!(stage.said.runs[0].spans.len(), 2);
    assert_eq!(stage.said.sources(), 3);
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
    assert_eq!(stage.said.sources(), 166);
}

#[test]
fn told_spans_leave_a_bounded_share_behind() {
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
fn a_span_with_the_name_of_an_agent_is_told_when_it_begins() {
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
