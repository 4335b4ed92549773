//! Hands recorded runs to the stream or to the outbox, according to the route.
//!
//! Pure. A run is streamed while there is a connection, and sent by a single request otherwise. A run whose
//! stream ends early is completed by a request, so that a lost connection loses no spans.

mod closing;

use std::time::Duration;

use retrace_protocol::{Ack, Id, ServerFrame, Signal, SignalCode, Span, Trace, TracePatch};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use self::closing::Closing;
use crate::config::Transport;
use crate::outbox::{Answer, Chunk, Notice, Outbox, OutboxLimits, Said, Sending, shorter};
use crate::route::Route;
use crate::settlement::{Outcome, Settlements};
use crate::stats::LossReason;
use crate::stream::{Departed, Incomplete, Rest, Stream, Written};
use crate::transport::ws::{CloseReason, Closed};

/// Maximum number of remarks that wait to be logged; the log throttle would drop any beyond them.
const REMARKS: usize = 16;

/// Position in what was handed over, which a flush waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    post: u64,
    frame: u64,
}

/// Everything on its way to the receiver.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) outbox: Outbox,
    stream: Stream,
    route: Route,
    transport: Transport,
    limits: OutboxLimits,
    /// True once the receiver has rejected the API key and no other transport is allowed.
    refused: bool,
    /// True once the receiver has accepted a connection or answered a request.
    reached: bool,
    closing: Option<Closing>,
    /// True while commands of the receiver are accepted: the connection is kept while there is nothing to
    /// send.
    serves: bool,
    remarks: Vec<String>,
}

impl Delivery {
    pub(crate) fn new(transport: Transport, limits: OutboxLimits, seed: u64) -> Self {
        Self {
            outbox: Outbox::new(limits, seed),
            stream: Stream::new(transport != Transport::Http),
            route: Route::new(transport, seed),
            transport,
            limits,
            refused: false,
            reached: false,
            closing: None,
            serves: false,
            remarks: Vec::new(),
        }
    }

    /// Enables the spool: nothing that could be delivered later is dropped.
    pub(crate) fn with_spool(mut self, spools: bool) -> Self {
        if spools {
            self.outbox.spools();
        }
        self
    }

    /// Sets whether settlements are collected.
    pub(crate) fn with_settlements(mut self, wanted: bool) -> Self {
        self.outbox.settlements = Settlements::new(wanted);
        self
    }

    /// Sets the URL that runs are sent to, for messages.
    pub(crate) fn with_url(mut self, url: String) -> Self {
        self.outbox.name_url(url);
        self
    }

    /// Returns true if a run that has ended is sent event by event, rather than pushed whole.
    pub(crate) fn tells_events(&self) -> bool {
        !self.route.is_by_request()
    }

    /// Adds a whole run, to be sent by one request.
    pub(crate) fn push_run(&mut self, trace: Trace, chunks: Vec<Chunk>, now: Duration) {
        self.push(trace, chunks, false, now);
    }

    /// Adds steps of a run that belongs to another process, to be sent by one request.
    pub(crate) fn push_joined(&mut self, trace: Trace, chunks: Vec<Chunk>, now: Duration) {
        self.push(trace, chunks, true, now);
    }

    fn push(&mut self, trace: Trace, chunks: Vec<Chunk>, joined: bool, now: Duration) {
        if self.refused {
            let spans = chunks.iter().map(|chunk| u64::from(chunk.sources)).sum();
            let run = trace.id.unwrap_or_else(|| Id::from(String::new()));
            return self.outbox.settle(&run, spans, Outcome::Lost(LossReason::Unauthorized));
        }
        self.route.passed_by();
        self.outbox.push(trace, chunks, joined, now);
        self.make_room();
    }

    /// Adds a change of a run that was handed over before.
    pub(crate) fn push_patch(&mut self, id: Id, patch: TracePatch, now: Duration) {
        self.outbox.push_patch(id, patch, now);
    }

    /// Records that a run began, or more data of its beginning.
    pub(crate) fn begin(&mut self, id: &Id, trace: Trace) {
        if !self.refused {
            self.stream.begin(id, trace);
            self.make_room();
        }
    }

    /// Records that steps follow of a run that belongs to another process; `trace` is the trace to create if
    /// it begins with them.
    pub(crate) fn join(&mut self, id: &Id, trace: Trace) {
        if !self.refused {
            self.stream.join(id, trace);
            self.make_room();
        }
    }

