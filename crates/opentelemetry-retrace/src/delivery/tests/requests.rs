//! Requests: responses, retries, expiry and bounds, over HTTP alone.

use super::*;
use crate::delivery::request::Request;
use proptest::prelude::*;
use retrace_protocol::Json;

const LIMITS: LedgerLimits =
    LedgerLimits { bytes: 1 << 20, runs: 100, body_bytes: 1 << 20, in_flight: 4, keep: Duration::from_secs(60) };

fn trace(id: &str) -> Trace {
    Trace { status: Some(Status::Completed), output: Some(Json::text("done")), ..Trace::started(id.into(), at()) }
}

fn at() -> Timestamp {
    Timestamp::from_unix_micros(1)
}

fn spans(spans: usize, content: usize) -> Vec<EncodedSpan> {
    (0..spans)
        .map(|n| {
            let mut span = Span::new(Id::from(n.to_string()), "t".into(), SpanType::Action, "s", at());
            span.input = Some(Json::text(&"x".repeat(content)));
            EncodedSpan::new(span, 1, usize::MAX).unwrap()
        })
        .collect()
}

fn status(code: u16) -> Answer {
    Answer::Status { status: StatusCode::from_u16(code).unwrap(), retry_after: None, peer_message: None }
}

fn over_http() -> Ledger {
    Ledger::new(Transport::Http, LIMITS, 7)
}

/// Creates an ledger with one run of three spans, whose first attempt has this outcome.
fn answered(answer: Answer) -> Ledger {
    let mut ledger = over_http();
    ledger.push_run(trace("t"), spans(3, 10), false, secs(0));
    let sending = ledger.next_sending(secs(0)).unwrap();
    ledger.answer(sending.serial, answer, secs(0));
    ledger
}

#[test]
fn what_the_receiver_has_is_delivered() {
    let mut ledger = answered(status(201));
    assert_eq!((ledger.account.delivered, ledger.pending(), ledger.requests_weight), (3, 0, 0));
    assert_eq!(codes(&mut ledger), []);
}

#[test]
fn a_refusal_is_final_and_reported() {
    for (code, reason, signal) in [
        (400, LossReason::Rejected, SignalCode::Rejected),
        (307, LossReason::Rejected, SignalCode::Rejected),
        (501, LossReason::Rejected, SignalCode::Rejected),
        (401, LossReason::Unauthorized, SignalCode::Unauthorized),
        (402, LossReason::Rejected, SignalCode::CreditsExhausted),
    ] {
        let mut ledger = answered(status(code));
        assert_eq!((ledger.account.lost.by(reason), ledger.pending()), (3, 0), "{code}");
        assert_eq!(codes(&mut ledger), [signal], "{code}");
        assert!(!ledger.is_failing(), "the receiver answers");
    }
}

#[test]
fn the_words_of_the_receiver_go_to_the_callback_and_not_into_the_log() {
    let refused = Answer::Status {
        status: StatusCode::BAD_REQUEST,
        retry_after: None,
        peer_message: Some("missing field `started_at`".into()),
    };
    let notice = answered(refused).take_notices().remove(0);
    assert!(notice.signal().message.contains("started_at"), "{notice:?}");
    assert!(notice.text.contains("400") && !notice.text.contains("started_at"), "{notice:?}");
}

#[test]
fn a_passing_failure_is_tried_again_and_said_once() {
    let mut ledger = answered(status(503));
    assert_eq!(codes(&mut ledger), [SignalCode::Unreachable]);
    let mut now = secs(0);
    for _ in 0..5 {
        now = ledger.next_deadline(now).unwrap();
        let sending = ledger.next_sending(now).unwrap();
        ledger.answer(sending.serial, Answer::NotSent { cause: "refused".into() }, now);
        assert_eq!((ledger.pending(), codes(&mut ledger)), (3, vec![]));
    }
    now = ledger.next_deadline(now).unwrap();
    let sending = ledger.next_sending(now).unwrap();
    ledger.answer(sending.serial, status(201), now);
    assert_eq!(ledger.account.delivered, 3);
    assert!(!ledger.is_failing());
}

