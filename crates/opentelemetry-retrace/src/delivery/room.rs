//! Bounds of the ledger in bytes, in runs and in time: what is given up, and in which order.

use std::time::Duration;

use retrace_protocol::Id;

use crate::delivery::ledger::Ledger;
use crate::delivery::request::Request;
use crate::stats::LossReason;
use crate::stats::settlement::Outcome;

/// Ways to make room in a request, in this order: the predicate that selects a request, and the function that
/// shrinks it.
static GIVES: [Give; 2] = [(Request::has_spans, Request::drop_spans), (Request::has_content, Request::drop_content)];
type Give = (fn(&Request) -> bool, fn(&mut Request) -> u64);

impl Ledger {
    /// Sets the maximum bytes that may wait, and makes room if they are fewer than before. A written frame is
    /// kept beside its source until it is confirmed, and displaces no other data.
    pub(crate) fn set_bytes(&mut self, bytes: usize) {
        let shrinks = bytes < self.limits.bytes;
        self.limits.bytes = bytes;
        if shrinks {
            self.make_room();
        }
    }

    /// Drops the oldest data until everything is within the bounds.
    pub(super) fn make_room(&mut self) {
        self.make_room_for(0);
    }

    /// Drops the oldest data until `more` further bytes are within the bounds.
    pub(crate) fn make_room_for(&mut self, more: usize) {
        let bytes = self.limits.bytes.saturating_sub(more);
        if self.weight() <= bytes && self.streamed.len() <= self.limits.runs {
            return;
        }
        let mut lost = 0;
        // Runs that have ended can wait in the spool.
        while self.has_spool() && self.weight() > bytes {
            let Some((since, id)) = self.over_runs().next().map(|(since, id, _)| (since, id.clone())) else { break };
            self.spool_run(&id, LossReason::BufferFull, since);
        }
        while self.streamed.len() > self.limits.runs {
            lost += self.drop_oldest_run().unwrap_or(0);
        }
        if self.weight() > bytes {
            if self.requests_weight > self.stream_weight() {
                self.make_room_in_requests(bytes.saturating_sub(self.stream_weight()));
            }
            while self.weight() > bytes {
                match self.drop_oldest_step().or_else(|| self.drop_oldest_run()) {
                    Some(spans) => lost += spans,
                    None => break,
                }
            }
        }
        self.notice_loss(lost, "the buffer is full");
    }

    /// Drops the oldest spans until the requests are within the bounds. Traces stay, first without spans and
    /// then without content, so that the receiver still learns of the run and that it is lossy.
    pub(super) fn make_room_in_requests(&mut self, bytes: usize) {
        let mut lost = 0;
        while self.requests_weight > bytes || self.requests.len() > self.limits.runs {
            let too_many = self.requests.len() > self.limits.runs;
            if self.has_spool()
                && let Some(number) = self.oldest_waiting(|_| true)
            {
                self.spool(number, LossReason::BufferFull);
                continue;
            }
            let giving = GIVES.iter().filter(|_| !too_many);
            let giving = giving.filter_map(|(can_give, give)| Some((self.oldest_waiting(*can_give)?, give))).next();
            if let Some((number, give)) = giving
                && let Some((id, spans)) = self.change_request(number, |request| (request.id.clone(), give(request)))
            {
                self.settle(&id, spans, Outcome::Lost(LossReason::BufferFull));
                lost += spans;
            } else if let Some(number) =
                self.oldest_waiting(Request::is_unknown).or_else(|| self.oldest_waiting(|_| true))
            {
                lost += self.requests.get(&number).map_or(0, Request::sources);
                self.conclude(number, Outcome::Lost(LossReason::BufferFull));
            } else {
                break;
            }
        }
        if lost > 0 {
            let why = format!("the buffer of {} bytes is full", self.limits.bytes);
            self.notice_loss(lost, &why);
        }
    }

