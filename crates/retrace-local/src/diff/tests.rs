#![allow(clippy::needless_pass_by_value)]

use super::*;
use proptest::prelude::*;
use serde_json::json;

const AT: &str = "2026-01-02T03:04:05Z";

/// Compares runs of which no fork is known.
fn diff(a: &Trace, b: &Trace) -> RunDiff {
    super::diff(a, b, ForkFacts::default())
}

fn span(id: &str, kind: &str, name: &str, input: Value, output: Value) -> Value {
    json!({"id": id, "trace_id": "t", "parent_id": null, "span_type": kind, "name": name, "started_at": AT,
        "input": input, "output": output, "duration_ms": 3, "input_tokens": 1})
}

fn run(id: &str, metadata: Value, spans: Vec<Value>) -> Trace {
    let run = json!({"id": id, "name": "agent", "status": "completed", "started_at": AT, "output": "done",
        "total_tokens": 4, "total_cost": 0.5, "metadata": metadata, "spans": spans});
    serde_json::from_value(run).unwrap()
}

fn agent() -> Vec<Value> {
    vec![
        span("a1", "llm_call", "chat", json!("q"), json!("look")),
        span("a2", "tool_call", "look", json!({"x": 1}), json!("found")),
        span("a3", "llm_call", "chat", json!("q found"), json!("answer")),
    ]
}

fn statuses(diff: &RunDiff) -> Vec<String> {
    let text = |step: &Step| serde_json::to_value(step.status).unwrap().as_str().unwrap().to_owned();
    diff.steps.iter().map(text).collect()
}

fn of_fork(spans: Vec<Value>) -> RunDiff {
    let (a, b) = (run("t", json!({}), agent()), run("u", json!({"_fork_of": "t", "_fork_point": "a3"}), spans));
    diff(&a, &b)
}

#[test]
fn a_run_is_the_same_as_itself_with_other_ids() {
    let mut other = agent();
    other[0]["id"] = "x".into();
    other[0]["duration_ms"] = 99.into();
    let found = diff(&run("t", json!({}), agent()), &run("u", json!({"k": 1}), other));
    assert!(found.is_same() && found.first_divergence.is_none());
    assert_eq!(found.counts, Counts { same: 3, ..Counts::default() });
    let found = serde_json::to_value(found).unwrap();
    assert_eq!((&found["b"]["id"], &found["b"]["tokens"], &found["b"]["cost"]), (&json!("u"), &json!(4), &json!(0.5)));
}

#[test]
fn the_first_divergence_is_named() {
    let mut other = agent();
    other[1]["output"] = "lost".into();
    other.insert(1, span("n", "reasoning", "think", Value::Null, Value::Null));
    other.pop();
    let found = diff(&run("t", json!({}), agent()), &run("u", json!({}), other));
    assert_eq!(statuses(&found), ["same", "added", "changed", "removed"]);
    let first = found.first_divergence.as_ref().unwrap();
    assert_eq!((first.step, first.reason), (Some(1), "added"));
    assert!(!found.is_same());

    let mut other = agent();
    other[1]["input"] = json!({"x": 2});
    let found = diff(&run("t", json!({}), agent()), &run("u", json!({}), other));
    let first = found.first_divergence.unwrap();
    assert_eq!((first.step, first.reason, first.pointer.as_deref()), (Some(1), "input", Some("/x")));
}

#[test]
fn a_whole_run_may_differ_where_no_step_does() {
    let mut failed = run("u", json!({}), agent());
    failed.status = Some(Status::Failed);
    assert_eq!(diff(&run("t", json!({}), agent()), &failed).first_divergence.unwrap().reason, "status");
    let mut other = run("u", json!({}), agent());
    other.output = None;
    let first = diff(&run("t", json!({}), agent()), &other).first_divergence.unwrap();
    assert_eq!((first.step, first.reason, first.pointer.as_deref()), (None, "output", Some("")));
}

