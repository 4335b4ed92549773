//! Requests that wait to be sent, and the outcome of each.
//!
//! A state machine: runs and responses go in, requests come out. It has no clock, no socket and no thread.
//! Its content is bounded in bytes and in time, and each accepted span in it ends as delivered or as lost for
//! a reason.

mod body;
mod chunk;
mod fit;
mod notice;
mod post;
mod record;
mod sending;
mod spooling;

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use retrace_protocol::{Id, SignalCode, Status, Trace, TracePatch};

pub(crate) use self::body::Body;
pub(crate) use self::chunk::{Chunk, Chunks};
pub(crate) use self::fit::{fit, shorter};
pub(crate) use self::notice::{Notice, Said};
pub(crate) use self::post::trace_weight;
use self::post::{Post, Request};
pub(crate) use self::record::RecordName;
pub(crate) use self::sending::{Answer, Method, Sending};
pub(crate) use self::spooling::Leaving;
use self::spooling::Spooling;
use crate::settlement::{Outcome, Settlements};
use crate::stats::{Account, LossReason};
use crate::stream::{Incomplete, Rest};
use crate::transport::retry::{Backoff, Verdict, verdict};

/// Bounds of an [`Outbox`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboxLimits {
    /// Maximum bytes of everything that waits.
    pub bytes: usize,
    /// Maximum number of requests that wait.
    pub posts: usize,
    /// Maximum bytes of one body. A longer run is shortened before it is sent.
    pub body_bytes: usize,
    /// Maximum number of concurrent requests.
    pub in_flight: usize,
    /// Time for which a run is kept while the receiver cannot be reached.
    pub keep: Duration,
}

/// A body that the receiver rejects as too large at this size is not shortened further.
const SMALLEST_BODY: u64 = 4 * 1024;

/// Ways to make room in a post, in this order: the predicate that selects a post, and the function that
/// shrinks it.
static GIVES: [Give; 2] = [(Post::has_spans, Post::drop_spans), (Post::has_content, Post::drop_content)];
type Give = (fn(&Post) -> bool, fn(&mut Post) -> u64);

/// Requests on their way to the receiver.
#[derive(Debug)]
pub(crate) struct Outbox {
    limits: OutboxLimits,
    /// URL of the request that creates a run, for messages.
    url: String,
    posts: BTreeMap<u64, Post>,
    next_serial: u64,
    weight: usize,
    /// Number of accepted spans in the posts and in those given back.
    spans: u64,
    in_flight: usize,
    backoff: Backoff,
    /// Number of failed attempts. A waiter compares it with the value at its own start.
    failures_seen: u64,
    /// True if the remainder of a run that the receiver knows already is given back, rather than reduced to
    /// its end.
    pub(crate) returns: bool,
    returned: Vec<(Id, Rest)>,
    /// Present when there is a spool.
    spooling: Option<Spooling>,
    pub(crate) account: Account,
    pub(crate) settlements: Settlements,
    notices: Vec<Notice>,
}

impl Outbox {
    pub(crate) fn new(limits: OutboxLimits, seed: u64) -> Self {
        Self {
            limits,
            url: String::new(),
            posts: BTreeMap::new(),
            next_serial: 0,
            weight: 0,
            spans: 0,
            in_flight: 0,
            backoff: Backoff::new(seed),
            failures_seen: 0,
            returns: false,
            returned: Vec::new(),
            spooling: None,
            account: Account::default(),
            settlements: Settlements::default(),
            notices: Vec::new(),
        }
    }

    /// Sets the URL that runs are sent to, for messages. It holds no credentials.
    pub(crate) fn name_url(&mut self, url: String) {
        self.url = url;
    }

    /// Describes the status of a response for messages.
    fn answered(&self, status: StatusCode) -> String {
        match status.as_u16() {
            300..=399 | 404 | 405 if !self.url.is_empty() => {
                format!("{} answered {status}: check the host and the path of RETRACE_BASE_URL", self.url)
            }
            _ => format!("the receiver answered {status}"),
        }
    }

