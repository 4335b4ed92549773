//! Span exporter that sends runs when they have ended.

use std::fmt;
use std::future::Future;
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::log::startup_log::StartupLog;
use crate::recording::flush_handle::FlushHandle;
use crate::recording::queue::Closed;
use crate::span::not_sent::retain_sent;
use crate::stats::Stats;
use crate::worker::builder::Builder;
use crate::worker::worker_handle::{Pipeline, WayIn, result};

/// Longest time that a shutdown reserves for its result and its log line.
const LAST_WORD: Duration = Duration::from_millis(500);
/// Longest time between an export and a shutdown that belong together: the SDK's batch processor exports what is left, shuts its
/// exporter down at once, and has one limit for both.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Configures a [`RetraceExporter`].
pub type RetraceExporterBuilder = Builder<RetraceExporter>;

impl RetraceExporterBuilder {
    /// Sets the size at which a batch counts as full, so that its export does not wait for delivery.
    /// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`; 512 by default. Set it where the processor's is set in code.
    pub fn with_max_export_batch_size(mut self, size: usize) -> Self {
        self.settings.batch_size = Some(size.max(1));
        self
    }
}

/// Sends the runs among the spans of a pipeline to Retrace.
///
/// An ordinary [`SpanExporter`], to be used beside any other exporter, under `BatchSpanProcessor`,
/// `SimpleSpanProcessor` or the processors of an async runtime. It needs no runtime itself. Spans are handed
/// to one background thread, which translates, groups and sends them; a thread of the application waits for
/// nothing but a queue. A run may differ from that of a processor in [some
/// cases](crate::RetraceSpanProcessor#differences-from-the-exporter).
///
/// ```no_run
/// use opentelemetry_retrace::RetraceExporter;
/// use opentelemetry_sdk::trace::SdkTracerProvider;
///
/// let exporter = RetraceExporter::builder().build()?; // RETRACE_API_KEY from the environment
/// let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
/// // … the agent runs …
/// provider.shutdown()?;
/// println!("{:?}", exporter.stats());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What `export` promises
/// Success of a full batch means that its spans were accepted, so that the processor's small queue drains
/// into this larger one. Success of a smaller batch, as a timer or a flush sends it, means that the runs
/// which had ended by then are delivered: the processor never forwards a flush to its exporter, so this is
/// how a flush takes effect. Such an export waits four seconds at most
/// ([`crate::Builder::with_flush_timeout`] can shorten that), and not at all on a thread of the application,
/// where `SimpleSpanProcessor` exports. While the receiver is failing it ends with the next failed attempt.
/// Whatever the result, accepted spans are kept and retried, and appear in [`RetraceExporter::stats`] as
/// delivered or as lost for a reason.
///
/// `SimpleSpanProcessor` forwards no flush, so `force_flush` of a provider returns at once there. Keep a clone of the exporter and
/// call its `force_flush`, or [`RetraceExporter::flush`]: they wait until the runs that have ended are delivered, under every
/// processor.
///
/// # Bursts
/// An export that finds the queue full waits until the worker has made room, so that a burst is sent as fast
/// as the receiver takes it, and no span is lost. It waits as long as the flush timeout, four seconds at
/// most. Spans that find no room by then are counted as
/// [`LossReason::QueueFull`](crate::LossReason::QueueFull), and no other export waits until there is room
/// again. A shutdown ends the wait.
///
/// `BatchSpanProcessor` exports on a thread of its own, which blocks; under the processors of an async runtime the future
/// waits and no thread is blocked. `SimpleSpanProcessor` exports each span on the thread of the application that ended it:
/// there a span that finds no room is counted as lost at once, and nothing waits.
///
/// # Clones
/// Clones share one pipeline: keep one to read [`RetraceExporter::stats`] or to flush. When the last is
/// dropped without a shutdown, the waiting spans are flushed for as long as the flush timeout allows.
///
/// # Concurrency
/// Every method may be called from several threads at once.
#[derive(Clone)]
pub struct RetraceExporter {
    /// `None` when recording is switched off.
    pipeline: Option<Arc<Pipeline>>,
    /// Declared after the pipeline, which is shut down when it is dropped.
    startup_log: Arc<StartupLog>,
    /// Begin and end of the last export.
    last_export: Arc<Mutex<Option<(Instant, Instant)>>>,
}

impl WayIn for RetraceExporter {
    const IS_PROCESSOR: bool = false;

    fn into(pipeline: Option<Arc<Pipeline>>, startup_log: Arc<StartupLog>) -> Self {
        Self { pipeline, startup_log, last_export: Arc::default() }
    }
}

impl RetraceExporter {
    /// Returns a builder. Settings that are not made come from the environment, then from the defaults.
    pub fn builder() -> RetraceExporterBuilder {
        RetraceExporterBuilder::default()
    }

    /// Returns the counts of all spans so far by outcome. All zeros when recording is switched off.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.pipeline.as_ref().map_or_else(Stats::default, |pipeline| pipeline.stats())
    }

    /// Returns warnings about settings in the environment that could not be read, in the order in which they
    /// were found: those of this build, then those of the samplers and propagators that were built in this
    /// process. At most 64 lines of about 512 bytes; no key, no content.
    ///
    /// They are logged as well. The documentation of the crate explains where they go when no subscriber
    /// takes them.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.startup_log.warnings()
    }

    /// Returns true if anything is recorded; see `RETRACE_ENABLED`.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.pipeline.is_some()
    }

    /// [`SpanExporter::force_flush`] for async code: waits until the runs that have ended are delivered or lost, without
    /// blocking a thread, on any executor.
    ///
    /// # Errors
    /// As [`SpanExporter::force_flush`].
    pub async fn flush(&self) -> OTelSdkResult {
        match &self.pipeline {
            Some(pipeline) => pipeline.flush().await,
            None => Ok(()),
        }
    }
}

