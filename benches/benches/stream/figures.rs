//! Samples, and what is said of them.

use std::time::Duration;

/// Samples in ascending order.
#[derive(Debug)]
pub(crate) struct Figures(Vec<Duration>);

impl Figures {
    pub(crate) fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self(samples)
    }

    /// The sample that so many of a hundred do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let place = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }

    pub(crate) fn mean(&self) -> Duration {
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX).max(1);
        self.0.iter().sum::<Duration>() / count
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Whole microseconds.
pub(crate) fn micros(time: Duration) -> String {
    thousands(time.as_micros())
}

/// Whole nanoseconds.
pub(crate) fn nanos(time: Duration) -> String {
    thousands(time.as_nanos())
}

/// A number in groups of three digits.
pub(crate) fn thousands(number: impl Into<u128>) -> String {
    let number = number.into();
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", thousands(number / 1_000), number % 1_000) }
}
