mod frames;
mod net;
mod requests;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use retrace_protocol::{
    Ack, ClientFrame, Event, Id, ServerFrame, SignalCode, Span, SpanType, Status, Timestamp, Trace, TracePatch,
};

use super::*;
use crate::config::Transport;
use crate::stats::LossReason;

const LIMITS: LedgerLimits =
    LedgerLimits { bytes: 1 << 22, runs: 100, body_bytes: 1 << 20, in_flight: 4, keep: Duration::from_secs(900) };

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn at(micros: u64) -> Timestamp {
    Timestamp::from_unix_micros(micros)
}

fn trace(run: &Id) -> Trace {
    Trace::started(run.clone(), at(1))
}

fn span(run: &Id, n: usize) -> Span {
    Span::new(Id::from(format!("{run}-{n}")), run.clone(), SpanType::ToolCall, "s", at(2))
}

fn closed(reason: CloseReason) -> Closed {
    Closed { reason, cause: "gone".to_owned(), peer_message: None }
}

fn codes(ledger: &mut Ledger) -> Vec<SignalCode> {
    ledger.take_notices().into_iter().map(|notice| notice.code).collect()
}

/// Creates a ledger with one ended run of two steps.
fn with_run(transport: Transport) -> Ledger {
    let mut ledger = Ledger::new(transport, LIMITS, 7);
    record_whole(&mut ledger, &"t".into(), 2, secs(0));
    ledger
}

fn record_whole(ledger: &mut Ledger, run: &Id, steps: usize, now: Duration) {
    ledger.begin(run, trace(run));
    for n in 0..steps {
        let span = Span { ended_at: Some(at(3)), ..span(run, n) };
        ledger.step_ended(run, span, 1);
    }
    ledger.end(run, ended(run, steps), now);
    ledger.advance(now);
}

fn ended(run: &Id, steps: usize) -> Trace {
    Trace { status: Some(Status::Completed), ended_at: Some(at(9)), span_count: Some(steps as u64), ..trace(run) }
}

fn open(ledger: &mut Ledger, now: Duration) {
    assert!(ledger.wants_link(now));
    ledger.link_opening();
    ledger.link_opened();
}

/// Data that the receiver has of a run.
#[derive(Debug, Default)]
struct Stored {
    over_stream: bool,
    status: Option<Status>,
    lossy: bool,
    /// True for the start and the end of each span that is stored.
    spans: BTreeMap<String, (bool, bool)>,
}

/// Receiver that follows PROTOCOL.md. A strict one rejects a `POST` of a run that it knows already.
#[derive(Debug, Default)]
struct Receiver {
    strict: bool,
    runs: BTreeMap<String, Stored>,
}

impl Receiver {
    fn read(&mut self, text: &[u8]) -> Ack {
        let text = std::str::from_utf8(text).unwrap();
        let ClientFrame::Event { event, seq } = ClientFrame::parse(text).unwrap() else { panic!("{text}") };
        let run = self.runs.entry(event.trace_id().unwrap().to_string()).or_default();
        run.over_stream = true;
        match &event {
            Event::TraceStarted(_) => drop(run.status.get_or_insert(Status::Running)),
            Event::TraceEnded(end) => {
                run.status = end.status;
                run.lossy |= end.lossy == Some(true);
            }
            Event::SpanStarted(span) => {
                let stored = run.spans.entry(span.id.to_string()).or_default();
                stored.0 = true;
                stored.1 |= span.ended_at.is_some();
            }
            Event::SpanEnded(end) => run.spans.entry(end.id.to_string()).or_default().1 = true,
        }
        Ack::new(event.id().unwrap().to_string(), seq)
    }

