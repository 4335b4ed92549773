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
use crate::settlement::{Outcome, Settlements};
use crate::stats::{Account, LossReason};

/// Maximum number of remarks that wait to be logged; the log throttle would drop any beyond them.
const REMARKS: usize = 16;
/// Bytes counted for a streamed run beside itself: its entries in the tables of the ledger, including a hash
/// table that exists twice while it grows.
const TABLES: usize = 704;
/// Number of dropped runs that are remembered.
const DROPPED_RUNS: usize = 256;

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
    request: u64,
    frame: u64,
}

impl Mark {
    /// Number of the first request after it.
    pub(super) fn request(self) -> u64 {
        self.request
    }
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
    next_run: u64,
    /// The runs dropped last: if more of one arrives, it is incomplete.
    dropped: VecDeque<Id>,
    /// Lossy runs that have left, and whose end does not report the loss, each with its first frame.
    pub(super) incomplete: Vec<(Id, Option<u64>)>,
    /// Number of runs that only the stream can complete.
    stream_only: usize,
    pub(super) frames: Frames,
    /// Bytes of the streamed runs, without their frames.
    pub(super) runs_weight: usize,

    /// Requests that wait or are under way.
    pub(super) requests: BTreeMap<u64, Request>,
    next_request: u64,
    pub(super) in_flight: usize,
    pub(super) requests_weight: usize,
    pub(super) backoff: Backoff,
    /// Number of failed requests. A waiter compares it with the value at its own start.
    pub(super) failed_requests: u64,

    /// Number of accepted spans in all runs and requests.
    pending: u64,
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
        let changed = self.change(id, |run| {
            let place = run.place_of(&span_id).unwrap_or_else(|| run.add_step(&span_id, &start));
            let differs = run.change(place, |step| step.ends(encoded, ended, print)).unwrap_or(false);
            (place, differs.then(|| run.step(place)?.events.as_ref()?.start))
        });
        if let Some((place, differs)) = changed {
            if differs.is_some_and(|start| !self.frames.is_unwritten(start)) {
                self.enqueue_step(id, Some(place), Event::SpanStarted);
            }
            self.enqueue_step(id, Some(place), Event::SpanEnded);
        }
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

/// Streamed runs.
impl Ledger {
    pub(super) fn run(&self, id: &Id) -> Option<&RunBuffer> {
        self.streamed.get(id).map(|run| &**run)
    }

    /// Adds an empty run, if there is none with this id; returns true if it does.
    fn open(&mut self, id: &Id) -> bool {
        if self.streamed.contains_key(id) {
            return false;
        }
        let mut run = Box::new(RunBuffer::new(self.next_run));
        run.trace.lossy = self.dropped.contains(id).then_some(true);
        self.add_run(id, run);
        true
    }

    /// Adds a run, the youngest one.
    fn add_run(&mut self, id: &Id, mut run: Box<RunBuffer>) {
        run.serial = self.next_run;
        self.next_run += 1;
        self.by_age.insert(run.serial, id.clone());
        if let Some(since) = run.over {
            self.over.insert((since, run.serial));
        }
        self.stream_only += usize::from(run.stream_only.is_some());
        self.runs_weight += run.weight();
        self.pending += run.sources();
        self.streamed.insert(id.clone(), run);
    }

    /// Takes a run out, without its frames.
    pub(super) fn take_run(&mut self, id: &Id) -> Option<Box<RunBuffer>> {
        let mut run = self.streamed.remove(id)?;
        for seq in std::mem::take(&mut run.frames) {
            self.frames.take(seq);
        }
        self.by_age.remove(&run.serial);
        if let Some(since) = run.over {
            self.over.remove(&(since, run.serial));
        }
        self.stream_only -= usize::from(run.stream_only.is_some());
        self.runs_weight -= run.weight();
        self.pending -= run.sources();
        Some(run)
    }

