//! Frames: what is written, confirmed, written again and dropped, over one connection.

use super::*;
use crate::delivery::ws_frames::{WINDOW_BYTES, WINDOW_FRAMES};
use retrace_protocol::Json;

/// Bounds that no test reaches.
const WIDE: LedgerLimits = LedgerLimits { bytes: 1 << 30, body_bytes: 1 << 30, ..LIMITS };

/// Creates a ledger with an open connection.
fn connected() -> Ledger {
    let mut ledger = Ledger::new(Transport::Ws, WIDE, 7);
    ledger.link_opening();
    ledger.link_opened();
    ledger
}

fn id() -> Id {
    "t".into()
}

fn agent() -> Trace {
    Trace { name: Some("agent".into()), ..Trace::started(id(), at(1)) }
}

fn finished() -> Trace {
    Trace { status: Some(Status::Completed), ended_at: Some(at(9)), span_count: Some(1), ..agent() }
}

fn begun(name: &str) -> Span {
    Span::new(name.into(), id(), SpanType::ToolCall, name, at(2))
}

fn done(name: &str) -> Span {
    Span { ended_at: Some(at(3)), output: Some(Json::text("out")), duration_ms: Some(1), ..begun(name) }
}

fn end_step(ledger: &mut Ledger, span: &Span) {
    ledger.step_ended(&id(), span.clone(), 1);
}

/// Creates a whole run of these steps.
fn recorded(steps: &[&str]) -> Ledger {
    let mut ledger = connected();
    ledger.begin(&id(), agent());
    for name in steps {
        end_step(&mut ledger, &done(name));
    }
    ledger.end(&id(), finished(), secs(0));
    ledger
}

fn written(ledger: &mut Ledger) -> Vec<String> {
    std::iter::from_fn(|| ledger.next_frame(secs(0))).map(|text| String::from_utf8(text.into()).unwrap()).collect()
}

/// Returns type, id and number of each frame.
fn described(texts: &[String]) -> Vec<(&'static str, String, u64)> {
    texts
        .iter()
        .map(|text| {
            let ClientFrame::Event { event, seq } = ClientFrame::parse(text).unwrap() else { panic!("{text}") };
            (event.kind().as_str(), event.id().unwrap().to_string(), seq.unwrap())
        })
        .collect()
}

/// Handles an ack; returns the number of accepted spans that it completes.
fn acknowledged(ledger: &mut Ledger, ack: Ack) -> u64 {
    let before = ledger.account.delivered;
    ledger.acks(&[ack], secs(0));
    ledger.account.delivered - before
}

fn ack(ledger: &mut Ledger, seq: u64) -> u64 {
    acknowledged(ledger, Ack::new("", Some(seq)))
}

#[test]
fn a_run_is_told_in_order_and_delivered_by_its_acks() {
    let mut ledger = recorded(&["a", "b"]);
    let texts = written(&mut ledger);
    let expected = [
        ("trace_started", "t".to_owned(), 1),
        ("span_started", "a".to_owned(), 2),
        ("span_ended", "a".to_owned(), 3),
        ("span_started", "b".to_owned(), 4),
        ("span_ended", "b".to_owned(), 5),
        ("trace_ended", "t".to_owned(), 6),
    ];
    assert_eq!(described(&texts), expected);
    assert_eq!((ack(&mut ledger, 3), ack(&mut ledger, 3), ack(&mut ledger, 2)), (0, 0, 1), "both halves, once");
    assert_eq!((ack(&mut ledger, 4), ack(&mut ledger, 5), ledger.pending()), (0, 1, 0));
    assert!(ledger.run(&id()).is_some());
    assert_eq!((ack(&mut ledger, 1), ack(&mut ledger, 6)), (0, 0));
    assert!(ledger.run(&id()).is_none() && ledger.frames.is_empty());
    assert_eq!(ledger.weight(), 0);
}