    fn request(&mut self, sending: &Sending) -> u16 {
        let id = sending.id.to_string();
        match sending.method {
            Method::Create => {
                let posted: Trace = serde_json::from_str(&sending.body.to_text()).unwrap();
                let known = self.runs.get(&id);
                let merges =
                    known.is_some_and(|run| run.over_stream && run.status.is_none_or(|s| s == Status::Running));
                if known.is_some() && (self.strict || !merges) {
                    return 409;
                }
                let run = self.runs.entry(id).or_default();
                run.status = posted.status;
                run.lossy |= posted.lossy == Some(true);
                for span in posted.spans.unwrap() {
                    run.spans.insert(span.id.to_string(), (true, span.ended_at.is_some()));
                }
                201
            }
            Method::Patch => {
                let patch: TracePatch = serde_json::from_str(&sending.body.to_text()).unwrap();
                let Some(run) = self.runs.get_mut(&id) else { return 404 };
                run.status = patch.status.or(run.status);
                run.lossy |= patch.lossy == Some(true);
                200
            }
        }
    }

    fn whole_spans(&self) -> u64 {
        self.runs.values().flat_map(|run| run.spans.values()).filter(|(start, end)| *start && *end).count() as u64
    }
}

fn answer(ledger: &mut Ledger, serial: u64, status: u16, now: Duration) {
    let status = StatusCode::from_u16(status).unwrap();
    ledger.answer(serial, Answer::Status { status, retry_after: None, peer_message: None }, now);
    ledger.advance(now);
}

/// Makes and answers every request that is due.
fn request_all(ledger: &mut Ledger, receiver: &mut Receiver, now: Duration) -> Vec<Method> {
    let mut methods = Vec::new();
    while let Some(sending) = ledger.next_sending(now) {
        methods.push(sending.method);
        let status = receiver.request(&sending);
        answer(ledger, sending.serial, status, now);
    }
    methods
}

/// Writes, reads and confirms every frame.
fn stream_all(ledger: &mut Ledger, receiver: &mut Receiver, now: Duration) -> usize {
    let mut frames = 0;
    while let Some(text) = ledger.next_frame(now) {
        frames += 1;
        let ack = receiver.read(&text);
        ledger.frame(ServerFrame::Ack(ack), now);
    }
    frames
}

#[test]
fn auto_streams_while_it_can() {
    let mut ledger = with_run(Transport::Auto);
    let mut receiver = Receiver::default();
    assert!(ledger.next_sending(secs(0)).is_none() && ledger.next_frame(secs(0)).is_none());
    open(&mut ledger, secs(0));
    assert_eq!(stream_all(&mut ledger, &mut receiver, secs(0)), 6);
    assert_eq!((ledger.account.delivered, ledger.pending(), ledger.is_empty()), (2, 0, true));
    assert_eq!(receiver.runs["t"].status, Some(Status::Completed));
}

#[test]
fn auto_requests_when_there_is_no_stream_and_returns_later() {
    let mut ledger = with_run(Transport::Auto);
    let mut receiver = Receiver::default();
    ledger.link_opening();
    ledger.link_closed(closed(CloseReason::NotConnected), secs(0));
    ledger.advance(secs(0));
    assert_eq!(request_all(&mut ledger, &mut receiver, secs(0)), [Method::Create]);
    assert_eq!(ledger.account.delivered, 2);
    assert!(codes(&mut ledger).is_empty() && ledger.take_remarks().len() == 1, "worth a line, not an alarm");
    assert!(ledger.policy.is_by_request());
    ledger.push_run(ended(&"u".into(), 0), Vec::new(), false, secs(40));
    open(&mut ledger, secs(40));
    assert!(!ledger.policy.is_by_request() && ledger.take_remarks().len() == 1);
}

#[test]
fn a_run_begun_on_the_stream_is_completed_by_request() {
    let mut ledger = Ledger::new(Transport::Auto, LIMITS, 7);
    let (mut receiver, run) = (Receiver::default(), Id::from("t"));
    ledger.begin(&run, trace(&run));
    ledger.step_ended(&run, Span { ended_at: Some(at(3)), ..span(&run, 0) }, 1);
    open(&mut ledger, secs(0));
    stream_all(&mut ledger, &mut receiver, secs(0));
    ledger.link_closed(closed(CloseReason::Lost), secs(1));
    ledger.link_opening();
    ledger.link_closed(closed(CloseReason::NotConnected), secs(2));
    ledger.advance(secs(2));
    assert!(ledger.next_sending(secs(2)).is_none(), "it has not ended");
    ledger.step_ended(&run, Span { ended_at: Some(at(4)), ..span(&run, 1) }, 1);
    ledger.end(&run, ended(&run, 2), secs(3));
    ledger.advance(secs(3));
    assert_eq!(request_all(&mut ledger, &mut receiver, secs(3)), [Method::Create]);
    let stored = &receiver.runs["t"];
    assert_eq!((stored.status, stored.lossy, receiver.whole_spans()), (Some(Status::Completed), false, 2));
    assert_eq!(ledger.account.delivered, 2);
}