#[test]
fn a_fork_replays_what_comes_before_its_point() {
    let changed = span("b3", "llm_call", "chat", json!("q changed"), json!("answer"));
    let found = of_fork(vec![changed.clone()]);
    assert_eq!(statuses(&found), ["replayed", "replayed", "changed"]);
    assert!(found.is_same(), "what the fork changed is no divergence");
    assert_eq!(found.fork.as_ref().unwrap().index, 2);
    assert!(found.steps[2].changes.input.is_some() && !found.steps[2].diverges);

    let mut other = changed.clone();
    other["output"] = "another".into();
    let found = of_fork(vec![other]);
    let first = found.first_divergence.as_ref().unwrap();
    assert_eq!((first.step, first.reason), (Some(2), "output"));

    // The client sends the steps before the fork point again.
    let found = of_fork(agent().into_iter().take(2).chain([changed]).collect());
    assert_eq!(statuses(&found), ["same", "same", "changed"]);
}

#[test]
fn what_a_fork_executes_again_before_its_point_is_paired_with_what_it_was() {
    let chat = |id: &str, input: &str, output: &str| span(id, "llm_call", "chat", json!(input), json!(output));
    let tool = |id: &str, name: &str, output: &str| span(id, "tool_call", name, json!({"x": 1}), json!(output));
    let plan = |id: &str| span(id, "reasoning", "plan", json!(1), json!(2));
    let recorded = vec![
        tool("a0", "search", "pages"),
        chat("a1", "q", "look"),
        plan("a2"),
        tool("a3", "weather", "sleet"),
        chat("a4", "second", "answer"),
        tool("a5", "weather", "sleet"),
    ];
    let forked_at = |point: &str, spans: Vec<Value>, facts| {
        let (a, b) =
            (run("t", json!({}), recorded.clone()), run("u", json!({"_fork_of": "t", "_fork_point": point}), spans));
        super::diff(&a, &b, facts)
    };
    let fork = |spans| forked_at("a4", spans, ForkFacts::default());
    let all = vec![
        plan("b2"),
        tool("b3", "weather", "sleet"),
        chat("b4", "second", "answer"),
        tool("b5", "weather", "sleet"),
    ];
    let found = fork(all.clone());
    assert_eq!(statuses(&found), ["replayed", "replayed", "same", "same", "same", "same"]);
    assert!(found.is_same(), "{:?}", found.first_divergence);
    // What it gives may differ.
    let mut other = all.clone();
    other[1] = tool("b3", "weather", "sun");
    let found = fork(other);
    assert_eq!(statuses(&found), ["replayed", "replayed", "same", "changed", "same", "same"]);
    assert_eq!(found.first_divergence.map(|first| (first.step, first.reason)), Some((Some(3), "output")));
    // A step after the fork point is none before it.
    let found = fork(all[..3].to_vec());
    assert_eq!(statuses(&found), ["replayed", "replayed", "same", "same", "same", "removed"]);
    let found = fork(all[2..].to_vec());
    assert_eq!(statuses(&found), ["replayed", "replayed", "replayed", "replayed", "same", "same"]);
    let mut more = all.clone();
    more.push(tool("b6", "search", "pages"));
    assert_eq!(statuses(&fork(more)).last().unwrap(), "added", "a tool that the fork calls after its point");
    // At a tool, which the fork gives another result.
    let sunny =
        vec![plan("b2"), tool("b3", "weather", "sunny"), chat("b4", "sunny", "answer"), tool("b5", "weather", "sleet")];
    let sets_output = ForkFacts { sets_output: true, ..ForkFacts::default() };
    let found = forked_at("a3", sunny.clone(), sets_output);
    assert_eq!(statuses(&found), ["replayed", "replayed", "same", "changed", "changed", "same"]);
    assert!(found.is_same(), "{:?}", found.first_divergence);
    assert!(!forked_at("a3", sunny, ForkFacts::default()).is_same(), "the tool itself gave another result");
    // Everything is executed again.
    let mut live = recorded.clone();
    live[1] = chat("b1", "q", "look twice");
    let found = forked_at("a4", live, ForkFacts { is_live: true, ..ForkFacts::default() });
    assert_eq!(statuses(&found), ["same", "changed", "same", "same", "same", "same"]);
}

