//! Deadlines of a shutdown.

use std::time::Duration;

/// Time reserved for requests when the stream does not confirm; the official client's value (PROTOCOL.md
/// section 10).
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Time reserved for writing to the spool.
const LAST_WRITE: Duration = Duration::from_millis(500);
/// Time for which a receiver that was never reached is tried before a shutdown gives up.
const NEVER_REACHED: Duration = Duration::from_secs(1);
/// The least of that time which is left for the shutdown. A batch processor of the SDK shuts an exporter down after an export,
/// which has waited four seconds, and listens for five: what was lost is reported before its caller goes on.
const LAST_TRY: Duration = Duration::from_millis(500);

/// Shutdown under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    began: Duration,
    /// Time from which everything that is left is sent by requests.
    pub(super) requests_from: Duration,
    pub(super) end: Duration,
    /// Number of connections that had failed when it began.
    pub(super) failures: u64,
}

impl Closing {
    /// Number of connections that fail in a shutdown before everything that is left is sent by requests.
    pub(super) const LAST_ATTEMPTS: u64 = 2;

    /// Divides the time from `now` to `end`. A spool gets a share of it.
    pub(super) fn new(now: Duration, end: Duration, has_spool: bool, failures: u64) -> Self {
        let within = end.saturating_sub(now);
        let end = if has_spool { end.saturating_sub(LAST_WRITE.min(within / 4)) } else { end };
        Self { began: now, requests_from: end.saturating_sub(LAST_WORDS.min(within / 2)), end, failures }
    }

    /// Shortens the time, for a receiver that was never reached, and has failed since `failing_since`.
    pub(super) fn shorten(&mut self, failing_since: Option<Duration>) {
        let since = failing_since.map_or(self.began, |since| since.min(self.began));
        let end = self.end.min((since + NEVER_REACHED).max(self.began + LAST_TRY));
        self.requests_from = self.requests_from.min(self.began + end.saturating_sub(self.began) / 2);
        self.end = end;
    }
}
