//! Log line about traces without GenAI spans.

use super::*;
use retrace_translate::SpanSelection;

fn plain(stage: &mut Stage, traces: std::ops::RangeInclusive<u128>) {
    for trace in traces {
        stage.spans(vec![in_trace(span_data(1, 0, "GET /"), trace)], 0);
    }
    // This time is past the linger of the runs.
    stage.messages(Vec::new(), 10_000);
}

#[test]
fn a_hundred_traces_without_a_run_are_noted_once() {
    let mut stage = Stage::new(Redaction::default());
    plain(&mut stage, 1..=99);
    assert_eq!(stage.engine.take_hint(), None);
    plain(&mut stage, 100..=150);
    let hint = stage.engine.take_hint().unwrap();
    assert!(hint.starts_with("150 traces have ended") && hint.contains("RETRACE_SPAN_SELECTION=all"), "{hint}");
    plain(&mut stage, 151..=400);
    assert_eq!(stage.engine.take_hint(), None);
}

#[test]
fn a_shutdown_notes_fewer() {
    let mut stage = Stage::new(Redaction::default());
    stage.spans(vec![span_data(1, 0, "GET /")], 0);
    let (waiter, _blocked) = FlushHandle::blocking();
    let within = ms(1_000);
    stage.messages(vec![Message::Shutdown { called: Instant::now(), within, waiter }], 0);
    assert!(stage.engine.take_hint().unwrap().starts_with("1 trace has ended"));
}

#[test]
fn one_run_is_enough_and_other_selections_have_no_hint() {
    let mut stage = Stage::new(Redaction::default());
    stage.spans(vec![in_trace(chat(1, 0), 1_000)], 0);
    plain(&mut stage, 1..=200);
    assert_eq!(stage.engine.take_hint(), None);
    let mut options = Options::default();
    options.selection = SpanSelection::policy(|_| false);
    let mut stage = Stage::with(PipelineConfig { options, ..config(Redaction::default()) });
    plain(&mut stage, 1..=200);
    assert_eq!(stage.engine.take_hint(), None);
}

/// Spans of a processor begin, too.
#[test]
fn traces_that_were_seen_to_begin_count_as_well() {
    let mut stage = Stage::new(Redaction::default());
    for trace in 1..=100 {
        let root = in_trace(span_data(1, 0, "GET /"), trace);
        stage.seen(vec![SpanEvent::Began(root.clone()), SpanEvent::Ended(root)], 0);
    }
    stage.messages(Vec::new(), 10_000);
    let hint = stage.engine.take_hint().unwrap();
    assert!(hint.starts_with("100 traces have ended"), "{hint}");
    let mut stage = Stage::new(Redaction::default());
    for trace in 1..=200 {
        let root = in_trace(span_data(1, 0, "GET /"), trace);
        let chat = in_trace(chat(2, 1), trace);
        let seen = [SpanEvent::Began(root.clone()), SpanEvent::Began(chat.clone()), SpanEvent::Ended(chat)];
        stage.seen(seen.into_iter().chain([SpanEvent::Ended(root)]).collect(), 0);
    }
    stage.messages(Vec::new(), 10_000);
    assert_eq!(stage.engine.take_hint(), None);
}