#[test]
fn a_model_call_with_another_model_is_the_same_step() {
    let chat = |id: &str, model: &str, output: &str| {
        let mut call = span(id, "llm_call", &format!("chat {model}"), json!("q"), json!(output));
        call["model"] = model.into();
        call
    };
    let recorded = vec![chat("a1", "mini", "one"), chat("a2", "mini", "two"), chat("a3", "mini", "three")];
    let a = run("t", json!({}), recorded.clone());
    let fork = |spans| diff(&a, &run("u", json!({"_fork_of": "t", "_fork_point": "a2"}), spans));
    let found = fork(vec![chat("b2", "large", "two"), chat("b3", "mini", "three")]);
    assert_eq!(statuses(&found), ["replayed", "changed", "same"]);
    assert!(found.is_same() && found.steps[1].changes.model.is_some(), "{:?}", found.first_divergence);
    let found = fork(vec![recorded[0].clone(), chat("b2", "large", "two"), chat("b3", "mini", "three")]);
    assert_eq!(statuses(&found), ["same", "changed", "same"]);
    assert!(found.is_same(), "{:?}", found.first_divergence);
    // The call at the fork point is the first one, whatever follows it.
    let at_first = json!({"_fork_of": "t", "_fork_point": "a1"});
    let one = run("t", json!({}), vec![chat("a1", "mini", "one")]);
    let found = diff(&one, &run("u", at_first, vec![chat("b1", "large", "one"), chat("b2", "mini", "two")]));
    assert_eq!(statuses(&found), ["changed", "added"]);
    // The response names another model than the request.
    let mut dated = chat("b2", "large", "two");
    (dated["model"], dated["metadata"]) = ("large-2026".into(), json!({"operation": "chat"}));
    assert_eq!(statuses(&fork(vec![dated, chat("b3", "mini", "three")])), ["replayed", "changed", "same"]);
    // Of two runs the model is the difference.
    let found = diff(
        &a,
        &run("u", json!({}), vec![chat("1", "mini", "one"), chat("2", "large", "two"), chat("3", "mini", "three")]),
    );
    assert_eq!(statuses(&found), ["same", "changed", "same"]);
    assert_eq!(found.first_divergence.map(|first| (first.step, first.reason)), Some((Some(1), "model")));
    // Where a call is missing, the one of the same model is another.
    let (both, large) = (vec![chat("1", "mini", "one"), chat("2", "large", "two")], vec![chat("3", "large", "two")]);
    let found = diff(&run("t", json!({}), both), &run("u", json!({}), large));
    assert_eq!(statuses(&found), ["removed", "same"]);
}

#[test]
fn a_new_input_is_compared_as_the_call_that_it_makes() {
    let call = json!({"args": [], "kwargs": {"topic": "bergen", "zone": 2}});
    let mut a = nested("t", json!({}), "fog", "train");
    a.input = Some(Json::from_serialize(&call));
    a.spans.as_mut().unwrap()[0].input = a.input.clone();
    let changed = json!({"args": [], "kwargs": {"topic": "rivers", "zone": 2}});
    for (input, pointer, value) in [
        (json!({"topic": "rivers"}), "/kwargs/topic", json!("rivers")),
        (changed, "/kwargs/topic", json!("rivers")),
        // Which argument the text is depends on the function.
        (json!("rivers"), "", json!("rivers")),
    ] {
        let mut b = nested_fork("fog", "train");
        b.input = Some(Json::from_serialize(&input));
        b.spans.as_mut().unwrap()[0].input = b.input.clone();
        let found = serde_json::to_value(diff(&a, &b)).unwrap();
        for input in [&found["input"], &found["steps"][0]["changes"]["input"]] {
            assert_eq!(input["total"], 1, "{input}");
            let change = &input["differences"][0];
            assert_eq!((&change["pointer"], &change["b"]), (&json!(pointer), &value), "{change}");
        }
        assert_eq!(found["same"], true);
    }
}

