//! State machine of the worker: it decides everything and performs no I/O.
//!
//! Messages, responses and times go in; requests, signals and ended waits come out. It has no clock, no
//! socket and no thread, so that flushes, losses and shutdowns are tested as plain function calls.

mod backlog;
mod emit;
mod hint;
mod incoming;
mod spool;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry::trace::TraceId;
use opentelemetry_sdk::trace::SpanData;
use retrace_protocol::{ServerFrame, Signal, SignalCode};
use retrace_translate::{Options, Output, Recorder, RecorderLimits, Resource};

use crate::config::Transport;
use crate::delivery::{Answer, Cause, Closed, Ledger, LedgerLimits, Mark, Notice, Sending, Written};
use crate::pipeline_state::backlog::{Backlog, Next, Pause};
use crate::pipeline_state::emit::KeptBack;
use crate::pipeline_state::hint::Hint;
pub(crate) use crate::pipeline_state::incoming::Incoming;
use crate::recording::flush_handle::{FlushHandle, FlushOutcome};
use crate::recording::queue::{EventBatch, Message, SpanEvent, Taken};
use crate::recording::redact::Redaction;
use crate::recording::tail_sampling::{SamplingVerdict, TailSampler, TailSamplerLimits};
use crate::remote::{CommandsError, Refusal};
use crate::sampling::Failures;
use crate::sampling::Rule;
use crate::span::view::SdkSpan;
use crate::stats::settlement::{Outcome, Settlement, Settlements};
use crate::stats::{Account, LossReason, Lost};

/// Maximum number of traces that wait to be marked as incomplete. Beyond it they are cleared.
const INCOMPLETE: usize = 4_096;
/// Bytes counted for one of them, and the divisor for the share of all bytes that they take at most.
const INCOMPLETE_BYTES: usize = 48;
const INCOMPLETE_SHARE: usize = 32;

/// Longest time without a delivery for which the worker reads no message.
const HOLD: Duration = Duration::from_secs(30);

/// Spans that are read in one turn. After each turn the queue gets its room back, and connections are served.
const AT_ONCE: usize = 512;
/// Factor by which a run may grow from the recorder to delivery.
const GROWTH: usize = 2;

/// Settings of an [`PipelineState`].
#[derive(Debug)]
pub(crate) struct PipelineConfig {
    pub options: Options,
    pub recorder: RecorderLimits,
    pub ledger: LedgerLimits,
    pub transport: Transport,
    /// URL that runs are sent to, for messages.
    pub url: String,
    pub rule: Option<Rule>,
    pub failures: Failures,
    pub tail_sampler: TailSamplerLimits,
    pub redaction: Redaction,
    /// Bytes of everything that waits for delivery, and of spans that are held in case their run fails.
    pub bytes: usize,
    /// Timeout of a flush.
    pub flush_wait: Duration,
    /// Seed of the jitter of retries.
    pub seed: u64,
    /// True if runs that could not be delivered are written to the spool.
    pub spools: bool,
    /// True if settlements are reported.
    pub settlements: bool,
}

/// State of the pipeline from spans to requests.
#[derive(Debug)]
pub(crate) struct PipelineState {
    config: PipelineConfig,
    tail_sampler: TailSampler,
    recorder: Recorder,
    ledger: Ledger,
    /// Parts that the hook holds back of runs that are sent while they happen.
    kept_back: KeptBack,
    /// True once the receiver has sent `halt`.
    halted: bool,
    resource: Arc<Resource>,
    /// Messages taken from the queue and not read yet.
    backlog: Backlog,
    /// Time since which no message is read, and the number of spans delivered by then.
    held: Option<(Duration, u64)>,
    /// True if a part of the backlog was read and the next turn reads on at once.
    reads_on: bool,
    /// Traces with refused spans, of which no other span was read yet.
    incomplete: HashSet<[u8; 16]>,
    /// Number of accepted spans received so far.
    received: u64,
    /// Number of spans that are not selected.
    set_aside: u64,
    restarts: u64,
    /// True once a run was recorded.
    has_recorded: bool,
    /// Log line about traces without GenAI spans, given once.
    hint: Hint,
    /// Losses at the time of the shutdown.
    lost_at_shutdown: Option<Lost>,
    waits: Vec<Wait>,
    ended_waits: Vec<(FlushHandle, FlushOutcome)>,
    closing: Option<Duration>,
}