    /// Adds a run, or steps of one that belongs to another process. May drop spans of older runs to stay
    /// within the limits.
    pub(crate) fn push(&mut self, trace: Trace, chunks: Vec<Chunk>, joined: bool, now: Duration) {
        let Some(id) = trace.id.clone() else { return };
        self.insert(Post { joined, ..Post::new(id, Request::Create { trace: Box::new(trace), chunks }, now) });
    }

    /// Adds a change of a run that was added before.
    pub(crate) fn push_patch(&mut self, id: Id, patch: TracePatch, now: Duration) {
        self.insert(Post::new(id, Request::Patch { patch: Box::new(patch), missing: 0 }, now));
    }

    /// Adds a change that marks a streamed run as lossy.
    pub(crate) fn push_incomplete(&mut self, run: Incomplete, now: Duration) {
        let Incomplete { id, first_frame } = run;
        let patch = Box::new(TracePatch { lossy: Some(true), ..TracePatch::default() });
        self.insert(Post { first_frame, ..Post::new(id, Request::Patch { patch, missing: 0 }, now) });
    }

    /// Adds the remainder of a run that was begun over a stream.
    pub(crate) fn push_rest(&mut self, id: Id, rest: Rest, now: Duration) {
        let Rest { trace, chunks, written, begun, joined, first_frame } = rest;
        // The receiver has everything but the end.
        let request = if begun && !joined && chunks.is_empty() {
            Request::Patch { patch: Box::new(TracePatch::of(&trace)), missing: 0 }
        } else {
            Request::Create { trace: Box::new(trace), chunks }
        };
        self.insert(Post { begun: written && !joined, joined, first_frame, ..Post::new(id, request, now) });
    }

    fn insert(&mut self, post: Post) {
        self.weight += post.weight();
        self.spans += post.sources();
        self.posts.insert(self.next_serial, post);
        self.next_serial += 1;
        self.make_room(self.limits.bytes);
    }

    /// Returns the next request to make, if one may be made now. A change of a run waits while the run itself
    /// `is_elsewhere`.
    pub(crate) fn next(&mut self, now: Duration, is_elsewhere: impl Fn(&Id) -> bool) -> Option<Sending> {
        let may_send = if self.backoff.is_failing() { 1 } else { self.limits.in_flight };
        if self.in_flight >= may_send || self.backoff.until().is_some_and(|until| now < until) {
            return None;
        }
        let waiting = self.posts.iter().filter(|(_, post)| !post.in_flight);
        // A change of a run is sent after the run itself.
        let serial = waiting
            .filter(|(serial, post)| match post.request {
                Request::Create { .. } => true,
                // A run that comes back from a stream may be added later than its change.
                Request::Patch { .. } => {
                    let goes_first = |(other, earlier): (&u64, &Post)| {
                        let is_run = matches!(earlier.request, Request::Create { .. });
                        earlier.id == post.id && (is_run || other < *serial)
                    };
                    !is_elsewhere(&post.id) && !self.posts.iter().any(goes_first)
                }
            })
            .map(|(serial, _)| *serial)
            .next()?;
        let body_bytes = self.limits.body_bytes;
        let mut body = self.posts.get(&serial)?.body();
        if body.length() > body_bytes as u64 {
            self.shorten(serial, body_bytes);
            body = self.posts.get(&serial)?.body();
        }
        let post = self.posts.get_mut(&serial)?;
        post.in_flight = true;
        self.in_flight += 1;
        let method = match post.request {
            Request::Create { .. } => Method::Create,
            Request::Patch { .. } => Method::Patch,
        };
        Some(Sending { serial, id: post.id.clone(), method, body })
    }

