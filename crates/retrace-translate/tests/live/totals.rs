//! Sums and facts of runs that are known late.

use retrace_protocol::Status;

use crate::stage::*;
use crate::support::*;

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
fn usage_that_was_counted_twice_is_corrected_at_the_end() {
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
fn the_start_is_emitted_again_when_more_is_known() {
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
fn a_run_that_lost_spans_is_lossy() {
    let mut stage = Stage::new();
    stage.starts(&agent(1, 0, "a"));
    stage.recorder.mark_lossy(TRACE);
    stage.ends(&agent(1, 0, "a")).at(250);
    assert_eq!(stage.last_end().lossy, Some(true));
    assert!(stage.outputs.corrections.is_empty());
    let mut stage = Stage::new();
    stage.starts(&agent(1, 0, "a"));
    stage.recorder.mark_lossy(TRACE);
    stage.finish();
    assert_eq!(stage.outputs.corrections[0].patch.lossy, Some(true), "also one that did not end");
}
