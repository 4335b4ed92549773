//! Selects the active transport: a stream, or single requests.
//!
//! Pure: times are arguments, and jitter comes from a seeded generator.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::Transport;
use crate::delivery::exchange::CloseReason;
use crate::delivery::retry::Backoff;

/// Number of lost connections within [`UNSTEADY_WITHIN`] after which the stream is suspended.
const UNSTEADY_LOSSES: usize = 3;
const UNSTEADY_WITHIN: Duration = Duration::from_secs(5 * 60);
/// Suspension of a stream that is unsteady, or that the receiver does not support.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// Transport state.
#[derive(Debug)]
pub(crate) struct TransportPolicy {
    transport: Transport,
    state: State,
    backoff: Backoff,
    losses: VecDeque<Duration>,
    /// True while the stream does not work.
    fallen: bool,
    /// True once the stream is off for good: the receiver rejects the API key, or there is no time left.
    off: bool,
    /// End of a suspension of the stream.
    left_alone: Option<Duration>,
    /// True during a shutdown: the stream is no longer suspended.
    closing: bool,
    /// True if a run was sent by a request since the last attempt to connect.
    missed: bool,
    failures_seen: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down,
    Connecting,
    Open,
}

impl TransportPolicy {
    pub(crate) fn new(transport: Transport, seed: u64) -> Self {
        Self {
            transport,
            state: State::Down,
            backoff: Backoff::new(seed),
            losses: VecDeque::new(),
            fallen: false,
            off: false,
            left_alone: None,
            closing: false,
            missed: false,
            failures_seen: 0,
        }
    }

    /// Returns true if runs are streamed at all.
    pub(crate) fn has_stream(&self) -> bool {
        self.transport != Transport::Http && !self.off
    }

    /// Returns true if runs that are whole when they arrive are sent event by event. That costs more than a request
    /// and shows nothing sooner, so it is done only if no other transport is allowed.
    pub(crate) fn streams_whole_runs(&self) -> bool {
        self.transport == Transport::Ws && !self.off
    }

