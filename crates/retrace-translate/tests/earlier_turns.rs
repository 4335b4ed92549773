//! Tools of earlier turns of a conversation are history; tools of this run become spans.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use retrace_protocol::Span;
use retrace_translate::{LiveEvent, Options, Recorder, RecorderLimits, Resource, Value};
use serde_json::{Value as Json, json};
use support::*;

fn user(text: &str) -> Json {
    json!({"role": "user", "parts": [{"type": "text", "content": text}]})
}

fn words(text: &str) -> Json {
    json!({"role": "assistant", "parts": [{"type": "text", "content": text}]})
}

fn calls(ids: &[&str]) -> Json {
    let part = |id| json!({"type": "tool_call", "id": id, "name": "look", "arguments": {"for": id}});
    json!({"role": "assistant", "parts": ids.iter().map(part).collect::<Vec<_>>()})
}

fn result(role: &str, id: &str, response: &str) -> Json {
    json!({"role": role, "parts": [{"type": "tool_call_response", "id": id, "response": response}]})
}

fn model_call(n: u64, history: &[Json], answer: &Json) -> TestSpan {
    let text = |value: Json| Value::Str(value.to_string().into());
    chat(n, 1)
        .with_value("gen_ai.input.messages", text(json!(history)))
        .with_value("gen_ai.output.messages", text(json!([answer])))
}

/// The made spans of a run by their types, call ids and outputs.
fn made(spans: &[Span]) -> Vec<(String, String, Json)> {
    let mut made: Vec<_> = spans
        .iter()
        .filter(|span| matches!(span.span_type.as_str(), "tool_call" | "tool_result") && span.duration_ms == Some(0))
        .map(|span| {
            let call_id = metadata(span)["tool_call_id"].as_str().unwrap().to_owned();
            (span.span_type.as_str().to_owned(), call_id, json(span.output.as_ref()))
        })
        .collect();
    made.sort_by_key(|(kind, id, _)| (id.clone(), kind.clone()));
    made
}

fn expected(tools: &[(&str, Option<&str>)]) -> Vec<(String, String, Json)> {
    let mut all = Vec::new();
    for (id, result) in tools {
        all.push(("tool_call".to_owned(), (*id).to_owned(), Json::Null));
        all.extend(result.map(|result| ("tool_result".to_owned(), (*id).to_owned(), json!(result))));
    }
    all
}

/// The spans of a run whose spans begin and end in the order of their times: as an exporter and as a processor have them.
fn both_ways(spans: &[TestSpan]) -> [Vec<Span>; 2] {
    let (_, ended) = run_of(spans);
    let mut recorder = Recorder::new(Options::default(), RecorderLimits::default());
    let resource = Arc::new(Resource::default());
    let mut schedule: Vec<(u64, bool, &TestSpan)> = Vec::new();
    for span in spans {
        schedule.extend([(span.start, true, span), (span.end, false, span)]);
    }
    schedule.sort_by_key(|(time, begins, span)| (*time, *begins, span.span_id));
    for (_, begins, span) in schedule {
        match begins {
            true => recorder.start(&span.begun_without(&[]), &resource, Duration::ZERO),
            false => recorder.record(span, &resource, Duration::ZERO),
        }
    }
    recorder.finish();
    let mut outputs = Outputs::default();
    outputs.take(&mut recorder);
    assert!(outputs.runs.is_empty() && recorder.weight() == 0);
    let live = outputs.live.into_iter().filter_map(|live| match live.event {
        LiveEvent::SpanEnded(recorded) => Some(recorded.span),
        _ => None,
    });
    [ended, live.collect()]
}

fn check(spans: &[TestSpan], tools: &[(&str, Option<&str>)]) {
    for (spans, way) in both_ways(spans).iter().zip(["ended", "live"]) {
        assert_eq!(made(spans), expected(tools), "{way}");
    }
}

fn root() -> TestSpan {
    agent(1, 0, "helper").during(1, 100)
}

