//! What this crate says about itself, through OpenTelemetry's internal logging.
//!
//! One line per cause and five seconds at most, with the number of lines left out. Never a key, never content of a span,
//! never the words of a peer.

use std::collections::HashMap;
use std::time::Duration;

/// Shortest time between two lines of one cause.
const PAUSE: Duration = Duration::from_secs(5);

/// Decides which lines are written. Pure: the time comes in.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    said: HashMap<&'static str, (Duration, u64)>,
}

impl Throttle {
    /// Whether a line about `cause` may be written now, and how many were left out since the last.
    pub(crate) fn may_say(&mut self, cause: &'static str, now: Duration) -> Option<u64> {
        match self.said.get_mut(cause) {
            Some((last, left_out)) if now < *last + PAUSE => {
                *left_out += 1;
                None
            }
            Some((last, left_out)) => {
                *last = now;
                Some(std::mem::take(left_out))
            }
            None => {
                self.said.insert(cause, (now, 0));
                Some(0)
            }
        }
    }
}

/// Writes a warning.
pub(crate) fn warn(cause: &'static str, message: &str, left_out: u64) {
    crate::transport::suppress::unmuted(|| {
        opentelemetry::otel_warn!(name: "Retrace.Warning", cause = cause, message = message, left_out = left_out);
    });
}

/// Writes a notice.
pub(crate) fn info(cause: &'static str, message: &str) {
    crate::transport::suppress::unmuted(|| {
        opentelemetry::otel_info!(name: "Retrace.Notice", cause = cause, message = message);
    });
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
