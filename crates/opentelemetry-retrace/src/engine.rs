//! Everything the worker decides, without doing any of it.
//!
//! Messages, answers and times go in; requests, signals and ended waits come out. It knows no clock, no socket and no
//! thread, so that flushes, losses and shutdowns are tested as plain function calls.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::trace::SpanData;
use retrace_protocol::{Id, Trace, TracePatch};
use retrace_translate::{Options, Output, Recorder, RecorderLimits, Resource, Run};

use crate::inbox::{Message, Taken};
use crate::outbox::{Answer, Chunk, Notice, Outbox, OutboxLimits, Sending};
use crate::redact::{Decision, Redaction};
use crate::stats::{Account, LossReason, Lost};
use crate::view::SdkSpan;
use crate::waiter::{Waited, Waiter};

/// What an [`Engine`] is made from.
#[derive(Debug)]
pub(crate) struct EngineConfig {
    pub options: Options,
    pub recorder: RecorderLimits,
    pub outbox: OutboxLimits,
    pub redaction: Redaction,
    /// How long an export waits for the delivery of what it handed over.
    pub export_wait: Duration,
    /// How long a flush may take.
    pub flush_wait: Duration,
    /// For the jitter of retries.
    pub seed: u64,
}

/// The pipeline from spans to requests.
#[derive(Debug)]
pub(crate) struct Engine {
    config: EngineConfig,
    recorder: Recorder,
    outbox: Outbox,
    resource: Arc<Resource>,
    /// Spans that were taken from the inbox and not read yet.
    queue: VecDeque<SpanData>,
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
    /// What is in the outbox below this number is waited for; not known while runs still linger.
    mark: Option<u64>,
    lost_before: Lost,
    /// Failed attempts when the wait began, when the receiver was failing already.
    failing_since: Option<u64>,
}

