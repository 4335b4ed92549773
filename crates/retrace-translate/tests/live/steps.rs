//! Steps of runs, emitted while they happen.

use retrace_protocol::Status;

use crate::stage::*;
use crate::support::*;

#[test]
fn a_live_run_is_emitted_step_by_step() {
    let mut stage = Stage::new();
    let (root, call, look) = (agent(1, 0, "a"), chat(2, 1).usage(5, 2), tool(3, 1, "look", "c1"));
    stage.starts(&root);
    assert_eq!(stage.news(), ["began a", "> a"]);
    stage.starts(&call);
    assert_eq!(stage.news(), NOTHING, "a model call is emitted when it ends");
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
    assert_eq!(stage.outputs.sources(), 3);
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
fn nothing_is_emitted_before_the_first_genai_span() {
    let mut stage = Stage::new();
    stage.starts(&span(1, 0, "GET /")).starts(&span(2, 1, "SELECT")).ends(&span(2, 1, "SELECT"));
    assert_eq!((stage.news(), stage.recorder.open_spans(), stage.outputs.set_aside), (vec![], 1, 0));
    stage.starts(&span(3, 1, "handler")).starts(&agent(4, 3, "a"));
    assert_eq!(stage.news(), ["began GET /", "> GET /", "> a"]);
    assert_eq!(stage.span(4).parent_id, uuid(1), "under the nearest that is emitted");
    assert_eq!((stage.outputs.set_aside, stage.recorder.open_spans()), (1, 0));
    stage.ends(&agent(4, 3, "a")).ends(&span(3, 1, "handler"));
    assert_eq!(stage.outputs.set_aside, 2, "what nobody selected is set aside as soon as it ends");
    stage.ends(&span(1, 0, "GET /")).at(1_000);
    assert_eq!(stage.news(), ["< a", "< GET /", "ended completed"]);
    assert_eq!(stage.last_end().span_count, Some(2));
}

#[test]
fn a_span_that_becomes_genai_at_its_end_is_emitted_then() {
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
fn a_root_that_ended_before_the_first_genai_span_is_emitted_whole() {
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
    assert_eq!((stage.news(), stage.outputs.set_aside, stage.recorder.weight()), (vec![], 2, 0));
}

#[test]
fn every_span_is_emitted_if_all_are_selected() {
    let mut stage = Stage::all();
    stage.starts(&span(1, 0, "GET /")).starts(&span(2, 1, "SELECT"));
    assert_eq!(stage.news(), ["began GET /", "> GET /", "> SELECT"]);
}

#[test]
fn without_the_start_of_a_root_runs_are_emitted_whole() {
    let mut stage = Stage::new();
    stage.starts(&chat(2, 1)).starts(&tool(3, 1, "t", "c"));
    assert_eq!(stage.recorder.weight(), 0, "starts of other traces are not kept");
    stage.ends(&chat(2, 1)).ends(&agent(1, 0, "a")).at(250);
    assert_eq!((stage.news(), stage.outputs.runs.len()), (vec![], 1));
}

#[test]
fn live_runs_and_whole_runs_live_side_by_side() {
    let mut stage = Stage::new();
    let other = 7_u128.to_be_bytes();
    stage.starts(&agent(1, 0, "a")).ends(&chat(3, 2).in_trace(other)).ends(&agent(2, 0, "b").in_trace(other));
    stage.ends(&agent(1, 0, "a")).at(250);
    assert_eq!((stage.news().len(), stage.outputs.runs.len(), stage.outputs.corrections.len()), (4, 1, 0));
}

#[test]
fn repeats_are_ignored() {
    let mut stage = Stage::new();
    let (root, call) = (agent(1, 0, "a"), chat(2, 1));
    stage.starts(&root).starts(&root).starts(&call).starts(&call).ends(&call).starts(&call).ends(&call);
    assert_eq!(stage.news(), ["began a", "> a", "< chat m"]);
    assert_eq!(stage.outputs.set_aside, 1);
    stage.ends(&root).ends(&root).at(250).starts(&root).ends(&root).starts(&call).at(1_000);
    assert_eq!(stage.news(), ["< a", "ended completed"]);
    assert_eq!((stage.outputs.set_aside, stage.outputs.runs.len()), (3, 0));
}

#[test]
fn another_span_under_the_id_of_the_root_is_no_root() {
    let mut stage = Stage::new();
    stage.starts(&agent(1, 0, "a")).ends(&agent(1, 0, "a")).ends(&span(1, 5, "other").during(7, 8)).finish();
    assert_eq!((stage.outputs.sources(), stage.outputs.set_aside), (2, 1));
}

#[test]
fn an_end_without_a_start_is_a_whole_span() {
    let mut stage = Stage::new();
    stage.starts(&agent(1, 0, "a")).ends(&tool(2, 1, "t", "c")).ends(&chat(3, 99)).starts(&tool(2, 1, "t", "c"));
    assert_eq!(stage.news(), ["began a", "> a", "< t", "< chat m"]);
    assert_eq!(stage.span(3).parent_id, uuid(1), "what hangs from nothing hangs from the root");
}

#[test]
fn a_root_that_is_a_model_call_is_emitted_when_it_ends() {
    let mut stage = Stage::new();
    stage.starts(&chat(1, 0)).starts(&tool(2, 1, "t", "c"));
    assert_eq!(stage.news(), ["began chat m", "> t"]);
    assert_eq!(stage.span(2).parent_id, uuid(1));
    stage.ends(&tool(2, 1, "t", "c")).ends(&chat(1, 0)).at(250);
    assert_eq!(stage.news(), ["< t", "< chat m", "ended completed"]);
}

#[test]
fn a_model_call_that_never_ends_is_emitted_as_begun_if_it_has_children() {
    let mut stage = Stage::new();
    let (root, call, look) =
        (agent(1, 0, "a"), chat(2, 1).with("gen_ai.input.messages", QUESTION), tool(3, 2, "t", "c"));
    stage.starts(&root).starts(&call).starts(&chat(4, 1)).starts(&look).ends(&look).ends(&root);
    assert_eq!(stage.news(), ["began a", "> a", "> t", "< t", "< a"]);
    stage.at(29_999);
    assert_eq!(stage.news(), NOTHING, "the calls are under way");
    stage.at(30_000);
    assert_eq!(stage.news(), ["> chat m", "ended completed"]);
    let begun = stage.span(2);
    assert_eq!((&begun.id, begun.model.as_deref(), &begun.input), (&uuid(2).unwrap(), Some("m"), &None));
    assert_eq!(stage.last_end().span_count, Some(3));
    // Its end makes a run that continues, under an id of its own.
    stage.ends(&call).at(31_000);
    let later = &stage.outputs.runs[0];
    assert_eq!(json(later.trace.metadata.as_ref())["otel"]["continues"], "0af76519-16cd-43dd-8448-eb211c80319c");
    assert_ne!(Some(later.spans[0].span.id.clone()), uuid(2));
    assert_eq!(metadata(&later.spans[0].span)["otel"]["span_id"], "0000000000000002");
    assert_eq!(serde_json::to_value(&stage.outputs.corrections[0].patch).unwrap(), serde_json::json!({"lossy": true}));
}