    /// Handles the outcome of a request.
    pub(crate) fn answer(&mut self, serial: u64, answer: Answer, now: Duration) {
        let answered = if let Answer::Status { status, .. } = &answer { self.answered(*status) } else { String::new() };
        let Some(post) = self.posts.get_mut(&serial).filter(|post| post.in_flight) else { return };
        post.in_flight = false;
        post.attempts = post.attempts.saturating_add(1);
        self.in_flight -= 1;
        match answer {
            Answer::NotSent { cause } => self.failed(now, None, SignalCode::Unreachable, Said::by_us(cause)),
            Answer::Broken { cause } => {
                post.may_have_landed = true;
                self.failed(now, None, SignalCode::Unreachable, Said::by_us(cause));
            }
            Answer::Status { status, retry_after, words } => {
                let verdict = verdict(status);
                let said = Said { text: answered, words };
                if verdict == Verdict::Retry {
                    post.may_have_landed |= status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT;
                    let code = match status {
                        StatusCode::TOO_MANY_REQUESTS => SignalCode::RateLimited,
                        _ => SignalCode::Unreachable,
                    };
                    self.failed(now, retry_after, code, said);
                } else {
                    self.backoff.succeeded();
                    self.conclude(serial, verdict, status, said);
                }
            }
        }
    }

    fn failed(&mut self, now: Duration, retry_after: Option<Duration>, code: SignalCode, said: Said) {
        // A notice is given once, when the failure begins.
        if !self.backoff.is_failing() {
            let kept = self.pending();
            self.notices.push(said.notice(code, &format!("{kept} spans are kept and tried again")));
        }
        self.failures_seen += 1;
        self.backoff.failed(now, retry_after);
    }

    fn conclude(&mut self, serial: u64, verdict: Verdict, status: StatusCode, said: Said) {
        let Some(post) = self.posts.get_mut(&serial) else { return };
        let (id, landed_before, sources) = (post.id.clone(), post.may_have_landed, post.sources());
        match (verdict, &post.request) {
            (Verdict::Delivered, Request::Patch { .. }) => self.remove(serial, Some(LossReason::Conflict)),
            (Verdict::Delivered, Request::Create { .. }) => self.remove(serial, None),
            // An earlier attempt succeeded and its response was lost. For a run begun over a stream it is
            // unknown which part of it the conflict refers to.
            (Verdict::Conflict, Request::Create { .. }) if landed_before && !post.begun && !post.joined => {
                self.remove(serial, None);
            }
            (Verdict::Conflict, Request::Create { .. }) if post.begun && self.returns && post.spooled_as.is_none() => {
                self.give_back(serial);
            }
            // Another service that records the same trace has created a run with this id.
            (Verdict::Conflict, Request::Create { .. }) if !post.begun && post.taken.is_none() => {
                self.set_alone(serial, said);
            }
            (Verdict::Conflict, Request::Create { trace, chunks }) => {
                let id = post.taken.clone().unwrap_or(id);
                let text = format!("run {id} exists already and is not ours; {sources} spans cannot be added to it");
                self.notices.push(said.notice(SignalCode::Conflict, &text));
                let lossy = trace.lossy.or((!chunks.is_empty()).then_some(true));
                let patch = match trace.status {
                    Some(Status::Running) if !post.begun => return self.remove(serial, Some(LossReason::Conflict)),
                    Some(Status::Running) => TracePatch { lossy, ..TracePatch::default() },
                    _ => TracePatch { lossy, ..TracePatch::of(trace) },
                };
                post.id = id;
                self.replace(serial, Request::Patch { patch: Box::new(patch), missing: sources });
            }
            (Verdict::TooLarge, Request::Create { .. }) => {
                let length = post.body().length();
                if length <= SMALLEST_BODY {
                    self.refused(serial, SignalCode::TooLarge, LossReason::TooLarge, said);
                } else {
                    if post.attempts == 1 {
                        let text = format!("a run of {length} bytes is shortened and tried again");
                        self.notices.push(said.notice(SignalCode::TooLarge, &text));
                    }
                    self.shorten(serial, usize::try_from(length / 2).unwrap_or(usize::MAX));
                }
            }
            // A lossy mark for a run that the receiver does not have at all.
            (_, Request::Patch { missing: 0, .. }) if status == StatusCode::NOT_FOUND && post.first_frame.is_some() => {
                self.remove(serial, None);
            }
            (Verdict::Unauthorized, _) => {
                let said = Said { text: format!("{}: check RETRACE_API_KEY", said.text), ..said };
                self.refused(serial, SignalCode::Unauthorized, LossReason::Unauthorized, said);
            }
            _ => {
                let code = match status {
                    StatusCode::PAYMENT_REQUIRED => SignalCode::CreditsExhausted,
                    _ => SignalCode::Rejected,
                };
                self.refused(serial, code, LossReason::Rejected, said);
            }
        }
    }