#[test]
fn an_ack_without_a_number_confirms_the_oldest_frame_of_that_id() {
    let mut ledger = recorded(&["a"]);
    written(&mut ledger);
    let by_id = |ledger: &mut Ledger, id: &str| acknowledged(ledger, Ack::new(id, None));
    assert_eq!((by_id(&mut ledger, "a"), by_id(&mut ledger, "x"), by_id(&mut ledger, "a")), (0, 0, 1));
    by_id(&mut ledger, "t");
    assert!(ledger.run(&id()).is_some());
    by_id(&mut ledger, "t");
    assert!(ledger.run(&id()).is_none());
}

#[test]
fn what_was_not_written_cannot_be_confirmed() {
    let mut ledger = recorded(&["a"]);
    assert_eq!((ack(&mut ledger, 2), ack(&mut ledger, 3), ledger.pending()), (0, 0, 1));
    assert_eq!(written(&mut ledger).len(), 4);
}

#[test]
fn after_a_reconnect_the_same_bytes_go_first() {
    let mut ledger = recorded(&["a"]);
    let before = written(&mut ledger);
    ack(&mut ledger, 2);
    ledger.frames.disconnected();
    // More of the beginning is known by now, and is sent in frames of its own.
    ledger.begin(&id(), Trace { name: Some("other".into()), ..agent() });
    let after = written(&mut ledger);
    assert_eq!(after[..3], [before[0].clone(), before[2].clone(), before[3].clone()]);
    assert_eq!(described(&after)[3], ("trace_started", "t".to_owned(), 5));
    assert!(after[3].contains("other"));
}

#[test]
fn a_step_that_was_told_as_begun_only_ends() {
    let mut ledger = connected();
    ledger.begin(&id(), agent());
    ledger.step_began(&id(), begun("a"));
    let first = written(&mut ledger);
    assert!(!first[1].contains("ended_at"));
    end_step(&mut ledger, &done("a"));
    assert_eq!(described(&written(&mut ledger)), [("span_ended", "a".to_owned(), 3)]);
}

