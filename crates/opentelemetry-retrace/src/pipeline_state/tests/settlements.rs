//! Settlements by trace.

use super::*;
use crate::stats::settlement::Outcome;

fn settled(stage: &mut Stage) -> Vec<(Option<TraceId>, u64, Outcome)> {
    let settlements = stage.engine.take_settlements();
    settlements.into_iter().map(|settlement| (settlement.trace_id, settlement.spans, settlement.outcome)).collect()
}

fn trace(id: u128) -> Option<TraceId> {
    Some(id.into())
}

#[test]
fn a_run_is_settled_under_its_trace_when_the_receiver_has_it() {
    for transport in [Transport::Http, Transport::Ws] {
        let mut stage = Stage::over(transport, Redaction::default());
        stage.spans(vec![in_trace(chat(2, 1), 7), in_trace(span_data(1, 0, "root"), 7), in_trace(chat(3, 0), 8)], 0);
        let _flush = stage.flush(0);
        assert_eq!(settled(&mut stage), [], "nothing is confirmed yet");
        if transport == Transport::Http {
            assert_eq!(stage.answer_all(201, 0).len(), 2);
        } else {
            stage.stream_all(0);
        }
        let mut spans = HashMap::default();
        for (trace_id, count, outcome) in settled(&mut stage) {
            assert_eq!(outcome, Outcome::Delivered);
            *spans.entry(trace_id).or_insert(0) += count;
        }
        assert_eq!(spans, [(trace(7), 2), (trace(8), 1)].into_iter().collect(), "{transport:?}");
    }
}

#[test]
fn a_continuation_is_settled_under_the_trace_that_it_belongs_to() {
    let mut stage = Stage::new(Redaction::default());
    stage.spans(vec![in_trace(chat(1, 0), 7)], 0);
    let _flush = stage.flush(0);
    stage.answer_all(201, 0);
    stage.spans(vec![in_trace(chat(2, 1), 7)], 1);
    let _flush = stage.flush(1);
    let bodies = stage.answer_all(400, 1);
    assert_ne!(bodies[0]["id"], serde_json::json!("00000000-0000-0000-0000-000000000007"), "the id is derived");
    let rejected = Outcome::Lost(LossReason::Rejected);
    assert_eq!(settled(&mut stage), [(trace(7), 1, Outcome::Delivered), (trace(7), 1, rejected)]);
}

#[test]
fn spans_that_are_not_selected_are_settled_under_their_trace() {
    let mut stage = Stage::new(Redaction::default());
    stage.spans(vec![in_trace(span_data(2, 1, "GET"), 7), in_trace(span_data(1, 0, "root"), 7)], 0);
    // A live run that becomes one only after such a span, and its own span that is not selected.
    let began = [in_trace(span_data(1, 0, "root"), 8), in_trace(span_data(2, 1, "GET"), 8)];
    stage.seen(began.iter().cloned().map(SpanEvent::Began).collect(), 0);
    let [root, get] = began;
    stage.seen([get, in_trace(chat(3, 1), 8), root].into_iter().map(SpanEvent::Ended).collect(), 1);
    let _flush = stage.flush(1);
    stage.answer_all(201, 1);
    let mut set_aside = HashMap::default();
    for (trace_id, count, outcome) in settled(&mut stage) {
        if outcome == Outcome::SetAside {
            *set_aside.entry(trace_id).or_insert(0) += count;
        }
    }
    assert_eq!(set_aside, [(trace(7), 2), (trace(8), 1)].into_iter().collect());
}

#[test]
fn nothing_is_collected_without_a_callback() {
    let mut stage = Stage::with(PipelineConfig { settlements: false, ..config(Redaction::default()) });
    stage.spans(vec![chat(1, 0)], 0);
    let _flush = stage.flush(0);
    stage.answer_all(201, 0);
    assert_eq!((stage.stats().delivered, settled(&mut stage)), (1, vec![]));
}
