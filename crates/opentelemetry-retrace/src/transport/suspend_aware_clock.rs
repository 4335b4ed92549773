//! Clock of the worker, which stands still while the process is stopped.
//!
//! A process that is stopped, as a function between two calls or a job by its shell, wakes up after all its
//! deadlines. By another clock, the runs that wait for a retry would then expire without one.

use std::time::{Duration, Instant};

/// A worker that wakes later than this after its deadline counts as stopped.
const LATE: Duration = Duration::from_millis(500);

/// Measures the time since the start of the worker, without the time for which it was stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Start of the worker, moved by the duration of every stop.
    began: Instant,
}

impl Clock {
    pub(crate) fn new(began: Instant) -> Self {
        Self { began }
    }

    pub(crate) fn at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// Converts a time of this clock into an instant.
    pub(crate) fn instant(&self, at: Duration) -> Instant {
        self.began + at
    }

    /// Records a wake-up; the worker fell asleep at `asleep`, and its deadline was `until`. Without a
    /// deadline a stop lets nothing expire, and a delay before `asleep` is the worker's own.
    pub(crate) fn woke(&mut self, now: Instant, asleep: Instant, until: Option<Instant>) {
        let late = until.map_or(Duration::ZERO, |until| now.saturating_duration_since(until.max(asleep)));
        if late > LATE {
            self.began += late;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_takes_no_time_and_waiting_does() {
        let began = Instant::now();
        let mut clock = Clock::new(began);
        let secs = Duration::from_secs;
        let asleep = began + secs(1);
        clock.woke(began + secs(60), asleep, None);
        assert_eq!(clock.at(began + secs(60)), secs(60), "idle, with nothing to be late for");
        let until = clock.instant(secs(70));
        clock.woke(until + LATE, asleep, Some(until));
        assert_eq!(clock.at(until), secs(70), "a busy machine");
        clock.woke(until + secs(3), until + secs(3), Some(until));
        assert_eq!(clock.at(until), secs(70), "a worker that was busy");
        clock.woke(until + secs(600), asleep, Some(until));
        assert_eq!(clock.at(until + secs(600)), secs(70));
        assert_eq!(clock.instant(secs(71)), until + secs(601));
    }
}