impl Engine {
    pub(crate) fn new(config: EngineConfig) -> Self {
        Self {
            recorder: Recorder::new(config.options.clone(), config.recorder),
            outbox: Outbox::new(config.outbox, config.seed),
            resource: Arc::default(),
            queue: VecDeque::new(),
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
        for trace_id in taken.incomplete {
            self.recorder.mark_lossy(trace_id);
        }
        for message in taken.messages {
            match message {
                Message::Spans { spans, wait } => {
                    self.queue.extend(spans);
                    self.read_queue(now);
                    if let Some(waiter) = wait {
                        self.wait(waiter, self.config.export_wait, now);
                    }
                }
                Message::Resource(resource) => self.resource = resource,
                Message::Flush(waiter) => {
                    self.recorder.settle();
                    self.wait(waiter, self.config.flush_wait, now);
                }
                Message::Shutdown { within, waiter } => {
                    self.recorder.finish();
                    self.wait(waiter, within, now);
                    self.closing = Some(now + within);
                }
            }
        }
        self.advance(now);
    }

    fn read_queue(&mut self, now: Duration) {
        while let Some(span) = self.queue.pop_front() {
            self.read += 1;
            self.recorder.record(&SdkSpan(&span), &self.resource, now);
        }
    }

    fn wait(&mut self, waiter: Waiter, at_most: Duration, now: Duration) {
        self.outbox.hurry(now);
        self.waits.push(Wait {
            waiter,
            until: now + at_most,
            ended_by: now,
            mark: None,
            lost_before: self.outbox.account.lost,
            failing_since: self.outbox.is_failing().then(|| self.outbox.failures_seen()),
        });
    }

    /// Does what is due by now.
    pub(crate) fn advance(&mut self, now: Duration) {
        self.read_queue(now);
        self.recorder.advance(now);
        while let Some(output) = self.recorder.next_output() {
            match output {
                Output::Run(run) => self.put_run(*run, now),
                Output::Correction(correction) => self.put_correction(correction.id, correction.patch, now),
                Output::SetAside { spans } => self.set_aside += spans,
                // No start is handed to the recorder, so none of these come.
                Output::Live(_) => {}
            }
        }
        self.outbox.expire(now);
        match self.closing {
            Some(end) if now >= end => self.outbox.abandon(LossReason::Shutdown),
            Some(end) => self.outbox.close(now, end),
            None => {}
        }
        self.end_waits(now);
    }

    fn put_run(&mut self, run: Run, now: Duration) {
        self.set_aside += run.set_aside;
        let sources = run.spans.iter().map(|recorded| u64::from(recorded.sources)).sum();
        let mut trace = match self.config.redaction.trace(run.trace) {
            Decision::Send(trace) => trace,
            Decision::KeepBack => return self.lose(LossReason::BeforeSend, sources),
            Decision::Panicked => return self.lose(LossReason::BeforeSendPanicked, sources),
        };
        let mut chunks = Vec::with_capacity(run.spans.len());
        let mut dropped: Vec<(Id, Option<Id>)> = Vec::new();
        for recorded in run.spans {
            let (id, parent, sources) = (recorded.span.id.clone(), recorded.span.parent_id.clone(), recorded.sources);
            let mut span = recorded.span;
            // A span whose parent was kept back hangs from what stood above that.
            while let Some((_, above)) = dropped.iter().find(|(id, _)| Some(id) == span.parent_id.as_ref()) {
                span.parent_id.clone_from(above);
            }
            let reason = match self.config.redaction.span(span) {
                Decision::Send(span) => match Chunk::new(&span, sources) {
                    Some(chunk) => {
                        chunks.push(chunk);
                        continue;
                    }
                    None => LossReason::Internal,
                },
                Decision::KeepBack => LossReason::BeforeSend,
                Decision::Panicked => LossReason::BeforeSendPanicked,
            };
            // What the user keeps back is no loss of the run; what went wrong is.
            if reason != LossReason::BeforeSend {
                trace.lossy = Some(true);
            }
            dropped.push((id, parent));
            self.lose(reason, u64::from(sources));
        }
        trace.span_count = trace.span_count.map(|_| chunks.len() as u64);
        self.outbox.push_run(trace, chunks, now);
    }

    fn put_correction(&mut self, id: Id, patch: TracePatch, now: Duration) {
        let mut trace = Trace { id: Some(id.clone()), ..Trace::default() };
        trace.apply(patch.into_ended(id.clone()));
        if let Decision::Send(trace) = self.config.redaction.trace(trace) {
            self.outbox.push_patch(id, TracePatch::of(&trace), now);
        }
    }

    fn lose(&mut self, reason: LossReason, spans: u64) {
        if spans == 0 {
            return;
        }
        match reason {
            // Asked for, so nothing to tell.
            LossReason::BeforeSend => self.outbox.account.lose(reason, spans),
            LossReason::BeforeSendPanicked => self.outbox.lose(reason, spans, "before_send panicked on them"),
            _ => self.outbox.lose(reason, spans, reason.as_str()),
        }
    }

    fn end_waits(&mut self, now: Duration) {
        let still_lingering = self.recorder.earliest_end();
        for wait in std::mem::take(&mut self.waits) {
            let mut wait = wait;
            if wait.mark.is_none() && still_lingering.is_none_or(|ended| ended > wait.ended_by) {
                wait.mark = Some(self.outbox.next_serial());
            }
            let waited = if wait.mark.is_some_and(|mark| self.outbox.is_done_before(mark)) {
                Waited::Done(self.outbox.account.lost.since(&wait.lost_before))
            } else if now >= wait.until {
                Waited::TimedOut
            } else if self.closing.is_none()
                && wait.failing_since.is_some_and(|failures| self.outbox.failures_seen() > failures)
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
        self.outbox.next(now)
    }

    /// Says what came of a request.
    pub(crate) fn answer(&mut self, serial: u64, answer: Answer, now: Duration) {
        self.outbox.answer(serial, answer, now);
        self.advance(now);
    }

    /// When [`Engine::advance`] will next have something to do.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let waits = self.waits.iter().map(|wait| wait.until);
        waits.chain(self.recorder.next_deadline()).chain(self.outbox.next_deadline()).chain(self.closing).min()
    }

    /// Whether everything is over.
    pub(crate) fn is_finished(&self) -> bool {
        self.closing.is_some() && self.outbox.is_empty() && self.waits.is_empty()
    }

    /// After a panic of the worker: what was in its hands is lost and counted, the rest goes on.
    pub(crate) fn recover(&mut self) {
        self.restarts += 1;
        self.recorder = Recorder::new(self.config.options.clone(), self.config.recorder);
        self.outbox.forget_in_flight();
        let account = self.account();
        let known = account.delivered + account.lost.total() + account.set_aside + self.outbox.pending();
        let missing = self.read.saturating_sub(known);
        self.outbox.lose(LossReason::Internal, missing, "the worker failed and was started again");
    }

    /// What became of the spans so far.
    pub(crate) fn account(&self) -> Account {
        Account { set_aside: self.set_aside, restarts: self.restarts, ..self.outbox.account }
    }

    /// What the user should know.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        self.outbox.take_notices()
    }

    /// Waits that have ended. They are answered after what led to that was published.
    pub(crate) fn take_ended_waits(&mut self) -> Vec<(Waiter, Waited)> {
        std::mem::take(&mut self.ended_waits)
    }

    /// Requests were lost with what made them: they are made again.
    pub(crate) fn forget_requests(&mut self) {
        self.outbox.forget_in_flight();
    }
}

#[cfg(test)]
mod tests;