    /// Records that for now no more events follow of a run that belongs to another process.
    pub(crate) fn leave(&mut self, id: &Id, trace: Trace, now: Duration) {
        if !self.refused {
            self.stream.leave(id, trace, now);
            self.make_room();
        }
    }

    /// Records that a step of a run began.
    pub(crate) fn step_began(&mut self, id: &Id, span: &Span) {
        if !self.refused {
            self.stream.step_began(id, span);
            self.make_room();
        }
    }

    /// Records that a step of a run has ended.
    pub(crate) fn step_ended(&mut self, id: &Id, span: &Span, sources: u32) {
        if self.refused {
            return self.outbox.settle(id, u64::from(sources), Outcome::Lost(LossReason::Unauthorized));
        }
        let Some(chunk) = Chunk::new(span, sources) else {
            return self.outbox.lose_of(id, LossReason::Internal, u64::from(sources), LossReason::Internal.as_str());
        };
        if chunk.length() <= self.limits.body_bytes {
            self.stream.step_ended(id, span, chunk);
        } else {
            match shorter(&chunk, self.limits.body_bytes).and_then(|short| Some((short.read()?, short))) {
                Some((span, short)) => self.stream.step_ended(id, &span, short),
                None => {
                    self.stream.mark_lossy(id);
                    self.outbox.lose_of(id, LossReason::TooLarge, u64::from(sources), "a span cannot be made smaller");
                }
            }
        }
        self.make_room();
    }

    /// Records that no more events of a run follow.
    pub(crate) fn end(&mut self, id: &Id, trace: Trace, now: Duration) {
        if !self.refused {
            self.stream.end(id, trace, now);
            self.make_room();
        }
    }

    /// Ends a run without its final trace, which the hook holds back; only `lossy` is sent.
    pub(crate) fn end_untold(&mut self, id: &Id, lossy: bool, now: Duration) {
        if let Some(trace) = self.stream.told_of(id) {
            let lossy = lossy.then_some(true);
            self.stream.end(id, Trace { lossy, ..trace }, now);
        }
    }

    /// Does everything that is due by `now`.
    pub(crate) fn advance(&mut self, now: Duration) {
        self.outbox.expire(now);
        self.expire(now);
        for (id, rest) in self.outbox.take_returned() {
            self.stream.put_back(&id, rest, now);
        }
        for run in self.stream.take_lossy_without_end() {
            self.outbox.push_incomplete(run, now);
        }
        if self.route.is_by_request() {
            self.hand_over(now);
        }
        if !self.reached && self.failures_seen() > 0 {
            self.closing.iter_mut().for_each(Closing::shorten);
        }
        if let Some(closing) = self.closing {
            if now >= closing.end {
                self.abandon(LossReason::Shutdown, now);
            } else {
                let failures = self.route.failures_seen() - closing.failures;
                if now >= closing.requests_from || (!self.route.is_open() && failures >= Closing::LAST_ATTEMPTS) {
                    self.route.give_up();
                }
                self.let_go(now);
                if self.route.is_by_request() {
                    self.hand_over_all(now);
                }
                self.route.close(now, closing.end);
                self.outbox.close(now, closing.end);
            }
        }
        self.outbox.returns = self.route.has_stream();
    }

    /// Hands ended runs from the stream over to requests.
    fn hand_over(&mut self, now: Duration) {
        let over: Vec<Id> =
            self.stream.over().filter(|(_, run)| run.stream_only.is_none()).map(|(id, _)| id.clone()).collect();
        for id in over {
            self.request_rest(id, now);
        }
    }

    fn hand_over_all(&mut self, now: Duration) {
        let has_stream = self.route.has_stream();
        let all = self.stream.all().filter(|(_, run)| !has_stream || run.stream_only.is_none());
        let all: Vec<Id> = all.map(|(id, _)| id.clone()).collect();
        for id in all {
            self.request_rest(id, now);
        }
    }

    /// Ends the wait for open runs whose frames are all confirmed.
    fn let_go(&mut self, now: Duration) {
        let told = self.stream.all().filter(|(_, run)| run.written && run.frames.is_empty());
        let told: Vec<Id> = told.map(|(id, _)| id.clone()).collect();
        for id in told {
            self.request_rest(id, now);
        }
    }

    fn request_rest(&mut self, id: Id, now: Duration) {
        let Some(mut rest) = self.stream.take(&id) else { return };
        if rest.joined && rest.chunks.is_empty() {
            return self.leave_incomplete(id, &rest, now);
        }
        if rest.written && !rest.joined && rest.trace.ended_at.is_none() {
            if rest.begun && rest.chunks.is_empty() {
                // The receiver has everything, and the run has no end to send.
                return self.leave_incomplete(id, &rest, now);
            }
            rest.trace.lossy = Some(true);
        }
        self.route.passed_by();
        self.outbox.push_rest(id, rest, now);
    }