impl SpanExporter for RetraceExporter {
    fn export(&self, mut batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let pipeline = self.pipeline.clone();
        if pipeline.is_none() {
            self.startup_log.retry_detached();
        }
        let last_export = Arc::clone(&self.last_export);
        async move {
            let Some(pipeline) = pipeline else { return Ok(()) };
            let began = Instant::now();
            let is_simple = is_application_thread();
            let waits = batch.len() < pipeline.batch_size && !is_simple;
            // A simple processor exports one span at a time, on the thread that ended it.
            let until = (batch.len() > 1 || !is_simple).then(|| Instant::now() + pipeline.export_wait());
            let (wait, waited) = if waits {
                let (waiter, waited) = FlushHandle::future();
                (Some((waiter, pipeline.export_wait())), Some(waited))
            } else {
                (None, None)
            };
            retain_sent(&mut batch);
            let mut admission = pipeline.admit(batch, wait, until);
            let lost = match until.filter(|_| is_blocked_on()) {
                Some(until) => admission.block(until),
                None => admission.await,
            };
            let lost = lost.map_err(|Closed| OTelSdkError::AlreadyShutdown)?;
            if let Some((reason, spans)) = lost.iter().next() {
                return Err(OTelSdkError::InternalFailure(format!("{spans} spans lost: {reason}")));
            }
            let exported = match waited {
                Some(waited) => result(waited.await.ok(), pipeline.export_wait()),
                None => Ok(()),
            };
            *last_export.lock().unwrap_or_else(PoisonError::into_inner) = Some((began, Instant::now()));
            exported
        }
    }

    /// Flushes and stops, within nine tenths of `timeout`. Spans that are not delivered by then are counted
    /// as lost, and the result is an error. The rest of the time is for the result: a processor with the same
    /// limit would stop listening. For the same reason the time of an export that has just ended counts.
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let last_export = *self.last_export.lock().unwrap_or_else(PoisonError::into_inner);
        let within = time_left(timeout, last_export, Instant::now());
        let stopped = self.pipeline.as_ref().map_or(Ok(()), |pipeline| pipeline.shut_down(within));
        self.startup_log.finish();
        stopped
    }

    /// Waits until all runs that have ended are delivered or lost, for as long as the flush timeout allows. Runs that
    /// have not ended stay open.
    fn force_flush(&self) -> OTelSdkResult {
        self.pipeline.as_ref().map_or(Ok(()), |pipeline| pipeline.force_flush())
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(pipeline) = &self.pipeline {
            pipeline.set_resource(resource);
        }
    }
}

impl fmt::Debug for RetraceExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetraceExporter").field("enabled", &self.is_enabled()).field("stats", &self.stats()).finish()
    }
}

/// Returns how long a shutdown may take, after an export that began and ended at these times.
fn time_left(timeout: Duration, last_export: Option<(Instant, Instant)>, now: Instant) -> Duration {
    let last_word = (timeout / 10).min(LAST_WORD);
    let waited = last_export
        .filter(|(_, ended)| now.duration_since(*ended) < AT_ONCE)
        .map_or(Duration::ZERO, |(began, _)| now.duration_since(began));
    (timeout - last_word).saturating_sub(waited).max(last_word)
}

/// Returns true if an export runs on a thread of the application, which must not wait.
///
/// `SimpleSpanProcessor` drives an export from the thread that ends the span, by a blocking executor.
/// `BatchSpanProcessor` does the same on a thread of its own, where it suppresses telemetry; the processors
/// of async runtimes use no blocking executor. A thread that is torn down has no context any more, and
/// belongs to the application.
fn is_application_thread() -> bool {
    let is_suppressed = || catch_unwind(opentelemetry::Context::is_current_telemetry_suppressed).unwrap_or(false);
    is_blocked_on() && !is_suppressed()
}

/// Returns true if a blocking executor drives this future. The SDK's processors without a runtime do so.
fn is_blocked_on() -> bool {
    futures_executor::enter().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_that_has_just_ended_takes_from_the_time_of_a_shutdown() {
        let began = Instant::now();
        let after = |millis| began + Duration::from_millis(millis);
        for (timeout, export, now, expected) in [
            (5_000, None, 0, 4_500),
            // What a batch processor does where the receiver is gone: it listens for five seconds in all.
            (5_000, Some(4_000), 4_001, 499),
            (5_000, Some(300), 310, 4_190),
            (5_000, Some(4_000), 4_101, 4_500),
            (5_000, Some(9_000), 9_000, 500),
            (1_000, Some(400), 400, 500),
            (0, Some(10), 10, 0),
        ] {
            let last_export = export.map(|ended| (began, after(ended)));
            let left = time_left(Duration::from_millis(timeout), last_export, after(now));
            let expected = Duration::from_millis(expected).max(Duration::from_millis(timeout / 10).min(LAST_WORD));
            assert_eq!(left, expected, "{timeout} {export:?} {now}");
        }
    }
}