/// Flush or shutdown that waits for delivery.
#[derive(Debug)]
struct Wait {
    waiter: FlushHandle,
    until: Duration,
    /// Position up to which delivery is waited for; set once delivery has turned ended runs into requests.
    mark: Option<Mark>,
    lost_before: Lost,
    /// Number of failed attempts when the wait began, if the receiver was failing then.
    failing_since: Option<u64>,
}

impl PipelineState {
    pub(crate) fn new(config: PipelineConfig) -> Self {
        Self {
            tail_sampler: TailSampler::new(config.rule.clone(), config.failures, config.tail_sampler)
                .with_joins(config.options.join),
            recorder: Recorder::new(config.options.clone(), config.recorder),
            ledger: Ledger::new(config.transport, config.ledger, config.seed)
                .with_spool(config.spools)
                .with_settlements(config.settlements)
                .with_url(config.url.clone()),
            kept_back: KeptBack::default(),
            halted: false,
            resource: Arc::default(),
            backlog: Backlog::default(),
            held: None,
            reads_on: false,
            incomplete: HashSet::new(),
            received: 0,
            set_aside: 0,
            restarts: 0,
            has_recorded: false,
            hint: Hint::default(),
            lost_at_shutdown: None,
            waits: Vec::new(),
            ended_waits: Vec::new(),
            closing: None,
            config,
        }
    }

    /// Takes messages from the queue.
    pub(crate) fn take(&mut self, taken: Taken, now: Duration) {
        if self.incomplete.len() >= INCOMPLETE.min(self.config.bytes / INCOMPLETE_SHARE / INCOMPLETE_BYTES) {
            self.incomplete.clear();
        }
        self.incomplete.extend(taken.incomplete);
        let before = self.backlog.spans();
        for message in taken.messages {
            if matches!(message, Message::Shutdown { .. }) {
                self.lost_at_shutdown = Some(self.ledger.account.lost);
            }
            self.backlog.push(message, self.config.flush_wait, now);
        }
        self.received += self.backlog.spans() - before;
        self.read(now);
        self.advance(now);
        // Requests that were handed over may have made room.
        if self.has_backlog() && !self.reads_on && !self.holds_back(now) {
            self.read(now);
            self.advance(now);
        }
    }

    /// Marks runs as incomplete. If spans of a trace are refused before any other span of it is read, the
    /// mark waits for that span.
    fn mark_incomplete(&mut self) {
        self.incomplete.retain(|trace_id| !self.recorder.mark_lossy(*trace_id));
    }

    /// Returns the room of the messages that were read to the queue: pieces, and the bytes of other spans.
    pub(crate) fn take_read(&mut self) -> (Vec<EventBatch>, usize) {
        self.backlog.take_read()
    }

    /// Returns true if a message taken from the queue is not read yet.
    pub(crate) fn has_backlog(&self) -> bool {
        self.backlog.len() > 0
    }

    /// Returns true if the next turn reads on at once, because this one read a part only.
    pub(crate) fn reads_on(&self) -> bool {
        self.reads_on
    }

    /// Reads a part of the backlog. Reads nothing while delivery is under way and most of its room is taken.
    fn read(&mut self, now: Duration) {
        let (mut messages, mut spans) = (0, 0);
        let mut too_late = 0;
        self.reads_on = false;
        while !self.holds_back(now) {
            self.reads_on = spans >= AT_ONCE && !self.backlog.is_urgent(now);
            if self.reads_on {
                break;
            }
            let Some(next) = self.backlog.next() else { break };
            spans += 1;
            if messages != self.backlog.len() {
                messages = self.backlog.len();
                self.mark_incomplete();
            }
            match next {
                Next::Seen(seen) if self.halted => {
                    if let SpanEvent::Ended(span) = seen {
                        too_late += 1;
                        let outcome = Outcome::Lost(LossReason::Halted);
                        self.settlements().of_trace(Some(span.span_context.trace_id()), 1, outcome);
                    }
                }
                Next::Seen(seen) => self.read_span(seen, now),
                Next::Resource(resource) => self.resource = resource,
                Next::Wait(pause) => {
                    // A run whose root has ended does not linger while a flush waits for it.
                    self.recorder.settle();
                    self.pass_on(now);
                    self.wait(pause, now);
                }
                Next::Shutdown(pause) => {
                    let end = pause.until;
                    self.finish(now);
                    self.pass_on(now);
                    self.wait(pause, now);
                    self.closing = Some(end);
                    self.ledger.close(now, end);
                }
            }
            // The records of one span are counted and bounded before the next span is read.
            self.pass_on(now);
        }
        self.ledger.account.lose(LossReason::Halted, too_late);
        self.ledger.notice_loss(too_late, "the receiver requested the end of recording");
        self.mark_incomplete();
    }

