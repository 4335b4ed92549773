use super::*;
use crate::request::requests;
use serde_json::{Value, json};

const LIMITS: HeldLimits = HeldLimits {
    release: Release::AfterFirst { linger: Duration::from_millis(250), per_span: Duration::from_millis(1) },
    keep: Duration::from_secs(600),
    retry: Duration::from_secs(1),
    traces: 100,
    bytes: 1 << 20,
};

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn trace_id(trace: u8) -> String {
    format!("{trace:02x}").repeat(16)
}

fn span(trace: u8, id: u64, parent: u64) -> Value {
    json!({
        "traceId": trace_id(trace), "spanId": format!("{id:016x}"), "parentSpanId": format!("{parent:016x}"),
        "name": "chat", "startTimeUnixNano": id, "endTimeUnixNano": id + 1,
        "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}],
    })
}

fn event(trace: u8, span: u64) -> Value {
    json!({"traceId": trace_id(trace), "spanId": format!("{span:016x}"), "eventName": "noted"})
}

fn request(spans: &[Value], events: &[Value]) -> OtlpRequest {
    let spans = json!([{"scopeSpans": [{"spans": spans}]}]);
    let logs = json!([{"scopeLogs": [{"logRecords": events}]}]);
    let text = json!({"resourceSpans": spans, "resourceLogs": logs}).to_string();
    requests(text.as_bytes()).unwrap().remove(0)
}

/// Emits all traces that are due: each with its number of spans, whether it has ended, and its part.
fn emit(traces: &mut HeldTraces, now: Duration, how: EmissionResult) -> Vec<(usize, bool, EmissionPart)> {
    let mut emitted = Vec::new();
    while let Some(mut due) = traces.next_due(now) {
        let emission = due.translate(&Options::default()).unwrap();
        emitted.push((emission.run.spans.len(), emission.has_ended(), emission.part));
        traces.put_back(due, how, now);
    }
    emitted
}

#[test]
fn a_run_is_told_a_little_after_its_first_span_and_whole_each_time() {
    let mut traces = HeldTraces::new(LIMITS);
    traces.take(request(&[span(1, 2, 1)], &[]), at(0));
    assert_eq!(traces.next_deadline(), Some(at(251)));
    // Data that arrives meanwhile does not postpone the emission.
    traces.take(request(&[span(1, 3, 1)], &[]), at(200));
    assert_eq!(emit(&mut traces, at(250), EmissionResult::Stored), []);
    assert_eq!(emit(&mut traces, at(251), EmissionResult::Stored), [(2, false, EmissionPart::First)]);
    assert_eq!(emit(&mut traces, at(10_000), EmissionResult::Stored), []);

    traces.take(request(&[span(1, 1, 0)], &[]), at(10_000));
    assert_eq!(emit(&mut traces, at(10_252), EmissionResult::Stored), []);
    assert_eq!(emit(&mut traces, at(10_253), EmissionResult::Stored), [(3, true, EmissionPart::Whole)]);
    assert_eq!(traces.next_deadline(), Some(at(610_000)));
    assert_eq!((emit(&mut traces, at(610_000), EmissionResult::Stored), traces.weight), (vec![], 0));
    assert_eq!(traces.forgotten().collect::<Vec<_>>(), [Id::from_otel_trace([1; 16])]);
    assert_eq!(traces.next_deadline(), None);
}

#[test]
fn what_was_added_to_something_stays_an_addition() {
    let mut traces = HeldTraces::new(LIMITS);
    for (at_ms, part) in [(0, EmissionPart::First), (1_000, EmissionPart::Rest), (2_000, EmissionPart::Rest)] {
        traces.take(request(&[span(1, 1 + at_ms, 0)], &[]), at(at_ms));
        let how = if part == EmissionPart::First { EmissionResult::Added } else { EmissionResult::Stored };
        let emitted = emit(&mut traces, at(at_ms + 500), how);
        assert_eq!(emitted.first().map(|(_, _, part)| *part), Some(part));
    }
}

