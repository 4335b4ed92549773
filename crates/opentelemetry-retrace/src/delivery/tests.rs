use std::collections::{BTreeMap, VecDeque};

use http::StatusCode;
use proptest::prelude::*;
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

/// A delivery with one ended run of two steps.
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

/// What the receiver has of a run.
#[derive(Debug, Default)]
struct Stored {
    over_stream: bool,
    status: Option<Status>,
    lossy: bool,
    /// Whether the start and the end of each span are there.
    spans: BTreeMap<String, (bool, bool)>,
}

/// A receiver that keeps to PROTOCOL.md. A strict one takes no run by `POST` that it knows already.
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
    // The beginning arrives, the connection goes.
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
    stream_all(&mut delivery, &mut receiver, secs(0));
    delivery.advance(secs(0));
    assert_eq!(request_all(&mut delivery, &mut receiver, secs(0)), [Method::Patch]);
    assert!(receiver.runs["t"].lossy && delivery.is_empty());
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

/// A run of which the receiver has the beginning, back on the stream after a strict receiver did not take the rest.
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
    assert_eq!(delivery.next_deadline(), Some(secs(30)));
    assert_eq!(delivery.gives_up_link(secs(30)).map(|closed| closed.reason), Some(CloseReason::Lost));
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

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The application goes on: something more of this run is told.
    Tell(usize),
    Open(bool),
    Cut,
    Write(usize),
    Read(usize),
    /// The receiver's words arrive: from this place, twice or not.
    Ack(usize, bool),
    LoseAck(usize),
    Request(Fate),
    Wait(u64),
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    LostOnItsWay,
    AnswerLost,
    Unavailable,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = prop_oneof![
        4 => Just(Fate::Answered),
        1 => Just(Fate::LostOnItsWay),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::Unavailable)
    ];
    let step = prop_oneof![
        8 => (0..4_usize).prop_map(Step::Tell),
        2 => any::<bool>().prop_map(Step::Open),
        1 => Just(Step::Cut),
        4 => (1..12_usize).prop_map(Step::Write),
        4 => (1..12_usize).prop_map(Step::Read),
        6 => (0..20_usize, any::<bool>()).prop_map(|(at, twice)| Step::Ack(at, twice)),
        1 => (0..20_usize).prop_map(Step::LoseAck),
        3 => fate.prop_map(Step::Request),
        2 => (1..40_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..400)
}

/// A run that is told bit by bit: which step comes next, and whether it is under way.
#[derive(Debug, Default)]
struct Teller {
    told: usize,
    steps: usize,
    over: bool,
}

/// The application, the delivery, and the net between it and the receiver.
struct Play {
    delivery: Delivery,
    receiver: Receiver,
    tellers: Vec<Teller>,
    sources: u64,
    now: Duration,
    wire: VecDeque<Utf8Bytes>,
    acks: Vec<Ack>,
}

impl Play {
    fn new(transport: Transport, strict: bool) -> Self {
        Self {
            delivery: Delivery::new(transport, LIMITS, 7),
            receiver: Receiver { strict, ..Receiver::default() },
            tellers: (0..4).map(|n| Teller { steps: 3 + n * 3, ..Teller::default() }).collect(),
            sources: 0,
            now: Duration::ZERO,
            wire: VecDeque::new(),
            acks: Vec::new(),
        }
    }

