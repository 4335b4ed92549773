//! Counts of spans by outcome.

pub(crate) mod settlement;

use std::fmt;

/// Reason for which a span is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LossReason {
    /// The queue between the application and the worker was full.
    QueueFull,
    /// The buffer was full because the receiver could not be reached; the oldest spans were dropped.
    BufferFull,
    /// The receiver could not be reached for as long as a run is kept.
    Expired,
    /// The receiver rejected the run for good.
    Rejected,
    /// The receiver does not accept the API key.
    Unauthorized,
    /// The receiver has a run of this id that another sender created.
    Conflict,
    /// The receiver rejects a run of this size, shortened as far as possible.
    TooLarge,
    /// `before_send` dropped the record.
    BeforeSend,
    /// `before_send` panicked on the record, so it was not sent.
    BeforeSendPanicked,
    /// The span arrived after the receiver sent `halt`.
    Halted,
    /// The span was not delivered within the timeout of the shutdown.
    Shutdown,
    /// The loss is a bug in this crate.
    Internal,
    /// The record in the spool is damaged.
    Damaged,
}

impl LossReason {
    /// All reasons.
    pub const ALL: [Self; 13] = [
        Self::QueueFull,
        Self::BufferFull,
        Self::Expired,
        Self::Rejected,
        Self::Unauthorized,
        Self::Conflict,
        Self::TooLarge,
        Self::BeforeSend,
        Self::BeforeSendPanicked,
        Self::Halted,
        Self::Shutdown,
        Self::Internal,
        Self::Damaged,
    ];

    /// Returns a short name, as in log lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::BufferFull => "buffer_full",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::Unauthorized => "unauthorized",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::BeforeSend => "before_send",
            Self::BeforeSendPanicked => "before_send_panicked",
            Self::Halted => "halted",
            Self::Shutdown => "shutdown",
            Self::Internal => "internal",
            Self::Damaged => "damaged",
        }
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Lost spans by reason.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost([u64; LossReason::ALL.len()]);

impl Lost {
    /// Returns the number of spans lost for any reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Returns the number of spans lost for this reason.
    #[must_use]
    pub fn by(&self, reason: LossReason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// Returns the reasons for which spans were lost, with the number of spans.
    pub fn iter(&self) -> impl Iterator<Item = (LossReason, u64)> + '_ {
        LossReason::ALL.into_iter().map(|reason| (reason, self.by(reason))).filter(|(_, spans)| *spans > 0)
    }

    pub(crate) fn add(&mut self, reason: LossReason, spans: u64) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += spans;
        }
    }

    /// Returns the difference from an earlier count.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let mut since = Self::default();
        for (reason, spans) in self.iter() {
            since.add(reason, spans.saturating_sub(before.by(reason)));
        }
        since
    }

    pub(crate) fn plus(mut self, other: &Self) -> Self {
        for (reason, spans) in other.iter() {
            self.add(reason, spans);
        }
        self
    }
}

impl fmt::Debug for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(reason, spans)| (reason.as_str(), spans))).finish()
    }
}

/// Counts of all spans so far by outcome.
///
/// At every moment `delivered + lost + pending + spooled = accepted`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Spans that were handed over, without those set aside. A span counts here until it is known that it is not selected, when it
    /// moves to [`Stats::set_aside`]: so this number may fall. The sum of both never does.
    pub accepted: u64,
    /// Spans that the receiver has confirmed.
    pub delivered: u64,
    /// Spans that will not be delivered.
    pub lost: Lost,
    /// Spans on their way: in a queue, in a run that has not ended, waiting to be sent, or sent and not confirmed. This is a
    /// count of the spans in these places; it is not derived from the other numbers.
    pub pending: u64,
    /// Spans that could not be delivered and were put into the spool, for a later process to deliver.
    pub spooled: u64,
    /// Spans of earlier processes that were read from the spool. They are among those accepted.
    pub recovered: u64,
    /// Spans that are not selected: they belong to runs without GenAI spans, or are irrelevant in a run that
    /// has some.
    pub set_aside: u64,
    /// Number of restarts of the worker after a failure. More than 0 is a bug worth reporting.
    pub restarts: u64,
}

/// Counts of the pipeline; the part of [`Stats`] that the worker knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub delivered: u64,
    pub lost: Lost,
    pub spooled: u64,
    pub recovered: u64,
    pub set_aside: u64,
    pub restarts: u64,
    /// Accepted spans that the worker holds, counted where they are held.
    pub pending: u64,
}

impl Account {
    pub(crate) fn lose(&mut self, reason: LossReason, spans: u64) {
        self.lost.add(reason, spans);
    }

    /// Adds the counts of the queue: spans that it accepted, spans that it refused, and accepted spans that
    /// it still counts.
    pub(crate) fn stats(&self, taken: u64, refused: &Lost, queued: u64) -> Stats {
        let lost = self.lost.plus(refused);
        let accepted = (taken + refused.total() + self.recovered).saturating_sub(self.set_aside);
        Stats {
            accepted,
            delivered: self.delivered,
            lost,
            pending: self.pending + queued,
            spooled: self.spooled,
            recovered: self.recovered,
            set_aside: self.set_aside,
            restarts: self.restarts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_apart() {
        for (place, reason) in LossReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{reason} has its own place");
        }
        let mut lost = Lost::default();
        lost.add(LossReason::Rejected, 2);
        lost.add(LossReason::Internal, 1);
        assert_eq!((lost.total(), lost.by(LossReason::Rejected), lost.by(LossReason::Expired)), (3, 2, 0));
        assert_eq!(format!("{lost:?}"), r#"{"rejected": 2, "internal": 1}"#);
    }

    #[test]
    fn what_is_pending_is_counted_and_not_what_is_left_over() {
        let mut account = Account { delivered: 4, set_aside: 3, pending: 1, ..Account::default() };
        account.lose(LossReason::Rejected, 1);
        let mut refused = Lost::default();
        refused.add(LossReason::QueueFull, 2);
        let sum = |stats: &Stats| stats.delivered + stats.lost.total() + stats.pending + stats.spooled;
        let stats = account.stats(10, &refused, 1);
        assert_eq!((stats.accepted, stats.pending, sum(&stats)), (9, 2, 9));
        // A span that no place counts is missing from the sum.
        let stats = account.stats(10, &refused, 0);
        assert_eq!((stats.accepted, sum(&stats)), (9, 8));
    }
}