    fn leave_incomplete(&mut self, id: Id, rest: &Rest, now: Duration) {
        if rest.trace.lossy == Some(true) {
            self.outbox.push_incomplete(Incomplete { id, first_frame: rest.first_frame }, now);
        }
    }

    fn expire(&mut self, now: Duration) {
        let old: Vec<Id> = self
            .stream
            .over()
            .take_while(|(_, run)| run.over_since + self.limits.keep <= now)
            .map(|(id, _)| id.clone())
            .collect();
        if self.outbox.has_spool() {
            return old.into_iter().for_each(|id| self.spool(id, LossReason::Expired, now));
        }
        if old.is_empty() {
            return;
        }
        let spans = self.take_out(&old, LossReason::Expired);
        let text = format!("the receiver did not confirm them for {:?}", self.limits.keep);
        self.outbox.lose(LossReason::Expired, spans, &text);
    }

    /// Drops the oldest data until everything is within the bounds.
    fn make_room(&mut self) {
        self.make_room_for(0);
    }

    /// Drops the oldest data until `more` further bytes are within the bounds.
    pub(crate) fn make_room_for(&mut self, more: usize) {
        let bytes = self.limits.bytes.saturating_sub(more);
        if self.stream.weight() + self.outbox.weight() <= bytes && self.stream.len() <= self.limits.posts {
            return;
        }
        let mut lost: Vec<Departed> = Vec::new();
        // Runs that have ended can wait in the spool.
        while self.outbox.has_spool() && self.stream.weight() + self.outbox.weight() > bytes {
            let Some((id, since)) = self.stream.over().next().map(|(id, run)| (id.clone(), run.over_since)) else {
                break;
            };
            self.spool(id, LossReason::BufferFull, since);
        }
        while self.stream.len() > self.limits.posts {
            lost.extend(self.stream.drop_oldest_run());
        }
        if self.stream.weight() + self.outbox.weight() > bytes {
            if self.outbox.weight() > self.stream.weight() {
                self.outbox.make_room(bytes.saturating_sub(self.stream.weight()));
            }
            while self.stream.weight() + self.outbox.weight() > bytes {
                match self.stream.drop_oldest_step().or_else(|| self.stream.drop_oldest_run()) {
                    Some(departed) => lost.push(departed),
                    None => break,
                }
            }
        }
        for Departed { run, spans } in &lost {
            self.outbox.settlements.of_run(run, *spans, Outcome::Lost(LossReason::BufferFull));
        }
        self.outbox.lose(
            LossReason::BufferFull,
            lost.iter().map(|departed| departed.spans).sum(),
            "the buffer is full",
        );
    }

    /// Takes runs out of the stream whose spans are lost; returns the number of accepted spans.
    fn take_out(&mut self, runs: &[Id], reason: LossReason) -> u64 {
        let mut lost = 0;
        for id in runs {
            let spans = self.stream.take(id).map_or(0, |rest| rest.sources());
            self.outbox.settlements.of_run(id, spans, Outcome::Lost(reason));
            lost += spans;
        }
        lost
    }

    /// Moves what the stream holds of a run to the spool.
    fn spool(&mut self, id: Id, reason: LossReason, now: Duration) {
        let first = self.outbox.next_serial();
        self.request_rest(id, now);
        self.outbox.spool_from(first, reason);
    }

    fn abandon(&mut self, reason: LossReason, now: Duration) {
        let ids: Vec<Id> = self.stream.all().map(|(id, _)| id.clone()).collect();
        if reason == LossReason::Shutdown && self.outbox.has_spool() {
            ids.iter().for_each(|id| self.request_rest(id.clone(), now));
        }
        let why = match reason {
            LossReason::Shutdown if !self.reached && self.failures_seen() > 0 => {
                "the receiver was never reached before the shutdown; set RETRACE_SPOOL_DIR to keep them for the next start"
            }
            reason => reason.as_str(),
        };
        self.outbox.abandon(reason, why);
        let spans = self.take_out(&ids, reason);
        self.outbox.lose(reason, spans, why);
    }
}

/// Connection of the stream.
impl Delivery {
    /// Returns true if a connection is to be opened now.
    pub(crate) fn wants_link(&self, now: Duration) -> bool {
        self.route.wants_link(self.needs_link(), now)
    }