#[test]
fn in_an_outage_what_had_no_turn_is_given_up_too_and_nobody_wakes_for_it_before() {
    let mut ledger = answered(Answer::NotSent { cause: "refused".into() });
    for id in ["u", "v"] {
        ledger.push_run(trace(id), spans(1, 1), false, secs(1));
    }
    // A post that was tried expires by its own age; one from before the outage expires as long after the
    // outage began.
    let keep = LIMITS.keep;
    ledger.expire(keep);
    assert_eq!((ledger.account.lost.by(LossReason::Expired), ledger.pending()), (3, 2));
    assert_eq!(ledger.next_deadline(keep), Some(keep + secs(1)));
    ledger.expire(keep + secs(1));
    assert_eq!((ledger.account.lost.by(LossReason::Expired), ledger.pending()), (5, 0));
    assert_eq!(ledger.next_deadline(keep + secs(1)), None);
    // While a receiver answers, however slowly, no post expires.
    let mut ledger = answered(status(201));
    ledger.push_run(trace("u"), spans(1, 1), false, secs(1));
    ledger.expire(keep + secs(1));
    assert_eq!((ledger.pending(), ledger.next_deadline(keep + secs(1))), (1, None));
}

#[test]
fn nothing_is_sent_before_the_receiver_wants_it() {
    let mut ledger = answered(Answer::Status {
        status: StatusCode::TOO_MANY_REQUESTS,
        retry_after: Some(secs(7)),
        peer_message: None,
    });
    assert_eq!(codes(&mut ledger), [SignalCode::RateLimited]);
    ledger.push_run(trace("u"), spans(1, 1), false, secs(1));
    ledger.hurry(secs(1));
    assert!(ledger.next_sending(secs(6)).is_none());
    assert_eq!(ledger.next_deadline(secs(6)), Some(secs(7)));
    assert!(ledger.next_sending(secs(7)).is_some());
    assert!(ledger.next_sending(secs(7)).is_none(), "one attempt shows whether it is over");
}

#[test]
fn a_conflict_after_an_attempt_that_may_have_landed_is_a_delivery() {
    for first in [status(500), status(408), Answer::Broken { cause: "reset".into() }] {
        let mut ledger = answered(first.clone());
        let sending = ledger.next_sending(secs(30)).unwrap();
        ledger.answer(sending.serial, status(409), secs(30));
        assert_eq!((ledger.account.delivered, ledger.account.lost.total()), (3, 0), "{first:?}");
    }
}

