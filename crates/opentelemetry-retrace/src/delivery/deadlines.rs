//! Time, flushes and the shutdown.

use std::time::Duration;

use retrace_protocol::Id;

use crate::delivery::closing::Closing;
use crate::delivery::ledger::{Ledger, Mark};
use crate::delivery::run_buffer::RunBuffer;
use crate::stats::LossReason;

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
            let failing_since = self.backoff.failing_since();
            self.closing.iter_mut().for_each(|closing| closing.shorten(failing_since));
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