    fn tell(&mut self, at: usize) {
        let (delivery, run) = (&mut self.delivery, Id::from(format!("run{at}")));
        let teller = &mut self.tellers[at];
        let told = teller.told;
        teller.told += 1;
        match told {
            0 => delivery.begin(&run, trace(&run)),
            _ if teller.over => {}
            _ if told > 2 * teller.steps => {
                teller.over = true;
                delivery.end(&run, ended(&run, teller.steps), self.now);
            }
            // Every other step is told as begun first, some with more to say at the end.
            _ if told % 4 == 1 => delivery.step_began(&run, &span(&run, told / 2)),
            _ if told.is_multiple_of(2) => {
                let n = told / 2 - 1;
                let model = n.is_multiple_of(3).then(|| "m".to_owned());
                let span = Span { ended_at: Some(at_end(n)), model, ..span(&run, n) };
                delivery.step_ended(&run, &span, 1);
                self.sources += 1;
            }
            _ => {}
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Tell(at) => self.tell(at),
            Step::Open(well) => {
                if self.delivery.wants_link(self.now) {
                    self.delivery.link_opening();
                    if well {
                        self.delivery.link_opened();
                    } else {
                        self.delivery.link_closed(closed(CloseReason::NotConnected), self.now);
                    }
                }
            }
            Step::Cut => {
                if self.delivery.route.is_open() {
                    self.cut(CloseReason::Lost);
                }
            }
            Step::Write(frames) => {
                for _ in 0..frames {
                    self.wire.extend(self.delivery.next_frame(self.now));
                }
            }
            Step::Read(frames) => {
                for _ in 0..frames {
                    let Some(text) = self.wire.pop_front() else { break };
                    self.acks.push(self.receiver.read(text.as_str()));
                }
            }
            Step::Ack(at, twice) => {
                if self.delivery.route.is_open() && !self.acks.is_empty() {
                    let ack = self.acks.remove(at % self.acks.len());
                    self.delivery.frame(ServerFrame::Ack(ack.clone()), self.now);
                    if twice {
                        self.delivery.frame(ServerFrame::Ack(ack), self.now);
                    }
                }
            }
            Step::LoseAck(at) => {
                if !self.acks.is_empty() {
                    self.acks.remove(at % self.acks.len());
                }
            }
            Step::Request(fate) => {
                if let Some(sending) = self.delivery.next_sending(self.now) {
                    let answer = match fate {
                        Fate::LostOnItsWay => Answer::NotSent { cause: "no".into() },
                        Fate::Unavailable => status(503),
                        Fate::Answered => status(self.receiver.request(&sending)),
                        Fate::AnswerLost => {
                            self.receiver.request(&sending);
                            Answer::Broken { cause: "no".into() }
                        }
                    };
                    self.delivery.answer(sending.serial, answer, self.now);
                }
            }
            Step::Wait(seconds) => self.now += secs(seconds),
        }
        if let Some(closed) = self.delivery.gives_up_link(self.now) {
            self.cut(closed.reason);
        }
        self.delivery.advance(self.now);
        let account = &self.delivery.outbox.account;
        assert_eq!(account.delivered + account.lost.total() + self.delivery.pending(), self.sources, "the sum holds");
    }

    fn cut(&mut self, reason: CloseReason) {
        self.wire.clear();
        self.acks.clear();
        self.delivery.link_closed(closed(reason), self.now);
    }

    /// Everything works from here on, but for what the receiver never does.
    fn end_well(&mut self) {
        for at in 0..4 {
            while self.delivery.closing.is_none() && !self.tellers[at].over {
                self.take(Step::Tell(at));
            }
        }
        for _ in 0..40 {
            self.take(Step::Open(true));
            for step in [Step::Write(2_000), Step::Read(2_000)] {
                self.take(step);
            }
            while self.delivery.route.is_open() && !self.acks.is_empty() {
                self.take(Step::Ack(0, false));
            }
            for _ in 0..20 {
                self.take(Step::Request(Fate::Answered));
            }
            self.now += secs(10);
            self.delivery.advance(self.now);
        }
    }
}

fn at_end(n: usize) -> Timestamp {
    at(10 + n as u64)
}

fn status(code: u16) -> Answer {
    Answer::Status { status: StatusCode::from_u16(code).unwrap(), retry_after: None, words: None }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever the net does, once it works again the receiver has every span of every run, once.
    #[test]
    fn nothing_is_lost_between_stream_and_requests(
        transport in prop_oneof![Just(Transport::Auto), Just(Transport::Ws), Just(Transport::Http)],
        steps in steps(),
    ) {
        let mut play = Play::new(transport, false);
        for step in steps {
            play.take(step);
        }
        play.end_well();
        let account = &play.delivery.outbox.account;
        prop_assert_eq!((account.delivered, account.lost.total(), play.delivery.pending()), (play.sources, 0, 0));
        prop_assert_eq!(play.receiver.whole_spans(), play.sources);
        for run in play.receiver.runs.values() {
            prop_assert_eq!((run.status, run.lossy), (Some(Status::Completed), false));
        }
        prop_assert!(play.delivery.is_empty());
        prop_assert_eq!(play.delivery.stream.weight() + play.delivery.outbox.weight(), 0);
    }

    /// A shutdown in the middle of it all, with a receiver of either kind: what is not there is counted, and its run says so.
    #[test]
    fn what_a_shutdown_loses_is_counted_and_said(
        transport in prop_oneof![Just(Transport::Auto), Just(Transport::Ws)],
        strict in any::<bool>(),
        steps in steps(),
    ) {
        let mut play = Play::new(transport, strict);
        for step in steps {
            play.take(step);
        }
        play.delivery.hurry(play.now);
        play.delivery.close(play.now, play.now + secs(400));
        play.end_well();
        let account = &play.delivery.outbox.account;
        prop_assert_eq!(account.delivered + account.lost.total(), play.sources);
        prop_assert!(play.delivery.is_empty());
        prop_assert!(play.receiver.whole_spans() >= account.delivered);
        if play.receiver.whole_spans() < play.sources {
            prop_assert!(play.receiver.runs.values().any(|run| run.lossy), "{:?}", play.receiver);
        }
    }
}
