//! Completion handle of a flush, a shutdown or an export.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::stats::Lost;

/// Result of the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// Everything that was waited for is delivered or lost; contains the losses meanwhile.
    Done(Lost),
    /// The receiver is failing; the spans are kept and retried.
    Failing,
    /// The timeout expired first.
    TimedOut,
}

/// The worker's end of a wait, which it completes once.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// Wait of a thread.
    Blocking(SyncSender<Waited>),
    /// Wait of a future, on any executor.
    Future(oneshot::Sender<Waited>),
}

/// The waiting end, for a thread.
#[derive(Debug)]
pub(crate) struct Blocked(Receiver<Waited>);

impl Waiter {
    pub(crate) fn blocking() -> (Self, Blocked) {
        let (sender, receiver) = sync_channel(1);
        (Self::Blocking(sender), Blocked(receiver))
    }

    pub(crate) fn future() -> (Self, oneshot::Receiver<Waited>) {
        let (sender, receiver) = oneshot::channel();
        (Self::Future(sender), receiver)
    }

    /// Completes the wait. The waiting end may be gone.
    pub(crate) fn answer(self, waited: Waited) {
        match self {
            Self::Blocking(sender) => drop(sender.try_send(waited)),
            Self::Future(sender) => drop(sender.send(waited)),
        }
    }
}

impl Blocked {
    /// Blocks this thread; `None` when the worker is gone.
    pub(crate) fn wait(self, at_most: Duration) -> Option<Waited> {
        match self.0.recv_timeout(at_most) {
            Ok(waited) => Some(waited),
            Err(RecvTimeoutError::Timeout) => Some(Waited::TimedOut),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_reaches_whoever_waits() {
        let (waiter, blocked) = Waiter::blocking();
        waiter.answer(Waited::Done(Lost::default()));
        assert_eq!(blocked.wait(Duration::ZERO), Some(Waited::Done(Lost::default())));
        let (waiter, mut future) = Waiter::future();
        waiter.answer(Waited::Failing);
        assert_eq!(future.try_recv(), Ok(Waited::Failing));
    }

    #[test]
    fn a_worker_that_is_gone_is_told_from_one_that_is_slow() {
        let (waiter, blocked) = Waiter::blocking();
        drop(waiter);
        assert_eq!(blocked.wait(Duration::ZERO), None);
        let (_waiter, blocked) = Waiter::blocking();
        assert_eq!(blocked.wait(Duration::ZERO), Some(Waited::TimedOut));
    }
}
