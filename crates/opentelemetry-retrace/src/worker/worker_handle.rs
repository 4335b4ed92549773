//! Pipeline behind an exporter or a processor: a queue, and a worker that empties it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};

use opentelemetry::trace::TraceId;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::SpanData;
use retrace_translate::SpanSelection;

use crate::config::BuildError;
use crate::fork::PerProcess;
use crate::log;
use crate::log::startup_log::StartupLog;
use crate::propagator::remote_run_registry::RemoteRunRegistry;
use crate::recording::flush_handle::{FlushHandle, FlushOutcome};
use crate::recording::queue::{Admission, Closed, Message, Queue, SpanEvent};
use crate::remote::{Commands, CommandsError, Handle};
use crate::sampling::Failures;
use crate::span::span_stub::SpanStub;
use crate::span::start_hint;
use crate::span::view;
use crate::stats::{LossReason, Stats};
use crate::worker::worker_config::WorkerConfig;

/// Longest wait of an export: `BatchSpanProcessor` ends a flush after five seconds and ignores a later
/// result.
const LONGEST_EXPORT_WAIT: Duration = Duration::from_secs(4);
/// Time that a caller adds to its own timeout for the worker's answer: on a busy machine the worker writes
/// the remaining runs into the spool late.
const GRACE: Duration = Duration::from_millis(500);

/// Type that a [`crate::Builder`] can build.
pub trait WayIn: Sized {
    /// True for a span processor, whose queue is its own.
    #[doc(hidden)]
    const IS_PROCESSOR: bool;

    /// Builds the value; without a pipeline it does nothing.
    #[doc(hidden)]
    fn into(pipeline: Option<Arc<Pipeline>>, startup_log: Arc<StartupLog>) -> Self;
}

/// Pipeline shared by the clones of an exporter or a processor. It is flushed when the last clone is dropped.
#[derive(Debug)]
pub struct Pipeline {
    running: Arc<PerProcess<Running>>,
    /// `None` in tests without a worker.
    blueprint: Option<WorkerConfig>,
    /// Resource of the process, for later workers.
    resource: Mutex<Option<Arc<retrace_translate::Resource>>>,
    pub(crate) flush_timeout: Duration,
    pub(crate) batch_size: usize,
    /// True if spans that were not sampled are taken, in case their run fails.
    pub(crate) takes_unsampled: bool,
    /// True if a light copy suffices for a span that is no GenAI span.
    pub(crate) lightens: bool,
    /// True if the trace state of a span decides whether its run is sent.
    pub(crate) reads_state: bool,
    pub(crate) announcer: Arc<RemoteRunRegistry>,
}

/// Handle of a worker.
#[derive(Debug)]
struct Running {
    queue: Arc<Queue>,
    /// `None` without a worker.
    remote: Option<Handle>,
    is_shut_down: AtomicBool,
}

impl Running {
    fn new(queue: Arc<Queue>, remote: Option<Handle>) -> Self {
        Self { queue, remote, is_shut_down: AtomicBool::new(false) }
    }

    /// Creates a handle that is shut down already.
    fn over() -> Self {
        let queue = Arc::new(Queue::new(0));
        queue.close();
        Self { queue, remote: None, is_shut_down: AtomicBool::new(true) }
    }
}

impl Pipeline {
    /// Starts the worker and returns the pipeline.
    pub(crate) fn start(blueprint: WorkerConfig, is_processor: bool) -> Result<Self, BuildError> {
        let config = &blueprint.config;
        let (queue, remote) = blueprint.start_worker()?;
        let running = Arc::new(PerProcess::new(Running::new(queue, Some(remote))));
        let (of_stats, of_queue) = (Arc::downgrade(&running), Arc::downgrade(&running));
        blueprint.metrics.observe(
            move || Some(of_stats.upgrade()?.present()?.queue.stats()),
            is_processor.then_some(move || Some(of_queue.upgrade()?.present()?.queue.queue_stats())),
        );
        let lightens = config.selection == SpanSelection::GenAi;
        if is_processor && lightens {
            start_hint::watch();
        }
        let announcer = Arc::new(RemoteRunRegistry::new(config.selection.clone(), config.rule.clone()));
        if is_processor {
            RemoteRunRegistry::register(&announcer);
        }
        Ok(Self {
            running,
            resource: Mutex::new(None),
            flush_timeout: config.flush_timeout,
            batch_size: config.batch_size,
            takes_unsampled: config.failures != Failures::Off,
            lightens,
            reads_state: config.rule.is_some(),
            announcer,
            blueprint: Some(blueprint),
        })
    }

