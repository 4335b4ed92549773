//! Log line about span types that do not exist.

use opentelemetry::KeyValue;

use super::*;

fn typed(trace: u128, span_type: &'static str) -> SpanData {
    let mut span = in_trace(span_data(1, 0, "step"), trace);
    span.attributes.push(KeyValue::new("retrace.span_type", span_type));
    span
}

fn lines(stage: &mut Stage) -> Vec<String> {
    stage.engine.take_unknown_span_types().collect()
}

#[test]
fn a_span_type_that_does_not_exist_is_named_once() {
    let mut stage = Stage::new(Redaction::default());
    for (trace, known) in ["llm_call", "LLM_CALL", "Tool_Result", " fork_point "].into_iter().enumerate() {
        stage.spans(vec![typed(trace as u128 + 1, known)], 0);
    }
    assert_eq!(lines(&mut stage), Vec::<String>::new());
    stage.spans(vec![typed(11, "llmcall"), typed(12, "llmcall")], 0);
    let line = "retrace.span_type=\"llmcall\" does not exist and is ignored: use llm_call, tool_call, tool_result, \
                reasoning, action, error or fork_point";
    assert_eq!(lines(&mut stage), [line]);
    stage.spans(vec![typed(13, "llmcall")], 0);
    assert_eq!(lines(&mut stage), Vec::<String>::new());
}

#[test]
fn values_are_bounded_in_number_and_length() {
    let mut stage = Stage::new(Redaction::default());
    let long = "ä".repeat(1_000);
    stage.spans(vec![typed(1, long.leak())], 0);
    let [line] = &lines(&mut stage)[..] else { panic!("one line") };
    assert!(line.len() < 200, "{line}");
    for (trace, value) in ["a", "b", "c", "d", "e", "f", "g", "h", "i"].into_iter().enumerate() {
        stage.spans(vec![typed(trace as u128 + 2, value)], 0);
    }
    assert_eq!(lines(&mut stage).len(), 7);
}
