//! The exporter: what an application plugs into its pipeline.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use retrace_protocol::Signal;
use retrace_translate::{Options, RecorderLimits, SpanSelection};

use crate::config::{BuildError, Config, Settings, Transport, UnknownTransport};
use crate::engine::{Engine, EngineConfig};
use crate::inbox::{Closed, Inbox, Message};
use crate::log;
use crate::outbox::OutboxLimits;
use crate::redact::{BeforeSend, Record, Redaction};
use crate::secret::ApiKey;
use crate::stats::{LossReason, Stats};
use crate::transport::http::Http;
use crate::transport::worker::{OnError, Worker};
use crate::view;
use crate::waiter::{Waited, Waiter};

/// Requests under way at once.
const IN_FLIGHT: usize = 4;
/// Runs that wait to be sent; more than these are hardly worth their names.
const WAITING_RUNS: usize = 10_000;
/// Longest wait of an export: `BatchSpanProcessor` gives a flush up after five seconds and would not hear the answer.
const LONGEST_EXPORT_WAIT: Duration = Duration::from_secs(4);
/// What a caller adds to its own timeout for the worker's answer to arrive.
const GRACE: Duration = Duration::from_millis(50);

/// Sends the runs among the spans of a pipeline to Retrace.
///
/// An ordinary [`SpanExporter`]: it stands beside any other exporter, under `BatchSpanProcessor`, `SimpleSpanProcessor`
/// or the processors of an async runtime, and needs no runtime itself. Spans are handed to one background thread, which
/// translates, groups and sends them; a thread of the application waits for nothing but a queue.
///
/// ```no_run
/// use opentelemetry_retrace::RetraceExporter;
/// use opentelemetry_sdk::trace::SdkTracerProvider;
///
/// let exporter = RetraceExporter::builder().with_api_key("rt_live_…").build()?;
/// let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
/// // … the agent runs …
/// provider.shutdown()?;
/// println!("{:?}", exporter.stats());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What `export` promises
/// Success of a full batch means that its spans were accepted, so that the processor's small queue drains into this
/// larger one. Success of a smaller batch, as a timer or a flush sends it, means that the runs which had ended by then
/// are delivered: the processor never forwards a flush to its exporter, so this is how a flush comes true. Such an export
/// waits four seconds at most ([`RetraceExporterBuilder::with_flush_timeout`] can shorten that), and not at all on a
/// thread of the application, where `SimpleSpanProcessor` exports. While the receiver takes nothing it ends with the next
/// failed attempt. Whatever it says, spans that were accepted are kept and tried again, and appear in
/// [`RetraceExporter::stats`] as delivered or as lost for a reason.
///
/// # Clones
/// Clones share one pipeline: keep one to read [`RetraceExporter::stats`] or to flush. When the last is dropped without a
/// shutdown, what is left is flushed for as long as the flush timeout allows.
///
/// # Concurrency
/// Every method may be called from several threads at once.
#[derive(Clone)]
pub struct RetraceExporter {
    /// Nothing when recording is switched off.
    pipeline: Option<Arc<Pipeline>>,
}

#[derive(Debug)]
struct Pipeline {
    inbox: Arc<Inbox>,
    flush_timeout: Duration,
    batch_size: usize,
    is_shut_down: AtomicBool,
}

impl RetraceExporter {
    /// Begins to configure an exporter. What is not set comes from the environment, then from the defaults.
    pub fn builder() -> RetraceExporterBuilder {
        RetraceExporterBuilder::default()
    }

    /// What became of every span so far. All zeros when recording is switched off.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.pipeline.as_ref().map_or_else(Stats::default, |pipeline| pipeline.inbox.stats())
    }

    /// Whether anything is recorded; see `RETRACE_ENABLED`.
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
        let Some(pipeline) = &self.pipeline else { return Ok(()) };
        let (waiter, waited) = Waiter::future();
        pipeline.inbox.push(Message::Flush(waiter)).map_err(|Closed| OTelSdkError::AlreadyShutdown)?;
        result(waited.await.ok(), pipeline.flush_timeout)
    }
}