    /// Returns true if frames wait for a connection, or commands arrive over it.
    fn needs_link(&self) -> bool {
        self.stream.has_frames() || (self.serves && self.closing.is_none())
    }

    /// Sets whether commands of the receiver are accepted.
    pub(crate) fn set_serving(&mut self, serves: bool) {
        self.serves = serves;
    }

    /// Returns false if no connection will be opened any more.
    pub(crate) fn has_stream(&self) -> bool {
        self.route.has_stream() && !self.refused
    }

    pub(crate) fn link_opening(&mut self) {
        self.route.opening();
    }

    pub(crate) fn link_opened(&mut self) {
        self.reached = true;
        let was_by_request = self.route.is_by_request();
        self.route.opened();
        if was_by_request && !self.route.is_by_request() {
            self.remark("runs are streamed again".to_owned());
        }
        self.stream.disconnected();
    }

    pub(crate) fn link_closed(&mut self, closed: Closed, now: Duration) {
        self.stream.disconnected();
        let was_by_request = self.route.is_by_request();
        let is_news = self.route.closed(closed.reason, now);
        let Closed { reason, cause, words } = closed;
        let said = Said { text: cause, words };
        if reason == CloseReason::Unauthorized && self.transport == Transport::Ws {
            let said = Said { text: format!("{}: check RETRACE_API_KEY", said.text), ..said };
            self.outbox.notice(said.notice(SignalCode::Unauthorized, "nothing is sent"));
            self.refused = true;
            self.abandon(LossReason::Unauthorized, now);
        } else if self.route.is_failing() {
            if is_news {
                let kept = self.pending();
                let text = format!("{kept} spans are kept and the connection is tried again");
                self.outbox.notice(said.notice(SignalCode::Unreachable, &text));
            }
        } else if self.route.is_by_request() && !was_by_request {
            self.remark(format!("runs are sent by HTTP when they have ended, as there is no stream: {}", said.text));
        }
    }

    /// Returns the next frame to write, if the connection is open and a frame may be written now.
    pub(crate) fn next_frame(&mut self, now: Duration) -> Option<Utf8Bytes> {
        let room = self.limits.bytes.saturating_sub(self.weight());
        if self.route.is_open() { self.stream.next(room, now) } else { None }
    }

    /// Returns up to which frame the present connection is written and confirmed.
    pub(crate) fn written(&self) -> Written {
        self.stream.written()
    }

    /// Returns the reason to give up the present connection, if there is one.
    pub(crate) fn gives_up_link(&self, now: Duration) -> Option<Closed> {
        let stalled = self.route.is_open() && self.stream.confirmed_until().is_some_and(|until| until <= now);
        stalled.then(|| Closed {
            reason: CloseReason::Lost,
            cause: "the receiver confirmed nothing for too long".to_owned(),
            words: None,
        })
    }

    /// Handles acks.
    pub(crate) fn acks(&mut self, acks: &[Ack], now: Duration) {
        self.route.confirmed();
        for ack in acks {
            if let Some(Departed { run, spans }) = self.stream.ack(ack, now) {
                self.outbox.settle(&run, spans, Outcome::Delivered);
            }
        }
    }

    /// Handles a frame of the receiver, except `halt` and commands, which the engine handles.
    pub(crate) fn frame(&mut self, frame: ServerFrame, now: Duration) {
        match frame {
            ServerFrame::Ack(ack) => self.acks(&[ack], now),
            ServerFrame::Error { error, other } => {
                let signal = Signal::from_error(error.as_deref());
                let said = Said { text: "the receiver reports an error".to_owned(), words: Some(signal.message) };
                // An error may carry the number of the frame that it refers to; that frame is not sent again.
                let refused =
                    other.get("seq").and_then(serde_json::Value::as_u64).and_then(|seq| self.stream.refuse(seq));
                let consequence = match refused {
                    Some(Departed { run, spans }) => {
                        self.outbox.settle(&run, spans, Outcome::Lost(LossReason::Rejected));
                        format!("{spans} spans are lost")
                    }
                    None => "recording goes on".to_owned(),
                };
                self.outbox.notice(said.notice(signal.code, &consequence));
            }
            ServerFrame::Unknown(_) => {
                self.remark("the receiver sent a frame of an unknown kind; it is ignored".to_owned());
            }
            // Greetings, and events of other connections of the account.
            _ => {}
        }
    }
}

/// Requests, flushes and the shutdown.
impl Delivery {
    /// Returns the next request to make.
    pub(crate) fn next_sending(&mut self, now: Duration) -> Option<Sending> {
        let stream = &self.stream;
        self.outbox.next(now, |id| stream.has(id))
    }