    /// Changes a run, and the counts with it.
    pub(super) fn change<T>(&mut self, id: &Id, change: impl FnOnce(&mut RunBuffer) -> T) -> Option<T> {
        let run = self.streamed.get_mut(id)?;
        let (weight, sources) = (run.weight(), run.sources());
        let changed = change(run);
        self.runs_weight = self.runs_weight - weight + run.weight();
        self.pending = self.pending - sources + run.sources();
        Some(changed)
    }

    fn is_over(&mut self, id: &Id, now: Duration) {
        let before = self.change(id, |run| (run.over.replace(now), run.serial));
        if let Some((before, serial)) = before {
            before.map(|since| self.over.remove(&(since, serial)));
            self.over.insert((now, serial));
        }
    }

    /// Adds a frame of the event, unless the transport has no stream.
    fn enqueue(&mut self, id: &Id, event: Event) -> Option<u64> {
        if self.transport == Transport::Http {
            return None;
        }
        let seq = self.frames.enqueue(id, event);
        self.change(id, |run| {
            run.frames.push_back(seq);
            run.first_frame.get_or_insert(seq);
        });
        Some(seq)
    }

    /// Adds a `trace_started`, unless one waits to be written.
    fn enqueue_start(&mut self, id: &Id) {
        let start = self.run(id).and_then(|run| run.start);
        if !self.frames.is_unwritten(start) {
            let seq = self.enqueue(id, Event::TraceStarted);
            self.change(id, |run| run.start = seq);
        }
    }

    fn enqueue_end(&mut self, id: &Id) {
        let seq = self.enqueue(id, Event::TraceEnded);
        self.change(id, |run| run.end = seq);
    }

    fn enqueue_step(&mut self, id: &Id, place: Option<u32>, event: fn(u32) -> Event) {
        let Some(place) = place else { return };
        let event = event(place);
        let seq = self.enqueue(id, event);
        self.change(id, |run| {
            run.change_events(place, |events| match event {
                Event::SpanEnded(_) => events.end = seq,
                _ => events.start = seq,
            });
        });
    }

    /// Removes a frame from the table and from its run.
    pub(super) fn take_frame(&mut self, seq: u64) -> Option<(Id, Event)> {
        let frame = self.frames.take(seq)?;
        if let Some(run) = self.streamed.get_mut(&frame.run)
            && let Ok(at) = run.frames.binary_search(&seq)
        {
            run.frames.remove(at);
        }
        Some((frame.run, frame.event))
    }

    /// Marks a run as lossy, and sends its end again if the end was written without the mark.
    pub(super) fn mark_lossy(&mut self, id: &Id) {
        let marked = self.change(id, |run| {
            let is_news = run.trace.lossy.replace(true) != Some(true);
            (is_news && run.has_ended()).then_some(run.end)
        });
        if let Some(end) = marked.flatten()
            && !self.frames.is_unwritten(end)
        {
            self.enqueue_end(id);
        }
    }

    /// Drops a step, whose spans are lost; returns their number.
    pub(super) fn drop_step(&mut self, id: &Id, place: u32, reason: LossReason) -> Option<u64> {
        let step = self.change(id, |run| run.remove(place))??;
        for seq in step.events.iter().flat_map(|events| events.start.into_iter().chain(events.end)) {
            self.take_frame(seq);
        }
        let lost = u64::from(step.sources);
        self.settle(id, lost, Outcome::Lost(reason));
        if lost > 0 {
            self.mark_lossy(id);
        }
        self.forget_if_done(id);
        Some(lost)
    }

    /// Drops the oldest step that is not fully confirmed; the beginning and the end of a trace stay. Returns
    /// the number of spans lost, or `None` when no step is left.
    pub(super) fn drop_oldest_step(&mut self) -> Option<u64> {
        let of_frame = self.frames.find(|frame| frame.event.place().is_some());
        let of_frame = of_frame.and_then(|frame| Some((frame.run.clone(), frame.event.place()?)));
        let (id, place) = of_frame.or_else(|| {
            let runs = self.by_age.values().filter_map(|id| Some((id, self.run(id)?)));
            runs.flat_map(|(id, run)| run.steps().map(move |(place, step)| (id, place, step)))
                .find(|(_, _, step)| step.span.is_some())
                .map(|(id, place, _)| (id.clone(), place))
        })?;
        self.drop_step(&id, place, LossReason::BufferFull)
    }