    /// Returns true if no more messages are read for now: delivery is under way, and most of its room is
    /// taken. Spans then stay in the queue, and new spans are refused when the queue is full, rather than
    /// displace older ones.
    fn holds_back(&mut self, now: Duration) -> bool {
        let waits = self.ledger.weight() + self.recorder.weight() * GROWTH;
        let room = self.config.bytes.saturating_sub(self.tail_sampler.weight());
        let is_full = waits > room / 4 * 3 || self.ledger.is_crowded();
        let is_over = self.halted || self.closing.is_some() || self.backlog.is_urgent(now);
        if is_over || !self.ledger.makes_progress() {
            self.held = None;
            return false;
        }
        let delivered = self.ledger.account.delivered;
        // A moment in which there is room is no delivery: the time goes on.
        match self.held.filter(|(_, before)| *before == delivered) {
            Some((since, _)) => is_full && now < since + HOLD,
            None => {
                self.held = is_full.then_some((now, delivered));
                is_full
            }
        }
    }

    fn read_span(&mut self, seen: SpanEvent, now: Duration) {
        match seen {
            SpanEvent::Began(span) => {
                if self.tail_sampler.lets_begin(&span) {
                    self.recorder.start(&SdkSpan(&span), &self.resource, now);
                }
            }
            SpanEvent::Ended(span) => match self.tail_sampler.ended(span, now) {
                SamplingVerdict::Span(span) => self.recorder.record(&SdkSpan(&span), &self.resource, now),
                SamplingVerdict::Run { spans, incomplete, for_failure } => {
                    self.record_run(&spans, incomplete, for_failure, now);
                }
                SamplingVerdict::Nothing { dropped } => {
                    self.set_aside_by_sampling(dropped);
                    self.share();
                }
            },
        }
    }

    /// Divides the bytes between delivery and held spans. Held spans come first, except before requests under
    /// way.
    fn share(&mut self) {
        let bytes = self.config.bytes;
        self.ledger.set_bytes(bytes.saturating_sub(self.tail_sampler.weight()).min(self.config.ledger.bytes));
        let waits = self.ledger.weight();
        if waits + self.tail_sampler.weight() > bytes {
            let dropped = self.tail_sampler.make_room(bytes.saturating_sub(waits));
            self.set_aside_by_sampling(dropped);
        }
    }

    /// Counts spans that the tail sampler drops.
    fn set_aside_by_sampling(&mut self, dropped: u64) {
        self.set_aside += dropped;
        for (trace_id, spans) in self.tail_sampler.take_dropped() {
            self.settlements().of_trace(Some(TraceId::from_bytes(trace_id)), spans, Outcome::SetAside);
        }
    }

    fn settlements(&mut self) -> &mut Settlements {
        &mut self.ledger.settlements
    }

    /// Takes the settlements since the last call. The account includes them.
    pub(crate) fn take_settlements(&mut self) -> Vec<Settlement> {
        self.settlements().take()
    }

    fn record_run(&mut self, spans: &[SpanData], incomplete: bool, for_failure: bool, now: Duration) {
        for span in spans {
            self.recorder.record(&SdkSpan(span), &self.resource, now);
        }
        let Some(trace_id) = spans.first().map(|span| span.span_context.trace_id().to_bytes()) else { return };
        if incomplete {
            self.recorder.mark_lossy(trace_id);
        }
        if for_failure {
            self.recorder.mark_kept_for_failure(trace_id);
        }
    }

    /// Ends all runs; no more spans follow.
    fn finish(&mut self, now: Duration) {
        let (failed, dropped) = self.tail_sampler.finish();
        self.set_aside_by_sampling(dropped);
        for (spans, incomplete) in failed {
            self.record_run(&spans, incomplete, true, now);
        }
        self.recorder.finish();
    }

