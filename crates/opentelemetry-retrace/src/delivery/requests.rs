//! Requests that wait to be sent, and the outcome of each.

use std::time::Duration;

use http::StatusCode;
use retrace_protocol::{SignalCode, Status, TracePatch};

use crate::delivery::exchange::{Answer, Method, Sending};
use crate::delivery::http_body::body;
use crate::delivery::ledger::Ledger;
use crate::delivery::notice::Cause;
use crate::delivery::request::{Content, Request};
use crate::delivery::retry::{Verdict, verdict};
use crate::delivery::truncate::{Fitted, fit};
use crate::stats::LossReason;
use crate::stats::settlement::Outcome;

/// A body that the receiver rejects as too large at this size is not shortened further.
const SMALLEST_BODY: u64 = 4 * 1024;

impl Ledger {
    /// Returns the next request to make, if one may be made now. A change of a run waits while the run itself
    /// is streamed.
    pub(crate) fn next_sending(&mut self, now: Duration) -> Option<Sending> {
        let may_send = if self.backoff.is_failing() { 1 } else { self.limits.in_flight };
        if self.in_flight >= may_send || self.backoff.until().is_some_and(|until| now < until) {
            return None;
        }
        let mut waiting = self.requests.iter().filter(|(_, request)| !request.in_flight);
        // A change of a run is sent after the run itself.
        let number =
            *waiting.find(|(number, request)| request.run().is_some() || self.has_its_turn(**number, request))?.0;
        let max_bytes = self.limits.body_bytes;
        let mut bytes = body(self.requests.get(&number)?);
        if bytes.length() > max_bytes as u64 {
            self.shorten(number, max_bytes);
            bytes = body(self.requests.get(&number)?);
        }
        let request = self.requests.get_mut(&number)?;
        request.in_flight = true;
        self.in_flight += 1;
        let method = match request.content {
            Content::Create(_) => Method::Create,
            Content::Patch { .. } => Method::Patch,
        };
        Some(Sending { serial: number, id: request.id.clone(), method, body: bytes })
    }

    /// Returns true if nothing goes before this change of a run: neither the run, which may be added later if it was
    /// streamed before, nor an earlier change.
    fn has_its_turn(&self, number: u64, change: &Request) -> bool {
        let goes_first = |(other, earlier): (&u64, &Request)| {
            earlier.id == change.id && (earlier.run().is_some() || *other < number)
        };
        !self.streamed.contains_key(&change.id) && !self.requests.iter().any(goes_first)
    }

    /// Handles the outcome of a request.
    pub(crate) fn answer(&mut self, number: u64, answer: Answer, now: Duration) {
        self.reached |= matches!(answer, Answer::Status { .. });
        let Some(request) = self.requests.get_mut(&number).filter(|request| request.in_flight) else { return };
        request.in_flight = false;
        request.attempts = request.attempts.saturating_add(1);
        self.in_flight -= 1;
        match answer {
            Answer::NotSent { cause } => self.failed(now, None, SignalCode::Unreachable, Cause::by_us(cause)),
            Answer::Broken { cause } => {
                request.may_have_landed = true;
                self.failed(now, None, SignalCode::Unreachable, Cause::by_us(cause));
            }
            // The page may be that of a proxy whose receiver is away for a while.
            Answer::WebPage { status } => {
                let url = if self.url.is_empty() { "the receiver" } else { &self.url };
                let text = format!("{url} answered {status} with a web page: check the host of RETRACE_BASE_URL");
                self.failed(now, None, SignalCode::Unreachable, Cause::by_us(text));
            }
            Answer::Status { status, retry_after, peer_message } => {
                let verdict = verdict(status);
                if verdict == Verdict::Retry {
                    request.may_have_landed |= status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT;
                    let code = match status {
                        StatusCode::TOO_MANY_REQUESTS => SignalCode::RateLimited,
                        _ => SignalCode::Unreachable,
                    };
                    let cause = Cause { text: self.answered(status), peer_message };
                    self.failed(now, retry_after, code, cause);
                } else {
                    self.backoff.succeeded();
                    let cause = Cause { text: self.answered(status), peer_message };
                    self.judge(number, verdict, status, cause, now);
                }
            }
        }
    }

