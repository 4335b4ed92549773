//! The pipeline behind a way in: a queue, and a worker that empties it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};

use crate::announcer::Announcer;
use crate::config::Config;
use crate::gate::Failures;
use crate::inbox::{Closed, Inbox, Message};
use crate::stats::{LossReason, Stats};
use crate::view;
use crate::waiter::{Waited, Waiter};

/// Longest wait of an export: `BatchSpanProcessor` gives a flush up after five seconds and would not hear the answer.
const LONGEST_EXPORT_WAIT: Duration = Duration::from_secs(4);
/// What a caller adds to its own timeout for the worker's answer to arrive.
const GRACE: Duration = Duration::from_millis(150);

/// What a [`crate::Builder`] can build.
pub trait WayIn: Sized {
    /// Makes it; without a pipeline it does nothing.
    #[doc(hidden)]
    fn into(pipeline: Option<Arc<Pipeline>>) -> Self;
}

/// Shared by the clones of a way in. What is left is flushed when the last is dropped.
#[derive(Debug)]
pub struct Pipeline {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) flush_timeout: Duration,
    pub(crate) batch_size: usize,
    /// Whether spans that were not sampled are wanted, in case their run fails.
    pub(crate) takes_unsampled: bool,
    pub(crate) announcer: Arc<Announcer>,
    is_shut_down: AtomicBool,
}

impl Pipeline {
    pub(crate) fn new(inbox: Arc<Inbox>, config: &Config) -> Self {
        Self {
            inbox,
            flush_timeout: config.flush_timeout,
            batch_size: config.batch_size,
            takes_unsampled: config.failures != Failures::Off,
            announcer: Arc::new(Announcer::new(config.selection.clone(), config.rule.clone())),
            is_shut_down: AtomicBool::new(false),
        }
    }

    /// One without a worker.
    #[cfg(test)]
    pub(crate) fn alone(inbox: Arc<Inbox>) -> Self {
        Self {
            inbox,
            flush_timeout: Duration::ZERO,
            batch_size: 1,
            takes_unsampled: true,
            announcer: Arc::new(Announcer::new(retrace_translate::SpanSelection::GenAi, None)),
            is_shut_down: AtomicBool::new(false),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.inbox.stats()
    }

    pub(crate) fn export_wait(&self) -> Duration {
        export_wait(self.flush_timeout)
    }

    /// Waits until all that can be delivered is, or is lost.
    pub(crate) fn force_flush(&self) -> OTelSdkResult {
        let (waiter, blocked) = Waiter::blocking();
        self.inbox.push(Message::Flush(waiter)).map_err(|Closed| OTelSdkError::AlreadyShutdown)?;
        result(blocked.wait(self.flush_timeout + GRACE), self.flush_timeout)
    }

    /// The same without blocking a thread.
    pub(crate) async fn flush(&self) -> OTelSdkResult {
        let (waiter, waited) = Waiter::future();
        self.inbox.push(Message::Flush(waiter)).map_err(|Closed| OTelSdkError::AlreadyShutdown)?;
        result(waited.await.ok(), self.flush_timeout)
    }

    pub(crate) fn set_resource(&self, resource: &Resource) {
        // After a shutdown there is nobody left to tell.
        let _ = self.inbox.push(Message::Resource(Arc::new(view::resource(resource))));
    }

    pub(crate) fn shut_down(&self, within: Duration) -> OTelSdkResult {
        let (waiter, blocked) = Waiter::blocking();
        if self.is_shut_down.swap(true, Ordering::AcqRel) {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        self.inbox.push(Message::Shutdown { within, waiter }).map_err(|Closed| OTelSdkError::AlreadyShutdown)?;
        result(blocked.wait(within + GRACE), within)
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // Nobody is left to hear the answer; what was lost is in the log.
        let _ = self.shut_down(self.flush_timeout);
    }
}

pub(crate) fn export_wait(flush_timeout: Duration) -> Duration {
    flush_timeout.min(LONGEST_EXPORT_WAIT)
}

/// What OpenTelemetry is told of a wait.
pub(crate) fn result(waited: Option<Waited>, timeout: Duration) -> OTelSdkResult {
    match waited {
        Some(Waited::Done(lost)) if lost.total() == 0 => Ok(()),
        Some(Waited::Done(lost)) if lost.by(LossReason::Shutdown) > 0 => Err(OTelSdkError::Timeout(timeout)),
        Some(Waited::Done(lost)) => Err(OTelSdkError::InternalFailure(format!("spans lost: {lost:?}"))),
        Some(Waited::Failing) => {
            Err(OTelSdkError::InternalFailure("the receiver takes nothing at present; spans are kept".to_owned()))
        }
        Some(Waited::TimedOut) => Err(OTelSdkError::Timeout(timeout)),
        None => Err(OTelSdkError::InternalFailure("the background worker is gone".to_owned())),
    }
}