    /// Settings of its workers; `None` in tests without a worker.
    pub(crate) fn blueprint(&self) -> Option<&WorkerConfig> {
        self.blueprint.as_ref()
    }

    /// Creates a pipeline without a worker.
    #[cfg(test)]
    pub(crate) fn alone(queue: Arc<Queue>) -> Self {
        Self {
            running: Arc::new(PerProcess::new(Running::new(queue, None))),
            blueprint: None,
            resource: Mutex::new(None),
            flush_timeout: Duration::ZERO,
            batch_size: 1,
            takes_unsampled: true,
            lightens: true,
            reads_state: false,
            announcer: Arc::new(RemoteRunRegistry::new(SpanSelection::GenAi, None)),
        }
    }

    /// Returns the worker of this process. The first call in the child of a fork starts a new one: the data
    /// of the parent's worker belongs to the parent.
    fn running(&self) -> &Running {
        self.running.here(|_| self.begin_afresh())
    }

    #[cold]
    fn begin_afresh(&self) -> Running {
        let Some(blueprint) = &self.blueprint else { return Running::over() };
        match blueprint.start_worker() {
            Ok((queue, remote)) => {
                log::info("forked", "this process is the child of a fork: it records runs of its own");
                let resource = match self.resource.try_lock() {
                    Ok(resource) => resource.clone(),
                    Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().clone(),
                    // A thread of the parent held the lock, and does not exist in the child to release it.
                    Err(TryLockError::WouldBlock) => None,
                };
                if let Some(resource) = resource {
                    let _ = queue.push(Message::Resource(resource));
                }
                Running::new(queue, Some(remote))
            }
            Err(error) => {
                log::warn("forked", &format!("the child of a fork records nothing: {error}"), 0);
                Running::over()
            }
        }
    }