impl SpanExporter for RetraceExporter {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let pipeline = self.pipeline.clone();
        async move {
            let Some(pipeline) = pipeline else { return Ok(()) };
            let waits = batch.len() < pipeline.batch_size && !is_application_thread();
            let (wait, waited) = if waits {
                let (waiter, waited) = Waiter::future();
                (Some(waiter), Some(waited))
            } else {
                (None, None)
            };
            let refused = pipeline.inbox.push_spans(batch, wait);
            let refused = refused.map_err(|Closed| OTelSdkError::AlreadyShutdown)?;
            if refused > 0 {
                let text = format!("{refused} spans lost: {}", LossReason::QueueFull);
                return Err(OTelSdkError::InternalFailure(text));
            }
            match waited {
                Some(waited) => result(waited.await.ok(), pipeline.export_wait()),
                None => Ok(()),
            }
        }
    }

    /// Flushes and stops, within `timeout`. What is not delivered by then is counted as lost.
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.pipeline.as_ref().map_or(Ok(()), |pipeline| pipeline.shut_down(timeout))
    }

    /// Waits until all runs that have ended are delivered or lost, for as long as the flush timeout allows. Runs that
    /// have not ended stay open.
    fn force_flush(&self) -> OTelSdkResult {
        let Some(pipeline) = &self.pipeline else { return Ok(()) };
        let (waiter, blocked) = Waiter::blocking();
        pipeline.inbox.push(Message::Flush(waiter)).map_err(|Closed| OTelSdkError::AlreadyShutdown)?;
        result(blocked.wait(pipeline.flush_timeout + GRACE), pipeline.flush_timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(pipeline) = &self.pipeline {
            // After a shutdown there is nobody left to tell.
            let _ = pipeline.inbox.push(Message::Resource(Arc::new(view::resource(resource))));
        }
    }
}

impl fmt::Debug for RetraceExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetraceExporter").field("enabled", &self.is_enabled()).field("stats", &self.stats()).finish()
    }
}

impl Pipeline {
    fn export_wait(&self) -> Duration {
        export_wait(self.flush_timeout)
    }