    /// Sends a run under an id of its own, with a reference to the run that it belongs to.
    fn set_alone(&mut self, serial: u64, said: Said) {
        let Some(post) = self.posts.get_mut(&serial) else { return };
        let before = post.weight();
        let taken = post.id.clone();
        let lost = post.stand_alone();
        if let Request::Create { trace, .. } = &post.request {
            self.settlements.note_origin(trace);
        }
        let text = format!("run {taken} exists already; what is here of it is sent as a run of its own, {}", post.id);
        self.notices.push(said.notice(SignalCode::Conflict, &text));
        self.weight = self.weight - before + post.weight();
        self.spans -= lost;
        self.lose_of(&taken, LossReason::Internal, lost, LossReason::Internal.as_str());
        // The reference takes bytes.
        self.make_room(self.limits.bytes);
    }

    fn give_back(&mut self, serial: u64) {
        let Some(post) = self.posts.remove(&serial) else { return };
        self.weight -= post.weight();
        if let Request::Create { trace, chunks } = post.request {
            let first_frame = post.first_frame;
            let rest = Rest { trace: *trace, chunks, written: true, begun: true, joined: false, first_frame };
            self.returned.push((post.id, rest));
        }
    }

    /// Takes the remainders of runs that the receiver accepts only over the stream.
    pub(crate) fn take_returned(&mut self) -> Vec<(Id, Rest)> {
        self.spans -= self.returned.iter().map(|(_, rest)| rest.sources()).sum::<u64>();
        std::mem::take(&mut self.returned)
    }

    fn refused(&mut self, serial: u64, code: SignalCode, reason: LossReason, said: Said) {
        if let Some(post) = self.posts.get(&serial) {
            let text = format!("run {} with {} spans is lost", post.id, post.sources());
            self.notices.push(said.notice(code, &text));
        }
        self.remove(serial, Some(reason));
    }

    /// Removes a post; its spans count as delivered, or as lost for the given reason.
    fn remove(&mut self, serial: u64, lost: Option<LossReason>) {
        let Some(mut post) = self.posts.remove(&serial) else { return };
        self.weight -= post.weight();
        self.spans -= post.sources();
        self.is_settled(post.spooled_as.take());
        self.settle(&post.id, post.sources(), lost.map_or(Outcome::Delivered, Outcome::Lost));
        if post.in_flight {
            self.in_flight -= 1;
        }
    }

    fn replace(&mut self, serial: u64, request: Request) {
        let Some(post) = self.posts.get_mut(&serial) else { return };
        self.weight -= post.weight();
        self.spans -= post.sources();
        post.request = request;
        self.weight += post.weight();
        self.spans += post.sources();
    }

    /// Shortens a waiting run to `max_bytes`.
    fn shorten(&mut self, serial: u64, max_bytes: usize) {
        let Some(post) = self.posts.get_mut(&serial) else { return };
        let before = post.weight();
        let Request::Create { trace, chunks } = &mut post.request else { return };
        let fitted = fit(trace, chunks, max_bytes);
        trace.span_count = trace.span_count.map(|_| chunks.len() as u64 + fitted.lost);
        self.weight = self.weight - before + post.weight();
        self.spans -= fitted.lost;
        if fitted.lost > 0 {
            let id = post.id.clone();
            self.lose_of(&id, LossReason::TooLarge, fitted.lost, "they were too large for the receiver");
        }
    }