#[test]
fn the_tools_of_the_turn_before_are_history() {
    let history = [user("hi"), calls(&["a", "b"]), result("tool", "a", "1"), result("tool", "b", "2"), words("there")];
    let second = [&history[..], &[user("and now?")]].concat();
    check(&[model_call(2, &second, &words("done")), root()], &[]);
    // The run may call tools of its own, in the same conversation.
    let third = [&second[..], &[calls(&["c"]), result("tool", "c", "3")]].concat();
    let spans = [model_call(2, &second, &calls(&["c"])), model_call(3, &third, &words("done")), root()];
    check(&spans, &[("c", Some("3"))]);
}

#[test]
fn a_run_that_resumes_within_a_tool_loop_shows_it() {
    let history = [user("hi"), calls(&["a"]), result("tool", "a", "1"), user("go on"), calls(&["b"])];
    let resumed = [&history[..], &[result("tool", "b", "2")]].concat();
    check(&[model_call(2, &resumed, &words("done")), root()], &[("b", Some("2"))]);
    // In Anthropic's manner a result is carried by a message of the user without any other part.
    let resumed = [&history[..], &[result("user", "b", "2")]].concat();
    check(&[model_call(2, &resumed, &words("done")), root()], &[("b", Some("2"))]);
    // Without any user message all of the history is of this run.
    check(&[model_call(2, &[calls(&["a"]), result("tool", "a", "1")], &words("done")), root()], &[("a", Some("1"))]);
}

#[test]
fn a_user_message_that_the_run_adds_does_not_end_it() {
    let first = [user("hi")];
    let second = [user("hi"), calls(&["a"]), result("tool", "a", "1"), user("hurry up")];
    let spans = [model_call(2, &first, &calls(&["a"])), model_call(3, &second, &words("done")), root()];
    check(&spans, &[("a", Some("1"))]);
    let [ended, _] = both_ways(&spans);
    let result = ended.iter().find(|span| span.span_type.as_str() == "tool_result").unwrap();
    assert_eq!(result.started_at.unix_micros(), Some(3 * SECOND / 1_000), "when the model was given it");
}

#[test]
fn an_earlier_turn_may_have_used_the_same_id() {
    let before = [user("hi"), calls(&["a"]), result("tool", "a", "old"), words("so"), user("again")];
    // The run's own call was not answered.
    check(&[model_call(2, &before, &calls(&["a"])), root()], &[("a", None)]);
    // It was, and a user message was added after that.
    let after = [&before[..], &[calls(&["a"]), result("tool", "a", "new"), user("hurry up")]].concat();
    let spans = [model_call(2, &before, &calls(&["a"])), model_call(3, &after, &words("done")), root()];
    check(&spans, &[("a", Some("new"))]);
    let reversed: Vec<_> = spans.iter().rev().cloned().collect();
    assert_eq!(made(&run_of(&reversed).1), expected(&[("a", Some("new"))]), "in whatever order the spans come");
}

#[test]
fn a_tool_that_a_span_executes_is_of_this_run() {
    let after = [user("hi"), calls(&["a"]), result("tool", "a", "broke"), user("hurry up")];
    let failed = tool(2, 1, "look", "a").failed("boom");
    for spans in both_ways(&[failed, model_call(3, &after, &words("done")), root()]) {
        let of_tool: Vec<_> = spans.iter().filter(|span| metadata(span)["tool_call_id"] == "a").collect();
        assert_eq!(of_tool.len(), 2, "{of_tool:?}");
        let result = of_tool.iter().find(|span| span.span_type.as_str() == "tool_result").unwrap();
        assert_eq!((json(result.output.as_ref()), result.error.as_deref()), (json!("broke"), Some("boom")));
    }
}