    fn shut_down(&self, within: Duration) -> OTelSdkResult {
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

fn export_wait(flush_timeout: Duration) -> Duration {
    flush_timeout.min(LONGEST_EXPORT_WAIT)
}

/// What OpenTelemetry is told of a wait.
fn result(waited: Option<Waited>, timeout: Duration) -> OTelSdkResult {
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

/// Whether an export runs on a thread of the application, which must not wait.
///
/// `SimpleSpanProcessor` drives an export from the thread that ends the span, by a blocking executor.
/// `BatchSpanProcessor` does the same on a thread of its own, where it suppresses telemetry; the processors of async
/// runtimes use no blocking executor.
fn is_application_thread() -> bool {
    futures_executor::enter().is_err() && !opentelemetry::Context::is_current_telemetry_suppressed()
}

/// Configures a [`RetraceExporter`]. What is not set comes from the environment ([`crate::VARIABLES`]), then from the
/// defaults.
#[derive(Clone, Default)]
#[must_use = "a builder does nothing until build() is called"]
pub struct RetraceExporterBuilder {
    settings: Settings,
    before_send: Option<BeforeSend>,
    on_error: Option<OnError>,
}

impl RetraceExporterBuilder {
    /// The API key. `RETRACE_API_KEY`; required, unless recording is switched off.
    pub fn with_api_key(mut self, key: impl Into<ApiKey>) -> Self {
        self.settings.api_key = Some(key.into());
        self
    }

    /// Where Retrace is: `https`, or `http` to this machine. `RETRACE_BASE_URL`; by default the hosted API.
    pub fn with_base_url(mut self, url: impl Into<String>) -> Self {
        self.settings.base_url = Some(url.into());
        self
    }

    /// The project that runs are filed under. `RETRACE_PROJECT_ID`.
    pub fn with_project_id(mut self, id: impl Into<String>) -> Self {
        self.settings.project_id = Some(id.into());
        self
    }

    /// The deployment environment of runs. `RETRACE_ENVIRONMENT`; by default the resource's
    /// `deployment.environment.name`.
    pub fn with_environment(mut self, environment: impl Into<String>) -> Self {
        self.settings.environment = Some(environment.into());
        self
    }

    /// Whether anything is recorded. `RETRACE_ENABLED`; on by default. Off needs no API key, starts no thread and costs a
    /// check for each batch.
    pub fn with_enabled(mut self, enabled: bool) -> Self {
        self.settings.enabled = Some(enabled);
        self
    }

    /// Whether inputs and outputs are sent. `RETRACE_CAPTURE_CONTENT`; on by default, for they are what a run is replayed
    /// from. Without them structure, names, tokens, cost and errors remain.
    pub fn with_capture_content(mut self, capture: bool) -> Self {
        self.settings.capture_content = Some(capture);
        self
    }

    /// Which spans are sent. `RETRACE_SPAN_SELECTION`; by default those of GenAI and the root above them.
    pub fn with_span_selection(mut self, selection: SpanSelection) -> Self {
        self.settings.selection = Some(selection);
        self
    }

    /// How runs are sent: a [`Transport`] or its name. `RETRACE_TRANSPORT`.
    pub fn with_transport<T>(mut self, transport: T) -> Self
    where
        T: TryInto<Transport>,
        T::Error: Into<UnknownTransport>,
    {
        self.settings.transport = Some(transport.try_into().map_err(Into::into));
        self
    }

    /// How long a flush may take, and a drop of the last clone. `RETRACE_FLUSH_TIMEOUT`; 5 seconds by default.
    pub fn with_flush_timeout(mut self, timeout: Duration) -> Self {
        self.settings.flush_timeout = Some(timeout);
        self
    }

    /// How long one request may take, `None` for as long as it likes. `OTEL_EXPORTER_RETRACE_TIMEOUT`; 10 seconds by
    /// default.
    pub fn with_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.timeout = Some(timeout.into());
        self
    }

    /// A further header of every request, besides those of `OTEL_EXPORTER_RETRACE_HEADERS`. Its value is kept secret.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.headers.push((name.into(), value.into()));
        self
    }

    /// A PEM file of the certificate authorities to trust, instead of the operating system's.
    /// `OTEL_EXPORTER_RETRACE_CERTIFICATE`.
    pub fn with_certificate(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.certificate = Some(path.into());
        self
    }

    /// Bytes of everything that waits in memory; 64 MiB by default, 64 KiB at least. When it is full the oldest spans go
    /// first, are counted as lost, and their run says so.
    pub fn with_buffer_bytes(mut self, bytes: usize) -> Self {
        self.settings.buffer_bytes = Some(bytes);
        self
    }

    /// Bytes of one request; 32 MiB by default, 64 KiB at least. The longest contents of a larger run are cut.
    pub fn with_body_bytes(mut self, bytes: usize) -> Self {
        self.settings.body_bytes = Some(bytes);
        self
    }

    /// How long a run whose root has ended waits for spans that end after it; a quarter of a second by default.
    pub fn with_linger(mut self, linger: Duration) -> Self {
        self.settings.linger = Some(linger);
        self
    }

    /// How long a run is kept for a receiver that cannot be reached; 15 minutes by default.
    pub fn with_retry_deadline(mut self, deadline: Duration) -> Self {
        self.settings.keep = Some(deadline);
        self
    }

    /// The size at which a batch counts as full, so that its export does not wait for delivery.
    /// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`; 512 by default. Set it where the processor's is set in code.
    pub fn with_max_export_batch_size(mut self, size: usize) -> Self {
        self.settings.batch_size = Some(size.max(1));
        self
    }

    /// Sees each record before it leaves, after translation; returns it, changed or not, or `None` to keep it back.
    ///
    /// Called on the worker's thread, once for a run and once for each span. Ids stay what they are. A record on which it
    /// panics is not sent and counts as lost.
    ///
    /// ```
    /// use opentelemetry_retrace::{Record, RetraceExporter};
    ///
    /// let builder = RetraceExporter::builder().with_before_send(|record| match record {
    ///     Record::Span(mut span) => {
    ///         span.input = None;
    ///         Some(Record::Span(span))
    ///     }
    ///     record => Some(record),
    /// });
    /// ```
    pub fn with_before_send(mut self, hook: impl Fn(Record) -> Option<Record> + Send + Sync + 'static) -> Self {
        self.before_send = Some(Arc::new(hook));
        self
    }

    /// Told what the user should know: refusals, failures, losses. Called on the worker's thread, which it should not
    /// hold up. The same things are logged, at most once in five seconds for each kind.
    pub fn with_on_error(mut self, callback: impl Fn(&Signal) + Send + Sync + 'static) -> Self {
        self.on_error = Some(Arc::new(callback));
        self
    }

    /// Builds the exporter and starts its worker. May be called anywhere; nothing is sent yet.
    ///
    /// # Errors
    /// A setting that is missing, malformed or unsafe, or an operating system that gives no thread. A number or a switch
    /// in the environment that cannot be read is no error: it is logged and left out.
    pub fn build(self) -> Result<RetraceExporter, BuildError> {
        self.build_from(&|name| std::env::var_os(name))
    }

    fn build_from(
        self,
        environment: &dyn Fn(&str) -> Option<std::ffi::OsString>,
    ) -> Result<RetraceExporter, BuildError> {
        let (config, warnings) = self.settings.resolve(environment);
        for warning in warnings {
            log::warn("setting", &warning, 0);
        }
        let Some(config) = config? else {
            log::info("disabled", "nothing is recorded: Retrace is switched off");
            return Ok(RetraceExporter { pipeline: None });
        };
        let http = Http::new(&config)?;
        let inbox = Arc::new(Inbox::new(config.buffer_bytes / 4));
        let engine = Engine::new(engine_config(&config, Redaction::new(self.before_send)));
        say_what_leaves(&config);
        Worker { inbox: Arc::clone(&inbox), engine, http, on_error: self.on_error }.start()?;
        let pipeline = Pipeline {
            inbox,
            flush_timeout: config.flush_timeout,
            batch_size: config.batch_size,
            is_shut_down: AtomicBool::new(false),
        };
        Ok(RetraceExporter { pipeline: Some(Arc::new(pipeline)) })
    }
}

impl fmt::Debug for RetraceExporterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetraceExporterBuilder").finish_non_exhaustive()
    }
}

