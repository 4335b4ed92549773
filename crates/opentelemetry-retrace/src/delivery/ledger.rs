//! The ledger: all runs that are not settled, with the spans that depend on each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use foldhash::HashMap;
use retrace_protocol::{Id, Span, Status, Trace, TracePatch};

use crate::config::Transport;
use crate::delivery::closing::Closing;
use crate::delivery::encoded_span::{EncodedSpan, NotEncoded};
use crate::delivery::notice::Notice;
use crate::delivery::request::{Content, Request};
use crate::delivery::retry::Backoff;
use crate::delivery::run_buffer::{RunBuffer, end_of, fingerprint};
use crate::delivery::spooling::Spooling;
use crate::delivery::transport_policy::TransportPolicy;
use crate::delivery::ws_frames::{Event, Frames};
use crate::stats::settlement::{Outcome, Settlements};
use crate::stats::{Account, LossReason};

/// Maximum number of remarks that wait to be logged; the log throttle would drop any beyond them.
const REMARKS: usize = 16;
/// Bytes counted for a streamed run beside itself: its entries in the tables of the ledger, including a hash
/// table that exists twice while it grows.
const TABLES: usize = 704;

/// Bounds of a [`Ledger`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct LedgerLimits {
    /// Maximum bytes of everything that waits.
    pub bytes: usize,
    /// Maximum number of requests that wait, and of runs that are recorded or streamed.
    pub runs: usize,
    /// Maximum bytes of one body. A longer run is shortened before it is sent.
    pub body_bytes: usize,
    /// Maximum number of concurrent requests.
    pub in_flight: usize,
    /// Time for which a run is kept while the receiver cannot be reached.
    pub keep: Duration,
}

/// Position in what was handed over, which a flush waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(super) request: u64,
    pub(super) frame: u64,
}

/// Everything on its way to the receiver.
///
/// A run that is recorded event by event is in `streamed`, and frames name its events. Once it is to be sent by a
/// request its buffer is in `requests`, as it is; if the receiver refuses it there it returns.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(super) limits: LedgerLimits,
    pub(super) transport: Transport,
    /// URL of the request that creates a run, for messages.
    pub(super) url: String,
    pub(super) policy: TransportPolicy,

    /// Runs that are recorded or streamed, by id, by age, and by the time since which no more events follow.
    pub(super) streamed: HashMap<Id, Box<RunBuffer>>,
    pub(super) by_age: BTreeMap<u64, Id>,
    pub(super) over: BTreeSet<(Duration, u64)>,
    pub(super) next_run: u64,
    /// The runs dropped last: if more of one arrives, it is incomplete.
    pub(super) dropped: VecDeque<Id>,
    /// Lossy runs that have left, and whose end does not report the loss, each with its first frame.
    pub(super) incomplete: Vec<(Id, Option<u64>)>,
    /// Number of runs that only the stream can complete.
    pub(super) stream_only: usize,
    pub(super) frames: Frames,
    /// Bytes of the streamed runs, without their frames.
    pub(super) runs_weight: usize,

    /// Requests that wait or are under way.
    pub(super) requests: BTreeMap<u64, Request>,
    pub(super) next_request: u64,
    pub(super) in_flight: usize,
    pub(super) requests_weight: usize,
    pub(super) backoff: Backoff,
    /// Number of failed requests. A waiter compares it with the value at its own start.
    pub(super) failed_requests: u64,

    /// Number of accepted spans in all runs and requests.
    pub(super) pending: u64,
    /// Present when there is a spool.
    pub(super) spooling: Option<Spooling>,
    pub(crate) account: Account,
    pub(crate) settlements: Settlements,
    pub(super) notices: Vec<Notice>,
    remarks: Vec<String>,

    /// True once the receiver has rejected the API key and no other transport is allowed.
    pub(super) refused: bool,
    /// True once the receiver has accepted a connection or answered a request.
    pub(super) reached: bool,
    pub(super) closing: Option<Closing>,
    /// True while commands of the receiver are accepted: the connection is kept while there is nothing to
    /// send.
    pub(super) serves: bool,
}

/// Construction.
impl Ledger {
    pub(crate) fn new(transport: Transport, limits: LedgerLimits, seed: u64) -> Self {
        Self {
            limits,
            transport,
            url: String::new(),
            policy: TransportPolicy::new(transport, seed),
            streamed: HashMap::default(),
            by_age: BTreeMap::new(),
            over: BTreeSet::new(),
            next_run: 0,
            dropped: VecDeque::new(),
            incomplete: Vec::new(),
            stream_only: 0,
            frames: Frames::new(),
            runs_weight: 0,
            requests: BTreeMap::new(),
            next_request: 0,
            in_flight: 0,
            requests_weight: 0,
            backoff: Backoff::new(seed),
            failed_requests: 0,
            pending: 0,
            spooling: None,
            account: Account::default(),
            settlements: Settlements::default(),
            notices: Vec::new(),
            remarks: Vec::new(),
            refused: false,
            reached: false,
            closing: None,
            serves: false,
        }
    }