#[test]
fn a_step_of_which_more_became_known_is_told_again() {
    let mut ledger = connected();
    ledger.begin(&id(), agent());
    ledger.step_began(&id(), begun("a"));
    written(&mut ledger);
    end_step(&mut ledger, &Span { input: Some(Json::text("in")), ..done("a") });
    let texts = written(&mut ledger);
    assert_eq!(described(&texts), [("span_started", "a".to_owned(), 3), ("span_ended", "a".to_owned(), 4)]);
    assert!(texts[0].contains(r#""input":"in""#));
    assert_eq!((ack(&mut ledger, 2), ack(&mut ledger, 4), ack(&mut ledger, 3)), (0, 0, 1), "the last telling counts");
}

#[test]
fn what_was_not_written_yet_is_said_once_and_as_it_is_known_by_then() {
    let mut ledger = connected();
    ledger.begin(&id(), agent());
    ledger.step_began(&id(), begun("a"));
    ledger.begin(&id(), Trace { name: Some("better".into()), ..agent() });
    end_step(&mut ledger, &Span { input: Some(Json::text("in")), ..done("a") });
    let texts = written(&mut ledger);
    assert_eq!(texts.len(), 3);
    assert!(texts[0].contains("better") && texts[1].contains(r#""input":"in""#));
}

#[test]
fn the_window_is_bounded_and_opens_with_acks() {
    let names: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    let mut ledger = recorded(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(written(&mut ledger).len(), WINDOW_FRAMES);
    ack(&mut ledger, 2);
    ack(&mut ledger, 999);
    assert_eq!(described(&written(&mut ledger)).iter().map(|(.., seq)| *seq).collect::<Vec<_>>(), [1_001, 1_002]);
    assert!(ledger.frames.confirmed_until().is_some());
}

#[test]
fn a_large_frame_gets_through_alone() {
    let mut ledger = connected();
    ledger.begin(&id(), agent());
    for name in ["a", "b"] {
        let large = Span { input: Some(Json::text(&"x".repeat(WINDOW_BYTES))), ..done(name) };
        end_step(&mut ledger, &large);
    }
    assert_eq!(written(&mut ledger).len(), 2);
    assert_eq!((ack(&mut ledger, 1), written(&mut ledger).len()), (0, 0));
    assert_eq!((ack(&mut ledger, 2), written(&mut ledger).len()), (0, 2));
}

#[test]
fn the_oldest_step_goes_first_and_the_run_says_so() {
    let mut ledger = recorded(&["a", "b"]);
    assert_eq!(ledger.drop_oldest_step(), Some(1));
    let texts = written(&mut ledger);
    assert_eq!(
        described(&texts).iter().map(|(kind, ..)| *kind).collect::<Vec<_>>(),
        ["trace_started", "span_started", "span_ended", "trace_ended"]
    );
    assert!(texts[1].contains(r#""b""#) && texts[3].contains(r#""lossy":true"#) && texts[3].contains(r#""seq":6"#));
    // Its end was sent without the mark, so it is sent again.
    let mut ledger = recorded(&["a", "b"]);
    written(&mut ledger);
    assert_eq!(ledger.drop_oldest_step(), Some(1));
    let again = written(&mut ledger);
    assert_eq!(described(&again), [("trace_ended", "t".to_owned(), 7)]);
    assert!(again[0].contains(r#""lossy":true"#));
    assert_eq!((ledger.drop_oldest_step(), ledger.drop_oldest_step(), ledger.pending()), (Some(1), None, 0));
}

#[test]
fn a_dropped_beginning_is_told_with_its_end() {
    let mut ledger = connected();
    ledger.begin(&id(), agent());
    ledger.step_began(&id(), begun("a"));
    assert_eq!(ledger.drop_oldest_step(), Some(0), "nothing is lost");
    end_step(&mut ledger, &done("a"));
    assert_eq!(written(&mut ledger).len(), 3);
}

#[test]
fn the_rest_of_a_run_is_what_was_not_confirmed() {
    let mut ledger = recorded(&["a", "b"]);
    written(&mut ledger);
    for seq in [1, 2, 3, 5] {
        ack(&mut ledger, seq);
    }
    ledger.hand_over(&id(), secs(1));
    let request = ledger.requests.values().next().unwrap();
    assert_eq!((request.begun, request.sources(), request.first_frame), (true, 1, Some(4)));
    let left: Vec<Span> = request.run().unwrap().spans().map(|span| span.read().unwrap()).collect();
    assert_eq!(left, [done("b")]);
    assert_eq!((ledger.stream_weight(), ledger.pending(), ledger.frames.is_empty()), (0, 1, true));
    assert!(ledger.hand_back(0, secs(1)));
    let kinds: Vec<_> = described(&written(&mut ledger)).into_iter().map(|(kind, id, _)| (kind, id)).collect();
    assert_eq!(
        kinds,
        [
            ("trace_started", "t".to_owned()),
            ("span_started", "b".to_owned()),
            ("span_ended", "b".to_owned()),
            ("trace_ended", "t".to_owned())
        ]
    );
}

#[test]
fn frames_read_back_as_what_was_told() {
    let mut ledger = recorded(&["a"]);
    let events: Vec<Event> = written(&mut ledger)
        .iter()
        .map(|text| match ClientFrame::parse(text).unwrap() {
            ClientFrame::Event { event, .. } => event,
            other => panic!("{other:?}"),
        })
        .collect();
    let [Event::TraceStarted(start), Event::SpanStarted(span), Event::SpanEnded(end), Event::TraceEnded(over)] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(**start, agent());
    assert_eq!(**span, done("a"));
    assert_eq!(Some(&**end), done("a").to_ended().as_ref());
    assert_eq!(
        (over.status, over.started_at.clone(), over.output.clone()),
        (Some(Status::Completed), Some(at(1)), Some(Json::null()))
    );
}

#[test]
fn without_a_stream_runs_are_collected() {
    let mut ledger = Ledger::new(Transport::Http, WIDE, 7);
    ledger.begin(&id(), agent());
    ledger.step_began(&id(), begun("a"));
    end_step(&mut ledger, &done("a"));
    ledger.step_began(&id(), begun("b"));
    assert!(ledger.next_frame(secs(0)).is_none() && ledger.over_runs().next().is_none());
    ledger.end(&id(), finished(), secs(0));
    assert_eq!(ledger.over_runs().count(), 1);
    ledger.hand_over(&id(), secs(0));
    let request = ledger.requests.values().next().unwrap();
    assert_eq!((request.begun, request.run().unwrap().spans().count(), request.sources()), (false, 2, 1));
}

#[test]
fn a_run_whose_beginning_was_dropped_is_still_a_run() {
    let mut ledger = connected();
    ledger.begin(&id(), agent());
    end_step(&mut ledger, &done("a"));
    assert_eq!(ledger.drop_oldest_run(), Some(1));
    end_step(&mut ledger, &done("b"));
    ledger.hand_over(&id(), secs(0));
    ledger.begin(&id(), agent());
    assert_eq!(ledger.run(&id()).unwrap().trace.lossy, Some(true));
    let trace = &ledger.requests.values().next().unwrap().run().unwrap().trace;
    assert_eq!((trace.missing_field(), trace.lossy, &trace.started_at), (None, Some(true), &Some(at(2))));
}

#[test]
fn what_the_receiver_refuses_is_not_said_again() {
    let mut ledger = recorded(&["a", "b"]);
    assert_eq!(ledger.refuse(3), None, "it was not written");
    written(&mut ledger);
    assert_eq!((ledger.refuse(3), ledger.refuse(3), ledger.pending()), (Some(1), None, 1));
    assert_eq!(ledger.refuse(1), Some(0), "no span depends on a beginning");
    ledger.frames.disconnected();
    let again = written(&mut ledger);
    assert_eq!(
        described(&again).iter().map(|(kind, ..)| *kind).collect::<Vec<_>>(),
        ["span_started", "span_ended", "trace_ended", "trace_ended"]
    );
    assert!(again[3].contains(r#""lossy":true"#));
}

#[test]
fn of_the_run_of_another_process_only_steps_are_said() {
    let mut ledger = connected();
    ledger.join(&id(), agent());
    ledger.step_began(&id(), begun("a"));
    end_step(&mut ledger, &done("a"));
    ledger.leave(&id(), finished(), secs(0));
    let texts = written(&mut ledger);
    assert_eq!(described(&texts), [("span_started", "a".to_owned(), 1), ("span_ended", "a".to_owned(), 2)]);
    // Another call of the same run comes before the first is confirmed.
    ledger.join(&id(), agent());
    assert_eq!(ack(&mut ledger, 1) + ack(&mut ledger, 2), 1);
    end_step(&mut ledger, &done("b"));
    assert_eq!(ledger.over_runs().count(), 0);
    ledger.leave(&id(), Trace { lossy: Some(true), ..finished() }, secs(1));
    assert_eq!(described(&written(&mut ledger)).len(), 2);
    assert_eq!(ack(&mut ledger, 3) + ack(&mut ledger, 4), 1);
    assert_eq!((ledger.streamed.len(), ledger.weight(), ledger.pending()), (0, 0, 0));
    assert_eq!(ledger.incomplete, [(id(), Some(1))], "nobody else says that it is not whole");
}

#[test]
fn what_is_left_of_the_run_of_another_process_is_what_it_would_be_alone() {
    let mut ledger = Ledger::new(Transport::Http, WIDE, 7);
    ledger.join(&id(), agent());
    end_step(&mut ledger, &done("a"));
    ledger.leave(&id(), finished(), secs(0));
    ledger.hand_over(&id(), secs(0));
    let request = ledger.requests.values().next().unwrap();
    let run = request.run().unwrap();
    assert!(request.is_joined() && run.trace.status == Some(Status::Completed) && run.spans().count() == 1);
}
