mod net;

use std::collections::BTreeMap;

use http::StatusCode;
use retrace_protocol::{Ack, ClientFrame, Event, SpanType, Status, Timestamp};

use super::*;
use crate::outbox::Method;

const LIMITS: OutboxLimits =
    OutboxLimits { bytes: 1 << 22, posts: 100, body_bytes: 1 << 20, in_flight: 4, keep: Duration::from_secs(900) };

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
    Closed { reason, cause: "gone".to_owned(), words: None }
}

fn codes(delivery: &mut Delivery) -> Vec<SignalCode> {
    delivery.take_notices().into_iter().map(|notice| notice.code).collect()
}

/// Creates a delivery with one ended run of two steps.
fn with_run(transport: Transport) -> Delivery {
    let mut delivery = Delivery::new(transport, LIMITS, 7);
    tell_whole(&mut delivery, &"t".into(), 2, secs(0));
    delivery
}

fn tell_whole(delivery: &mut Delivery, run: &Id, steps: usize, now: Duration) {
    delivery.begin(run, trace(run));
    for n in 0..steps {
        let span = Span { ended_at: Some(at(3)), ..span(run, n) };
        delivery.step_ended(run, &span, 1);
    }
    delivery.end(run, ended(run, steps), now);
    delivery.advance(now);
}

fn ended(run: &Id, steps: usize) -> Trace {
    Trace { status: Some(Status::Completed), ended_at: Some(at(9)), span_count: Some(steps as u64), ..trace(run) }
}

