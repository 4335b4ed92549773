//! The ledger against a network that may cut, lose, repeat, reorder and refuse.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// Next event of the simulation.
#[derive(Clone, Copy, Debug)]
enum SimulationStep {
    /// The application records one more event of this run.
    Record(usize),
    Open(bool),
    Cut,
    Write(usize),
    Read(usize),
    /// An ack of the receiver arrives: the one at this position, once or twice.
    Ack(usize, bool),
    LoseAck(usize),
    Request(RequestOutcome),
    Wait(u64),
}

/// Outcome of a request.
#[derive(Clone, Copy, Debug)]
enum RequestOutcome {
    Answered,
    NotSent,
    ResponseLost,
    Unavailable,
}

fn steps() -> impl Strategy<Value = Vec<SimulationStep>> {
    let outcome = prop_oneof![
        4 => Just(RequestOutcome::Answered),
        1 => Just(RequestOutcome::NotSent),
        1 => Just(RequestOutcome::ResponseLost),
        1 => Just(RequestOutcome::Unavailable)
    ];
    let step = prop_oneof![
        8 => (0..4_usize).prop_map(SimulationStep::Record),
        2 => any::<bool>().prop_map(SimulationStep::Open),
        1 => Just(SimulationStep::Cut),
        4 => (1..12_usize).prop_map(SimulationStep::Write),
        4 => (1..12_usize).prop_map(SimulationStep::Read),
        6 => (0..20_usize, any::<bool>()).prop_map(|(at, twice)| SimulationStep::Ack(at, twice)),
        1 => (0..20_usize).prop_map(SimulationStep::LoseAck),
        3 => outcome.prop_map(SimulationStep::Request),
        2 => (1..40_u64).prop_map(SimulationStep::Wait),
    ];
    prop::collection::vec(step, 0..400)
}

/// Run that is recorded event by event.
#[derive(Debug, Default)]
struct RecordedRun {
    recorded: usize,
    steps: usize,
    over: bool,
}

/// Application, ledger, and the network between ledger and receiver.
struct Simulation {
    ledger: Ledger,
    receiver: Receiver,
    runs: Vec<RecordedRun>,
    sources: u64,
    now: Duration,
    wire: VecDeque<Bytes>,
    acks: Vec<Ack>,
}

impl Simulation {
    fn new(transport: Transport, strict: bool) -> Self {
        Self {
            ledger: Ledger::new(transport, LIMITS, 7),
            receiver: Receiver { strict, ..Receiver::default() },
            runs: (0..4).map(|n| RecordedRun { steps: 3 + n * 3, ..RecordedRun::default() }).collect(),
            sources: 0,
            now: Duration::ZERO,
            wire: VecDeque::new(),
            acks: Vec::new(),
        }
    }