    fn wait(&mut self, pause: Pause, now: Duration) {
        self.ledger.hurry(now);
        self.waits.push(Wait {
            waiter: pause.waiter,
            until: pause.until,
            mark: None,
            lost_before: self.lost_at_shutdown.unwrap_or(self.ledger.account.lost),
            failing_since: self.ledger.is_failing().then(|| self.ledger.failures_seen()),
        });
    }

    /// Passes the recorder's outputs on to delivery.
    fn pass_on(&mut self, now: Duration) {
        while let Some(output) = self.recorder.next_output() {
            match output {
                Output::Run(run) => {
                    self.has_recorded = true;
                    self.put_run(*run, now);
                }
                Output::Correction(correction) => self.put_correction(correction.id, correction.patch, now),
                Output::SetAside { trace_id, spans } => {
                    self.set_aside += spans;
                    self.settlements().of_trace(Some(TraceId::from_bytes(trace_id)), spans, Outcome::SetAside);
                }
                Output::Live(live) => {
                    self.has_recorded = true;
                    self.put_live(*live, now);
                }
            }
        }
    }

    /// Does everything that is due by `now`.
    pub(crate) fn advance(&mut self, now: Duration) {
        let dropped = self.tail_sampler.advance(now);
        self.set_aside_by_sampling(dropped);
        self.share();
        self.recorder.advance(now);
        self.pass_on(now);
        self.look_for_hint();
        self.ledger.advance(now);
        self.ended_waits.extend(self.backlog.expire(now));
        self.end_waits(now);
    }

    fn end_waits(&mut self, now: Duration) {
        for mut wait in std::mem::take(&mut self.waits) {
            let mark = *wait.mark.get_or_insert_with(|| self.ledger.mark());
            let waited = if self.ledger.is_done_before(mark) {
                FlushOutcome::Done(self.ledger.account.lost.since(&wait.lost_before))
            } else if now >= wait.until {
                FlushOutcome::TimedOut
            } else if self.closing.is_none()
                && wait.failing_since.is_some_and(|failures| self.ledger.failures_seen() > failures)
            {
                FlushOutcome::Failing
            } else {
                self.waits.push(wait);
                continue;
            };
            self.ended_waits.push((wait.waiter, waited));
        }
    }

    /// Returns the next request to make.
    pub(crate) fn next_sending(&mut self, now: Duration) -> Option<Sending> {
        self.ledger.next_sending(now)
    }

    /// Handles the outcome of a request.
    pub(crate) fn answer(&mut self, serial: u64, answer: Answer, now: Duration) {
        self.ledger.answer(serial, answer, now);
        self.advance(now);
    }

    /// Returns true if a connection is to be opened now. The caller then reports it by
    /// [`PipelineState::link_opening`].
    pub(crate) fn wants_link(&self, now: Duration) -> bool {
        self.ledger.wants_link(now)
    }

    pub(crate) fn link_opening(&mut self) {
        self.ledger.link_opening();
    }

    /// Handles a message of the connection.
    pub(crate) fn incoming(&mut self, incoming: Incoming, now: Duration) {
        match incoming {
            Incoming::Open => self.ledger.link_opened(),
            Incoming::Acks(acks) => self.ledger.acks(&acks, now),
            Incoming::Frame(ServerFrame::Halt { reason, .. }) => self.halt(reason.as_deref(), now),
            // Commands go to their subscriber.
            Incoming::Command(..) => {}
            Incoming::Frame(frame) => self.ledger.frame(frame, now),
            Incoming::Odd(what) => self.ledger.remark(what),
            Incoming::Closed(closed) => self.ledger.link_closed(closed, now),
        }
        self.advance(now);
    }

    /// Sets whether commands of the receiver are accepted, for which the connection is kept.
    pub(crate) fn set_serving(&mut self, serves: bool) {
        self.ledger.set_serving(serves && !self.halted);
    }

    /// Returns the reason why no command will follow any more, if none will.
    pub(crate) fn ends_serving(&self) -> Option<CommandsError> {
        match (self.halted, self.ledger.has_stream() || self.closing.is_some()) {
            (true, _) => Some(CommandsError::Halted),
            (false, true) => None,
            (false, false) => Some(CommandsError::Unauthorized),
        }
    }

    /// Adds a notice about spans for which the queue had no room. They are counted there.
    pub(crate) fn refused_by_queue(&mut self, spans: u64) {
        self.ledger.notice_loss(spans, "the queue is full: they come faster than they are read");
    }

