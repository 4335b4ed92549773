//! Which way leads to the receiver at present: a stream, or single requests.
//!
//! Pure: times come in as arguments, chance as a seeded generator.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::Transport;
use crate::transport::retry::Backoff;
use crate::transport::ws::CloseReason;

/// So many losses within [`UNSTEADY_WITHIN`] are too many to go on with the stream.
const UNSTEADY_LOSSES: usize = 3;
const UNSTEADY_WITHIN: Duration = Duration::from_secs(5 * 60);
/// How long a stream that is unsteady, or that the receiver does not have, is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// The way to the receiver.
#[derive(Debug)]
pub(crate) struct Route {
    transport: Transport,
    state: State,
    backoff: Backoff,
    losses: VecDeque<Duration>,
    /// The stream does not work at present.
    fallen: bool,
    /// The stream will not work again: the receiver does not take the key, or there is no time left.
    off: bool,
    /// Until when the stream is left alone, by our own decision.
    left_alone: Option<Duration>,
    /// There is little time left: nothing is left alone any more.
    closing: bool,
    /// Something went another way since the stream was tried last.
    missed: bool,
    failures_seen: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down,
    Connecting,
    Open,
}

impl Route {
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

    /// Whether runs are told event by event at all.
    pub(crate) fn has_stream(&self) -> bool {
        self.transport != Transport::Http && !self.off
    }

    /// Whether runs that have ended go by single requests.
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

    /// Whether a connection is to be opened now; `needed` says that something waits for it.
    pub(crate) fn wants_link(&self, needed: bool, now: Duration) -> bool {
        self.may_open(needed) && self.pause().is_none_or(|until| until <= now)
    }

    fn pause(&self) -> Option<Duration> {
        self.backoff.until().max(self.left_alone)
    }

    fn may_open(&self, needed: bool) -> bool {
        self.has_stream() && self.state == State::Down && (needed || (self.fallen && self.missed))
    }

    /// When [`Route::wants_link`] will next say something else.
    pub(crate) fn next_deadline(&self, needed: bool) -> Option<Duration> {
        self.pause().filter(|_| self.may_open(needed))
    }

    /// A run went by a single request although there may be a stream.
    pub(crate) fn passed_by(&mut self) {
        self.missed = true;
    }

    pub(crate) fn opening(&mut self) {
        (self.state, self.missed) = (State::Connecting, false);
    }

    pub(crate) fn opened(&mut self) {
        (self.state, self.fallen, self.left_alone) = (State::Open, false, None);
    }

    /// The receiver has confirmed something: the connection is worth what it costs.
    pub(crate) fn confirmed(&mut self) {
        self.backoff.succeeded();
    }

    /// The connection is over. Tells whether that is news.
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

    /// No stream from here on: what is left goes by single requests.
    pub(crate) fn give_up(&mut self) {
        self.off = true;
    }

    fn leave_alone(&mut self, now: Duration) {
        self.left_alone = (!self.closing).then_some(now + LEFT_ALONE);
    }

    /// Somebody waits: try now; a stream that is left alone too, if there is no other way for something.
    pub(crate) fn hurry(&mut self, only_way: bool, now: Duration) {
        self.backoff.hurry(now);
        if only_way {
            self.left_alone = None;
        }
    }

    /// There is no time after `end`: pauses stay short.
    pub(crate) fn close(&mut self, now: Duration, end: Duration) {
        (self.closing, self.left_alone) = (true, None);
        self.backoff.close(now, end);
    }

    /// Whether the receiver cannot be reached the only way that is allowed.
    pub(crate) fn is_failing(&self) -> bool {
        let fails = self.backoff.is_failing() || self.left_alone.is_some();
        self.transport == Transport::Ws && fails && self.state != State::Open
    }

    /// Connections that failed so far.
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

    fn open(transport: Transport) -> Route {
        let mut route = Route::new(transport, 7);
        assert!(route.wants_link(true, secs(0)) && !route.wants_link(false, secs(0)));
        route.opening();
        assert!(!route.wants_link(true, secs(0)));
        route.opened();
        route
    }

    #[test]
    fn auto_begins_with_the_stream_falls_back_and_returns() {
        let mut route = Route::new(Transport::Auto, 7);
        assert!(!route.is_by_request());
        route.opening();
        assert!(route.closed(CloseReason::NotConnected, secs(0)), "news");
        assert!(route.is_by_request());
        assert!(!route.wants_link(false, secs(60)), "nothing to say");
        route.passed_by();
        assert!(route.wants_link(false, secs(60)), "tried again with the next run");
        route.opening();
        assert!(!route.closed(CloseReason::NotConnected, secs(60)), "no news");
        route.passed_by();
        route.opening();
        route.opened();
        assert!(!route.is_by_request() && route.is_open());
    }

    #[test]
    fn a_stream_that_is_lost_again_and_again_is_left_alone() {
        let mut route = open(Transport::Auto);
        for loss in 1..=3 {
            assert!(!route.is_by_request(), "{loss}");
            route.closed(CloseReason::Lost, secs(loss));
            route.opening();
            if loss < 3 {
                route.opened();
            }
        }
        assert!(route.is_by_request());
        route.closed(CloseReason::NotConnected, secs(4));
        assert!(!route.wants_link(true, secs(62)) && route.wants_link(true, secs(63)));
    }

    #[test]
    fn losses_long_ago_do_not_count() {
        let mut route = open(Transport::Auto);
        for loss in 0..10 {
            route.closed(CloseReason::Lost, secs(loss * 200));
            route.opened();
        }
        assert!(!route.is_by_request());
    }

    #[test]
    fn a_rejected_key_ends_the_stream_for_good() {
        for (transport, by_request) in [(Transport::Auto, true), (Transport::Ws, true)] {
            let mut route = Route::new(transport, 7);
            route.opening();
            assert!(route.closed(CloseReason::Unauthorized, secs(0)));
            assert_eq!((route.has_stream(), route.is_by_request()), (false, by_request));
            assert!(!route.wants_link(true, secs(1_000)));
        }
    }

    #[test]
    fn ws_waits_for_the_stream_however_long() {
        let mut route = Route::new(Transport::Ws, 7);
        for n in 0..20 {
            route.opening();
            route.closed(CloseReason::NotConnected, secs(n * 100));
            assert!(!route.is_by_request() && route.is_failing());
            assert!(route.wants_link(true, secs(n * 100 + 31)));
        }
        route.give_up();
        assert!(route.is_by_request());
    }

    #[test]
    fn a_pause_grows_until_something_is_confirmed() {
        let mut route = open(Transport::Ws);
        let mut longest = Duration::ZERO;
        for n in 0..20 {
            route.closed(CloseReason::Lost, secs(n * 100));
            longest = longest.max(route.next_deadline(true).unwrap() - secs(n * 100));
            route.opening();
            route.opened();
        }
        assert!(longest > secs(10), "{longest:?}");
        route.confirmed();
        route.closed(CloseReason::Lost, secs(5_000));
        assert!(route.next_deadline(true).unwrap() <= secs(5_000) + Backoff::FIRST);
    }
}
