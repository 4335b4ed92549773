//! What waits to be sent, and what became of it.
//!
//! A state machine: runs and answers go in, requests come out. It knows no clock, no socket and no thread. What it holds
//! is bounded in bytes and in time, and every accepted span in it ends as delivered or as lost for a reason.

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
use crate::stats::{Account, LossReason};
use crate::stream::{Incomplete, Rest};
use crate::transport::retry::{Backoff, Verdict, verdict};

/// Bounds of an [`Outbox`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboxLimits {
    /// Bytes of everything that waits.
    pub bytes: usize,
    /// Requests that wait.
    pub posts: usize,
    /// Bytes of one body. A longer run is shortened before it is sent.
    pub body_bytes: usize,
    /// Requests under way at once.
    pub in_flight: usize,
    /// How long a run is kept for a receiver that cannot be reached.
    pub keep: Duration,
}

/// A body that is refused at this size is refused at any.
const SMALLEST_BODY: u64 = 4 * 1024;

/// What a post can give up to make room, in this order: who has it, and how it goes.
static GIVES: [Give; 2] = [(Post::has_spans, Post::drop_spans), (Post::has_content, Post::drop_content)];
type Give = (fn(&Post) -> bool, fn(&mut Post) -> u64);

/// Requests on their way to the receiver.
#[derive(Debug)]
pub(crate) struct Outbox {
    limits: OutboxLimits,
    /// The URL of the request that creates a run, for messages.
    url: String,
    posts: BTreeMap<u64, Post>,
    next_serial: u64,
    weight: usize,
    /// Accepted spans in the posts, and in those given back.
    spans: u64,
    in_flight: usize,
    backoff: Backoff,
    /// An attempt that began after this was set has failed.
    failures_seen: u64,
    /// Whether the rest of a run that the receiver knows already is given back, rather than cut down to its end.
    pub(crate) returns: bool,
    returned: Vec<(Id, Rest)>,
    /// There when there is a spool.
    spooling: Option<Spooling>,
    pub(crate) account: Account,
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
            notices: Vec::new(),
        }
    }

    /// Names the URL that runs are sent to in messages. It holds no credentials.
    pub(crate) fn name_url(&mut self, url: String) {
        self.url = url;
    }

    /// Describes an answer.
    fn answered(&self, status: StatusCode) -> String {
        match status.as_u16() {
            300..=399 | 404 | 405 if !self.url.is_empty() => {
                format!("{} answered {status}: check the host and the path of RETRACE_BASE_URL", self.url)
            }
            _ => format!("the receiver answered {status}"),
        }
    }

    /// Puts in a run, or steps of one that belongs to another process. May drop spans of older ones to stay within the limits.
    pub(crate) fn push(&mut self, trace: Trace, chunks: Vec<Chunk>, joined: bool, now: Duration) {
        let Some(id) = trace.id.clone() else { return };
        self.insert(Post { joined, ..Post::new(id, Request::Create { trace: Box::new(trace), chunks }, now) });
    }

    /// Puts in a change of a run that was put in before.
    pub(crate) fn push_patch(&mut self, id: Id, patch: TracePatch, now: Duration) {
        self.insert(Post::new(id, Request::Patch { patch: Box::new(patch), missing: 0 }, now));
    }

    /// Puts in that a run which was told over a stream is not whole.
    pub(crate) fn push_incomplete(&mut self, run: Incomplete, now: Duration) {
        let Incomplete { id, first_frame } = run;
        let patch = Box::new(TracePatch { lossy: Some(true), ..TracePatch::default() });
        self.insert(Post { first_frame, ..Post::new(id, Request::Patch { patch, missing: 0 }, now) });
    }

    /// Puts in the rest of a run that was begun over a stream.
    pub(crate) fn push_rest(&mut self, id: Id, rest: Rest, now: Duration) {
        let Rest { trace, chunks, written, begun, joined, first_frame } = rest;
        // The receiver has all but the end.
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

    /// The next request to make, if one may be made now. A change of a run waits while the run itself `is_elsewhere`.
    pub(crate) fn next(&mut self, now: Duration, is_elsewhere: impl Fn(&Id) -> bool) -> Option<Sending> {
        let may_send = if self.backoff.is_failing() { 1 } else { self.limits.in_flight };
        if self.in_flight >= may_send || self.backoff.until().is_some_and(|until| now < until) {
            return None;
        }
        let waiting = self.posts.iter().filter(|(_, post)| !post.in_flight);
        // What changes a run goes after the run itself.
        let serial = waiting
            .filter(|(serial, post)| match post.request {
                Request::Create { .. } => true,
                // The run itself may have been put in later than its change, by way of a stream that is gone.
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

    /// Says what came of a request.
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
                    self.settle(serial, verdict, status, said);
                }
            }
        }
    }

    fn failed(&mut self, now: Duration, retry_after: Option<Duration>, code: SignalCode, said: Said) {
        // Once when it begins; while it lasts there is nothing new to say.
        if !self.backoff.is_failing() {
            let kept = self.pending();
            self.notices.push(said.notice(code, &format!("{kept} spans are kept and tried again")));
        }
        self.failures_seen += 1;
        self.backoff.failed(now, retry_after);
    }

    fn settle(&mut self, serial: u64, verdict: Verdict, status: StatusCode, said: Said) {
        let Some(post) = self.posts.get_mut(&serial) else { return };
        let (id, landed_before, sources) = (post.id.clone(), post.may_have_landed, post.sources());
        match (verdict, &post.request) {
            (Verdict::Delivered, Request::Patch { .. }) => self.remove(serial, Some(LossReason::Conflict)),
            (Verdict::Delivered, Request::Create { .. }) => self.remove(serial, None),
            // The answer to an earlier attempt was lost on its way; the run was not. Of one that was begun over a stream nobody
            // can tell which part of it the receiver means.
            (Verdict::Conflict, Request::Create { .. }) if landed_before && !post.begun && !post.joined => {
                self.remove(serial, None);
            }
            (Verdict::Conflict, Request::Create { .. }) if post.begun && self.returns && post.spooled_as.is_none() => {
                self.give_back(serial);
            }
            // Somebody else has the id: another service that records the same trace.
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
            // That a run is not whole, of which the receiver has nothing.
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

    /// Lets a run stand under an id of its own, that says to which one it belongs.
    fn set_alone(&mut self, serial: u64, said: Said) {
        let Some(post) = self.posts.get_mut(&serial) else { return };
        let before = post.weight();
        let taken = post.id.clone();
        let lost = post.stand_alone();
        let text = format!("run {taken} exists already; what is here of it is sent as a run of its own, {}", post.id);
        self.notices.push(said.notice(SignalCode::Conflict, &text));
        self.weight = self.weight - before + post.weight();
        self.spans -= lost;
        self.lose(LossReason::Internal, lost, LossReason::Internal.as_str());
        // To say where it belongs takes room.
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

    /// Rests of runs that the receiver wants over the stream or not at all.
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

    /// Takes a post out; its spans are delivered, or lost for the reason given.
    fn remove(&mut self, serial: u64, lost: Option<LossReason>) {
        let Some(mut post) = self.posts.remove(&serial) else { return };
        self.weight -= post.weight();
        self.spans -= post.sources();
        self.is_settled(post.spooled_as.take());
        match lost {
            None => self.account.delivered += post.sources(),
            Some(reason) => self.account.lose(reason, post.sources()),
        }
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

    /// Makes a run that waits no larger than `max_bytes`.
    fn shorten(&mut self, serial: u64, max_bytes: usize) {
        let Some(post) = self.posts.get_mut(&serial) else { return };
        let before = post.weight();
        let Request::Create { trace, chunks } = &mut post.request else { return };
        let fitted = fit(trace, chunks, max_bytes);
        trace.span_count = trace.span_count.map(|_| chunks.len() as u64 + fitted.lost);
        self.weight = self.weight - before + post.weight();
        self.spans -= fitted.lost;
        if fitted.lost > 0 {
            self.lose(LossReason::TooLarge, fitted.lost, "they were too large for the receiver");
        }
    }

    /// Drops the oldest spans until what waits is within its bounds. Traces stay, without spans and then without content,
    /// so that the receiver at least learns of the run and that it is not whole.
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
                self.account.lose(LossReason::BufferFull, spans);
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

    /// Counts spans that are lost outside of any post.
    pub(crate) fn lose(&mut self, reason: LossReason, spans: u64, why: &str) {
        if spans == 0 {
            return;
        }
        self.account.lose(reason, spans);
        self.notices.push(Notice::lost(format!("{spans} spans lost: {why}")));
    }

    /// Gives up what has waited too long.
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

    /// Gives up everything, for a reason that is explained by `why`.
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

    /// When after `now` there will be something to do without anything going in, when all that is due has been done.
    pub(crate) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let waits = self.posts.values().find(|post| !post.in_flight);
        let retry = self.backoff.until().filter(|_| waits.is_some() && self.in_flight == 0);
        // The first has waited longest; when it has no turn yet, neither has another.
        let expiry = waits.and_then(|post| self.expires_at(post));
        // What changes a run may wait for that run, whatever the time.
        retry.into_iter().chain(expiry).filter(|at| *at > now).min()
    }

    /// When a post is kept no longer. While one is tried the others wait, and what was not tried itself is given up only
    /// when the receiver has taken nothing for as long.
    fn expires_at(&self, post: &Post) -> Option<Duration> {
        let since = if post.attempts > 0 { post.since } else { post.since.max(self.backoff.failing_since()?) };
        Some(since + self.limits.keep)
    }

    /// Requests whose answer is still due after a worker that is gone: they are made again.
    pub(crate) fn forget_in_flight(&mut self) {
        for post in self.posts.values_mut().filter(|post| post.in_flight) {
            post.in_flight = false;
            post.may_have_landed = true;
        }
        self.in_flight = 0;
    }

    /// Somebody waits: try now, unless the receiver itself asked for a pause.
    pub(crate) fn hurry(&mut self, now: Duration) {
        self.backoff.hurry(now);
    }

    /// There is no time after `end`: retries come soon, and what the receiver wants later is given up now.
    pub(crate) fn close(&mut self, now: Duration, end: Duration) {
        if self.backoff.close(now, end) && self.in_flight == 0 {
            self.abandon(LossReason::Shutdown, LossReason::Shutdown.as_str());
        }
    }

    /// Whether the receiver does not take anything at present.
    pub(crate) fn is_failing(&self) -> bool {
        self.backoff.is_failing()
    }

    /// Attempts that failed so far.
    pub(crate) fn failures_seen(&self) -> u64 {
        self.failures_seen
    }

    /// The number that the next post gets.
    pub(crate) fn next_serial(&self) -> u64 {
        self.next_serial
    }

    /// Whether nothing with a smaller number is left.
    pub(crate) fn is_done_before(&self, serial: u64) -> bool {
        self.posts.first_key_value().is_none_or(|(first, _)| *first >= serial)
    }

    /// Posts that wait.
    pub(crate) fn len(&self) -> usize {
        self.posts.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }

    /// Accepted spans that wait, those on their way to the disk included.
    pub(crate) fn pending(&self) -> u64 {
        self.spans + self.leaving()
    }

    /// Counts the spans that wait again, one place after the other: after a panic, and for tests.
    pub(crate) fn count_spans(&self) -> u64 {
        let returned: u64 = self.returned.iter().map(|(_, rest)| rest.sources()).sum();
        self.posts.values().map(Post::sources).sum::<u64>() + returned + self.count_leaving()
    }

    /// Makes the counts what is really there, after a panic that may have come between a change and its count.
    pub(crate) fn recount(&mut self) {
        self.recount_leaving();
        self.spans = self.count_spans() - self.leaving();
        self.weight = self.posts.values().map(Post::weight).sum();
    }

    /// Whether something is still here of a run that a frame below this number told of. What changes a run that
    /// `is_elsewhere` waits for more than that.
    pub(crate) fn has_rests_before(&self, frame: u64, is_elsewhere: impl Fn(&Id) -> bool) -> bool {
        let mut rests = self.posts.values().filter(|post| post.first_frame.is_some_and(|first| first < frame));
        rests.any(|post| matches!(post.request, Request::Create { .. }) || !is_elsewhere(&post.id))
    }

    /// Sets the bytes that may wait.
    pub(crate) fn set_bytes(&mut self, bytes: usize) {
        self.limits.bytes = bytes;
    }

    /// Returns true if a request is under way or may be made. A change of a run may have to wait for that run.
    pub(crate) fn can_send(&self) -> bool {
        self.in_flight > 0 || self.posts.values().any(|post| matches!(post.request, Request::Create { .. }))
    }

    /// Bytes that everything here takes, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// Something more that the user should know.
    pub(crate) fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    /// What the user should know.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }
}

#[cfg(test)]
mod tests;