#[test]
fn results_in_the_words_of_every_api_are_no_user_messages() {
    let anthropic = (
        json!([{"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "look", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "1"}]}]),
        json!({"role": "user", "content": "thanks"}),
    );
    let gemini = (
        json!([{"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"functionCall": {"id": "a", "name": "look", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "a", "name": "look", "response": "1"}}]}]),
        json!({"role": "user", "parts": [{"text": "thanks"}]}),
    );
    let bedrock = (
        json!([{"role": "user", "content": [{"text": "hi"}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "a", "name": "look", "input": {}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "a", "content": "1"}}, {"cachePoint": {"type": "default"}}]}]),
        json!({"role": "user", "content": [{"text": "thanks"}]}),
    );
    let responses = (
        json!([{"role": "user", "content": "hi"},
            {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "1"}]),
        json!({"role": "user", "content": "thanks"}),
    );
    for (name, (mut history, next)) in
        [("anthropic", anthropic), ("gemini", gemini), ("bedrock", bedrock), ("responses", responses)]
    {
        let call = |history: &Json| {
            let messages = Value::Str(history.to_string().into());
            [chat(2, 1).with_value("gen_ai.request.messages", messages), root()]
        };
        for spans in both_ways(&call(&history)) {
            assert_eq!(made(&spans), expected(&[("a", Some("1"))]), "{name}");
        }
        history.as_array_mut().unwrap().push(next);
        for spans in both_ways(&call(&history)) {
            assert_eq!(made(&spans), [], "{name}");
        }
    }
}

/// Something that happens in a conversation.
#[derive(Clone, Debug)]
enum Step {
    /// The user writes something.
    User,
    /// The model answers in words.
    Words,
    /// The model calls tools, whose results come so.
    Tools { ids: Vec<usize>, in_user_message: bool, answered: bool },
}

const IDS: [&str; 4] = ["c0", "c1", "c2", "c3"];

fn any_step() -> impl Strategy<Value = Step> {
    let tools = (prop::collection::vec(0..IDS.len(), 1..3), any::<bool>(), prop::bool::weighted(0.8));
    prop_oneof![
        1 => Just(Step::User),
        1 => Just(Step::Words),
        2 => tools.prop_map(|(mut ids, in_user_message, answered)| {
            ids.dedup();
            Step::Tools { ids, in_user_message, answered }
        }),
    ]
}

/// Adds the messages of a step to a conversation; `model` is there for each answer of the model's.
fn take(messages: &mut Vec<Json>, step: &Step, at: usize, of: &str, mut model: impl FnMut(&[Json], &Json)) {
    let mut answer = |messages: &mut Vec<Json>, turn: Json| {
        model(messages, &turn);
        messages.push(turn);
    };
    match step {
        Step::User => messages.push(user(&format!("{of} {at}"))),
        Step::Words => answer(messages, words(&format!("{of} {at}"))),
        Step::Tools { ids, in_user_message, answered } => {
            let ids: Vec<&str> = ids.iter().map(|id| IDS[*id]).collect();
            answer(messages, calls(&ids));
            let role = if *in_user_message { "user" } else { "tool" };
            let results = ids.iter().filter(|_| *answered).map(|id| result(role, id, &format!("{of} {at} {id}")));
            messages.extend(results);
        }
    }
}

/// A run with these earlier turns before its messages.
fn run_after(earlier: &[Step], steps: &[Step]) -> Vec<TestSpan> {
    let mut messages = Vec::new();
    for (at, step) in earlier.iter().enumerate() {
        take(&mut messages, step, at, "earlier", |_, _| {});
    }
    messages.push(user("the question"));
    let mut spans = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let n = spans.len() as u64 + 2;
        take(&mut messages, step, at, "now", |history, answer| spans.push(model_call(n, history, answer)));
    }
    let n = spans.len() as u64 + 2;
    spans.push(model_call(n, &messages, &words("done")));
    spans.push(root());
    spans
}

proptest! {
    #[test]
    fn earlier_turns_add_no_span_and_change_no_other(
        earlier in prop::collection::vec(any_step(), 0..8),
        steps in prop::collection::vec(any_step(), 0..6),
    ) {
        let [with, without] = [run_after(&earlier, &steps), run_after(&[], &steps)].map(|spans| both_ways(&spans));
        for (with, without) in with.into_iter().zip(without) {
            prop_assert_eq!(with.len(), without.len());
            for (mut with, mut without) in with.into_iter().zip(without) {
                if with.span_type.as_str() == "llm_call" {
                    let messages = |span: &mut Span| json(span.input.take().as_ref())["messages"].take();
                    let (all, own) = (messages(&mut with), messages(&mut without));
                    let (all, own) = (all.as_array().unwrap(), own.as_array().unwrap());
                    prop_assert!(all.ends_with(own));
                }
                prop_assert_eq!(with, without);
            }
        }
    }
}