#[test]
fn a_run_whose_id_is_taken_stands_alone_and_says_where_it_belongs() {
    for (first, running) in [
        (None, false),
        (None, true),
        (Some(status(429)), false),
        (Some(Answer::NotSent { cause: "refused".into() }), false),
    ] {
        let mut ledger = match first {
            Some(first) => answered(first),
            None => {
                let mut ledger = over_http();
                let status = if running { Status::Running } else { Status::Completed };
                ledger.push_run(Trace { status: Some(status), ..trace("t") }, spans(3, 10), false, secs(0));
                ledger
            }
        };
        ledger.take_notices();
        let sending = ledger.next_sending(secs(30)).unwrap();
        ledger.answer(sending.serial, status(409), secs(30));
        assert_eq!((codes(&mut ledger), ledger.pending()), (vec![SignalCode::Conflict], 3));
        let sending = ledger.next_sending(secs(30)).unwrap();
        let sent: Trace = serde_json::from_str(&sending.body.to_text()).unwrap();
        assert_eq!((sending.method, sent.id.as_ref()), (Method::Create, Some(&sending.id)));
        assert!(sending.id != "t".into() && sent.spans.unwrap().iter().all(|span| span.trace_id == sending.id));
        assert!(sent.metadata.unwrap().as_str().contains(r#""continues":"t""#));
        ledger.answer(sending.serial, status(201), secs(30));
        assert_eq!((ledger.account.delivered, ledger.account.lost.total()), (3, 0));
    }
}

#[test]
fn a_run_that_cannot_stand_alone_either_ends_by_patch_and_counts_its_spans() {
    let mut ledger = over_http();
    ledger.push_run(trace("t"), spans(3, 10), false, secs(0));
    for _ in 0..2 {
        let sending = ledger.next_sending(secs(0)).unwrap();
        ledger.answer(sending.serial, status(409), secs(0));
    }
    let sending = ledger.next_sending(secs(0)).unwrap();
    assert_eq!((sending.method, &sending.id), (Method::Patch, &Id::from("t")));
    let patch: serde_json::Value = serde_json::from_str(&sending.body.to_text()).unwrap();
    assert_eq!(
        patch,
        serde_json::json!({"status": "completed", "output": "done", "total_tokens": 0, "total_cost": 0.0,
            "total_duration_ms": 0, "lossy": true})
    );
    ledger.answer(sending.serial, status(200), secs(0));
    assert_eq!((ledger.account.delivered, ledger.account.lost.by(LossReason::Conflict)), (0, 3));
}

#[test]
fn steps_of_the_run_of_another_process_say_so_and_stand_alone_where_they_are_not_taken() {
    for earlier in [None, Some(status(500))] {
        let mut ledger = over_http();
        ledger.push_run(trace("0af76519-16cd-43dd-8448-eb211c80319c"), spans(2, 10), true, secs(0));
        if let Some(earlier) = earlier {
            let sending = ledger.next_sending(secs(0)).unwrap();
            ledger.answer(sending.serial, earlier, secs(0));
        }
        let sending = ledger.next_sending(secs(30)).unwrap();
        let body: serde_json::Value = serde_json::from_str(&sending.body.to_text()).unwrap();
        assert_eq!((&body["status"], &body["ended_at"]), (&"running".into(), &serde_json::Value::Null));
        assert_eq!(body["metadata"]["otel"]["joined"], true);
        assert_eq!(body["spans"].as_array().unwrap().len(), 2);
        // It is unknown whether the receiver has them, or only the run of the other process.
        ledger.answer(sending.serial, status(409), secs(30));
        let sending = ledger.next_sending(secs(30)).unwrap();
        let alone: serde_json::Value = serde_json::from_str(&sending.body.to_text()).unwrap();
        assert_eq!((&alone["status"], &alone["output"]), (&"completed".into(), &"done".into()));
        assert_eq!(alone["metadata"]["otel"]["continues"], "0af76519-16cd-43dd-8448-eb211c80319c");
        ledger.answer(sending.serial, status(201), secs(30));
        assert_eq!((ledger.account.delivered, ledger.account.lost.total()), (2, 0));
    }
}

#[test]
fn a_run_that_is_too_large_is_shortened_until_it_fits() {
    let mut ledger = over_http();
    ledger.push_run(trace("t"), spans(3, 100_000), false, secs(0));
    let mut last = u64::MAX;
    loop {
        let sending = ledger.next_sending(secs(0)).unwrap();
        assert!(sending.body.length() < last);
        last = sending.body.length();
        let fits = last <= 20_000;
        ledger.answer(sending.serial, status(if fits { 201 } else { 413 }), secs(0));
        if fits {
            break;
        }
    }
    assert_eq!((ledger.account.delivered, ledger.account.lost.total()), (3, 0));
    assert_eq!(codes(&mut ledger), [SignalCode::TooLarge]);
}

#[test]
fn a_receiver_that_takes_no_size_gets_nothing() {
    let mut ledger = over_http();
    ledger.push_run(trace("t"), spans(50, 1_000), false, secs(0));
    while let Some(sending) = ledger.next_sending(secs(0)) {
        ledger.answer(sending.serial, status(413), secs(0));
    }
    assert!(ledger.is_empty());
    assert_eq!(ledger.account.lost.by(LossReason::TooLarge), 50);
}

#[test]
fn a_run_beyond_the_limit_is_shortened_before_it_is_sent() {
    let mut ledger = Ledger::new(Transport::Http, LedgerLimits { body_bytes: 10_000, ..LIMITS }, 7);
    ledger.push_run(trace("t"), spans(3, 100_000), false, secs(0));
    assert!(ledger.next_sending(secs(0)).unwrap().body.length() <= 10_000);
}

#[test]
fn the_oldest_spans_go_first_and_their_traces_stay() {
    let mut ledger = Ledger::new(Transport::Http, LedgerLimits { bytes: 20_000, ..LIMITS }, 7);
    for n in 0..10 {
        ledger.push_run(trace(&n.to_string()), spans(2, 2_000), false, secs(n));
        assert!(ledger.requests_weight <= 20_000);
    }
    assert_eq!(ledger.pending() + ledger.account.lost.by(LossReason::BufferFull), 20);
    assert!(codes(&mut ledger).contains(&SignalCode::SpansLost));
    let first: Trace = serde_json::from_str(&ledger.next_sending(secs(10)).unwrap().body.to_text()).unwrap();
    assert_eq!((first.id, first.lossy, first.spans), (Some("0".into()), Some(true), Some(vec![])));
    assert_eq!(first.output, Some(Json::text("done")));
}

#[test]
fn even_traces_are_bounded() {
    let mut ledger = Ledger::new(Transport::Http, LedgerLimits { bytes: 20_000, runs: 5, ..LIMITS }, 7);
    for n in 0..100 {
        ledger.push_run(
            Trace { input: Some(Json::text(&"x".repeat(9_000))), ..trace(&n.to_string()) },
            spans(1, 1),
            false,
            secs(n),
        );
        assert!(ledger.requests_weight <= 20_000 && ledger.requests.len() <= 5);
    }
    assert_eq!(ledger.pending() + ledger.account.lost.total(), 100);
}

#[test]
fn what_waits_too_long_is_given_up_after_it_was_tried() {
    let mut ledger = answered(status(503));
    ledger.expire(secs(59));
    assert_eq!(ledger.pending(), 3);
    ledger.expire(secs(60));
    assert_eq!((ledger.account.lost.by(LossReason::Expired), ledger.is_empty()), (3, true));
    let mut never_tried = over_http();
    never_tried.push_run(trace("t"), spans(1, 1), false, secs(0));
    never_tried.expire(secs(3_600));
    assert_eq!(never_tried.pending(), 1);
}

#[test]
fn a_change_waits_for_the_run_it_changes() {
    let mut ledger = over_http();
    ledger.push_run(trace("t"), spans(1, 1), false, secs(0));
    ledger.push_patch("t".into(), TracePatch { lossy: Some(true), ..TracePatch::default() }, secs(0));
    ledger.push_run(trace("u"), spans(1, 1), false, secs(0));
    let (first, second) = (ledger.next_sending(secs(0)).unwrap(), ledger.next_sending(secs(0)).unwrap());
    assert_eq!((first.id, second.id), ("t".into(), "u".into()));
    assert!(ledger.next_sending(secs(0)).is_none());
    ledger.answer(first.serial, status(201), secs(0));
    let third = ledger.next_sending(secs(0)).unwrap();
    assert_eq!((third.method, third.body.to_text().as_str()), (Method::Patch, r#"{"lossy":true}"#));
}

#[test]
fn requests_of_a_worker_that_is_gone_are_made_again() {
    let mut ledger = over_http();
    ledger.push_run(trace("t"), spans(1, 1), false, secs(0));
    ledger.next_sending(secs(0)).unwrap();
    ledger.forget_requests();
    let again = ledger.next_sending(secs(0)).unwrap();
    ledger.answer(again.serial, status(409), secs(0));
    assert_eq!(ledger.account.delivered, 1);
}

proptest! {
    /// P13: after any sequence of steps, every span that was added is delivered, lost for a reason, or still
    /// held.
    #[test]
    fn pain_13_the_sum_holds_whatever_happens(steps in prop::collection::vec((0_u8..14, 0_usize..2_500, 1_u64..40), 1..120)) {
        let limits = LedgerLimits { bytes: 30_000, runs: 8, body_bytes: 9_000, in_flight: 3, keep: secs(200) };
        let mut ledger = Ledger::new(Transport::Http, limits, 11);
        let (mut accepted, mut now, mut serials) = (0, secs(0), Vec::new());
        for (n, (step, size, pause)) in steps.into_iter().enumerate() {
            match step {
                0..=3 => {
                    let count = size % 5;
                    accepted += count as u64;
                    let status = if size % 7 == 0 { Status::Running } else { Status::Completed };
                    ledger.push_run(Trace { status: Some(status), ..trace(&n.to_string()) }, spans(count, size), false, now);
                }
                4 => ledger.push_patch(n.to_string().into(), TracePatch::default(), now),
                5..=7 => serials.extend(ledger.next_sending(now).map(|sending| sending.serial)),
                8..=11 => if let Some(serial) = serials.pop() {
                    let code = [200, 201, 409, 413, 503, 429, 400, 401, 404, 500][size % 10];
                    ledger.answer(serial, if size % 11 == 0 { Answer::Broken { cause: String::new() } } else { status(code) }, now);
                },
                12 => now += secs(pause),
                _ => ledger.expire(now),
            }
            prop_assert_eq!(ledger.account.delivered + ledger.account.lost.total() + ledger.pending(), accepted);
            prop_assert_eq!(ledger.pending(), ledger.count_spans(), "the count is what is there");
            let in_flight: usize = ledger.requests.values().filter(|request| request.in_flight).map(Request::weight).sum();
            prop_assert!(ledger.requests_weight <= limits.bytes + in_flight);
            prop_assert_eq!(ledger.requests_weight, ledger.requests.values().map(Request::weight).sum::<usize>());
            prop_assert_eq!(ledger.in_flight, ledger.requests.values().filter(|request| request.in_flight).count());
        }
        ledger.abandon_requests(LossReason::Shutdown, "the end");
        prop_assert_eq!(ledger.account.delivered + ledger.account.lost.total(), accepted);
    }
}

#[test]
fn what_closes_a_run_that_the_receiver_shows_as_open_goes_last() {
    let mut ledger = Ledger::new(Transport::Http, LedgerLimits { runs: 3, ..LIMITS }, 7);
    let patch = TracePatch { lossy: Some(true), ..TracePatch::default() };
    ledger.push_patch("open".into(), patch, secs(0));
    for run in ["a", "b", "c", "d"] {
        ledger.push_run(trace(run), Vec::new(), false, secs(0));
    }
    let left: Vec<String> = ledger.requests.values().map(|request| request.id.to_string()).collect();
    assert_eq!(left, ["open", "c", "d"]);
}