fn open(delivery: &mut Delivery, now: Duration) {
    assert!(delivery.wants_link(now));
    delivery.link_opening();
    delivery.link_opened();
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
    fn read(&mut self, text: &str) -> Ack {
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

fn answer(delivery: &mut Delivery, serial: u64, status: u16, now: Duration) {
    let status = StatusCode::from_u16(status).unwrap();
    delivery.answer(serial, Answer::Status { status, retry_after: None, words: None }, now);
    delivery.advance(now);
}

/// Makes and answers every request that is due.
fn request_all(delivery: &mut Delivery, receiver: &mut Receiver, now: Duration) -> Vec<Method> {
    let mut methods = Vec::new();
    while let Some(sending) = delivery.next_sending(now) {
        methods.push(sending.method);
        let status = receiver.request(&sending);
        answer(delivery, sending.serial, status, now);
    }
    methods
}

/// Writes, reads and confirms every frame.
fn stream_all(delivery: &mut Delivery, receiver: &mut Receiver, now: Duration) -> usize {
    let mut frames = 0;
    while let Some(text) = delivery.next_frame(now) {
        frames += 1;
        let ack = receiver.read(text.as_str());
        delivery.frame(ServerFrame::Ack(ack), now);
    }
    frames
}

#[test]
fn auto_streams_while_it_can() {
    let mut delivery = with_run(Transport::Auto);
    let mut receiver = Receiver::default();
    assert!(delivery.next_sending(secs(0)).is_none() && delivery.next_frame(secs(0)).is_none());
    open(&mut delivery, secs(0));
    assert_eq!(stream_all(&mut delivery, &mut receiver, secs(0)), 6);
    assert_eq!((delivery.outbox.account.delivered, delivery.pending(), delivery.is_empty()), (2, 0, true));
    assert_eq!(receiver.runs["t"].status, Some(Status::Completed));
}

#[test]
fn auto_requests_when_there_is_no_stream_and_returns_later() {
    let mut delivery = with_run(Transport::Auto);
    let mut receiver = Receiver::default();
    delivery.link_opening();
    delivery.link_closed(closed(CloseReason::NotConnected), secs(0));
    delivery.advance(secs(0));
    assert_eq!(request_all(&mut delivery, &mut receiver, secs(0)), [Method::Create]);
    assert_eq!(delivery.outbox.account.delivered, 2);
    assert!(codes(&mut delivery).is_empty() && delivery.take_remarks().len() == 1, "worth a line, not an alarm");
    assert!(!delivery.tells_events());
    delivery.push_run(ended(&"u".into(), 0), Vec::new(), secs(40));
    open(&mut delivery, secs(40));
    assert!(delivery.tells_events() && delivery.take_remarks().len() == 1);
}

#[test]
fn a_run_begun_on_the_stream_is_completed_by_request() {
    let mut delivery = Delivery::new(Transport::Auto, LIMITS, 7);
    let (mut receiver, run) = (Receiver::default(), Id::from("t"));
    delivery.begin(&run, trace(&run));
    delivery.step_ended(&run, &Span { ended_at: Some(at(3)), ..span(&run, 0) }, 1);
    open(&mut delivery, secs(0));
    stream_all(&mut delivery, &mut receiver, secs(0));
    delivery.link_closed(closed(CloseReason::Lost), secs(1));
    delivery.link_opening();
    delivery.link_closed(closed(CloseReason::NotConnected), secs(2));
    delivery.advance(secs(2));
    assert!(delivery.next_sending(secs(2)).is_none(), "it has not ended");
    delivery.step_ended(&run, &Span { ended_at: Some(at(4)), ..span(&run, 1) }, 1);
    delivery.end(&run, ended(&run, 2), secs(3));
    delivery.advance(secs(3));
    assert_eq!(request_all(&mut delivery, &mut receiver, secs(3)), [Method::Create]);
    let stored = &receiver.runs["t"];
    assert_eq!((stored.status, stored.lossy, receiver.whole_spans()), (Some(Status::Completed), false, 2));
    assert_eq!(delivery.outbox.account.delivered, 2);
}

#[test]
fn of_a_run_that_only_lacks_its_end_the_end_is_patched() {
    let mut delivery = Delivery::new(Transport::Auto, LIMITS, 7);
    let (mut receiver, run) = (Receiver { strict: true, ..Receiver::default() }, Id::from("t"));
    delivery.begin(&run, trace(&run));
    delivery.step_ended(&run, &Span { ended_at: Some(at(3)), ..span(&run, 0) }, 1);
    open(&mut delivery, secs(0));
    stream_all(&mut delivery, &mut receiver, secs(0));
    delivery.end(&run, ended(&run, 1), secs(1));
    delivery.link_closed(closed(CloseReason::NoStream), secs(1));
    delivery.advance(secs(1));
    assert_eq!(request_all(&mut delivery, &mut receiver, secs(1)), [Method::Patch]);
    assert_eq!((receiver.runs["t"].status, receiver.runs["t"].lossy), (Some(Status::Completed), false));
}

#[test]
fn what_a_strict_receiver_does_not_take_by_request_waits_for_the_stream() {
    let mut delivery = with_run(Transport::Auto);
    let mut receiver = Receiver { strict: true, ..Receiver::default() };
    open(&mut delivery, secs(0));
    // The beginning arrives, and then the connection is lost.
    let first = delivery.next_frame(secs(0)).unwrap();
    receiver.read(first.as_str());
    delivery.link_closed(closed(CloseReason::NoStream), secs(0));
    delivery.advance(secs(0));
    assert_eq!(request_all(&mut delivery, &mut receiver, secs(0)), [Method::Create]);
    delivery.advance(secs(0));
    assert_eq!((delivery.pending(), delivery.outbox.account.lost.total()), (2, 0), "nothing is lost");
    open(&mut delivery, secs(61));
    stream_all(&mut delivery, &mut receiver, secs(61));
    assert_eq!((receiver.whole_spans(), delivery.outbox.account.delivered, delivery.is_empty()), (2, 2, true));
}

#[test]
fn a_run_without_an_end_says_what_it_lost_when_all_of_it_is_told() {
    let mut delivery = Delivery::new(Transport::Ws, LIMITS, 7);
    let (mut receiver, run) = (Receiver::default(), Id::from("t"));
    delivery.begin(&run, trace(&run));
    delivery.end(&run, Trace { lossy: Some(true), ..trace(&run) }, secs(0));
    open(&mut delivery, secs(0));
    let mark = delivery.mark();
    stream_all(&mut delivery, &mut receiver, secs(0));
    delivery.advance(secs(0));
    assert!(!delivery.is_done_before(mark), "who waits for the run waits for that too");
    assert_eq!(request_all(&mut delivery, &mut receiver, secs(0)), [Method::Patch]);
    assert!(receiver.runs["t"].lossy && delivery.is_done_before(mark) && delivery.is_empty());
}

#[test]
fn a_run_that_is_dropped_when_some_of_it_is_out_says_so() {
    let told = |frames: usize, arrived: usize| {
        let mut delivery = Delivery::new(Transport::Ws, LIMITS, 7);
        let (mut receiver, run) = (Receiver::default(), Id::from("t"));
        delivery.begin(&run, trace(&run));
        delivery.step_began(&run, &span(&run, 0));
        open(&mut delivery, secs(0));
        for text in
            std::iter::from_fn(|| delivery.next_frame(secs(0))).take(frames).collect::<Vec<_>>().iter().take(arrived)
        {
            receiver.read(text.as_str());
        }
        assert_eq!(delivery.stream.drop_oldest_run().map(|departed| departed.spans), Some(0));
        let mark = delivery.mark();
        // More of the run follows: its change waits for that, but a flush waits for neither.
        delivery.step_began(&run, &span(&run, 1));
        delivery.advance(secs(0));
        assert_eq!(request_all(&mut delivery, &mut receiver, secs(0)), []);
        assert!(delivery.is_done_before(mark));
        assert_eq!(delivery.stream.drop_oldest_run().map(|departed| departed.spans), Some(0));
        delivery.advance(secs(0));
        let requests = request_all(&mut delivery, &mut receiver, secs(0));
        assert!(delivery.is_empty() && codes(&mut delivery).is_empty());
        (receiver.runs.get("t").map(|run| run.lossy), requests)
    };
    assert_eq!(told(2, 2), (Some(true), vec![Method::Patch]));
    assert_eq!(told(2, 0), (None, vec![Method::Patch]), "what did not arrive is no news");
    assert_eq!(told(0, 0), (None, vec![]));
}

#[test]
fn a_run_that_is_open_at_the_end_says_what_it_lost_without_waiting() {
    let mut delivery = Delivery::new(Transport::Ws, LIMITS, 7);
    let (mut receiver, run) = (Receiver::default(), Id::from("t"));
    delivery.begin(&run, trace(&run));
    delivery.step_began(&run, &span(&run, 0));
    open(&mut delivery, secs(0));
    stream_all(&mut delivery, &mut receiver, secs(0));
    delivery.stream.mark_lossy(&run);
    delivery.close(secs(1), secs(6));
    delivery.advance(secs(1));
    assert_eq!(request_all(&mut delivery, &mut receiver, secs(1)), [Method::Patch]);
    let stored = &receiver.runs["t"];
    assert_eq!((stored.status, stored.lossy, delivery.is_empty()), (Some(Status::Running), true, true));
}

/// Creates a run whose beginning the receiver has, back on the stream after a strict receiver rejected the
/// remainder.
fn with_run_only_for_the_stream(receiver: &mut Receiver) -> Delivery {
    let mut delivery = with_run(Transport::Auto);
    open(&mut delivery, secs(0));
    receiver.read(delivery.next_frame(secs(0)).unwrap().as_str());
    for _ in 0..3 {
        delivery.link_closed(closed(CloseReason::Lost), secs(0));
        delivery.link_opening();
    }
    delivery.link_closed(closed(CloseReason::Lost), secs(0));
    delivery.advance(secs(0));
    assert_eq!(request_all(&mut delivery, receiver, secs(0)), [Method::Create]);
    delivery
}

#[test]
fn who_waits_for_a_run_waits_for_the_stream_that_alone_can_take_it() {
    let mut receiver = Receiver { strict: true, ..Receiver::default() };
    let mut delivery = with_run_only_for_the_stream(&mut receiver);
    let mark = delivery.mark();
    assert!(!delivery.is_done_before(mark) && !delivery.wants_link(secs(59)), "left alone");
    delivery.hurry(secs(1));
    open(&mut delivery, secs(1));
    assert!(!delivery.is_done_before(mark));
    stream_all(&mut delivery, &mut receiver, secs(1));
    assert!(delivery.is_done_before(mark));
    assert_eq!((receiver.whole_spans(), delivery.outbox.account.delivered), (2, 2));
}

#[test]
fn a_shutdown_tries_the_stream_before_it_gives_up_what_nothing_else_can_take() {
    for comes_back in [true, false] {
        let mut receiver = Receiver { strict: true, ..Receiver::default() };
        let mut delivery = with_run_only_for_the_stream(&mut receiver);
        delivery.close(secs(1), secs(6));
        delivery.advance(secs(1));
        assert!(delivery.next_sending(secs(1)).is_none() && delivery.outbox.account.lost.total() == 0);
        if comes_back {
            open(&mut delivery, secs(1));
            stream_all(&mut delivery, &mut receiver, secs(1));
        } else {
            for now in [secs(1), secs(2)] {
                assert!(delivery.wants_link(now));
                delivery.link_opening();
                delivery.link_closed(closed(CloseReason::NotConnected), now);
                delivery.advance(now);
            }
            assert_eq!(request_all(&mut delivery, &mut receiver, secs(2)), [Method::Create, Method::Patch]);
        }
        let expected = if comes_back { (2, 0) } else { (0, 2) };
        let account = &delivery.outbox.account;
        assert_eq!((account.delivered, account.lost.by(LossReason::Conflict)), expected);
        assert!(delivery.is_empty());
    }
}

#[test]
fn a_connection_lost_just_before_the_end_is_made_again() {
    let mut delivery = with_run(Transport::Ws);
    let mut receiver = Receiver { strict: true, ..Receiver::default() };
    open(&mut delivery, secs(0));
    receiver.read(delivery.next_frame(secs(0)).unwrap().as_str());
    delivery.link_closed(closed(CloseReason::Lost), secs(0));
    delivery.hurry(secs(0));
    delivery.close(secs(0), secs(5));
    delivery.advance(secs(0));
    open(&mut delivery, secs(0));
    stream_all(&mut delivery, &mut receiver, secs(0));
    assert_eq!((delivery.outbox.account.delivered, delivery.outbox.account.lost.total()), (2, 0));
}

#[test]
fn a_change_of_a_run_goes_after_the_run_whichever_was_put_in_first() {
    let mut delivery = with_run(Transport::Auto);
    let mut receiver = Receiver::default();
    delivery.link_opening();
    delivery.link_closed(closed(CloseReason::NotConnected), secs(0));
    delivery.push_patch("t".into(), TracePatch { lossy: Some(true), ..TracePatch::default() }, secs(0));
    delivery.advance(secs(0));
    assert_eq!(request_all(&mut delivery, &mut receiver, secs(0)), [Method::Create, Method::Patch]);
    assert!(receiver.runs["t"].lossy && codes(&mut delivery).is_empty());
}

#[test]
fn at_the_end_the_rest_goes_by_request_and_what_is_refused_is_counted() {
    for strict in [false, true] {
        let mut delivery = with_run(Transport::Ws);
        let mut receiver = Receiver { strict, ..Receiver::default() };
        open(&mut delivery, secs(0));
        let first = delivery.next_frame(secs(0)).unwrap();
        receiver.read(first.as_str());
        delivery.close(secs(0), secs(5));
        delivery.advance(secs(2));
        assert!(delivery.next_sending(secs(2)).is_none(), "it may still be confirmed");
        delivery.advance(secs(3));
        request_all(&mut delivery, &mut receiver, secs(3));
        let account = &delivery.outbox.account;
        let expected = if strict { (0, 2) } else { (2, 0) };
        assert_eq!((account.delivered, account.lost.by(LossReason::Conflict)), expected);
        let stored = &receiver.runs["t"];
        assert_eq!((stored.status, stored.lossy), (Some(Status::Completed), strict));
    }
}

#[test]
fn a_rejected_key_is_final_and_said_once() {
    let mut delivery = with_run(Transport::Ws);
    delivery.link_opening();
    delivery.link_closed(closed(CloseReason::Unauthorized), secs(0));
    tell_whole(&mut delivery, &"u".into(), 3, secs(1));
    delivery.push_run(ended(&"v".into(), 0), Vec::new(), secs(1));
    delivery.advance(secs(1));
    assert_eq!(delivery.outbox.account.lost.by(LossReason::Unauthorized), 5);
    assert_eq!(codes(&mut delivery), [SignalCode::Unauthorized, SignalCode::SpansLost]);
    assert!(!delivery.wants_link(secs(1_000)) && delivery.next_sending(secs(1_000)).is_none());
}

#[test]
fn a_receiver_without_a_stream_is_told_of_once_when_there_is_no_other_way() {
    for reason in [CloseReason::NoStream, CloseReason::NotConnected] {
        let mut delivery = with_run(Transport::Ws);
        for now in [secs(0), secs(100)] {
            assert!(delivery.wants_link(now));
            delivery.link_opening();
            delivery.link_closed(closed(reason), now);
            assert!(delivery.is_failing(), "{reason:?}");
        }
        assert_eq!(codes(&mut delivery), [SignalCode::Unreachable], "{reason:?}");
        assert_eq!(delivery.pending(), 2);
    }
}

#[test]
fn a_run_without_an_end_is_told_as_running_at_the_end() {
    for (transport, lossy) in [(Transport::Http, false), (Transport::Ws, true)] {
        let mut delivery = Delivery::new(transport, LIMITS, 7);
        let (mut receiver, run) = (Receiver::default(), Id::from("t"));
        delivery.begin(&run, trace(&run));
        delivery.step_began(&run, &span(&run, 0));
        delivery.step_ended(&run, &Span { ended_at: Some(at(3)), ..span(&run, 1) }, 1);
        if transport == Transport::Ws {
            open(&mut delivery, secs(0));
            receiver.read(delivery.next_frame(secs(0)).unwrap().as_str());
            delivery.link_closed(closed(CloseReason::Lost), secs(0));
        }
        delivery.close(secs(1), secs(3));
        delivery.advance(secs(2));
        request_all(&mut delivery, &mut receiver, secs(2));
        let stored = &receiver.runs["t"];
        assert_eq!((stored.status, stored.lossy, stored.spans.len()), (Some(Status::Running), lossy, 2));
        assert!(delivery.is_empty());
    }
}

#[test]
fn a_receiver_that_confirms_nothing_is_given_up() {
    let mut delivery = with_run(Transport::Auto);
    open(&mut delivery, secs(0));
    while delivery.next_frame(secs(0)).is_some() {}
    assert!(delivery.gives_up_link(secs(29)).is_none());
    assert_eq!(delivery.next_deadline(secs(0)), Some(secs(30)));
    assert_eq!(delivery.gives_up_link(secs(30)).map(|closed| closed.reason), Some(CloseReason::Lost));
}

#[test]
fn a_frame_that_the_receiver_refuses_is_lost_and_told() {
    let mut delivery = with_run(Transport::Ws);
    open(&mut delivery, secs(0));
    while delivery.next_frame(secs(0)).is_some() {}
    for (text, lost) in [
        (r#"{"type":"error","error":"span_type: unknown","seq":3}"#, 1),
        (r#"{"type":"error","error":"span_type: unknown","seq":3}"#, 1),
        (r#"{"type":"error","error":"Rate limit exceeded"}"#, 1),
    ] {
        delivery.frame(ServerFrame::parse(text).unwrap(), secs(0));
        assert_eq!(delivery.outbox.account.lost.by(LossReason::Rejected), lost);
    }
    assert_eq!(delivery.pending(), 1);
    assert_eq!(codes(&mut delivery), [SignalCode::Error, SignalCode::Error, SignalCode::RateLimited]);
}

#[test]
fn everything_that_waits_is_bounded_together() {
    let limits = OutboxLimits { bytes: 40_000, ..LIMITS };
    let mut delivery = Delivery::new(Transport::Auto, limits, 7);
    let mut told = 0;
    for n in 0..200 {
        tell_whole(&mut delivery, &Id::from(n.to_string()), 5, secs(0));
        told += 5;
        if n == 100 {
            delivery.link_opening();
            delivery.link_closed(closed(CloseReason::NotConnected), secs(0));
            delivery.advance(secs(0));
        }
        assert!(delivery.stream.weight() + delivery.outbox.weight() <= 40_000);
        assert_eq!(delivery.pending() + delivery.outbox.account.lost.total(), told);
    }
    assert!(delivery.outbox.account.lost.by(LossReason::BufferFull) > 0);
}

#[test]
fn a_shutdown_waits_a_second_for_a_receiver_that_was_never_reached() {
    for transport in [Transport::Auto, Transport::Http, Transport::Ws] {
        let mut delivery = with_run(transport);
        let fail = |delivery: &mut Delivery| {
            if delivery.wants_link(secs(0)) {
                delivery.link_opening();
                delivery.link_closed(closed(CloseReason::NotConnected), secs(0));
            }
            delivery.advance(secs(0));
            while let Some(sending) = delivery.next_sending(secs(0)) {
                delivery.answer(sending.serial, Answer::NotSent { cause: "refused".to_owned() }, secs(0));
            }
        };
        fail(&mut delivery);
        delivery.close(secs(0), secs(5));
        let almost = Duration::from_millis(999);
        delivery.advance(almost);
        assert_eq!(delivery.pending(), 2, "{transport:?}");
        assert!(delivery.next_deadline(almost).unwrap() <= secs(1));
        delivery.advance(secs(1));
        assert_eq!((delivery.pending(), delivery.outbox.account.lost.by(LossReason::Shutdown)), (0, 2));
        let notices = delivery.take_notices();
        let text = &notices.last().unwrap().text;
        assert!(text.contains("never reached") && text.contains("RETRACE_SPOOL_DIR"), "{text}");
    }
}

#[test]
fn a_shutdown_waits_its_whole_time_for_a_receiver_that_was_reached_once() {
    let mut delivery = Delivery::new(Transport::Http, LIMITS, 7);
    tell_whole(&mut delivery, &"first".into(), 1, secs(0));
    let answer = |delivery: &mut Delivery, answer: Answer| {
        let sending = delivery.next_sending(secs(0)).unwrap();
        delivery.answer(sending.serial, answer, secs(0));
    };
    answer(&mut delivery, Answer::Status { status: StatusCode::CREATED, retry_after: None, words: None });
    tell_whole(&mut delivery, &"second".into(), 1, secs(0));
    answer(&mut delivery, Answer::NotSent { cause: "refused".to_owned() });
    delivery.close(secs(0), secs(5));
    delivery.advance(secs(4));
    assert_eq!(delivery.pending(), 1);
    delivery.advance(secs(5));
    assert_eq!(delivery.pending(), 0);
}

#[test]
fn an_answer_that_hints_at_a_wrong_url_names_it() {
    for (status, names_it) in [(404, true), (301, true), (405, true), (400, false), (401, false)] {
        let mut delivery =
            Delivery::new(Transport::Http, LIMITS, 7).with_url("https://example.org/api/v1/traces".into());
        tell_whole(&mut delivery, &"t".into(), 1, secs(0));
        let sending = delivery.next_sending(secs(0)).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        delivery.answer(sending.serial, Answer::Status { status, retry_after: None, words: None }, secs(0));
        let text = delivery.take_notices().remove(0).text;
        assert_eq!(text.contains("https://example.org/api/v1/traces answered"), names_it, "{text}");
        assert_eq!(text.contains("check the host and the path of RETRACE_BASE_URL"), names_it, "{text}");
    }
}