    fn oldest_waiting(&self, is_wanted: fn(&Request) -> bool) -> Option<u64> {
        let (number, _) = self.requests.iter().find(|(_, request)| !request.in_flight && is_wanted(request))?;
        Some(*number)
    }

    /// Gives up what has waited longer than the limit.
    pub(super) fn expire(&mut self, now: Duration) {
        self.expire_requests(now);
        let keep = self.limits.keep;
        let old: Vec<Id> =
            self.over_runs().take_while(|(since, ..)| *since + keep <= now).map(|(_, id, _)| id.clone()).collect();
        if self.has_spool() {
            return old.iter().for_each(|id| self.spool_run(id, LossReason::Expired, now));
        }
        let spans = self.lose_runs(&old, LossReason::Expired);
        self.notice_loss(spans, &format!("the receiver did not confirm them for {keep:?}"));
    }

    fn expire_requests(&mut self, now: Duration) {
        let is_old = |request: &Request| self.expires_at(request).is_some_and(|at| at <= now);
        let waiting = self.requests.iter().take_while(|(_, request)| request.since + self.limits.keep <= now);
        let old = waiting.filter(|(_, request)| !request.in_flight && is_old(request));
        let old: Vec<u64> = old.map(|(number, _)| *number).collect();
        if self.has_spool() {
            return old.into_iter().for_each(|number| self.spool(number, LossReason::Expired));
        }
        let spans: u64 = old.iter().filter_map(|number| self.requests.get(number)).map(Request::sources).sum();
        for number in &old {
            self.conclude(*number, Outcome::Lost(LossReason::Expired));
        }
        self.notice_loss(spans, &format!("the receiver could not be reached for {:?}", self.limits.keep));
    }

    /// Returns the time at which a request expires. While one request is tried the others wait, and a request
    /// that was not tried itself expires only after the receiver has accepted nothing for as long.
    pub(super) fn expires_at(&self, request: &Request) -> Option<Duration> {
        let since = if request.attempts > 0 { request.since } else { request.since.max(self.backoff.failing_since()?) };
        Some(since + self.limits.keep)
    }

    /// Gives up everything.
    pub(super) fn abandon_all(&mut self, reason: LossReason, now: Duration) {
        let ids: Vec<Id> = self.by_age.values().cloned().collect();
        if reason == LossReason::Shutdown && self.has_spool() {
            ids.iter().for_each(|id| self.hand_over(id, now));
        }
        let why = match reason {
            LossReason::Shutdown if !self.reached && self.failures_seen() > 0 => {
                "the receiver was never reached before the shutdown; set RETRACE_SPOOL_DIR to keep them for the next start"
            }
            reason => reason.as_str(),
        };
        self.abandon_requests(reason, why);
        let spans = self.lose_runs(&ids, reason);
        self.notice_loss(spans, why);
    }

    /// Gives up all requests for a reason that `why` explains.
    pub(super) fn abandon_requests(&mut self, reason: LossReason, why: &str) {
        let all = self.requests.keys().copied().collect::<Vec<_>>();
        if reason == LossReason::Shutdown && self.has_spool() {
            return all.into_iter().for_each(|number| self.spool(number, reason));
        }
        let spans = self.requests.values().map(Request::sources).sum::<u64>();
        for number in all {
            self.conclude(number, Outcome::Lost(reason));
        }
        self.notice_loss(spans, why);
    }

    /// Drops streamed runs, whose spans are lost; returns their number.
    fn lose_runs(&mut self, ids: &[Id], reason: LossReason) -> u64 {
        let mut lost = 0;
        for id in ids {
            if let Some(run) = self.take_run(id) {
                self.settle(id, run.sources(), Outcome::Lost(reason));
                lost += run.sources();
            }
        }
        lost
    }

    /// Moves what the receiver lacks of a streamed run to the spool.
    fn spool_run(&mut self, id: &Id, reason: LossReason, now: Duration) {
        let first = self.next_request;
        self.hand_over(id, now);
        self.spool_from(first, reason);
    }
}