#[test]
fn a_fork_whose_steps_have_the_names_of_those_before_it_is_aligned_from_its_point() {
    let b = vec![
        span("b1", "llm_call", "chat", json!("q changed"), json!("look")),
        span("b2", "tool_call", "look", json!({"x": 3}), json!("found")),
        span("b3", "llm_call", "chat", json!("again"), json!("answer")),
    ];
    let found = of_fork(b);
    assert_eq!(statuses(&found), ["replayed", "replayed", "changed", "added", "added"]);
}

/// A run whose steps are below an outer one, with the answer to a tool call that the messages of the second model call show.
fn nested(trace: &str, metadata: Value, weather: &str, answer: &str) -> Trace {
    let mut outer = span("o", "reasoning", "agent", json!("q"), json!(answer));
    let mut spans = agent();
    spans[1]["metadata"] = json!({"tool_call_id": "c1"});
    spans[1]["output"] = weather.into();
    spans.insert(2, span("r", "tool_result", "look", Value::Null, json!(weather)));
    spans[2]["metadata"] = json!({"tool_call_id": "c1"});
    spans[3]["input"] = json!(weather);
    spans[3]["output"] = answer.into();
    for (at, parent) in [(0, "o"), (1, "o"), (2, "a2"), (3, "o")] {
        spans[at]["parent_id"] = parent.into();
    }
    outer["output"] = answer.into();
    spans.insert(0, outer);
    run(trace, metadata, spans)
}

/// What a client sends of a fork at the second model call: without the steps that it has answered from the recording.
fn nested_fork(weather: &str, answer: &str) -> Trace {
    let mut fork = nested("u", json!({"_fork_of": "t", "_fork_point": "a3"}), weather, answer);
    let spans = fork.spans.as_mut().unwrap();
    let mut shown = spans.split_off(2);
    spans.pop();
    spans.push(shown.pop().unwrap());
    // The translation makes steps of the tool results that only messages show.
    shown[0].parent_id = Some("a3".into());
    shown[0].model = Some("gpt".into());
    spans.extend(shown);
    fork
}

#[test]
fn steps_around_the_fork_point_and_results_in_its_messages_are_no_divergence() {
    let a = nested("t", json!({}), "fog", "train");
    let found = diff(&a, &nested_fork("storm", "train"));
    assert_eq!(statuses(&found), ["same", "replayed", "changed", "changed", "changed"]);
    assert!(found.is_same(), "{:?}", found.first_divergence);
    assert!(found.steps[2].changes.model.is_none());

    let found = diff(&a, &nested_fork("sun", "plane"));
    let first = found.first_divergence.as_ref().unwrap();
    assert_eq!((first.step, first.reason), (Some(4), "output"), "the outer step differs only because of it");

    // A result that the first run has at its end is one that the fork repeats, wherever it stands.
    let mut late = nested("t", json!({}), "fog", "train");
    let spans = late.spans.as_mut().unwrap();
    let result = spans.remove(3);
    assert_eq!(result.span_type, SpanType::ToolResult);
    spans.push(result);
    let found = diff(&late, &nested_fork("storm", "train"));
    assert!(found.is_same(), "{:?}", found.first_divergence);

    // A tool that is executed again after the fork point is another step, whatever it is given.
    let mut again = nested_fork("storm", "train");
    again.spans.as_mut().unwrap()[2].parent_id = Some("o".into());
    assert_eq!(statuses(&diff(&a, &again)), ["same", "replayed", "replayed", "replayed", "changed", "added", "added"]);
}