    /// Enables the spool: nothing that could be delivered later is dropped.
    pub(crate) fn with_spool(mut self, spools: bool) -> Self {
        self.spooling = spools.then(Spooling::default);
        self
    }

    /// Sets whether settlements are collected.
    pub(crate) fn with_settlements(mut self, wanted: bool) -> Self {
        self.settlements = Settlements::new(wanted);
        self
    }

    /// Sets the URL that runs are sent to, for messages. It holds no credentials.
    pub(crate) fn with_url(mut self, url: String) -> Self {
        self.url = url;
        self
    }
}

/// Events of runs.
impl Ledger {
    /// Returns true if a run that is whole when it arrives is sent event by event, rather than by one request.
    pub(crate) fn streams_whole_runs(&self) -> bool {
        self.policy.streams_whole_runs()
    }

    /// Adds a whole run, or steps of one that belongs to another process, to be sent by one request.
    pub(crate) fn push_run(&mut self, trace: Trace, spans: Vec<EncodedSpan>, joined: bool, now: Duration) {
        let Some(id) = trace.id.clone() else { return };
        let run = RunBuffer::whole(trace, spans, joined);
        if self.refused {
            return self.settle(&id, run.sources(), Outcome::Lost(LossReason::Unauthorized));
        }
        self.policy.passed_by();
        self.insert(Request::new(id, Content::Create(Box::new(run)), now));
        self.make_room();
    }

    /// Adds a change of a run that was handed over before.
    pub(crate) fn push_patch(&mut self, id: Id, patch: TracePatch, now: Duration) {
        self.insert(Request::patch(id, patch, now));
    }

    /// Records that a run began, or more data of its beginning.
    pub(crate) fn begin(&mut self, id: &Id, trace: Trace) {
        if self.refused {
            return;
        }
        self.open(id);
        self.change(id, |run| run.begins_with(trace));
        self.enqueue_start(id);
        self.make_room();
    }

    /// Records that steps follow of a run that belongs to another process; `trace` is the trace to create if
    /// it begins with them. If a run that began in this process returns this way, only its steps are sent
    /// from here as well.
    pub(crate) fn join(&mut self, id: &Id, trace: Trace) {
        if self.refused {
            return;
        }
        let is_new = self.open(id);
        let reopened = self.change(id, |run| {
            run.joined |= is_new;
            if run.joined {
                run.begins_with(trace);
            }
            run.over.take().map(|since| (since, run.serial))
        });
        if let Some(key) = reopened.flatten() {
            self.over.remove(&key);
        }
        self.make_room();
    }

    /// Records that a step of a run began.
    pub(crate) fn step_began(&mut self, id: &Id, span: Span) {
        if self.refused {
            return;
        }
        self.open(id);
        if self.run(id).is_some_and(|run| run.place_of(&span.id).is_some()) {
            return;
        }
        let (span_id, start, print) = (span.id.clone(), span.started_at.clone(), fingerprint(&span));
        let Ok(encoded) = EncodedSpan::new(span, 0, self.limits.body_bytes) else { return };
        let place = self.change(id, |run| {
            let place = run.add_step(&span_id, &start);
            run.change(place, |step| step.begins(encoded, print));
            place
        });
        self.enqueue_step(id, place, Event::SpanStarted);
        self.make_room();
    }

    /// Records that a step of a run has ended.
    pub(crate) fn step_ended(&mut self, id: &Id, span: Span, sources: u32) {
        let spans = u64::from(sources);
        if self.refused {
            return self.settle(id, spans, Outcome::Lost(LossReason::Unauthorized));
        }
        let (span_id, start) = (span.id.clone(), span.started_at.clone());
        let (ended, print) = (end_of(&span), fingerprint(&span));
        let encoded = match EncodedSpan::new(span, sources, self.limits.body_bytes) {
            Ok(encoded) => encoded,
            Err(NotEncoded::Invalid) => {
                return self.lose(id, LossReason::Internal, spans, LossReason::Internal.as_str());
            }
            Err(NotEncoded::TooLarge) => {
                self.mark_lossy(id);
                return self.lose(id, LossReason::TooLarge, spans, "a span cannot be made smaller");
            }
        };
        self.open(id);
        let streams = self.transport != Transport::Http;
        self.change_with_frames(id, |run, frames| {
            let place = run.place_of(&span_id).unwrap_or_else(|| run.add_step(&span_id, &start));
            let differs = run.change(place, |step| step.ends(encoded, ended, print)) == Some(true);
            let start = run.step(place).and_then(|step| step.events.as_ref()?.start);
            if streams && differs && !frames.is_unwritten(start) {
                frames.enqueue_step(run, id, place, Event::SpanStarted);
            }
            if streams {
                frames.enqueue_step(run, id, place, Event::SpanEnded);
            }
        });
        self.make_room();
    }