#[test]
fn of_a_run_that_only_lacks_its_end_the_end_is_patched() {
    let mut ledger = Ledger::new(Transport::Auto, LIMITS, 7);
    let (mut receiver, run) = (Receiver { strict: true, ..Receiver::default() }, Id::from("t"));
    ledger.begin(&run, trace(&run));
    ledger.step_ended(&run, Span { ended_at: Some(at(3)), ..span(&run, 0) }, 1);
    open(&mut ledger, secs(0));
    stream_all(&mut ledger, &mut receiver, secs(0));
    ledger.end(&run, ended(&run, 1), secs(1));
    ledger.link_closed(closed(CloseReason::NoStream), secs(1));
    ledger.advance(secs(1));
    assert_eq!(request_all(&mut ledger, &mut receiver, secs(1)), [Method::Patch]);
    assert_eq!((receiver.runs["t"].status, receiver.runs["t"].lossy), (Some(Status::Completed), false));
}

#[test]
fn what_a_strict_receiver_does_not_take_by_request_waits_for_the_stream() {
    let mut ledger = with_run(Transport::Auto);
    let mut receiver = Receiver { strict: true, ..Receiver::default() };
    open(&mut ledger, secs(0));
    // The beginning arrives, and then the connection is lost.
    let first = ledger.next_frame(secs(0)).unwrap();
    receiver.read(&first);
    ledger.link_closed(closed(CloseReason::NoStream), secs(0));
    ledger.advance(secs(0));
    assert_eq!(request_all(&mut ledger, &mut receiver, secs(0)), [Method::Create]);
    ledger.advance(secs(0));
    assert_eq!((ledger.pending(), ledger.account.lost.total()), (2, 0), "nothing is lost");
    open(&mut ledger, secs(61));
    stream_all(&mut ledger, &mut receiver, secs(61));
    assert_eq!((receiver.whole_spans(), ledger.account.delivered, ledger.is_empty()), (2, 2, true));
}

#[test]
fn a_run_without_an_end_says_what_it_lost_when_all_of_it_is_told() {
    let mut ledger = Ledger::new(Transport::Ws, LIMITS, 7);
    let (mut receiver, run) = (Receiver::default(), Id::from("t"));
    ledger.begin(&run, trace(&run));
    ledger.end(&run, Trace { lossy: Some(true), ..trace(&run) }, secs(0));
    open(&mut ledger, secs(0));
    let mark = ledger.mark();
    stream_all(&mut ledger, &mut receiver, secs(0));
    ledger.advance(secs(0));
    assert!(!ledger.is_done_before(mark), "who waits for the run waits for that too");
    assert_eq!(request_all(&mut ledger, &mut receiver, secs(0)), [Method::Patch]);
    assert!(receiver.runs["t"].lossy && ledger.is_done_before(mark) && ledger.is_empty());
}