    /// Drops the oldest spans until everything is within the bounds. Traces stay, first without spans and
    /// then without content, so that the receiver still learns of the run and that it is lossy.
    pub(crate) fn make_room(&mut self, bytes: usize) {
        let mut lost = 0;
        while self.weight > bytes || self.posts.len() > self.limits.posts {
            let too_many = self.posts.len() > self.limits.posts;
            if self.spooling.is_some()
                && let Some(serial) = self.oldest_waiting(|_| true)
            {
                self.spool(serial, LossReason::BufferFull);
                continue;
            }
            let giving = GIVES.iter().filter(|_| !too_many);
            let giving = giving.filter_map(|(can_give, give)| Some((self.oldest_waiting(*can_give)?, give))).next();
            if let Some((serial, give)) = giving
                && let Some(post) = self.posts.get_mut(&serial)
            {
                let before = post.weight();
                let spans = give(post);
                self.weight = self.weight - before + post.weight();
                self.spans -= spans;
                let id = post.id.clone();
                self.settle(&id, spans, Outcome::Lost(LossReason::BufferFull));
                lost += spans;
            } else if let Some(serial) = self.oldest_waiting(Post::is_unknown).or_else(|| self.oldest_waiting(|_| true))
            {
                lost += self.posts.get(&serial).map_or(0, Post::sources);
                self.remove(serial, Some(LossReason::BufferFull));
            } else {
                break;
            }
        }
        if lost > 0 {
            let text = format!("{lost} spans lost: the buffer of {} bytes is full", self.limits.bytes);
            self.notices.push(Notice::lost(text));
        }
    }

    fn oldest_waiting(&self, is_wanted: fn(&Post) -> bool) -> Option<u64> {
        let (serial, _) = self.posts.iter().find(|(_, post)| !post.in_flight && is_wanted(post))?;
        Some(*serial)
    }

    /// Counts spans of a run that leave delivery.
    pub(crate) fn settle(&mut self, run: &Id, spans: u64, outcome: Outcome) {
        match outcome {
            Outcome::Delivered => self.account.delivered += spans,
            Outcome::SetAside => self.account.set_aside += spans,
            Outcome::Spooled => self.account.spooled += spans,
            Outcome::Lost(reason) => self.account.lose(reason, spans),
        }
        self.settlements.of_run(run, spans, outcome);
    }

    /// Counts spans of a run that are lost outside of any post.
    pub(crate) fn lose_of(&mut self, run: &Id, reason: LossReason, spans: u64, why: &str) {
        self.settlements.of_run(run, spans, Outcome::Lost(reason));
        self.lose(reason, spans, why);
    }

    /// Counts spans that are lost outside of any post, without a settlement.
    pub(crate) fn lose(&mut self, reason: LossReason, spans: u64, why: &str) {
        if spans == 0 {
            return;
        }
        self.account.lose(reason, spans);
        self.notices.push(Notice::lost(format!("{spans} spans lost: {why}")));
    }

    /// Gives up posts that have waited longer than the limit.
    pub(crate) fn expire(&mut self, now: Duration) {
        let old: Vec<u64> = self
            .posts
            .iter()
            .take_while(|(_, post)| post.since + self.limits.keep <= now)
            .filter(|(_, post)| !post.in_flight && self.expires_at(post).is_some_and(|at| at <= now))
            .map(|(serial, _)| *serial)
            .collect();
        if self.spooling.is_some() {
            return old.into_iter().for_each(|serial| self.spool(serial, LossReason::Expired));
        }
        let spans: u64 = old.iter().filter_map(|serial| self.posts.get(serial)).map(Post::sources).sum();
        for serial in &old {
            self.remove(*serial, Some(LossReason::Expired));
        }
        if spans > 0 {
            let text = format!("{spans} spans lost: the receiver could not be reached for {:?}", self.limits.keep);
            self.notices.push(Notice::lost(text));
        }
    }

    /// Gives up everything for a reason that `why` explains.
    pub(crate) fn abandon(&mut self, reason: LossReason, why: &str) {
        let all = self.posts.keys().copied().collect::<Vec<_>>();
        if reason == LossReason::Shutdown && self.spooling.is_some() {
            return all.into_iter().for_each(|serial| self.spool(serial, reason));
        }
        let spans = self.posts.values().map(Post::sources).sum::<u64>();
        for serial in all {
            self.remove(serial, Some(reason));
        }
        if spans > 0 {
            self.notices.push(Notice::lost(format!("{spans} spans lost: {why}")));
        }
    }

