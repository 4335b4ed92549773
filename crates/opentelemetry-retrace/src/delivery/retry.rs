//! Classification of responses, and the retry schedule.
//!
//! Pure: times are arguments, and jitter comes from a seeded generator.

use std::time::Duration;

use http::StatusCode;

/// Meaning of a response for the request that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The receiver has stored the run.
    Delivered,
    /// The failure is temporary; the request is made again.
    Retry,
    /// The receiver has another run under this id already.
    Conflict,
    /// The body is too large.
    TooLarge,
    /// The API key is not accepted.
    Unauthorized,
    /// The receiver rejects the request for good.
    Rejected,
}

/// Classifies a status. Each 5xx but 501 and 505 is a temporary failure: a run is sent under its own id, so
/// that a repeated request does no harm. Redirects are not followed, so 3xx is a rejection.
pub(crate) fn verdict(status: StatusCode) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Delivered,
        501 | 505 => Verdict::Rejected,
        408 | 429 | 500..=599 => Verdict::Retry,
        409 => Verdict::Conflict,
        413 => Verdict::TooLarge,
        401 | 403 => Verdict::Unauthorized,
        _ => Verdict::Rejected,
    }
}

/// Exponential backoff with full jitter and a cap, for consecutive failures.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    /// Time of the first failure in a row.
    since: Option<Duration>,
    until: Option<Duration>,
    /// True if the receiver itself requested the pause, by `Retry-After`.
    requested: bool,
    random: fastrand::Rng,
}

impl Backoff {
    /// Upper bound of the pause after the first failure.
    pub(crate) const FIRST: Duration = Duration::from_millis(500);
    /// Upper bound of each pause.
    pub(crate) const LONGEST: Duration = Duration::from_secs(30);
    /// Upper bound of a pause that a receiver requests.
    pub(crate) const LONGEST_REQUESTED: Duration = Duration::from_secs(5 * 60);

    pub(crate) fn new(seed: u64) -> Self {
        Self { failures: 0, since: None, until: None, requested: false, random: fastrand::Rng::with_seed(seed) }
    }

    /// Records a failed attempt; `retry_after` is the pause that the receiver requests. Concurrent attempts
    /// fail together and count as one failure.
    pub(crate) fn failed(&mut self, now: Duration, retry_after: Option<Duration>) {
        self.requested |= retry_after.is_some();
        let requested_until = retry_after.map(|pause| now + pause.min(Self::LONGEST_REQUESTED));
        if self.until.is_some_and(|until| now < until) {
            self.until = self.until.max(requested_until);
            return;
        }
        let longest = Self::FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(Self::LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.since.get_or_insert(now);
        self.until = Some(now + longest.mul_f64(self.random.f64())).max(requested_until);
    }

    /// Resets the schedule after a response that is no temporary failure.
    pub(crate) fn succeeded(&mut self) {
        (self.failures, self.since, self.until, self.requested) = (0, None, None, false);
    }

    /// Returns true if the last attempt failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Returns the time since which all attempts fail.
    pub(crate) fn failing_since(&self) -> Option<Duration> {
        self.since
    }

    /// Returns the time until which nothing is sent.
    pub(crate) fn until(&self) -> Option<Duration> {
        self.until
    }

    /// Retries now because a flush waits, unless the receiver itself requested the pause.
    pub(crate) fn hurry(&mut self, now: Duration) {
        if !self.requested {
            self.until = self.until.map(|until| until.min(now));
        }
    }
}

impl Backoff {
    /// Sets the end of all attempts: pauses stay short. A pause that the receiver requested is respected;
    /// returns true if it lasts until `end`, so that no further attempt is possible.
    pub(crate) fn close(&mut self, now: Duration, end: Duration) -> bool {
        if self.requested {
            return self.until.is_some_and(|until| until >= end);
        }
        self.until = self.until.map(|until| until.min(now + Self::FIRST));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_verdict() {
        for (statuses, expected) in [
            (&[200, 201, 202, 204][..], Verdict::Delivered),
            (&[408, 429, 500, 502, 503, 504, 507, 599], Verdict::Retry),
            (&[301, 302, 307, 308, 304, 400, 402, 404, 405, 410, 415, 422, 501, 505, 101], Verdict::Rejected),
            (&[401, 403], Verdict::Unauthorized),
            (&[409], Verdict::Conflict),
            (&[413], Verdict::TooLarge),
        ] {
            for status in statuses {
                assert_eq!(verdict(StatusCode::from_u16(*status).unwrap()), expected, "{status}");
            }
        }
    }

    #[test]
    fn pauses_grow_to_a_cap_and_never_beyond() {
        let mut backoff = Backoff::new(7);
        let mut seen_long = false;
        for failure in 0..40_u32 {
            let before = Duration::from_secs(1_000 * u64::from(failure));
            backoff.failed(before, None);
            let pause = backoff.until().unwrap() - before;
            assert!(pause <= Backoff::FIRST.saturating_mul(2_u32.saturating_pow(failure)).min(Backoff::LONGEST));
            seen_long |= pause > Duration::from_secs(15);
        }
        assert!(seen_long, "jitter uses the whole range");
        backoff.succeeded();
        assert_eq!((backoff.until(), backoff.is_failing()), (None, false));
    }

    #[test]
    fn before_the_end_pauses_are_short() {
        let mut backoff = Backoff::new(7);
        for _ in 0..10 {
            backoff.failed(backoff.until().unwrap_or_default(), None);
        }
        let now = Duration::from_secs(1);
        assert!(!backoff.close(now, Duration::from_secs(5)));
        assert!(backoff.until().unwrap() <= now + Backoff::FIRST);
        backoff.succeeded();
        backoff.failed(now, Some(Duration::from_secs(60)));
        assert!(backoff.close(now, Duration::from_secs(5)), "the receiver wants nothing before the end");
        assert!(!backoff.close(now, Duration::from_secs(90)));
    }

    #[test]
    fn attempts_that_fail_together_are_one_failure() {
        let mut backoff = Backoff::new(7);
        backoff.failed(Duration::ZERO, None);
        let until = backoff.until();
        for _ in 0..10 {
            backoff.failed(Duration::ZERO, None);
        }
        assert_eq!((backoff.until(), backoff.failures), (until, 1));
        backoff.failed(Duration::ZERO, Some(Duration::from_secs(9)));
        assert_eq!(backoff.until(), Some(Duration::from_secs(9)));
    }

    #[test]
    fn the_receiver_may_ask_for_a_longer_pause_up_to_a_cap() {
        let mut backoff = Backoff::new(7);
        backoff.failed(Duration::ZERO, Some(Duration::from_secs(7)));
        assert_eq!(backoff.until(), Some(Duration::from_secs(7)));
        backoff.hurry(Duration::from_secs(1));
        assert_eq!(backoff.until(), Some(Duration::from_secs(7)), "what was asked for is kept to");
        backoff.succeeded();
        backoff.failed(Duration::ZERO, Some(Duration::from_secs(86_400)));
        assert_eq!(backoff.until(), Some(Backoff::LONGEST_REQUESTED));
    }

    #[test]
    fn somebody_who_waits_shortens_the_pause() {
        let mut backoff = Backoff::new(7);
        for _ in 0..10 {
            backoff.failed(backoff.until().unwrap_or_default(), None);
        }
        assert!(backoff.until().unwrap() > Duration::from_secs(1));
        backoff.hurry(Duration::from_secs(1));
        assert_eq!(backoff.until(), Some(Duration::from_secs(1)));
        assert!(backoff.is_failing());
    }
}