#[test]
fn a_run_that_is_dropped_when_some_of_it_is_out_says_so() {
    let recorded = |frames: usize, arrived: usize| {
        let mut ledger = Ledger::new(Transport::Ws, LIMITS, 7);
        let (mut receiver, run) = (Receiver::default(), Id::from("t"));
        ledger.begin(&run, trace(&run));
        ledger.step_began(&run, span(&run, 0));
        open(&mut ledger, secs(0));
        for text in
            std::iter::from_fn(|| ledger.next_frame(secs(0))).take(frames).collect::<Vec<_>>().iter().take(arrived)
        {
            receiver.read(text);
        }
        assert_eq!(ledger.drop_oldest_run(), Some(0));
        let mark = ledger.mark();
        // More of the run follows: its change waits for that, but a flush waits for neither.
        ledger.step_began(&run, span(&run, 1));
        ledger.advance(secs(0));
        assert_eq!(request_all(&mut ledger, &mut receiver, secs(0)), []);
        assert!(ledger.is_done_before(mark));
        assert_eq!(ledger.drop_oldest_run(), Some(0));
        ledger.advance(secs(0));
        let requests = request_all(&mut ledger, &mut receiver, secs(0));
        assert!(ledger.is_empty() && codes(&mut ledger).is_empty());
        (receiver.runs.get("t").map(|run| run.lossy), requests)
    };
    assert_eq!(recorded(2, 2), (Some(true), vec![Method::Patch]));
    assert_eq!(recorded(2, 0), (None, vec![Method::Patch]), "what did not arrive is no news");
    assert_eq!(recorded(0, 0), (None, vec![]));
}

#[test]
fn a_run_that_is_open_at_the_end_says_what_it_lost_without_waiting() {
    let mut ledger = Ledger::new(Transport::Ws, LIMITS, 7);
    let (mut receiver, run) = (Receiver::default(), Id::from("t"));
    ledger.begin(&run, trace(&run));
    ledger.step_began(&run, span(&run, 0));
    open(&mut ledger, secs(0));
    stream_all(&mut ledger, &mut receiver, secs(0));
    ledger.mark_lossy(&run);
    ledger.close(secs(1), secs(6));
    ledger.advance(secs(1));
    assert_eq!(request_all(&mut ledger, &mut receiver, secs(1)), [Method::Patch]);
    let stored = &receiver.runs["t"];
    assert_eq!((stored.status, stored.lossy, ledger.is_empty()), (Some(Status::Running), true, true));
}

/// Creates a run whose beginning the receiver has, back on the stream after a strict receiver rejected the
/// remainder.
fn with_run_only_for_the_stream(receiver: &mut Receiver) -> Ledger {
    let mut ledger = with_run(Transport::Auto);
    open(&mut ledger, secs(0));
    receiver.read(&ledger.next_frame(secs(0)).unwrap());
    for _ in 0..3 {
        ledger.link_closed(closed(CloseReason::Lost), secs(0));
        ledger.link_opening();
    }
    ledger.link_closed(closed(CloseReason::Lost), secs(0));
    ledger.advance(secs(0));
    assert_eq!(request_all(&mut ledger, receiver, secs(0)), [Method::Create]);
    ledger
}

#[test]
fn who_waits_for_a_run_waits_for_the_stream_that_alone_can_take_it() {
    let mut receiver = Receiver { strict: true, ..Receiver::default() };
    let mut ledger = with_run_only_for_the_stream(&mut receiver);
    let mark = ledger.mark();
    assert!(!ledger.is_done_before(mark) && !ledger.wants_link(secs(59)), "left alone");
    ledger.hurry(secs(1));
    open(&mut ledger, secs(1));
    assert!(!ledger.is_done_before(mark));
    stream_all(&mut ledger, &mut receiver, secs(1));
    assert!(ledger.is_done_before(mark));
    assert_eq!((receiver.whole_spans(), ledger.account.delivered), (2, 2));
}

#[test]
fn a_shutdown_tries_the_stream_before_it_gives_up_what_nothing_else_can_take() {
    for comes_back in [true, false] {
        let mut receiver = Receiver { strict: true, ..Receiver::default() };
        let mut ledger = with_run_only_for_the_stream(&mut receiver);
        ledger.close(secs(1), secs(6));
        ledger.advance(secs(1));
        assert!(ledger.next_sending(secs(1)).is_none() && ledger.account.lost.total() == 0);
        if comes_back {
            open(&mut ledger, secs(1));
            stream_all(&mut ledger, &mut receiver, secs(1));
        } else {
            for now in [secs(1), secs(2)] {
                assert!(ledger.wants_link(now));
                ledger.link_opening();
                ledger.link_closed(closed(CloseReason::NotConnected), now);
                ledger.advance(now);
            }
            assert_eq!(request_all(&mut ledger, &mut receiver, secs(2)), [Method::Create, Method::Patch]);
        }
        let expected = if comes_back { (2, 0) } else { (0, 2) };
        let account = &ledger.account;
        assert_eq!((account.delivered, account.lost.by(LossReason::Conflict)), expected);
        assert!(ledger.is_empty());
    }
}