    /// Describes the status of a response for messages.
    fn answered(&self, status: StatusCode) -> String {
        match status.as_u16() {
            200..=299 => String::new(),
            300..=399 | 404 | 405 if !self.url.is_empty() => {
                format!("{} answered {status}: check the host and the path of RETRACE_BASE_URL", self.url)
            }
            _ => format!("the receiver answered {status}"),
        }
    }

    fn failed(&mut self, now: Duration, retry_after: Option<Duration>, code: SignalCode, cause: Cause) {
        // A notice is given once, when the failure begins.
        if !self.backoff.is_failing() {
            let kept = self.pending_requests();
            self.notice(cause.notice(code, &format!("{kept} spans are kept and tried again")));
        }
        self.failed_requests += 1;
        self.backoff.failed(now, retry_after);
    }

    fn pending_requests(&self) -> u64 {
        self.requests.values().map(Request::sources).sum::<u64>() + self.leaving()
    }

    fn judge(&mut self, number: u64, verdict: Verdict, status: StatusCode, cause: Cause, now: Duration) {
        let Some(request) = self.requests.get(&number) else { return };
        let (joined, begun) = (request.is_joined(), request.begun);
        let lost = |reason: LossReason| Outcome::Lost(reason);
        let returns = verdict == Verdict::Conflict && begun && request.spooled_as.is_none() && self.policy.has_stream();
        if returns && self.hand_back(number, now) {
            return;
        }
        let Some(request) = self.requests.get(&number) else { return };
        match (verdict, &request.content) {
            (Verdict::Delivered, Content::Patch { .. }) => self.conclude(number, lost(LossReason::Conflict)),
            (Verdict::Delivered, Content::Create(_)) => self.conclude(number, Outcome::Delivered),
            // An earlier attempt succeeded and its response was lost. For a run begun over a stream it is
            // unknown which part of it the conflict refers to.
            (Verdict::Conflict, Content::Create(_)) if request.may_have_landed && !begun && !joined => {
                self.conclude(number, Outcome::Delivered);
            }
            // Another service that records the same trace has created a run with this id.
            (Verdict::Conflict, Content::Create(_)) if !begun && request.taken.is_none() => self.rekey(number, cause),
            (Verdict::Conflict, Content::Create(_)) => self.replace_by_patch(number, cause),
            (Verdict::TooLarge, Content::Create(_)) => {
                let length = body(request).length();
                if length <= SMALLEST_BODY {
                    self.refused(number, SignalCode::TooLarge, LossReason::TooLarge, cause);
                } else {
                    if request.attempts == 1 {
                        let text = format!("a run of {length} bytes is shortened and tried again");
                        self.notice(cause.notice(SignalCode::TooLarge, &text));
                    }
                    self.shorten(number, usize::try_from(length / 2).unwrap_or(usize::MAX));
                }
            }
            // A lossy mark for a run that the receiver does not have at all.
            (_, Content::Patch { missing: 0, .. })
                if status == StatusCode::NOT_FOUND && request.first_frame.is_some() =>
            {
                self.conclude(number, Outcome::Delivered);
            }
            (Verdict::Unauthorized, _) => {
                let cause = Cause { text: format!("{}: check RETRACE_API_KEY", cause.text), ..cause };
                self.refused(number, SignalCode::Unauthorized, LossReason::Unauthorized, cause);
            }
            _ => {
                let code = match status {
                    StatusCode::PAYMENT_REQUIRED => SignalCode::CreditsExhausted,
                    _ => SignalCode::Rejected,
                };
                self.refused(number, code, LossReason::Rejected, cause);
            }
        }
    }