    /// Drops the oldest run; returns the number of spans lost.
    pub(super) fn drop_oldest_run(&mut self) -> Option<u64> {
        let id = self.by_age.values().next()?.clone();
        let run = self.take_run(&id)?;
        if run.written {
            // It is not known if more of this run follows.
            self.incomplete.push((id.clone(), run.first_frame));
        }
        if self.dropped.len() >= DROPPED_RUNS {
            self.dropped.pop_front();
        }
        self.settle(&id, run.sources(), Outcome::Lost(LossReason::BufferFull));
        self.dropped.push_back(id);
        Some(run.sources())
    }

    pub(super) fn forget_if_done(&mut self, id: &Id) {
        if self.transport == Transport::Http || !self.run(id).is_some_and(RunBuffer::is_done) {
            return;
        }
        if let Some(run) = self.take_run(id)
            && run.written
            && !run.has_ended()
            && run.trace.lossy == Some(true)
        {
            self.incomplete.push((id.clone(), run.first_frame));
        }
    }

    /// Runs that receive no more events, in the order in which that became known.
    pub(super) fn over_runs(&self) -> impl Iterator<Item = (Duration, &Id, &RunBuffer)> {
        let ids = self.over.iter().filter_map(|(since, serial)| Some((*since, self.by_age.get(serial)?)));
        ids.filter_map(|(since, id)| Some((since, id, self.run(id)?)))
    }

    /// Returns true if a frame below `seq` is missing from a run that only the stream can complete.
    fn has_stream_only_before(&self, seq: u64) -> bool {
        self.stream_only > 0 && self.over_runs().any(|(_, _, run)| run.stream_only.is_some_and(|first| first < seq))
    }
}

/// Change of the transport of a run. Its records stay as they are.
impl Ledger {
    /// Lets a request carry what the receiver lacks of a streamed run.
    pub(super) fn hand_over(&mut self, id: &Id, now: Duration) {
        let first_frame = self.run(id).and_then(|run| run.frames.front().copied());
        let Some(mut run) = self.take_run(id) else { return };
        // The receiver knows that these have begun.
        run.retain(|step| step.span.is_some());
        run.ensure_head(id);
        let begun = run.written && run.start.is_none();
        let has_spans = run.has_spans();
        if run.joined && !has_spans {
            return self.leave_incomplete(id, &run, first_frame, now);
        }
        if run.written && !run.joined && run.trace.ended_at.is_none() {
            if begun && !has_spans {
                // The receiver has everything, and the run has no end to send.
                return self.leave_incomplete(id, &run, first_frame, now);
            }
            run.trace.lossy = Some(true);
        }
        self.policy.passed_by();
        let is_begun = run.written && !run.joined;
        // The receiver has everything but the end.
        let request = if begun && !run.joined && !has_spans {
            Request::patch(id.clone(), TracePatch::of(&run.trace), now)
        } else {
            Request::new(id.clone(), Content::Create(run), now)
        };
        self.insert(Request { begun: is_begun, first_frame, ..request });
    }

    fn leave_incomplete(&mut self, id: &Id, run: &RunBuffer, first_frame: Option<u64>, now: Duration) {
        if run.trace.lossy == Some(true) {
            self.push_incomplete(id.clone(), first_frame, now);
        }
    }

    /// Adds a change that marks a streamed run as lossy.
    fn push_incomplete(&mut self, id: Id, first_frame: Option<u64>, now: Duration) {
        let patch = TracePatch { lossy: Some(true), ..TracePatch::default() };
        self.insert(Request { first_frame, ..Request::patch(id, patch, now) });
    }