#[test]
fn a_connection_lost_just_before_the_end_is_made_again() {
    let mut ledger = with_run(Transport::Ws);
    let mut receiver = Receiver { strict: true, ..Receiver::default() };
    open(&mut ledger, secs(0));
    receiver.read(&ledger.next_frame(secs(0)).unwrap());
    ledger.link_closed(closed(CloseReason::Lost), secs(0));
    ledger.hurry(secs(0));
    ledger.close(secs(0), secs(5));
    ledger.advance(secs(0));
    open(&mut ledger, secs(0));
    stream_all(&mut ledger, &mut receiver, secs(0));
    assert_eq!((ledger.account.delivered, ledger.account.lost.total()), (2, 0));
}

#[test]
fn a_change_of_a_run_goes_after_the_run_whichever_was_put_in_first() {
    let mut ledger = with_run(Transport::Auto);
    let mut receiver = Receiver::default();
    ledger.link_opening();
    ledger.link_closed(closed(CloseReason::NotConnected), secs(0));
    ledger.push_patch("t".into(), TracePatch { lossy: Some(true), ..TracePatch::default() }, secs(0));
    ledger.advance(secs(0));
    assert_eq!(request_all(&mut ledger, &mut receiver, secs(0)), [Method::Create, Method::Patch]);
    assert!(receiver.runs["t"].lossy && codes(&mut ledger).is_empty());
}

#[test]
fn at_the_end_the_rest_goes_by_request_and_what_is_refused_is_counted() {
    for strict in [false, true] {
        let mut ledger = with_run(Transport::Ws);
        let mut receiver = Receiver { strict, ..Receiver::default() };
        open(&mut ledger, secs(0));
        let first = ledger.next_frame(secs(0)).unwrap();
        receiver.read(&first);
        ledger.close(secs(0), secs(5));
        ledger.advance(secs(2));
        assert!(ledger.next_sending(secs(2)).is_none(), "it may still be confirmed");
        ledger.advance(secs(3));
        request_all(&mut ledger, &mut receiver, secs(3));
        let account = &ledger.account;
        let expected = if strict { (0, 2) } else { (2, 0) };
        assert_eq!((account.delivered, account.lost.by(LossReason::Conflict)), expected);
        let stored = &receiver.runs["t"];
        assert_eq!((stored.status, stored.lossy), (Some(Status::Completed), strict));
    }
}

#[test]
fn a_rejected_key_is_final_and_said_once() {
    let mut ledger = with_run(Transport::Ws);
    ledger.link_opening();
    ledger.link_closed(closed(CloseReason::Unauthorized), secs(0));
    record_whole(&mut ledger, &"u".into(), 3, secs(1));
    ledger.push_run(ended(&"v".into(), 0), Vec::new(), false, secs(1));
    ledger.advance(secs(1));
    assert_eq!(ledger.account.lost.by(LossReason::Unauthorized), 5);
    assert_eq!(codes(&mut ledger), [SignalCode::Unauthorized, SignalCode::SpansLost]);
    assert!(!ledger.wants_link(secs(1_000)) && ledger.next_sending(secs(1_000)).is_none());
}

#[test]
fn a_receiver_without_a_stream_is_told_of_once_when_there_is_no_other_way() {
    for reason in [CloseReason::NoStream, CloseReason::NotConnected] {
        let mut ledger = with_run(Transport::Ws);
        for now in [secs(0), secs(100)] {
            assert!(ledger.wants_link(now));
            ledger.link_opening();
            ledger.link_closed(closed(reason), now);
            assert!(ledger.is_failing(), "{reason:?}");
        }
        assert_eq!(codes(&mut ledger), [SignalCode::Unreachable], "{reason:?}");
        assert_eq!(ledger.pending(), 2);
    }
}