    /// Returns the next time after `now` at which there is work to do without further input, once everything
    /// due is done.
    pub(crate) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let waits = self.posts.values().find(|post| !post.in_flight);
        let retry = self.backoff.until().filter(|_| waits.is_some() && self.in_flight == 0);
        // The first post has waited longest; if it does not expire, neither does any other.
        let expiry = waits.and_then(|post| self.expires_at(post));
        // A change of a run may wait for that run at any time.
        retry.into_iter().chain(expiry).filter(|at| *at > now).min()
    }

    /// Returns the time at which a post expires. While one post is tried the others wait, and a post that was
    /// not tried itself expires only after the receiver has accepted nothing for as long.
    fn expires_at(&self, post: &Post) -> Option<Duration> {
        let since = if post.attempts > 0 { post.since } else { post.since.max(self.backoff.failing_since()?) };
        Some(since + self.limits.keep)
    }

    /// Resets requests whose response can no longer arrive because the worker is gone: they are made again.
    pub(crate) fn forget_in_flight(&mut self) {
        for post in self.posts.values_mut().filter(|post| post.in_flight) {
            post.in_flight = false;
            post.may_have_landed = true;
        }
        self.in_flight = 0;
    }

    /// Retries now because a flush waits, unless the receiver itself requested a pause.
    pub(crate) fn hurry(&mut self, now: Duration) {
        self.backoff.hurry(now);
    }

    /// Sets the end of all attempts: retries come soon, and a retry that the receiver requests for later is
    /// given up now.
    pub(crate) fn close(&mut self, now: Duration, end: Duration) {
        if self.backoff.close(now, end) && self.in_flight == 0 {
            self.abandon(LossReason::Shutdown, LossReason::Shutdown.as_str());
        }
    }

    /// Returns true if the last attempts failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.backoff.is_failing()
    }

    /// Number of failed attempts so far.
    pub(crate) fn failures_seen(&self) -> u64 {
        self.failures_seen
    }

    /// Number of the next post.
    pub(crate) fn next_serial(&self) -> u64 {
        self.next_serial
    }

    /// Returns true if no post with a smaller number is left.
    pub(crate) fn is_done_before(&self, serial: u64) -> bool {
        self.posts.first_key_value().is_none_or(|(first, _)| *first >= serial)
    }

    /// Number of posts that wait.
    pub(crate) fn len(&self) -> usize {
        self.posts.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }

    /// Number of accepted spans that wait, including those on their way to the spool.
    pub(crate) fn pending(&self) -> u64 {
        self.spans + self.leaving()
    }

    /// Counts the waiting spans post by post: after a panic, and for tests.
    pub(crate) fn count_spans(&self) -> u64 {
        let returned: u64 = self.returned.iter().map(|(_, rest)| rest.sources()).sum();
        self.posts.values().map(Post::sources).sum::<u64>() + returned + self.count_leaving()
    }

    /// Corrects the counts after a panic that may have come between a change and its count.
    pub(crate) fn recount(&mut self) {
        self.recount_leaving();
        self.spans = self.count_spans() - self.leaving();
        self.weight = self.posts.values().map(Post::weight).sum();
    }

    /// Returns true if a queued request covers a run first framed before `frame`. A change of a run that
    /// `is_elsewhere` does not count: it also waits for later frames of that run.
    pub(crate) fn has_rests_before(&self, frame: u64, is_elsewhere: impl Fn(&Id) -> bool) -> bool {
        let mut rests = self.posts.values().filter(|post| post.first_frame.is_some_and(|first| first < frame));
        rests.any(|post| matches!(post.request, Request::Create { .. }) || !is_elsewhere(&post.id))
    }

    /// Sets the maximum bytes that may wait.
    pub(crate) fn set_bytes(&mut self, bytes: usize) {
        self.limits.bytes = bytes;
    }

    /// Returns true if a request is under way or may be made. A change of a run may have to wait for that run.
    pub(crate) fn can_send(&self) -> bool {
        self.in_flight > 0 || self.posts.values().any(|post| matches!(post.request, Request::Create { .. }))
    }

    /// Approximate bytes of everything held.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// Adds a notice for the user.
    pub(crate) fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    /// Takes the notices for the user.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }
}

#[cfg(test)]
mod tests;
