//! The same against a network that may cut, lose, repeat, reorder and refuse.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// Next event.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The application records one more event of this run.
    Record(usize),
    Open(bool),
    Cut,
    Write(usize),
    Read(usize),
    /// An ack of the receiver arrives: the one at this position, once or twice.
    Ack(usize, bool),
    LoseAck(usize),
    Request(Fate),
    Wait(u64),
}

/// Outcome of a request.
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
        8 => (0..4_usize).prop_map(Step::Record),
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

/// Run that is recorded event by event: the next step, and whether the run is under way.
#[derive(Debug, Default)]
struct Script {
    recorded: usize,
    steps: usize,
    over: bool,
}

/// Application, ledger, and the network between ledger and receiver.
struct Play {
    ledger: Ledger,
    receiver: Receiver,
    scripts: Vec<Script>,
    sources: u64,
    now: Duration,
    wire: VecDeque<Bytes>,
    acks: Vec<Ack>,
}

impl Play {
    fn new(transport: Transport, strict: bool) -> Self {
        Self {
            ledger: Ledger::new(transport, LIMITS, 7),
            receiver: Receiver { strict, ..Receiver::default() },
            scripts: (0..4).map(|n| Script { steps: 3 + n * 3, ..Script::default() }).collect(),
            sources: 0,
            now: Duration::ZERO,
            wire: VecDeque::new(),
            acks: Vec::new(),
        }
    }

    fn record(&mut self, at: usize) {
        let (ledger, run) = (&mut self.ledger, Id::from(format!("run{at}")));
        let script = &mut self.scripts[at];
        let recorded = script.recorded;
        script.recorded += 1;
        match recorded {
            0 => ledger.begin(&run, trace(&run)),
            _ if script.over => {}
            _ if recorded > 2 * script.steps => {
                script.over = true;
                ledger.end(&run, ended(&run, script.steps), self.now);
            }
            // Every other step is recorded as begun first, some with more data at the end.
            _ if recorded % 4 == 1 => ledger.step_began(&run, span(&run, recorded / 2)),
            _ if recorded.is_multiple_of(2) => {
                let n = recorded / 2 - 1;
                let model = n.is_multiple_of(3).then(|| "m".to_owned());
                let span = Span { ended_at: Some(at_end(n)), model, ..span(&run, n) };
                ledger.step_ended(&run, span, 1);
                self.sources += 1;
            }
            _ => {}
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Record(at) => self.record(at),
            Step::Open(well) => {
                if self.ledger.wants_link(self.now) {
                    self.ledger.link_opening();
                    if well {
                        self.ledger.link_opened();
                    } else {
                        self.ledger.link_closed(closed(CloseReason::NotConnected), self.now);
                    }
                }
            }
            Step::Cut => {
                if self.ledger.policy.is_open() {
                    self.cut(CloseReason::Lost);
                }
            }
            Step::Write(frames) => {
                for _ in 0..frames {
                    self.wire.extend(self.ledger.next_frame(self.now));
                }
            }
            Step::Read(frames) => {
                for _ in 0..frames {
                    let Some(text) = self.wire.pop_front() else { break };
                    self.acks.push(self.receiver.read(&text));
                }
            }
            Step::Ack(at, twice) => {
                if self.ledger.policy.is_open() && !self.acks.is_empty() {
                    let ack = self.acks.remove(at % self.acks.len());
                    self.ledger.frame(ServerFrame::Ack(ack.clone()), self.now);
                    if twice {
                        self.ledger.frame(ServerFrame::Ack(ack), self.now);
                    }
                }
            }
            Step::LoseAck(at) => {
                if !self.acks.is_empty() {
                    self.acks.remove(at % self.acks.len());
                }
            }
            Step::Request(fate) => {
                if let Some(sending) = self.ledger.next_sending(self.now) {
                    let answer = match fate {
                        Fate::LostOnItsWay => Answer::NotSent { cause: "no".into() },
                        Fate::Unavailable => status(503),
                        Fate::Answered => status(self.receiver.request(&sending)),
                        Fate::AnswerLost => {
                            self.receiver.request(&sending);
                            Answer::Broken { cause: "no".into() }
                        }
                    };
                    self.ledger.answer(sending.serial, answer, self.now);
                }
            }
            Step::Wait(seconds) => self.now += secs(seconds),
        }
        if let Some(closed) = self.ledger.gives_up_link(self.now) {
            self.cut(closed.reason);
        }
        self.ledger.advance(self.now);
        let account = &self.ledger.account;
        assert_eq!(account.delivered + account.lost.total() + self.ledger.pending(), self.sources, "the sum holds");
        assert_eq!(self.ledger.pending(), self.ledger.count_spans(), "the count is what is there");
    }

    fn cut(&mut self, reason: CloseReason) {
        self.wire.clear();
        self.acks.clear();
        self.ledger.link_closed(closed(reason), self.now);
    }

    /// From here on every operation succeeds, except those that the receiver rejects by design.
    fn end_well(&mut self) {
        for at in 0..4 {
            while self.ledger.closing.is_none() && !self.scripts[at].over {
                self.take(Step::Record(at));
            }
        }
        for _ in 0..40 {
            self.take(Step::Open(true));
            for step in [Step::Write(2_000), Step::Read(2_000)] {
                self.take(step);
            }
            while self.ledger.policy.is_open() && !self.acks.is_empty() {
                self.take(Step::Ack(0, false));
            }
            for _ in 0..20 {
                self.take(Step::Request(Fate::Answered));
            }
            self.now += secs(10);
            self.ledger.advance(self.now);
        }
    }
}

fn at_end(n: usize) -> Timestamp {
    at(10 + n as u64)
}

fn status(code: u16) -> Answer {
    Answer::Status { status: StatusCode::from_u16(code).unwrap(), retry_after: None, peer_message: None }
}

proptest! {
    /// Whatever the network does, once it works again the receiver has every span of every run, once.
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
        let account = &play.ledger.account;
        prop_assert_eq!((account.delivered, account.lost.total(), play.ledger.pending()), (play.sources, 0, 0));
        prop_assert_eq!(play.receiver.whole_spans(), play.sources);
        for run in play.receiver.runs.values() {
            prop_assert_eq!((run.status, run.lossy), (Some(Status::Completed), false));
        }
        prop_assert!(play.ledger.is_empty());
        prop_assert_eq!(play.ledger.weight(), 0);
    }

    /// Shutdown at any time, with a receiver of either kind: missing spans are counted, and a run is marked
    /// lossy.
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
        play.ledger.hurry(play.now);
        play.ledger.close(play.now, play.now + secs(400));
        play.end_well();
        let account = &play.ledger.account;
        prop_assert_eq!(account.delivered + account.lost.total(), play.sources);
        prop_assert!(play.ledger.is_empty());
        prop_assert!(play.receiver.whole_spans() >= account.delivered);
        if play.receiver.whole_spans() < play.sources {
            prop_assert!(play.receiver.runs.values().any(|run| run.lossy), "{:?}", play.receiver);
        }
    }
}