#[test]
fn a_run_without_an_end_is_told_as_running_at_the_end() {
    for (transport, lossy) in [(Transport::Http, false), (Transport::Ws, true)] {
        let mut ledger = Ledger::new(transport, LIMITS, 7);
        let (mut receiver, run) = (Receiver::default(), Id::from("t"));
        ledger.begin(&run, trace(&run));
        ledger.step_began(&run, span(&run, 0));
        ledger.step_ended(&run, Span { ended_at: Some(at(3)), ..span(&run, 1) }, 1);
        if transport == Transport::Ws {
            open(&mut ledger, secs(0));
            receiver.read(&ledger.next_frame(secs(0)).unwrap());
            ledger.link_closed(closed(CloseReason::Lost), secs(0));
        }
        ledger.close(secs(1), secs(3));
        ledger.advance(secs(2));
        request_all(&mut ledger, &mut receiver, secs(2));
        let stored = &receiver.runs["t"];
        assert_eq!((stored.status, stored.lossy, stored.spans.len()), (Some(Status::Running), lossy, 2));
        assert!(ledger.is_empty());
    }
}

#[test]
fn a_receiver_that_confirms_nothing_is_given_up() {
    let mut ledger = with_run(Transport::Auto);
    open(&mut ledger, secs(0));
    while ledger.next_frame(secs(0)).is_some() {}
    assert!(ledger.gives_up_link(secs(29)).is_none());
    assert_eq!(ledger.next_deadline(secs(0)), Some(secs(30)));
    assert_eq!(ledger.gives_up_link(secs(30)).map(|closed| closed.reason), Some(CloseReason::Lost));
}