#[test]
fn an_event_waits_for_its_span_and_is_forgotten_without_it() {
    let mut traces = HeldTraces::new(LIMITS);
    traces.take(request(&[], &[event(1, 1), event(2, 1)]), at(0));
    assert_eq!(emit(&mut traces, at(100_000), EmissionResult::Stored), []);
    traces.take(request(&[span(1, 1, 0)], &[]), at(100_000));
    assert_eq!(emit(&mut traces, at(101_000), EmissionResult::Stored), [(1, true, EmissionPart::First)]);
    assert_eq!(emit(&mut traces, at(600_000), EmissionResult::Stored), []);
    assert_eq!(traces.traces.len(), 1, "the one without a span is forgotten");
    // An event of an emitted span causes another emission.
    traces.take(request(&[], &[event(1, 1)]), at(600_000));
    assert_eq!(emit(&mut traces, at(601_000), EmissionResult::Stored), [(1, true, EmissionPart::Whole)]);
}

#[test]
fn what_could_not_be_stored_is_told_again() {
    let mut traces = HeldTraces::new(LIMITS);
    traces.take(request(&[span(1, 1, 0)], &[]), at(0));
    assert_eq!(emit(&mut traces, at(500), EmissionResult::Failed), [(1, true, EmissionPart::First)]);
    assert_eq!(traces.next_deadline(), Some(at(1_500)));
    assert_eq!(emit(&mut traces, at(1_500), EmissionResult::Stored), [(1, true, EmissionPart::First)]);
}

#[test]
fn when_there_is_no_room_the_oldest_is_told_and_forgotten() {
    let mut traces = HeldTraces::new(HeldLimits { traces: 2, ..LIMITS });
    for trace in 1..=3 {
        traces.take(request(&[span(trace, 1, 0)], &[]), at(u64::from(trace)));
    }
    assert_eq!(emit(&mut traces, at(4), EmissionResult::Stored), [(1, true, EmissionPart::First)], "before its time");
    assert_eq!(traces.forgotten().collect::<Vec<_>>(), [Id::from_otel_trace([1; 16])]);
    assert_eq!(traces.traces.len(), 2);

    let one = traces.weight / 2;
    let mut traces = HeldTraces::new(HeldLimits { bytes: 10 * one, ..LIMITS });
    for id in 1..=100 {
        traces.take(request(&[span(1 + u8::try_from(id % 7).unwrap(), id, 0)], &[]), at(id));
        emit(&mut traces, at(id), EmissionResult::Stored);
        assert!(traces.weight <= 10 * one, "{}", traces.weight);
    }
    assert_eq!(traces.traces.values().map(|held| held.weight).sum::<usize>(), traces.weight);
    let held = traces.traces.len();
    assert_eq!(traces.settle().len(), held, "none of them is emitted yet");
    assert_eq!((traces.weight, traces.next_deadline()), (0, None));
}

#[test]
fn a_long_run_is_told_less_often() {
    let mut traces = HeldTraces::new(LIMITS);
    let spans: Vec<_> = (1..=1_000).map(|id| span(1, id, 0)).collect();
    traces.take(request(&spans, &[]), at(0));
    emit(&mut traces, at(1_000), EmissionResult::Stored);
    traces.take(request(&[span(1, 2_000, 0)], &[]), at(2_000));
    assert_eq!(traces.next_deadline(), Some(at(2_000 + 250 + 1_001)));
}

#[test]
fn a_trace_that_is_emitted_once_waits_for_its_last_span() {
    let release = Release::AfterLast { with_root: at(100), without_root: at(1_000), longest: at(1_500) };
    let mut traces = HeldTraces::new(HeldLimits { release, ..LIMITS });
    traces.take(request(&[span(1, 2, 1)], &[]), at(0));
    assert!(traces.next_due(at(999)).is_none(), "the root may still come");
    traces.take(request(&[span(1, 1, 0)], &[]), at(999));
    assert!(traces.next_due(at(1_098)).is_none());
    let due = traces.next_due(at(1_099)).unwrap();
    assert_eq!(due.trace_id(), [1; 16]);
    assert_eq!((due.into_trace().spans(), traces.len(), traces.weight()), (2, 0, 0));
    traces.take(request(&[span(2, 2, 1)], &[]), at(2_000));
    assert!(traces.next_due(at(2_999)).is_none());
    assert_eq!(traces.next_due(at(3_000)).map(|due| due.trace_id()), Some([2; 16]));
    // A trace that does not fall silent is due all the same.
    for n in 0..20 {
        traces.take(request(&[span(3, 10 + n, 1)], &[]), at(4_000 + n * 100));
    }
    assert!(traces.next_due(at(5_499)).is_none());
    assert_eq!(traces.next_due(at(5_500)).map(|due| due.trace_id()), Some([3; 16]));
}