    /// Returns true if runs that have ended are sent by single requests.
    pub(crate) fn is_by_request(&self) -> bool {
        match self.transport {
            Transport::Http => true,
            Transport::Auto => self.fallen || self.off,
            Transport::Ws => self.off,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Returns true if a connection is to be opened now; `needed` is true if something waits for it.
    pub(crate) fn wants_link(&self, needed: bool, now: Duration) -> bool {
        self.may_open(needed) && self.pause().is_none_or(|until| until <= now)
    }

    fn pause(&self) -> Option<Duration> {
        self.backoff.until().max(self.left_alone)
    }

    fn may_open(&self, needed: bool) -> bool {
        self.has_stream() && self.state == State::Down && (needed || (self.fallen && self.missed))
    }

    /// Returns when the result of [`TransportPolicy::wants_link`] next changes.
    pub(crate) fn next_deadline(&self, needed: bool) -> Option<Duration> {
        self.pause().filter(|_| self.may_open(needed))
    }

    /// Records that a run is sent by a single request although the transport may have a stream.
    pub(crate) fn passed_by(&mut self) {
        self.missed = true;
    }

    pub(crate) fn opening(&mut self) {
        (self.state, self.missed) = (State::Connecting, false);
    }

    pub(crate) fn opened(&mut self) {
        (self.state, self.fallen, self.left_alone) = (State::Open, false, None);
    }

    /// Records an ack: the connection works, so the backoff is reset.
    pub(crate) fn confirmed(&mut self) {
        self.backoff.succeeded();
    }

    /// Records the end of a connection. Returns true if it begins a failure.
    pub(crate) fn closed(&mut self, reason: CloseReason, now: Duration) -> bool {
        let failed_before = self.fallen || self.backoff.is_failing();
        self.state = State::Down;
        match reason {
            CloseReason::Ended => return false,
            CloseReason::Unauthorized => {
                self.off = true;
                self.failures_seen += 1;
                return true;
            }
            CloseReason::NoStream => {
                self.fallen = true;
                self.off |= self.closing;
                self.leave_alone(now);
            }
            CloseReason::NotConnected => {
                self.fallen = true;
                self.backoff.failed(now, None);
            }
            CloseReason::Lost => {
                self.losses.push_back(now);
                while self.losses.front().is_some_and(|first| *first + UNSTEADY_WITHIN < now) {
                    self.losses.pop_front();
                }
                let unsteady = self.losses.len() >= UNSTEADY_LOSSES;
                self.fallen |= unsteady;
                self.backoff.failed(now, None);
                if unsteady && self.transport == Transport::Auto {
                    self.leave_alone(now);
                }
            }
        }
        self.failures_seen += 1;
        !failed_before
    }

    /// Ends the stream for good: the rest is sent by single requests.
    pub(crate) fn give_up(&mut self) {
        self.off = true;
    }

    fn leave_alone(&mut self, now: Duration) {
        self.left_alone = (!self.closing).then_some(now + LEFT_ALONE);
    }

    /// Retries now because a flush waits; ends a suspension too if the stream is the only way for some of the
    /// runs.
    pub(crate) fn hurry(&mut self, only_way: bool, now: Duration) {
        self.backoff.hurry(now);
        if only_way {
            self.left_alone = None;
        }
    }

    /// Sets the end of all attempts: pauses stay short.
    pub(crate) fn close(&mut self, now: Duration, end: Duration) {
        (self.closing, self.left_alone) = (true, None);
        self.backoff.close(now, end);
    }

    /// Returns true if the receiver cannot be reached by the only transport that is allowed.
    pub(crate) fn is_failing(&self) -> bool {
        let fails = self.backoff.is_failing() || self.left_alone.is_some();
        self.transport == Transport::Ws && fails && self.state != State::Open
    }

    /// Number of failed connections so far.
    pub(crate) fn failures_seen(&self) -> u64 {
        self.failures_seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn open(transport: Transport) -> TransportPolicy {
        let mut policy = TransportPolicy::new(transport, 7);
        assert!(policy.wants_link(true, secs(0)) && !policy.wants_link(false, secs(0)));
        policy.opening();
        assert!(!policy.wants_link(true, secs(0)));
        policy.opened();
        policy
    }

    #[test]
    fn auto_begins_with_the_stream_falls_back_and_returns() {
        let mut policy = TransportPolicy::new(Transport::Auto, 7);
        assert!(!policy.is_by_request());
        policy.opening();
        assert!(policy.closed(CloseReason::NotConnected, secs(0)), "news");
        assert!(policy.is_by_request());
        assert!(!policy.wants_link(false, secs(60)), "nothing to say");
        policy.passed_by();
        assert!(policy.wants_link(false, secs(60)), "tried again with the next run");
        policy.opening();
        assert!(!policy.closed(CloseReason::NotConnected, secs(60)), "no news");
        policy.passed_by();
        policy.opening();
        policy.opened();
        assert!(!policy.is_by_request() && policy.is_open());
    }

    #[test]
    fn a_stream_that_is_lost_again_and_again_is_left_alone() {
        let mut policy = open(Transport::Auto);
        for loss in 1..=3 {
            assert!(!policy.is_by_request(), "{loss}");
            policy.closed(CloseReason::Lost, secs(loss));
            policy.opening();
            if loss < 3 {
                policy.opened();
            }
        }
        assert!(policy.is_by_request());
        policy.closed(CloseReason::NotConnected, secs(4));
        assert!(!policy.wants_link(true, secs(62)) && policy.wants_link(true, secs(63)));
    }

    #[test]
    fn losses_long_ago_do_not_count() {
        let mut policy = open(Transport::Auto);
        for loss in 0..10 {
            policy.closed(CloseReason::Lost, secs(loss * 200));
            policy.opened();
        }
        assert!(!policy.is_by_request());
    }

    #[test]
    fn a_rejected_key_ends_the_stream_for_good() {
        for (transport, by_request) in [(Transport::Auto, true), (Transport::Ws, true)] {
            let mut policy = TransportPolicy::new(transport, 7);
            policy.opening();
            assert!(policy.closed(CloseReason::Unauthorized, secs(0)));
            assert_eq!((policy.has_stream(), policy.is_by_request()), (false, by_request));
            assert!(!policy.wants_link(true, secs(1_000)));
        }
    }

    #[test]
    fn ws_waits_for_the_stream_however_long() {
        let mut policy = TransportPolicy::new(Transport::Ws, 7);
        for n in 0..20 {
            policy.opening();
            policy.closed(CloseReason::NotConnected, secs(n * 100));
            assert!(!policy.is_by_request() && policy.is_failing());
            assert!(policy.wants_link(true, secs(n * 100 + 31)));
        }
        policy.give_up();
        assert!(policy.is_by_request());
    }

    #[test]
    fn a_pause_grows_until_something_is_confirmed() {
        let mut policy = open(Transport::Ws);
        let mut longest = Duration::ZERO;
        for n in 0..20 {
            policy.closed(CloseReason::Lost, secs(n * 100));
            longest = longest.max(policy.next_deadline(true).unwrap() - secs(n * 100));
            policy.opening();
            policy.opened();
        }
        assert!(longest > secs(10), "{longest:?}");
        policy.confirmed();
        policy.closed(CloseReason::Lost, secs(5_000));
        assert!(policy.next_deadline(true).unwrap() <= secs(5_000) + Backoff::FIRST);
    }
}