#[test]
fn a_frame_that_the_receiver_refuses_is_lost_and_told() {
    let mut ledger = with_run(Transport::Ws);
    open(&mut ledger, secs(0));
    while ledger.next_frame(secs(0)).is_some() {}
    for (text, lost) in [
        (r#"{"type":"error","error":"span_type: unknown","seq":3}"#, 1),
        (r#"{"type":"error","error":"span_type: unknown","seq":3}"#, 1),
        (r#"{"type":"error","error":"Rate limit exceeded"}"#, 1),
    ] {
        ledger.frame(ServerFrame::parse(text).unwrap(), secs(0));
        assert_eq!(ledger.account.lost.by(LossReason::Rejected), lost);
    }
    assert_eq!(ledger.pending(), 1);
    assert_eq!(codes(&mut ledger), [SignalCode::Error, SignalCode::Error, SignalCode::RateLimited]);
}

#[test]
fn everything_that_waits_is_bounded_together() {
    let limits = LedgerLimits { bytes: 40_000, ..LIMITS };
    let mut ledger = Ledger::new(Transport::Auto, limits, 7);
    let mut recorded = 0;
    for n in 0..200 {
        record_whole(&mut ledger, &Id::from(n.to_string()), 5, secs(0));
        recorded += 5;
        if n == 100 {
            ledger.link_opening();
            ledger.link_closed(closed(CloseReason::NotConnected), secs(0));
            ledger.advance(secs(0));
        }
        assert!(ledger.weight() <= 40_000);
        assert_eq!(ledger.pending() + ledger.account.lost.total(), recorded);
    }
    assert!(ledger.account.lost.by(LossReason::BufferFull) > 0);
}

#[test]
fn a_shutdown_waits_a_second_for_a_receiver_that_was_never_reached() {
    for transport in [Transport::Auto, Transport::Http, Transport::Ws] {
        let mut ledger = with_run(transport);
        let fail = |ledger: &mut Ledger| {
            if ledger.wants_link(secs(0)) {
                ledger.link_opening();
                ledger.link_closed(closed(CloseReason::NotConnected), secs(0));
            }
            ledger.advance(secs(0));
            while let Some(sending) = ledger.next_sending(secs(0)) {
                ledger.answer(sending.serial, Answer::NotSent { cause: "refused".to_owned() }, secs(0));
            }
        };
        fail(&mut ledger);
        ledger.close(secs(0), secs(5));
        let almost = Duration::from_millis(999);
        ledger.advance(almost);
        assert_eq!(ledger.pending(), 2, "{transport:?}");
        assert!(ledger.next_deadline(almost).unwrap() <= secs(1));
        ledger.advance(secs(1));
        assert_eq!((ledger.pending(), ledger.account.lost.by(LossReason::Shutdown)), (0, 2));
        let notices = ledger.take_notices();
        let text = &notices.last().unwrap().text;
        assert!(text.contains("never reached") && text.contains("RETRACE_SPOOL_DIR"), "{text}");
    }
}

/// As under the SDK's batch processor, whose export has waited four seconds of five before the shutdown begins.
#[test]
fn a_shutdown_waits_half_a_second_for_a_receiver_that_has_failed_for_long() {
    let mut ledger = with_run(Transport::Http);
    ledger.advance(secs(0));
    let sending = ledger.next_sending(secs(0)).unwrap();
    ledger.answer(sending.serial, Answer::NotSent { cause: "refused".to_owned() }, secs(0));
    ledger.close(secs(4), secs(9));
    ledger.advance(Duration::from_millis(4_499));
    assert_eq!(ledger.pending(), 2);
    ledger.advance(Duration::from_millis(4_500));
    assert_eq!((ledger.pending(), ledger.account.lost.by(LossReason::Shutdown)), (0, 2));
}

#[test]
fn a_shutdown_waits_its_whole_time_for_a_receiver_that_was_reached_once() {
    let mut ledger = Ledger::new(Transport::Http, LIMITS, 7);
    record_whole(&mut ledger, &"first".into(), 1, secs(0));
    let answer = |ledger: &mut Ledger, answer: Answer| {
        let sending = ledger.next_sending(secs(0)).unwrap();
        ledger.answer(sending.serial, answer, secs(0));
    };
    answer(&mut ledger, Answer::Status { status: StatusCode::CREATED, retry_after: None, peer_message: None });
    record_whole(&mut ledger, &"second".into(), 1, secs(0));
    answer(&mut ledger, Answer::NotSent { cause: "refused".to_owned() });
    ledger.close(secs(0), secs(5));
    ledger.advance(secs(4));
    assert_eq!(ledger.pending(), 1);
    ledger.advance(secs(5));
    assert_eq!(ledger.pending(), 0);
}

#[test]
fn a_web_page_delivers_nothing() {
    let mut ledger = Ledger::new(Transport::Http, LIMITS, 7).with_url("https://example.org/api/v1/traces".into());
    record_whole(&mut ledger, &"t".into(), 1, secs(0));
    let sending = ledger.next_sending(secs(0)).unwrap();
    ledger.answer(sending.serial, Answer::WebPage { status: StatusCode::OK }, secs(0));
    assert_eq!(ledger.pending(), 1);
    let text = ledger.take_notices().remove(0).text;
    let names_it =
        "https://example.org/api/v1/traces answered 200 OK with a web page: check the host of RETRACE_BASE_URL";
    assert!(text.contains(names_it), "{text}");
    // A page is not a receiver: a shutdown does not wait its whole time for it.
    ledger.close(secs(0), secs(5));
    ledger.advance(secs(2));
    assert_eq!(ledger.pending(), 0);
}

#[test]
fn an_answer_that_hints_at_a_wrong_url_names_it() {
    for (status, names_it) in [(404, true), (301, true), (405, true), (400, false), (401, false)] {
        let mut ledger = Ledger::new(Transport::Http, LIMITS, 7).with_url("https://example.org/api/v1/traces".into());
        record_whole(&mut ledger, &"t".into(), 1, secs(0));
        let sending = ledger.next_sending(secs(0)).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        ledger.answer(sending.serial, Answer::Status { status, retry_after: None, peer_message: None }, secs(0));
        let text = ledger.take_notices().remove(0).text;
        assert_eq!(text.contains("https://example.org/api/v1/traces answered"), names_it, "{text}");
        assert_eq!(text.contains("check the host and the path of RETRACE_BASE_URL"), names_it, "{text}");
    }
}