    /// Adds a notice that a command of the receiver is refused.
    pub(crate) fn refuse_command(&mut self, refusal: Refusal) {
        let notice = Cause::by_us(refusal.text()).notice(SignalCode::Error, "nothing is executed");
        self.ledger.notice(notice);
    }

    /// Returns the reason to give up the connection at once, if there is one.
    pub(crate) fn gives_up_link(&self, now: Duration) -> Option<Closed> {
        self.ledger.gives_up_link(now)
    }

    /// Returns true if the connection is no longer needed.
    pub(crate) fn leaves_link(&self) -> bool {
        (self.halted || self.closing.is_some()) && self.ledger.is_empty()
    }

    /// Returns up to which frame the present connection is written and confirmed.
    pub(crate) fn written(&self) -> Written {
        self.ledger.written()
    }

    /// Returns the next frame to write to the connection, if one may be written now.
    pub(crate) fn next_frame(&mut self, now: Duration) -> Option<Bytes> {
        self.ledger.next_frame(now)
    }

    /// Ends recording: recorded runs are still sent, and no more are recorded (PROTOCOL.md section 7).
    fn halt(&mut self, reason: Option<&str>, now: Duration) {
        if std::mem::replace(&mut self.halted, true) {
            return;
        }
        let cause = Cause {
            text: "the receiver requested the end of recording".to_owned(),
            peer_message: Some(Signal::from_halt(reason).message),
        };
        self.ledger.notice(cause.notice(SignalCode::Halt, "what comes from now on is not sent"));
        self.finish(now);
    }

    /// Returns the next time after `now` at which [`PipelineState::advance`] has work to do, once it has done
    /// everything due.
    pub(crate) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let waits = self.waits.iter().map(|wait| wait.until);
        waits
            .chain(self.recorder.next_deadline())
            .chain(self.tail_sampler.next_deadline())
            .chain(self.ledger.next_deadline(now))
            .chain(self.backlog.next_deadline())
            .chain(self.held.filter(|_| self.has_backlog()).map(|(since, _)| since + HOLD))
            .chain(self.closing)
            .min()
    }

    /// Returns true if no more input follows, and a shutdown waits for the end.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_some() || self.backlog.is_closing()
    }

    /// Returns true if the shutdown is complete.
    pub(crate) fn is_finished(&self) -> bool {
        self.closing.is_some() && self.ledger.is_empty() && self.waits.is_empty()
    }

    /// Returns true if no span was lost, waits, or was put into the spool.
    pub(crate) fn is_all_delivered(&self) -> bool {
        let account = self.account();
        account.lost.total() + account.spooled + account.pending == 0
    }

    /// Continues after a panic of the worker: spans that it was processing are lost and counted, the rest
    /// goes on.
    pub(crate) fn recover(&mut self, now: Duration) {
        self.restarts += 1;
        self.recorder = Recorder::new(self.config.options.clone(), self.config.recorder);
        self.tail_sampler.recount();
        self.backlog.recount();
        self.ledger.recover(now);
        let account = self.account();
        let ended = account.delivered + account.lost.total() + account.spooled + account.set_aside;
        let missing = (self.received + account.recovered).saturating_sub(ended + account.pending);
        self.ledger.lose_unnamed(LossReason::Internal, missing, "the worker failed and was started again");
    }

    /// Number of accepted spans that the worker holds, as each place counts them.
    fn pending(&self) -> u64 {
        self.backlog.spans() + self.tail_sampler.held() + self.recorder.open_spans() + self.ledger.pending()
    }

    /// Returns the counts of spans by outcome.
    pub(crate) fn account(&self) -> Account {
        let (set_aside, restarts, pending) = (self.set_aside, self.restarts, self.pending());
        Account { set_aside, restarts, pending, ..self.ledger.account }
    }

    /// Takes the notices for the user.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        self.ledger.take_notices()
    }

    /// Takes the lines for the log that need no notice.
    pub(crate) fn take_remarks(&mut self) -> Vec<String> {
        self.ledger.take_remarks()
    }

    /// Takes the waits that have ended. They are answered after the account is published.
    pub(crate) fn take_ended_waits(&mut self) -> Vec<(FlushHandle, FlushOutcome)> {
        std::mem::take(&mut self.ended_waits)
    }

    /// Resets requests that were lost with their tasks: they are made again.
    pub(crate) fn forget_requests(&mut self) {
        self.ledger.forget_requests();
    }
}

#[cfg(test)]
mod tests;