    /// Pushes spans that have ended; with a time `until` which it may wait, spans without room wait for it.
    pub(crate) fn admit(
        &self,
        spans: Vec<SpanData>,
        wait: Option<(FlushHandle, Duration)>,
        until: Option<Instant>,
    ) -> Admission<'_> {
        self.running().queue.admit(spans, wait, until)
    }

    pub(crate) fn push_seen(&self, seen: SpanEvent) -> Result<bool, Closed> {
        self.running().queue.push_seen(seen)
    }

    pub(crate) fn push_beginning(&self, light: SpanStub) -> Result<bool, Closed> {
        self.running().queue.push_beginning(light)
    }

    /// Pushes the end of a span that another processor owns: the `light` copy where that suffices, a full
    /// copy otherwise.
    pub(crate) fn push_copy(
        &self,
        span: &SpanData,
        light: Option<SpanStub>,
        copy: impl FnOnce() -> SpanData,
    ) -> Result<bool, Closed> {
        self.running().queue.push_copy(span, light, copy)
    }

    /// Records that the local root of a trace began, of which nothing else is sent.
    pub(crate) fn root_began(&self, trace_id: TraceId) {
        self.running().queue.root_began(trace_id.to_bytes());
    }

    /// Subscribes to the commands of the receiver.
    pub(crate) fn commands(&self) -> Result<Commands, CommandsError> {
        let running = self.running();
        if running.is_shut_down.load(Ordering::Acquire) {
            return Err(CommandsError::ShutDown);
        }
        running.remote.as_ref().ok_or(CommandsError::ShutDown)?.subscribe()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.running.present().map_or_else(Stats::default, |running| running.queue.stats())
    }

    pub(crate) fn export_wait(&self) -> Duration {
        export_wait(self.flush_timeout)
    }

    /// Flushes: waits until all spans that can be delivered are delivered or lost.
    pub(crate) fn force_flush(&self) -> OTelSdkResult {
        self.flush_while(|| ()).0
    }

    /// Flushes, and runs `meanwhile` at the same time.
    pub(crate) fn flush_while<R>(&self, meanwhile: impl FnOnce() -> R) -> (OTelSdkResult, R) {
        let Some(running) = self.running.present() else { return (Ok(()), meanwhile()) };
        let (waiter, blocked) = FlushHandle::blocking();
        let pushed = running.queue.push(Message::Flush(waiter)).map_err(|Closed| OTelSdkError::AlreadyShutdown);
        let done = meanwhile();
        let flushed = pushed.and_then(|()| result(blocked.wait(self.flush_timeout + GRACE), self.flush_timeout));
        (flushed, done)
    }

    /// Flushes without blocking a thread.
    pub(crate) async fn flush(&self) -> OTelSdkResult {
        let Some(running) = self.running.present() else { return Ok(()) };
        let (waiter, waited) = FlushHandle::future();
        running.queue.push(Message::Flush(waiter)).map_err(|Closed| OTelSdkError::AlreadyShutdown)?;
        result(waited.await.ok(), self.flush_timeout)
    }

    pub(crate) fn set_resource(&self, resource: &Resource) {
        let resource = Arc::new(view::resource(resource));
        if let Ok(mut last) = self.resource.try_lock() {
            *last = Some(Arc::clone(&resource));
        }
        // After a shutdown there is no worker that needs the resource.
        let _ = self.running().queue.push(Message::Resource(resource));
    }

    pub(crate) fn shut_down(&self, within: Duration) -> OTelSdkResult {
        self.shut_down_while(within, || ()).0
    }

    /// Shuts down, and runs `meanwhile` at the same time.
    pub(crate) fn shut_down_while<R>(&self, within: Duration, meanwhile: impl FnOnce() -> R) -> (OTelSdkResult, R) {
        if self.running.present().is_none() {
            // A child of a fork that has recorded nothing starts no worker only to stop it.
            self.running.here(|_| Running::over());
            return (Ok(()), meanwhile());
        }
        let running = self.running();
        let (waiter, blocked) = FlushHandle::blocking();
        let pushed = if running.is_shut_down.swap(true, Ordering::AcqRel) {
            Err(Closed)
        } else {
            running.queue.push(Message::Shutdown { called: Instant::now(), within, waiter })
        };
        let done = meanwhile();
        let stopped = pushed.map_err(|Closed| OTelSdkError::AlreadyShutdown);
        (stopped.and_then(|()| result(blocked.wait(within + GRACE), within)), done)
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // A drop has no caller for the result; losses are in the log.
        let _ = self.shut_down(self.flush_timeout);
    }
}

pub(crate) fn export_wait(flush_timeout: Duration) -> Duration {
    flush_timeout.min(LONGEST_EXPORT_WAIT)
}

/// Converts the end of a wait into a result of OpenTelemetry.
pub(crate) fn result(waited: Option<FlushOutcome>, timeout: Duration) -> OTelSdkResult {
    match waited {
        Some(FlushOutcome::Done(lost)) if lost.total() == 0 => Ok(()),
        Some(FlushOutcome::Done(lost)) if lost.by(LossReason::Shutdown) > 0 => Err(OTelSdkError::Timeout(timeout)),
        Some(FlushOutcome::Done(lost)) => Err(OTelSdkError::InternalFailure(format!("spans lost: {lost:?}"))),
        Some(FlushOutcome::Failing) => {
            Err(OTelSdkError::InternalFailure("the receiver takes nothing at present; spans are kept".to_owned()))
        }
        Some(FlushOutcome::TimedOut) => Err(OTelSdkError::Timeout(timeout)),
        None => Err(OTelSdkError::InternalFailure("the background worker is gone".to_owned())),
    }
}