    pub(crate) fn answer(&mut self, serial: u64, answer: Answer, now: Duration) {
        self.reached |= matches!(answer, Answer::Status { .. });
        self.outbox.answer(serial, answer, now);
    }

    /// Returns the present position.
    pub(crate) fn mark(&self) -> Mark {
        Mark { post: self.outbox.next_serial(), frame: self.stream.next_seq() }
    }

    /// Returns true if everything handed over before `mark` is delivered or lost. While runs are sent by
    /// requests, only runs that have ended count.
    pub(crate) fn is_done_before(&self, mark: Mark) -> bool {
        let by_stream = !self.route.is_by_request() && self.stream.has_frames_before(mark.frame);
        !by_stream
            && self.outbox.is_done_before(mark.post)
            && !self.outbox.has_rests_before(mark.frame, |id| self.stream.has(id))
            && !self.stream.has_stream_only_before(mark.frame)
    }

    /// Retries now, because a flush waits.
    pub(crate) fn hurry(&mut self, now: Duration) {
        self.outbox.hurry(now);
        self.route.hurry(self.stream.has_stream_only_before(u64::MAX), now);
    }

    /// Begins the shutdown: no more input follows, and all attempts end at `end`.
    pub(crate) fn close(&mut self, now: Duration, end: Duration) {
        self.closing = Some(Closing::new(now, end, self.outbox.has_spool(), self.route.failures_seen()));
    }

    /// Returns true if nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.outbox.is_empty() && !self.stream.has_frames()
    }

    /// Number of accepted spans that wait.
    pub(crate) fn pending(&self) -> u64 {
        self.outbox.pending() + self.stream.pending()
    }

    /// Counts the waiting spans one by one.
    #[cfg(test)]
    pub(crate) fn count_spans(&self) -> u64 {
        self.outbox.count_spans() + self.stream.count_spans()
    }

    /// Bytes of everything that waits.
    pub(crate) fn weight(&self) -> usize {
        self.outbox.weight() + self.stream.weight()
    }

    /// Sets the maximum bytes that may wait, and makes room if they are fewer than before. A written frame is
    /// kept beside its source until it is confirmed, and displaces no other data.
    pub(crate) fn set_bytes(&mut self, bytes: usize) {
        let shrinks = bytes < self.limits.bytes;
        self.limits.bytes = bytes;
        self.outbox.set_bytes(bytes);
        if shrinks {
            self.make_room();
        }
    }

    /// Returns true if half as many runs wait as may wait.
    pub(crate) fn is_crowded(&self) -> bool {
        self.outbox.len() + self.stream.len() > self.limits.posts / 2
    }

    /// Returns true while waiting data is delivered, or is about to be: a request or a frame is under way or
    /// may be made, and the receiver is not failing.
    pub(crate) fn makes_progress(&self) -> bool {
        if self.refused || self.is_failing() {
            return false;
        }
        let by_stream = self.route.has_stream() && self.stream.has_frames();
        let is_over = || self.stream.over().any(|(_, run)| run.stream_only.is_none());
        by_stream || self.outbox.can_send() || (self.route.is_by_request() && is_over())
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.outbox.is_failing() || self.route.is_failing()
    }

    /// Number of failed attempts so far.
    pub(crate) fn failures_seen(&self) -> u64 {
        self.outbox.failures_seen() + self.route.failures_seen()
    }

    /// Returns when [`Delivery::advance`] next has work to do.
    pub(crate) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let requests = self.closing.map(|closing| closing.requests_from).filter(|_| self.route.has_stream());
        let closing = requests.into_iter().chain(self.closing.map(|closing| closing.end));
        let confirmed = self.stream.confirmed_until().filter(|_| self.route.is_open());
        let expiry = self.stream.over().next().map(|(_, run)| run.over_since + self.limits.keep);
        let route = self.route.next_deadline(self.needs_link());
        self.outbox.next_deadline(now).into_iter().chain(closing).chain(confirmed).chain(expiry).chain(route).min()
    }

    /// Resets the state after a panic of the worker, when it is unknown which requests were under way.
    pub(crate) fn forget_in_flight(&mut self, now: Duration) {
        self.outbox.recount();
        self.stream.recount();
        self.outbox.forget_in_flight();
        self.link_closed(
            Closed { reason: CloseReason::Ended, cause: "the worker was started again".to_owned(), words: None },
            now,
        );
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

    /// Takes the notices for the user.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        self.outbox.take_notices()
    }
}

#[cfg(test)]
mod tests;