fn engine_config(config: &Config, redaction: Redaction) -> EngineConfig {
    let mut options = Options::default();
    options.selection = config.selection;
    options.capture_content = config.capture_content;
    options.project_id.clone_from(&config.project_id);
    options.environment.clone_from(&config.environment);
    let mut recorder = RecorderLimits::default();
    recorder.linger = config.linger;
    recorder.bytes = config.buffer_bytes / 4;
    EngineConfig {
        options,
        recorder,
        outbox: OutboxLimits {
            bytes: config.buffer_bytes / 2,
            posts: WAITING_RUNS,
            body_bytes: config.body_bytes,
            in_flight: IN_FLIGHT,
            keep: config.keep,
        },
        redaction,
        export_wait: export_wait(config.flush_timeout),
        flush_wait: config.flush_timeout,
        seed: fastrand::u64(..),
    }
}

/// Content leaves by default, so that is said where the application's logs are.
fn say_what_leaves(config: &Config) {
    let text = if config.capture_content {
        format!(
            "runs are sent to {} with the inputs and outputs of models and tools; RETRACE_CAPTURE_CONTENT=false sends \
             structure, names, tokens, cost and errors only",
            config.base_url.as_str()
        )
    } else {
        format!("runs are sent to {} without inputs and outputs", config.base_url.as_str())
    };
    log::info("started", &text);
}