    /// Lets the stream carry a run that the receiver refused as a request. Returns false if that is not possible.
    pub(super) fn hand_back(&mut self, number: u64, now: Duration) -> bool {
        let is_streamed = |request: &Request| self.streamed.contains_key(&request.id);
        if self.requests.get(&number).is_none_or(|request| request.run().is_none() || is_streamed(request)) {
            return false;
        }
        let Some(Request { id, content: Content::Create(mut run), first_frame, .. }) = self.remove_request(number)
        else {
            return false;
        };
        run.written = true;
        run.stream_only = Some(first_frame.unwrap_or_else(|| self.frames.next_seq()));
        run.over = Some(now);
        (run.start, run.end) = (None, None);
        let places: Vec<u32> = run.steps().map(|(place, _)| place).collect();
        self.add_run(&id, run);
        self.enqueue_start(&id);
        for place in places {
            self.enqueue_step(&id, Some(place), Event::SpanStarted);
            let has_ended = self.run(&id).and_then(|run| run.step(place)?.events.as_ref()?.ended.as_ref()).is_some();
            self.enqueue_step(&id, Some(place).filter(|_| has_ended), Event::SpanEnded);
        }
        if self.run(&id).is_some_and(|run| run.trace.status != Some(Status::Running)) {
            self.enqueue_end(&id);
        }
        true
    }

    /// Adds a request.
    pub(super) fn insert(&mut self, request: Request) {
        self.requests_weight += request.weight();
        self.pending += request.sources();
        self.requests.insert(self.next_request, request);
        self.next_request += 1;
        self.make_room_in_requests(self.limits.bytes);
    }

    /// Takes a request out.
    pub(super) fn remove_request(&mut self, number: u64) -> Option<Request> {
        let request = self.requests.remove(&number)?;
        self.requests_weight -= request.weight();
        self.pending -= request.sources();
        self.in_flight -= usize::from(request.in_flight);
        Some(request)
    }

    /// Changes a request, and the counts with it.
    pub(super) fn change_request<T>(&mut self, number: u64, change: impl FnOnce(&mut Request) -> T) -> Option<T> {
        let request = self.requests.get_mut(&number)?;
        let (weight, sources) = (request.weight(), request.sources());
        let changed = change(request);
        self.requests_weight = self.requests_weight - weight + request.weight();
        self.pending = self.pending - sources + request.sources();
        Some(changed)
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
            self.notices.push(Notice::lost(format!("{spans} spans lost: {why}")));
        }
    }

    /// Number of accepted spans that wait, including those on their way to the spool.
    pub(crate) fn pending(&self) -> u64 {
        self.pending + self.leaving()
    }

    /// Counts the waiting spans one by one: after a panic, and for tests.
    pub(crate) fn count_spans(&self) -> u64 {
        let streamed: u64 = self.streamed.values().map(|run| run.count_spans()).sum();
        let requested: u64 = self.requests.values().map(Request::sources).sum();
        streamed + requested + self.count_leaving()
    }

