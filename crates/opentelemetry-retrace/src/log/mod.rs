//! Log lines of this crate, through OpenTelemetry's internal logging.
//!
//! At most one line per cause in five seconds, with the number of lines left out. A line never holds a key,
//! content of a span, or text of a peer.

mod line_text;
pub(crate) mod startup_log;
pub(crate) mod suppress;
pub(crate) mod untaken;

use std::cell::Cell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use tracing_core::dispatcher;
use tracing_core::subscriber::NoSubscriber;

/// Shortest time between two lines of one cause.
const PAUSE: Duration = Duration::from_secs(5);

/// Limits the rate of log lines. Pure: the time is an argument.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    lines: HashMap<&'static str, (Duration, u64)>,
}

impl Throttle {
    /// Returns the number of lines left out since the last one if a line about `cause` may be written now,
    /// `None` otherwise.
    pub(crate) fn may_say(&mut self, cause: &'static str, now: Duration) -> Option<u64> {
        match self.lines.get_mut(cause) {
            Some((last, left_out)) if now < *last + PAUSE => {
                *left_out += 1;
                None
            }
            Some((last, left_out)) => {
                *last = now;
                Some(std::mem::take(left_out))
            }
            None => {
                self.lines.insert(cause, (now, 0));
                Some(0)
            }
        }
    }
}

/// Rate-limited log lines of one component. Interface of the crate `retrace-sdk`; not part of the public API.
#[derive(Debug)]
pub struct Warnings {
    throttle: Throttle,
    began: Instant,
}

impl Default for Warnings {
    fn default() -> Self {
        Self { throttle: Throttle::default(), began: Instant::now() }
    }
}

impl Warnings {
    /// Writes a warning, unless one of this cause was written in the last five seconds.
    pub fn warn(&mut self, cause: &'static str, message: &str) {
        if let Some(left_out) = self.throttle.may_say(cause, self.began.elapsed()) {
            warn(cause, message, left_out);
        }
    }

    /// Writes a notice, unless one of this cause was written in the last five seconds.
    pub fn note(&mut self, cause: &'static str, message: &str) {
        if self.throttle.may_say(cause, self.began.elapsed()).is_some() {
            info(cause, message);
        }
    }
}

/// Writes a warning. One that no subscriber takes is written when a pipeline of the process ends.
pub(crate) fn warn(cause: &'static str, message: &str, left_out: u64) {
    if !offer_warning(cause, message, left_out) {
        startup_log::keep_untaken(cause, message);
    }
}

/// Writes a notice.
pub(crate) fn info(cause: &'static str, message: &str) {
    offer_notice(cause, message);
}

/// Writes a warning; returns true if a subscriber took it.
pub(crate) fn offer_warning(cause: &'static str, message: &str, left_out: u64) -> bool {
    is_taken(|evaluated| {
        opentelemetry::otel_warn!(
            name: "Retrace.Warning",
            cause = cause,
            message = {
                evaluated.set(true);
                message
            },
            left_out = left_out
        );
    })
}

/// Writes a notice; returns true if a subscriber took it.
pub(crate) fn offer_notice(cause: &'static str, message: &str) -> bool {
    is_taken(|evaluated| {
        opentelemetry::otel_info!(
            name: "Retrace.Notice",
            cause = cause,
            message = {
                evaluated.set(true);
                message
            }
        );
    })
}

/// Returns true if the event that `write` emits reaches a subscriber that has it enabled.
///
/// The fields of an event are evaluated only if it is enabled. The same holds for the `log` logger that
/// `tracing` falls back to, with its feature `log`, while no subscriber was ever set. An event that every
/// subscriber of the process wants is evaluated on threads without a subscriber as well.
fn is_taken(write: impl FnOnce(&Cell<bool>)) -> bool {
    let evaluated = Cell::new(false);
    let mut has_receiver = false;
    suppress::unmuted(|| {
        let falls_back_to_log = !dispatcher::has_been_set();
        write(&evaluated);
        has_receiver = falls_back_to_log || dispatcher::get_default(|current| !current.is::<NoSubscriber>());
    });
    // Without the feature the macros evaluate the fields and emit nothing.
    cfg!(feature = "internal-logs") && evaluated.get() && has_receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_cause_and_five_seconds() {
        let mut throttle = Throttle::default();
        let at = Duration::from_secs;
        assert_eq!(throttle.may_say("a", at(0)), Some(0));
        assert_eq!(throttle.may_say("b", at(1)), Some(0));
        assert_eq!((throttle.may_say("a", at(1)), throttle.may_say("a", at(4))), (None, None));
        assert_eq!(throttle.may_say("a", at(5)), Some(2));
        assert_eq!(throttle.may_say("a", at(10)), Some(0));
    }
}
