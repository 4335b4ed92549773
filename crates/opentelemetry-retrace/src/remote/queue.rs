//! Bounds of the commands that wait: their number and their bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Command;

/// Reason why a command is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotAllowed,
    NotServed,
    Full,
}

impl Refusal {
    /// Describes the refusal, for the log and the callback.
    pub(crate) fn text(self) -> String {
        match self {
            Self::NotAllowed => "the receiver requests a run, which is not allowed: set \
                                 RETRACE_ALLOW_REMOTE_REPLAY=true to allow it"
                .to_owned(),
            Self::NotServed => "the receiver requests a run, and no function is served: call retrace::serve".to_owned(),
            Self::Full => {
                format!("the receiver requests a run while {} requests wait", Seats::COUNT)
            }
        }
    }
}

/// Bytes of the commands that wait, shared by both ends of the queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seats(Arc<AtomicUsize>);

impl Seats {
    /// Maximum number of commands that wait.
    pub(crate) const COUNT: usize = 16;
    /// Maximum bytes of the frames that wait; one of any size is accepted while none waits.
    pub(crate) const BYTES: usize = 64 * 1024 * 1024;

    /// Reserves room for a command of `bytes` bytes.
    pub(crate) fn take(&self, bytes: usize) -> Option<Seat> {
        let taken = self.0.load(Ordering::Acquire);
        if taken > 0 && taken.saturating_add(bytes) > Self::BYTES {
            return None;
        }
        // Only the worker adds, so the check above holds.
        self.0.fetch_add(bytes, Ordering::AcqRel);
        Some(Seat { bytes, seats: self.clone() })
    }
}

/// Room reserved for a command until it is read.
#[derive(Debug)]
pub(crate) struct Seat {
    bytes: usize,
    seats: Seats,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.0.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Command that waits.
#[derive(Debug)]
pub(crate) struct Queued {
    pub command: Command,
    pub _seat: Seat,
}

impl Queued {
    pub(crate) fn into_command(self) -> Command {
        self.command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_bounded_and_given_back() {
        let seats = Seats::default();
        let large = seats.take(Seats::BYTES * 2).expect("one of any size");
        assert!(seats.take(1).is_none());
        drop(large);
        let half = seats.take(Seats::BYTES / 2).unwrap();
        let other = seats.take(Seats::BYTES / 2).unwrap();
        assert!(seats.take(1).is_none());
        drop((half, other));
        assert_eq!(seats.0.load(Ordering::Acquire), 0);
    }
}