    /// Resets the state after a panic of the worker, when it is unknown which requests were under way. Corrects
    /// the counts: the panic may have come between a change and its count.
    pub(crate) fn recover(&mut self, now: Duration) {
        self.streamed.values_mut().for_each(|run| run.recount());
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

/// Time, flushes and the shutdown.
impl Ledger {
    /// Does everything that is due by `now`.
    pub(crate) fn advance(&mut self, now: Duration) {
        self.expire(now);
        for (id, first_frame) in std::mem::take(&mut self.incomplete) {
            self.push_incomplete(id, first_frame, now);
        }
        if self.policy.is_by_request() {
            self.hand_over_where(now, |_, run| run.over.is_some() && run.stream_only.is_none());
        }
        if !self.reached && self.failures_seen() > 0 {
            self.closing.iter_mut().for_each(Closing::shorten);
        }
        let Some(closing) = self.closing else { return };
        if now >= closing.end {
            return self.abandon_all(LossReason::Shutdown, now);
        }
        let failures = self.policy.failures_seen() - closing.failures;
        if now >= closing.requests_from || (!self.policy.is_open() && failures >= Closing::LAST_ATTEMPTS) {
            self.policy.give_up();
        }
        // Open runs whose frames are all confirmed have nothing to wait for.
        self.hand_over_where(now, |_, run| run.written && run.frames.is_empty());
        if self.policy.is_by_request() {
            let has_stream = self.policy.has_stream();
            self.hand_over_where(now, |_, run| !has_stream || run.stream_only.is_none());
        }
        self.policy.close(now, closing.end);
        if self.backoff.close(now, closing.end) && self.in_flight == 0 {
            self.abandon_requests(LossReason::Shutdown, LossReason::Shutdown.as_str());
        }
    }

    /// Hands the runs over to requests for which `wanted` returns true: first those that are over, in that order.
    fn hand_over_where(&mut self, now: Duration, wanted: impl Fn(&Id, &RunBuffer) -> bool) {
        let over = self.over_runs().map(|(_, id, run)| (id, run));
        let open =
            self.by_age.values().filter_map(|id| Some((id, self.run(id)?))).filter(|(_, run)| run.over.is_none());
        let ids: Vec<Id> = over.chain(open).filter(|(id, run)| wanted(id, run)).map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| self.hand_over(id, now));
    }

    /// Begins the shutdown: no more input follows, and all attempts end at `end`.
    pub(crate) fn close(&mut self, now: Duration, end: Duration) {
        self.closing = Some(Closing::new(now, end, self.has_spool(), self.policy.failures_seen()));
    }

    /// Returns the present position.
    pub(crate) fn mark(&self) -> Mark {
        Mark { request: self.next_request, frame: self.frames.next_seq() }
    }

    /// Returns true if everything handed over before `mark` is delivered or lost. While runs are sent by
    /// requests, only runs that have ended count.
    pub(crate) fn is_done_before(&self, mark: Mark) -> bool {
        let by_stream = !self.policy.is_by_request() && self.frames.has_before(mark.frame);
        !by_stream
            && self.requests.first_key_value().is_none_or(|(first, _)| *first >= mark.request)
            && !self.has_remainder_before(mark.frame)
            && !self.has_stream_only_before(mark.frame)
    }

    /// Returns true if a request covers a run first framed before `frame`. A change of a run that is streamed
    /// does not count: it also waits for later frames of that run.
    fn has_remainder_before(&self, frame: u64) -> bool {
        let mut rests = self.requests.values().filter(|request| request.first_frame.is_some_and(|first| first < frame));
        rests.any(|request| request.run().is_some() || !self.streamed.contains_key(&request.id))
    }

    /// Retries now, because a flush waits.
    pub(crate) fn hurry(&mut self, now: Duration) {
        self.backoff.hurry(now);
        self.policy.hurry(self.has_stream_only_before(u64::MAX), now);
    }

    /// Returns true if nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.frames.is_empty()
    }

    /// Returns true while waiting data is delivered, or is about to be: a request or a frame is under way or
    /// may be made, and the receiver is not failing.
    pub(crate) fn makes_progress(&self) -> bool {
        if self.refused || self.is_failing() {
            return false;
        }
        let by_stream = self.policy.has_stream() && !self.frames.is_empty();
        let is_over = || self.over_runs().any(|(_, _, run)| run.stream_only.is_none());
        by_stream || self.can_request() || (self.policy.is_by_request() && is_over())
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.backoff.is_failing() || self.policy.is_failing()
    }

    /// Number of failed attempts so far.
    pub(crate) fn failures_seen(&self) -> u64 {
        self.failed_requests + self.policy.failures_seen()
    }

    /// Returns when [`Ledger::advance`] next has work to do.
    pub(crate) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let requests = self.closing.map(|closing| closing.requests_from).filter(|_| self.policy.has_stream());
        let closing = requests.into_iter().chain(self.closing.map(|closing| closing.end));
        let confirmed = self.frames.confirmed_until().filter(|_| self.policy.is_open());
        let expiry = self.over.first().map(|(since, _)| *since + self.limits.keep);
        let policy = self.policy.next_deadline(self.needs_link());
        self.next_request_deadline(now).into_iter().chain(closing).chain(confirmed).chain(expiry).chain(policy).min()
    }
}