    /// Sends a run under an id of its own, with a reference to the run that it belongs to.
    fn rekey(&mut self, number: u64, cause: Cause) {
        let rekeyed = self.change_request(number, |request| {
            let lost = request.rekey();
            (request.taken.clone().unwrap_or_else(|| request.id.clone()), request.id.clone(), lost)
        });
        let Some((taken, id, lost)) = rekeyed else { return };
        if let Some(run) = self.requests.get(&number).and_then(Request::run) {
            self.settlements.note_origin(&run.trace);
        }
        let text = format!("run {taken} exists already; what is here of it is sent as a run of its own, {id}");
        self.notice(cause.notice(SignalCode::Conflict, &text));
        self.lose(&taken, LossReason::Internal, lost, LossReason::Internal.as_str());
        // The reference takes bytes.
        self.make_room_in_requests(self.limits.bytes);
    }

    /// Sends the end of a run that the receiver does not accept, without its spans.
    fn replace_by_patch(&mut self, number: u64, cause: Cause) {
        let Some(request) = self.requests.get(&number) else { return };
        let Content::Create(run) = &request.content else { return };
        let (id, sources) = (request.taken.clone().unwrap_or_else(|| request.id.clone()), request.sources());
        let text = format!("run {id} exists already and is not ours; {sources} spans cannot be added to it");
        let lossy = run.trace.lossy.or(run.has_spans().then_some(true));
        let patch = match run.trace.status {
            Some(Status::Running) if !request.begun => None,
            Some(Status::Running) => Some(TracePatch { lossy, ..TracePatch::default() }),
            _ => Some(TracePatch { lossy, ..TracePatch::of(&run.trace) }),
        };
        self.notice(cause.notice(SignalCode::Conflict, &text));
        match patch {
            None => self.conclude(number, Outcome::Lost(LossReason::Conflict)),
            Some(patch) => {
                self.change_request(number, |request| {
                    request.id = id;
                    request.content = Content::Patch { patch: Box::new(patch), missing: sources };
                });
            }
        }
    }

    fn refused(&mut self, number: u64, code: SignalCode, reason: LossReason, cause: Cause) {
        if let Some(request) = self.requests.get(&number) {
            let text = format!("run {} with {} spans is lost", request.id, request.sources());
            self.notice(cause.notice(code, &text));
        }
        self.conclude(number, Outcome::Lost(reason));
    }

    /// Removes a request, whose spans have this outcome.
    pub(super) fn conclude(&mut self, number: u64, outcome: Outcome) {
        let Some(mut request) = self.remove_request(number) else { return };
        self.is_settled(request.spooled_as.take());
        self.settle(&request.id, request.sources(), outcome);
    }

    /// Shortens a waiting run to `max_bytes`.
    fn shorten(&mut self, number: u64, max_bytes: usize) {
        let fitted = self.change_request(number, |request| {
            let Content::Create(run) = &mut request.content else { return (request.id.clone(), Fitted::default()) };
            let fitted = fit(run, max_bytes);
            let spans = run.spans().count() as u64;
            run.trace.span_count = run.trace.span_count.map(|_| spans + fitted.lost);
            (request.id.clone(), fitted)
        });
        if let Some((id, Fitted { lost, .. })) = fitted.filter(|(_, fitted)| fitted.lost > 0) {
            self.lose(&id, LossReason::TooLarge, lost, "they were too large for the receiver");
        }
    }

    /// Returns true if a request is under way or may be made. A change of a run may have to wait for that run.
    pub(super) fn can_request(&self) -> bool {
        self.in_flight > 0 || self.requests.values().any(|request| request.run().is_some())
    }

    /// Returns the next time after `now` at which there is work to do without further input, once everything
    /// due is done.
    pub(super) fn next_request_deadline(&self, now: Duration) -> Option<Duration> {
        let waits = self.requests.values().find(|request| !request.in_flight);
        let retry = self.backoff.until().filter(|_| waits.is_some() && self.in_flight == 0);
        // The first request has waited longest; if it does not expire, neither does any other.
        let expiry = waits.and_then(|request| self.expires_at(request));
        // A change of a run may wait for that run at any time.
        retry.into_iter().chain(expiry).filter(|at| *at > now).min()
    }

    /// Resets requests whose response can no longer arrive because the worker is gone: they are made again.
    pub(crate) fn forget_requests(&mut self) {
        for request in self.requests.values_mut().filter(|request| request.in_flight) {
            request.in_flight = false;
            request.may_have_landed = true;
        }
        self.in_flight = 0;
    }
}
