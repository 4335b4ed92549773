//! Log of the errors that a Kafka client reports. A client without a broker reports the same ones at every poll.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;

/// Time in which one error is written once.
const INTERVAL: Duration = Duration::from_secs(10);

/// Writes each kind of error at most once in [`INTERVAL`], with the number of those left out since.
#[derive(Debug, Default)]
pub(crate) struct ErrorLog {
    /// When an error of this code was written, and how many were left out since.
    written: Mutex<HashMap<Option<i32>, (Instant, u64)>>,
}

impl ErrorLog {
    /// Logs an error, unless one of its code was logged shortly before.
    pub(crate) fn warn(&self, error: &KafkaError, reason: &dyn fmt::Display) {
        if let Some(left_out) = self.turn(error.rdkafka_error_code().map(|code| code as i32), Instant::now()) {
            tracing::warn!(%error, %reason, left_out, "Kafka");
        }
    }

    /// Returns the number of errors of this code that were left out, if it is time to write one.
    fn turn(&self, code: Option<i32>, now: Instant) -> Option<u64> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match written.get_mut(&code) {
            Some((at, left_out)) if now.duration_since(*at) < INTERVAL => {
                *left_out += 1;
                None
            }
            _ => Some(written.insert(code, (now, 0)).map_or(0, |(_, left_out)| left_out)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_is_reported_again_and_again_is_written_once_in_a_while() {
        let log = ErrorLog::default();
        let (began, down) = (Instant::now(), Some(-187));
        let turns: Vec<_> = (0..25).map(|second| log.turn(down, began + Duration::from_secs(second))).collect();
        let written: Vec<_> = turns.iter().enumerate().filter_map(|(at, turn)| Some((at, (*turn)?))).collect();
        assert_eq!(written, [(0, 0), (10, 9), (20, 9)]);
        assert_eq!(log.turn(None, began + Duration::from_secs(25)), Some(0), "another kind has a line of its own");
    }
}