#[test]
fn the_first_divergence_is_the_innermost_step_that_differs() {
    let (a, b) = (nested("t", json!({}), "fog", "train"), nested("u", json!({}), "fog", "plane"));
    let first = diff(&a, &b).first_divergence.unwrap();
    assert_eq!((first.step, first.reason), (Some(4), "output"));
    // A tool call is not blamed on its own result, and an outer step of which the input differs is a cause.
    let first = diff(&a, &nested("u", json!({}), "sun", "train")).first_divergence.unwrap();
    assert_eq!((first.step, first.reason), (Some(2), "output"));
    let mut other = nested("u", json!({}), "fog", "plane");
    other.spans.as_mut().unwrap()[0].input = a.spans.as_ref().unwrap()[2].input.clone();
    assert_eq!(diff(&a, &other).first_divergence.unwrap().step, Some(0));
}

#[test]
fn a_step_at_another_place_is_moved() {
    let (first, second) =
        (span("1", "tool_call", "x", json!(1), json!(1)), span("2", "tool_call", "y", json!(2), json!(2)));
    let found =
        diff(&run("t", json!({}), vec![first.clone(), second.clone()]), &run("u", json!({}), vec![second, first]));
    assert_eq!(statuses(&found), ["same", "same"]);
    assert_eq!(found.steps.iter().filter(|step| step.moved).count(), 1);
    assert!(found.is_same());
}

#[test]
fn long_runs_are_cut_and_state_it() {
    let spans: Vec<Value> =
        (0..=MAX_STEPS).map(|at| span(&at.to_string(), "action", "x", json!(at), json!(1))).collect();
    let run = run("t", json!({}), spans);
    let found = diff(&run, &run);
    assert!(found.truncated && found.steps.len() == MAX_STEPS && found.a.steps == MAX_STEPS + 1);
}

fn any_spans() -> impl Strategy<Value = Vec<Value>> {
    let any = (0..3_u8, 0..3_u8, 0..2_u8);
    proptest::collection::vec(any, 0..8).prop_map(|spans| {
        let kinds = ["llm_call", "tool_call", "action"];
        let one = |(at, (kind, name, output)): (usize, (u8, u8, u8))| {
            span(&at.to_string(), kinds[usize::from(kind)], &name.to_string(), json!(1), json!(output))
        };
        spans.into_iter().enumerate().map(one).collect()
    })
}

proptest! {
    /// Each step of either run is in exactly one pair, and pairs are of one type and name.
    #[test]
    fn every_step_is_aligned_once(ours in any_spans(), theirs in any_spans(), point in proptest::option::of(0..8_usize)) {
        let point = point.filter(|point| *point < ours.len());
        let metadata = match point {
            Some(point) => json!({"_fork_of": "t", "_fork_point": point.to_string()}),
            None => json!({}),
        };
        let (a, b) = (run("t", json!({}), ours), run("u", metadata, theirs));
        let found = diff(&a, &b);
        let mut places: Vec<_> = found.steps.iter().filter_map(|step| step.a.as_ref()).map(|side| side.index).collect();
        places.sort_unstable();
        prop_assert!(places.into_iter().eq(0..a.spans.as_ref().unwrap().len()));
        let mut places: Vec<_> = found.steps.iter().filter_map(|step| step.b.as_ref()).map(|side| side.index).collect();
        places.sort_unstable();
        prop_assert!(places.into_iter().eq(0..b.spans.as_ref().unwrap().len()));
        for step in &found.steps {
            if let (Some(a), Some(b)) = (&step.a, &step.b) {
                prop_assert_eq!((a.span_type, &a.name), (b.span_type, &b.name));
            }
        }
        prop_assert_eq!(found.is_same(), found.steps.iter().all(|step| !step.diverges));
    }
}
