//! Everything the worker decides, without doing any of it.
//!
//! Messages, answers and times go in; requests, signals and ended waits come out. It knows no clock, no socket and no
//! thread, so that flushes, losses and shutdowns are tested as plain function calls.

mod spool;
mod told;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::trace::SpanData;
use retrace_protocol::{ServerFrame, Signal, SignalCode};
use retrace_translate::{Options, Output, Recorder, RecorderLimits, Resource};

use crate::config::Transport;
use crate::delivery::{Delivery, Mark};
use crate::engine::told::KeptBack;
use crate::gate::{Failures, Gate, GateLimits, Passed};
use crate::inbox::{Message, Piece, Seen, Taken};
use crate::outbox::{Answer, Notice, OutboxLimits, Said, Sending};
use crate::redact::Redaction;
use crate::sampler::Rule;
use crate::stats::{Account, LossReason, Lost};
use crate::stream::Written;
use crate::transport::ws::{Closed, Incoming};
use crate::view::SdkSpan;
use crate::waiter::{Waited, Waiter};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Traces that wait to be marked; when there are so many, nothing is going to come of them.
const INCOMPLETE: usize = 4_096;

/// What an [`Engine`] is made from.
#[derive(Debug)]
pub(crate) struct EngineConfig {
    pub options: Options,
    pub recorder: RecorderLimits,
    pub outbox: OutboxLimits,
    pub transport: Transport,
    pub rule: Option<Rule>,
    pub failures: Failures,
    pub gate: GateLimits,
    pub redaction: Redaction,
    /// How long an export waits for the delivery of what it handed over.
    pub export_wait: Duration,
    /// How long a flush may take.
    pub flush_wait: Duration,
    /// For the jitter of retries.
    pub seed: u64,
    /// What could not be delivered is handed over to be written to disk.
    pub spools: bool,
}

/// The pipeline from spans to requests.
#[derive(Debug)]
pub(crate) struct Engine {
    config: EngineConfig,
    gate: Gate,
    recorder: Recorder,
    delivery: Delivery,
    /// What the hook kept back of runs that are told while they happen.
    kept_back: KeptBack,
    /// The receiver asked to stop recording.
    halted: bool,
    resource: Arc<Resource>,
    /// Spans that were taken from the inbox and not read yet.
    queue: VecDeque<Seen>,
    /// What they came in.
    emptied: Vec<Piece>,
    /// Traces of which spans were refused, and of which nothing else was seen.
    incomplete: HashSet<[u8; 16]>,
    /// Spans that were taken from the queue, ever.
    read: u64,
    /// Spans that nobody selected.
    set_aside: u64,
    restarts: u64,
    waits: Vec<Wait>,
    ended_waits: Vec<(Waiter, Waited)>,
    closing: Option<Duration>,
}

/// Somebody who waits.
#[derive(Debug)]
struct Wait {
    waiter: Waiter,
    until: Duration,
    /// Runs whose root had ended by then are waited for.
    ended_by: Duration,
    /// They were told when the wait began.
    settled: bool,
    /// What was handed over before is waited for; not known while runs still linger.
    mark: Option<Mark>,
    lost_before: Lost,
    /// Failed attempts when the wait began, when the receiver was failing already.
    failing_since: Option<u64>,
}

impl Engine {
    pub(crate) fn new(config: EngineConfig) -> Self {
        Self {
            gate: Gate::new(config.rule.clone(), config.failures, config.gate).with_joins(config.options.join),
            recorder: Recorder::new(config.options.clone(), config.recorder),
            delivery: Delivery::new(config.transport, config.outbox, config.seed).with_spool(config.spools),
            kept_back: KeptBack::default(),
            halted: false,
            resource: Arc::default(),
            queue: VecDeque::new(),
            emptied: Vec::new(),
            incomplete: HashSet::new(),
            read: 0,
            set_aside: 0,
            restarts: 0,
            waits: Vec::new(),
            ended_waits: Vec::new(),
            closing: None,
            config,
        }
    }

    /// Takes what came from the application.
    pub(crate) fn take(&mut self, taken: Taken, now: Duration) {
        if self.incomplete.len() >= INCOMPLETE {
            self.incomplete.clear();
        }
        self.incomplete.extend(taken.incomplete);
        for message in taken.messages {
            self.mark_incomplete();
            match message {
                Message::Spans { spans, wait } => {
                    self.queue.extend(spans.into_iter().map(Seen::Ended));
                    self.read_queue(now);
                    if let Some(waiter) = wait {
                        self.wait(waiter, self.config.export_wait, now);
                    }
                }
                Message::Seen(mut seen) => {
                    self.queue.extend(seen.drain());
                    self.emptied.push(seen);
                    self.read_queue(now);
                }
                Message::Resource(resource) => self.resource = resource,
                Message::Flush(waiter) => {
                    self.recorder.settle();
                    self.wait(waiter, self.config.flush_wait, now);
                    // Runs that end later are none of its business, at the same time or not.
                    if let Some(wait) = self.waits.last_mut() {
                        wait.settled = true;
                    }
                }
                Message::Shutdown { within, waiter, .. } => {
                    self.finish(now);
                    self.wait(waiter, within, now);
                    self.closing = Some(now + within);
                    self.delivery.close(now, now + within);
                }
            }
        }
        self.mark_incomplete();
        self.advance(now);
    }

