//! Records that `before_send` holds back.

use super::*;

#[test]
fn what_the_hook_keeps_back_is_counted_and_its_children_hang_above() {
    let redaction = Redaction::new(Some(Arc::new(|record| match record {
        Record::Span(span) if span.name == "agent" => None,
        record => Some(record),
    })));
    let mut stage = Stage::new(redaction);
    let mut agent = span_data(2, 1, "agent");
    agent.attributes = vec![opentelemetry::KeyValue::new("gen_ai.operation.name", "invoke_agent")];
    stage.spans(vec![chat(3, 2), agent, span_data(1, 0, "root")], 0);
    stage.flush(0);
    let body = stage.answer_all(201, 0).remove(0);
    let spans = body["spans"].as_array().unwrap();
    assert_eq!((spans.len(), &body["span_count"], body.get("lossy")), (2, &2.into(), None));
    assert_eq!(spans[1]["parent_id"], spans[0]["id"]);
    let stats = stage.stats();
    assert_eq!((stats.delivered, stats.lost.by(LossReason::BeforeSend)), (2, 1));
}

#[test]
fn a_hook_that_panics_loses_the_record_and_marks_the_run() {
    let redaction = Redaction::new(Some(Arc::new(|record| match record {
        Record::Span(span) if span.name == "chat" => panic!("on purpose"),
        record => Some(record),
    })));
    let mut stage = Stage::new(redaction);
    stage.spans(vec![chat(2, 1), span_data(1, 0, "root")], 0);
    stage.flush(0);
    let body = stage.answer_all(201, 0).remove(0);
    assert_eq!(body["lossy"], true);
    assert_eq!(stage.stats().lost.by(LossReason::BeforeSendPanicked), 1);
    let codes: Vec<_> = stage.engine.take_notices().into_iter().map(|notice| notice.code.as_str()).collect();
    assert_eq!(codes, ["spans_lost"]);
}

#[test]
fn a_run_that_is_kept_back_is_not_sent_at_all() {
    let keep_back = |record| match record {
        Record::Trace(_) => None,
        record => Some(record),
    };
    let mut stage = Stage::new(Redaction::new(Some(Arc::new(keep_back))));
    stage.spans(vec![chat(2, 1), span_data(1, 0, "root")], 0);
    stage.flush(0);
    assert!(stage.answer_all(201, 0).is_empty());
    assert_eq!(stage.stats().lost.by(LossReason::BeforeSend), 2);
}

/// Two spans report one model call, and only the outer one has messages: the tokens move to it when the run ends, so the record of
/// the inner one changes after it was held back.
#[test]
fn a_span_that_is_held_back_twice_is_counted_once() {
    for hidden in ["inner", "nothing"] {
        let redaction = Redaction::new(Some(Arc::new(move |record| match record {
            Record::Span(span) if span.name == hidden => None,
            record => Some(record),
        })));
        let call = |id, parent, name: &'static str, messages: &'static str| {
            let mut span = span_data(id, parent, name);
            span.attributes = vec![
                opentelemetry::KeyValue::new("gen_ai.operation.name", "chat"),
                opentelemetry::KeyValue::new("gen_ai.response.id", "r-1"),
                opentelemetry::KeyValue::new("gen_ai.usage.input_tokens", 7),
            ];
            if !messages.is_empty() {
                span.attributes.push(opentelemetry::KeyValue::new("gen_ai.input.messages", messages));
            }
            span
        };
        let (inner, outer) = (
            call(3, 2, "inner", ""),
            call(2, 1, "outer", r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]}]"#),
        );
        let mut stage = Stage::over(Transport::Ws, redaction);
        let begun = [span_data(1, 0, "root"), outer.clone(), inner.clone()].map(SpanEvent::Began);
        stage.seen(begun.into(), 0);
        let ended = [inner, outer, span_data(1, 0, "root")].map(SpanEvent::Ended);
        stage.seen(ended.into(), 1);
        stage.flush(1);
        let frames = stage.stream_all(1);
        let is_end_of_inner = |frame: &&serde_json::Value| {
            frame["type"] == "span_ended" && frame["data"]["id"] == "00000000-0000-0003-8000-000000000007"
        };
        let inner_ends = frames.iter().filter(is_end_of_inner).count();
        let end = frames.iter().find(|frame| frame["type"] == "trace_ended").unwrap();
        let held_back = u64::from(hidden == "inner");
        assert_eq!(inner_ends > 1, hidden == "nothing", "the record changes: {frames:#?}");
        assert_eq!(end["data"]["span_count"], 3 - held_back, "{frames:#?}");
        assert_eq!(stage.stats().lost.by(LossReason::BeforeSend), held_back);
    }
}
