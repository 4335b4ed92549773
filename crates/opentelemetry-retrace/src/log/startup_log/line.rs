//! Log line about a setting.

use std::sync::atomic::{AtomicU8, Ordering};

use tracing_core::LevelFilter;

use super::claims::{Claim, claim, end_claim};
use crate::log;
use crate::log::line_text::single_line;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Warning,
    /// Fact that is no problem. It is offered like a warning, and on standard error it only accompanies
    /// warnings.
    Notice,
}

/// State of a line: it waits for a subscriber, it is being offered to one, or it was taken or written.
const PENDING: u8 = 0;
const OFFERED: u8 = 1;
const SETTLED: u8 = 2;

#[derive(Debug)]
pub(super) struct Line {
    pub level: Level,
    pub(super) cause: &'static str,
    pub text: String,
    state: AtomicU8,
}

impl Line {
    pub(super) fn new(level: Level, cause: &'static str, text: &str) -> Self {
        Self { level, cause, text: single_line(text), state: AtomicU8::new(PENDING) }
    }

    pub(super) fn is_pending(&self) -> bool {
        self.state.load(Ordering::Acquire) == PENDING
    }

    /// Settles a pending line; returns true if it was pending.
    pub(super) fn settle(&self) -> bool {
        self.state.compare_exchange(PENDING, SETTLED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Passes a pending line to `emit`, which returns true if a subscriber took it.
    pub(super) fn offer(&self, emit: impl FnOnce(&Self) -> bool) {
        if self.state.compare_exchange(PENDING, OFFERED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            let taken = emit(self);
            self.state.store(if taken { SETTLED } else { PENDING }, Ordering::Release);
        }
    }

    /// Logs the line; returns true if a subscriber took it.
    pub(super) fn emit(&self) -> bool {
        let taken = match self.level {
            Level::Warning => log::offer_warning(self.cause, &self.text, 0),
            Level::Notice => log::offer_notice(self.cause, &self.text),
        };
        if taken {
            end_claim(&self.text, true);
        }
        taken
    }

    /// Logs the line unless another pipeline had one of the same text taken, or no subscriber has its level enabled.
    pub(super) fn emit_again(&self) -> bool {
        let level = match self.level {
            Level::Warning => LevelFilter::WARN,
            Level::Notice => LevelFilter::INFO,
        };
        if LevelFilter::current() < level {
            return false;
        }
        match claim(&self.text) {
            Claim::Done => true,
            Claim::Busy => false,
            Claim::Mine => {
                let taken = self.emit();
                end_claim(&self.text, taken);
                taken
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_offered_until_it_is_taken() {
        let line = Line::new(Level::Warning, "setting", "offered");
        let mut offers = 0;
        for takes in [false, false, true, true] {
            line.offer(|_| {
                offers += 1;
                takes
            });
        }
        assert_eq!((offers, line.is_pending()), (3, false));
    }

    #[test]
    fn a_line_that_is_being_offered_is_not_offered_by_another_thread() {
        let line = Line::new(Level::Warning, "setting", "reentered");
        line.offer(|line| {
            line.offer(|_| panic!("offered twice"));
            assert!(!line.settle(), "nor written");
            true
        });
        assert!(!line.is_pending());
    }
}