    /// Spans of a trace may be refused before another of them is read: the mark waits for that.
    fn mark_incomplete(&mut self) {
        self.incomplete.retain(|trace_id| !self.recorder.mark_lossy(*trace_id));
    }

    /// What spans came in and was emptied, to be filled again.
    pub(crate) fn take_emptied(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.emptied)
    }

    fn read_queue(&mut self, now: Duration) {
        let mut too_late = 0;
        while let Some(span) = self.queue.pop_front() {
            match span {
                Seen::Began(_) if self.halted => {}
                Seen::Began(span) => {
                    if self.gate.lets_begin(&span) {
                        self.recorder.start(&SdkSpan(&span), &self.resource, now);
                    }
                }
                Seen::Ended(span) => {
                    self.read += 1;
                    if self.halted {
                        too_late += 1;
                    } else {
                        match self.gate.ended(span, now) {
                            Passed::Span(span) => self.recorder.record(&SdkSpan(&span), &self.resource, now),
                            Passed::Run { spans, incomplete } => self.record_run(&spans, incomplete, now),
                            Passed::Nothing { dropped } => self.set_aside += dropped,
                        }
                    }
                }
            }
        }
        self.lose(LossReason::Halted, too_late);
    }

    fn record_run(&mut self, spans: &[SpanData], incomplete: bool, now: Duration) {
        for span in spans {
            self.recorder.record(&SdkSpan(span), &self.resource, now);
        }
        if let Some(span) = spans.first().filter(|_| incomplete) {
            self.recorder.mark_lossy(span.span_context.trace_id().to_bytes());
        }
    }

    /// Tells everything, for nothing more comes.
    fn finish(&mut self, now: Duration) {
        let (failed, dropped) = self.gate.finish();
        self.set_aside += dropped;
        for (spans, incomplete) in failed {
            self.record_run(&spans, incomplete, now);
        }
        self.recorder.finish();
    }

    fn wait(&mut self, waiter: Waiter, at_most: Duration, now: Duration) {
        self.delivery.hurry(now);
        self.waits.push(Wait {
            waiter,
            until: now + at_most,
            ended_by: now,
            settled: false,
            mark: None,
            lost_before: self.delivery.outbox.account.lost,
            failing_since: self.delivery.is_failing().then(|| self.delivery.failures_seen()),
        });
    }

    /// Passes on what the recorder has to say.
    fn pass_on(&mut self, now: Duration) {
        while let Some(output) = self.recorder.next_output() {
            match output {
                Output::Run(run) => self.put_run(*run, now),
                Output::Correction(correction) => self.put_correction(correction.id, correction.patch, now),
                Output::SetAside { spans } => self.set_aside += spans,
                Output::Live(live) => self.put_live(*live, now),
            }
        }
    }

    /// Does what is due by now.
    pub(crate) fn advance(&mut self, now: Duration) {
        self.read_queue(now);
        self.set_aside += self.gate.advance(now);
        self.recorder.advance(now);
        self.pass_on(now);
        self.delivery.advance(now);
        self.end_waits(now);
    }

    fn end_waits(&mut self, now: Duration) {
        // Costs a look at every run that is open.
        let unmarked = self.waits.iter().any(|wait| wait.mark.is_none());
        let still_lingering = if unmarked { self.recorder.earliest_end() } else { None };
        for wait in std::mem::take(&mut self.waits) {
            let mut wait = wait;
            let settled = wait.settled || still_lingering.is_none_or(|ended| ended > wait.ended_by);
            if wait.mark.is_none() && settled {
                wait.mark = Some(self.delivery.mark());
            }
            let waited = if wait.mark.is_some_and(|mark| self.delivery.is_done_before(mark)) {
                Waited::Done(self.delivery.outbox.account.lost.since(&wait.lost_before))
            } else if now >= wait.until {
                Waited::TimedOut
            } else if self.closing.is_none()
                && wait.failing_since.is_some_and(|failures| self.delivery.failures_seen() > failures)
            {
                Waited::Failing
            } else {
                self.waits.push(wait);
                continue;
            };
            self.ended_waits.push((wait.waiter, waited));
        }
    }

    /// The next request to make.
    pub(crate) fn next_sending(&mut self, now: Duration) -> Option<Sending> {
        self.delivery.next_sending(now)
    }

    /// Says what came of a request.
    pub(crate) fn answer(&mut self, serial: u64, answer: Answer, now: Duration) {
        self.delivery.answer(serial, answer, now);
        self.advance(now);
    }

    /// Whether a connection is to be opened now. Who opens one says so.
    pub(crate) fn wants_link(&self, now: Duration) -> bool {
        self.delivery.wants_link(now)
    }

    pub(crate) fn link_opening(&mut self) {
        self.delivery.link_opening();
    }

    /// What came out of the connection.
    pub(crate) fn incoming(&mut self, incoming: Incoming, now: Duration) {
        match incoming {
            Incoming::Open => self.delivery.link_opened(),
            Incoming::Acks(acks) => self.delivery.acks(&acks, now),
            Incoming::Frame(ServerFrame::Halt { reason, .. }) => self.halt(reason.as_deref(), now),
            Incoming::Frame(frame) => self.delivery.frame(frame, now),
            Incoming::Odd(what) => self.delivery.remark(what),
            Incoming::Closed(closed) => self.delivery.link_closed(closed, now),
        }
        self.advance(now);
    }

    /// Why the connection is to be given up at once, if it is.
    pub(crate) fn gives_up_link(&self, now: Duration) -> Option<Closed> {
        self.delivery.gives_up_link(now)
    }

    /// Whether the connection has done its work for good.
    pub(crate) fn leaves_link(&self) -> bool {
        (self.halted || self.closing.is_some()) && self.delivery.is_empty()
    }

    /// Which frames the present connection has, and of those which are confirmed.
    pub(crate) fn written(&self) -> Written {
        self.delivery.written()
    }

    /// The next frame to write to the connection, if one may be written now.
    pub(crate) fn next_frame(&mut self, now: Duration) -> Option<Utf8Bytes> {
        self.delivery.next_frame(now)
    }

    /// What was recorded is told, and nothing more is recorded (PROTOCOL.md section 7).
    fn halt(&mut self, reason: Option<&str>, now: Duration) {
        if std::mem::replace(&mut self.halted, true) {
            return;
        }
        let said = Said {
            text: "the receiver asked to stop recording".to_owned(),
            words: Some(Signal::from_halt(reason).message),
        };
        self.delivery.outbox.notice(said.notice(SignalCode::Halt, "what comes from now on is not sent"));
        self.finish(now);
    }

    /// When after `now` [`Engine::advance`] will next have something to do, when it did what was due then.
    pub(crate) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let waits = self.waits.iter().map(|wait| wait.until);
        waits
            .chain(self.recorder.next_deadline())
            .chain(self.gate.next_deadline())
            .chain(self.delivery.next_deadline(now))
            .chain(self.closing)
            .min()
    }

    /// Whether nothing more comes, and somebody waits for the end.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Whether everything is over.
    pub(crate) fn is_finished(&self) -> bool {
        self.closing.is_some() && self.delivery.is_empty() && self.waits.is_empty()
    }

    /// After a panic of the worker: what was in its hands is lost and counted, the rest goes on.
    pub(crate) fn recover(&mut self, now: Duration) {
        self.restarts += 1;
        self.recorder = Recorder::new(self.config.options.clone(), self.config.recorder);
        self.delivery.forget_in_flight(now);
        let account = self.account();
        let ended = account.delivered + account.lost.total() + account.spooled + account.set_aside;
        let known = ended + self.delivery.pending() + self.gate.held();
        let missing = (self.read + account.recovered).saturating_sub(known);
        self.delivery.outbox.lose(LossReason::Internal, missing, "the worker failed and was started again");
    }

    /// What became of the spans so far.
    pub(crate) fn account(&self) -> Account {
        Account { set_aside: self.set_aside, restarts: self.restarts, ..self.delivery.outbox.account }
    }

    /// What the user should know.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        self.delivery.take_notices()
    }

    /// What is worth a line in the log and nobody's attention.
    pub(crate) fn take_remarks(&mut self) -> Vec<String> {
        self.delivery.take_remarks()
    }

    /// Waits that have ended. They are answered after what led to that was published.
    pub(crate) fn take_ended_waits(&mut self) -> Vec<(Waiter, Waited)> {
        std::mem::take(&mut self.ended_waits)
    }

    /// Requests were lost with what made them: they are made again.
    pub(crate) fn forget_requests(&mut self) {
        self.delivery.outbox.forget_in_flight();
    }
}

#[cfg(test)]
mod tests;