    fn record(&mut self, at: usize) {
        let (ledger, run) = (&mut self.ledger, Id::from(format!("run{at}")));
        let run_state = &mut self.runs[at];
        let recorded = run_state.recorded;
        run_state.recorded += 1;
        match recorded {
            0 => ledger.begin(&run, trace(&run)),
            _ if run_state.over => {}
            _ if recorded > 2 * run_state.steps => {
                run_state.over = true;
                ledger.end(&run, ended(&run, run_state.steps), self.now);
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

    fn apply(&mut self, step: SimulationStep) {
        match step {
            SimulationStep::Record(at) => self.record(at),
            SimulationStep::Open(succeeds) => {
                if self.ledger.wants_link(self.now) {
                    self.ledger.link_opening();
                    if succeeds {
                        self.ledger.link_opened();
                    } else {
                        self.ledger.link_closed(closed(CloseReason::NotConnected), self.now);
                    }
                }
            }
            SimulationStep::Cut => {
                if self.ledger.policy.is_open() {
                    self.cut(CloseReason::Lost);
                }
            }
            SimulationStep::Write(frames) => {
                for _ in 0..frames {
                    self.wire.extend(self.ledger.next_frame(self.now));
                }
            }
            SimulationStep::Read(frames) => {
                for _ in 0..frames {
                    let Some(text) = self.wire.pop_front() else { break };
                    self.acks.push(self.receiver.read(&text));
                }
            }
            SimulationStep::Ack(at, twice) => {
                if self.ledger.policy.is_open() && !self.acks.is_empty() {
                    let ack = self.acks.remove(at % self.acks.len());
                    self.ledger.frame(ServerFrame::Ack(ack.clone()), self.now);
                    if twice {
                        self.ledger.frame(ServerFrame::Ack(ack), self.now);
                    }
                }
            }
            SimulationStep::LoseAck(at) => {
                if !self.acks.is_empty() {
                    self.acks.remove(at % self.acks.len());
                }
            }
            SimulationStep::Request(outcome) => {
                if let Some(sending) = self.ledger.next_sending(self.now) {
                    let answer = match outcome {
                        RequestOutcome::NotSent => Answer::NotSent { cause: "no".into() },
                        RequestOutcome::Unavailable => status(503),
                        RequestOutcome::Answered => status(self.receiver.request(&sending)),
                        RequestOutcome::ResponseLost => {
                            self.receiver.request(&sending);
                            Answer::Broken { cause: "no".into() }
                        }
                    };
                    self.ledger.answer(sending.serial, answer, self.now);
                }
            }
            SimulationStep::Wait(seconds) => self.now += secs(seconds),
        }
        if let Some(closed) = self.ledger.gives_up_link(self.now) {
            self.cut(closed.reason);
        }
        self.ledger.advance(self.now);
        let account = &self.ledger.account;
        assert_eq!(
            account.delivered + account.lost.total() + self.ledger.pending(),
            self.sources,
            "delivered + lost + pending = recorded"
        );
        assert_eq!(self.ledger.pending(), self.ledger.count_spans(), "the counter of pending spans is exact");
    }

    fn cut(&mut self, reason: CloseReason) {
        self.wire.clear();
        self.acks.clear();
        self.ledger.link_closed(closed(reason), self.now);
    }

    /// Ends all runs on a network on which every operation succeeds, except those that the receiver rejects by design.
    fn settle(&mut self) {
        for at in 0..4 {
            while self.ledger.closing.is_none() && !self.runs[at].over {
                self.apply(SimulationStep::Record(at));
            }
        }
        for _ in 0..40 {
            self.apply(SimulationStep::Open(true));
            for step in [SimulationStep::Write(2_000), SimulationStep::Read(2_000)] {
                self.apply(step);
            }
            while self.ledger.policy.is_open() && !self.acks.is_empty() {
                self.apply(SimulationStep::Ack(0, false));
            }
            for _ in 0..20 {
                self.apply(SimulationStep::Request(RequestOutcome::Answered));
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
        let mut simulation = Simulation::new(transport, false);
        for step in steps {
            simulation.apply(step);
        }
        simulation.settle();
        let account = &simulation.ledger.account;
        prop_assert_eq!((account.delivered, account.lost.total(), simulation.ledger.pending()), (simulation.sources, 0, 0));
        prop_assert_eq!(simulation.receiver.whole_spans(), simulation.sources);
        for run in simulation.receiver.runs.values() {
            prop_assert_eq!((run.status, run.lossy), (Some(Status::Completed), false));
        }
        prop_assert!(simulation.ledger.is_empty());
        prop_assert_eq!(simulation.ledger.weight(), 0);
    }

    /// Shutdown at any time, with a receiver of either kind: missing spans are counted, and a run is marked
    /// lossy.
    #[test]
    fn spans_that_a_shutdown_loses_are_counted_and_mark_their_run(
        transport in prop_oneof![Just(Transport::Auto), Just(Transport::Ws)],
        strict in any::<bool>(),
        steps in steps(),
    ) {
        let mut simulation = Simulation::new(transport, strict);
        for step in steps {
            simulation.apply(step);
        }
        simulation.ledger.hurry(simulation.now);
        simulation.ledger.close(simulation.now, simulation.now + secs(400));
        simulation.settle();
        let account = &simulation.ledger.account;
        prop_assert_eq!(account.delivered + account.lost.total(), simulation.sources);
        prop_assert!(simulation.ledger.is_empty());
        prop_assert!(simulation.receiver.whole_spans() >= account.delivered);
        if simulation.receiver.whole_spans() < simulation.sources {
            prop_assert!(simulation.receiver.runs.values().any(|run| run.lossy), "{:?}", simulation.receiver);
        }
    }
}