    /// Records that no more events of a run follow. A run with the status `running` has not ended, and no
    /// `trace_ended` is sent.
    pub(crate) fn end(&mut self, id: &Id, trace: Trace, now: Duration) {
        if self.refused {
            return;
        }
        self.open(id);
        let ended = trace.status != Some(Status::Running);
        self.change(id, |run| run.begins_with(trace));
        self.is_over(id, now);
        if ended {
            self.enqueue_end(id);
        }
        self.forget_if_done(id);
        self.make_room();
    }

    /// Records that for now no more events follow of a run that belongs to another process.
    pub(crate) fn leave(&mut self, id: &Id, trace: Trace, now: Duration) {
        if self.refused {
            return;
        }
        self.open(id);
        self.change(id, |run| {
            if run.joined {
                run.begins_with(trace);
            }
        });
        self.is_over(id, now);
        self.forget_if_done(id);
        self.make_room();
    }

    /// Ends a run without its final trace, which the hook holds back; only `lossy` is sent.
    pub(crate) fn end_without_trace(&mut self, id: &Id, lossy: bool, now: Duration) {
        if let Some(trace) = self.run(id).map(RunBuffer::beginning) {
            self.end(id, Trace { lossy: lossy.then_some(true), ..trace }, now);
        }
    }
}

/// Accounting.
impl Ledger {
    /// Counts spans of a run that leave the ledger.
    pub(crate) fn settle(&mut self, run: &Id, spans: u64, outcome: Outcome) {
        match outcome {
            Outcome::Delivered => self.account.delivered += spans,
            Outcome::SetAside => self.account.set_aside += spans,
            Outcome::Spooled => self.account.spooled += spans,
            Outcome::Lost(reason) => self.account.lose(reason, spans),
        }
        self.settlements.of_run(run, spans, outcome);
    }

    /// Counts spans of a run that are lost, with a notice.
    pub(crate) fn lose(&mut self, run: &Id, reason: LossReason, spans: u64, why: &str) {
        self.settle(run, spans, Outcome::Lost(reason));
        self.notice_loss(spans, why);
    }

    /// Counts spans that are lost and whose trace is not known, with a notice.
    pub(crate) fn lose_unnamed(&mut self, reason: LossReason, spans: u64, why: &str) {
        self.account.lose(reason, spans);
        self.settlements.of_trace(None, spans, Outcome::Lost(reason));
        self.notice_loss(spans, why);
    }

    /// Adds a notice that spans are lost, if there are any.
    pub(crate) fn notice_loss(&mut self, spans: u64, why: &str) {
        if spans > 0 {
            self.notices.push(Notice::lost(spans, why));
        }
    }

    /// Number of accepted spans that wait, including those on their way to the spool.
    pub(crate) fn pending(&self) -> u64 {
        self.pending + self.leaving()
    }

    /// Counts the waiting spans one by one: after a panic, and for tests.
    pub(crate) fn count_spans(&self) -> u64 {
        let streamed: u64 = self.streamed.values().map(|run| run.count_spans()).sum();
        let requested: u64 = self.requests.values().map(Request::count_spans).sum();
        streamed + requested + self.count_leaving()
    }

    /// Resets the state after a panic of the worker, when it is unknown which requests were under way. Corrects
    /// the counts: the panic may have come between a change and its count.
    pub(crate) fn recover(&mut self, now: Duration) {
        self.streamed.values_mut().for_each(|run| run.recount());
        for request in self.requests.values_mut() {
            if let Content::Create(run) = &mut request.content {
                run.recount();
            }
        }
        self.frames.recount();
        self.recount_leaving();
        self.pending = self.count_spans() - self.leaving();
        self.runs_weight = self.streamed.values().map(|run| run.weight()).sum();
        self.requests_weight = self.requests.values().map(Request::weight).sum();
        self.forget_requests();
        self.link_lost_with_worker(now);
    }

    /// Bytes of the streamed runs, with their entries in the tables, and of their frames.
    pub(super) fn stream_weight(&self) -> usize {
        self.runs_weight + self.streamed.len() * TABLES + self.frames.weight()
    }

    /// Bytes of everything that waits.
    pub(crate) fn weight(&self) -> usize {
        self.requests_weight + self.stream_weight()
    }

    /// Returns true if half as many runs wait as may wait.
    pub(crate) fn is_crowded(&self) -> bool {
        self.requests.len() + self.streamed.len() > self.limits.runs / 2
    }

    /// Adds a notice for the user.
    pub(crate) fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    /// Takes the notices for the user.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Adds a line for the log that needs no notice to the user.
    pub(crate) fn remark(&mut self, what: String) {
        if self.remarks.len() < REMARKS {
            self.remarks.push(what);
        }
    }

    /// Takes the lines for the log.
    pub(crate) fn take_remarks(&mut self) -> Vec<String> {
        std::mem::take(&mut self.remarks)
    }
}
