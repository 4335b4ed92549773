//! Completion handle of a flush, a shutdown or an export.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::stats::Lost;

/// Result of the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlushOutcome {
    /// Everything that was waited for is delivered or lost; contains the losses meanwhile.
    Done(Lost),
    /// The receiver is failing; the spans are kept and retried.
    Failing,
    /// The timeout expired first.
    TimedOut,
}

/// The worker's end of a wait, which it completes once.
#[derive(Debug)]
pub(crate) enum FlushHandle {
    /// Wait of a thread.
    Blocking(SyncSender<FlushOutcome>),
    /// Wait of a future, on any executor.
    Future(oneshot::Sender<FlushOutcome>),
}

/// The waiting end, for a thread.
#[derive(Debug)]
pub(crate) struct Blocked(Receiver<FlushOutcome>);

impl FlushHandle {
    pub(crate) fn blocking() -> (Self, Blocked) {
        let (sender, receiver) = sync_channel(1);
        (Self::Blocking(sender), Blocked(receiver))
    }

    pub(crate) fn future() -> (Self, oneshot::Receiver<FlushOutcome>) {
        let (sender, receiver) = oneshot::channel();
        (Self::Future(sender), receiver)
    }

    /// Completes the wait. The waiting end may be gone.
    pub(crate) fn answer(self, waited: FlushOutcome) {
        match self {
            Self::Blocking(sender) => drop(sender.try_send(waited)),
            Self::Future(sender) => drop(sender.send(waited)),
        }
    }
}

impl Blocked {
    /// Blocks this thread; `None` when the worker is gone.
    pub(crate) fn wait(self, at_most: Duration) -> Option<FlushOutcome> {
        match self.0.recv_timeout(at_most) {
            Ok(waited) => Some(waited),
            Err(RecvTimeoutError::Timeout) => Some(FlushOutcome::TimedOut),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_reaches_whoever_waits() {
        let (waiter, blocked) = FlushHandle::blocking();
        waiter.answer(FlushOutcome::Done(Lost::default()));
        assert_eq!(blocked.wait(Duration::ZERO), Some(FlushOutcome::Done(Lost::default())));
        let (waiter, mut future) = FlushHandle::future();
        waiter.answer(FlushOutcome::Failing);
        assert_eq!(future.try_recv(), Ok(FlushOutcome::Failing));
    }

    #[test]
    fn a_worker_that_is_gone_is_told_from_one_that_is_slow() {
        let (waiter, blocked) = FlushHandle::blocking();
        drop(waiter);
        assert_eq!(blocked.wait(Duration::ZERO), None);
        let (_waiter, blocked) = FlushHandle::blocking();
        assert_eq!(blocked.wait(Duration::ZERO), Some(FlushOutcome::TimedOut));
    }
}
