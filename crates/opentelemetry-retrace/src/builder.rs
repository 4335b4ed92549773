//! How a way into the pipeline is configured and built.

use std::ffi::OsString;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::time::Duration;

use retrace_protocol::Signal;
use retrace_translate::{SpanFacts, SpanSelection};

use crate::blueprint::Blueprint;
use crate::config::{
    BuildError, Compression, Config, SAMPLE_RATE, Settings, Transport, UnknownTransport, unknown_variables,
};
use crate::exporter::RetraceExporter;
use crate::gate::Failures;
use crate::metrics::Metrics;
use crate::pipeline::{Pipeline, WayIn};
use crate::processor::RetraceSpanProcessor;
use crate::redact::{BeforeSend, Record};
use crate::sample_key::{RootSpan, SampleKey};
use crate::secret::ApiKey;
use crate::startup_log::{self, STARTED, StartupLog};
use crate::transport::spool::Spool;
use crate::transport::worker::OnError;

/// Unknown variables are named once in a process.
static NAMED: Once = Once::new();

/// Configures a [`RetraceExporter`].
pub type RetraceExporterBuilder = Builder<RetraceExporter>;

/// Configures a [`RetraceSpanProcessor`].
pub type RetraceSpanProcessorBuilder = Builder<RetraceSpanProcessor>;

/// Configures a way in, `P`: a [`RetraceExporter`] or a [`RetraceSpanProcessor`]. What is not set comes from the environment
/// ([`crate::VARIABLES`]), then from the defaults.
#[must_use = "a builder does nothing until build() is called"]
pub struct Builder<P> {
    settings: Settings,
    before_send: Option<BeforeSend>,
    on_error: Option<OnError>,
    builds: PhantomData<fn() -> P>,
}

impl<P> Default for Builder<P> {
    fn default() -> Self {
        Self { settings: Settings::default(), before_send: None, on_error: None, builds: PhantomData }
    }
}

impl<P> Clone for Builder<P> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            before_send: self.before_send.clone(),
            on_error: self.on_error.clone(),
            builds: PhantomData,
        }
    }
}

impl<P: WayIn> Builder<P> {
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

    /// Switches recording on or off. `RETRACE_ENABLED`; on by default, off if the variable cannot be read. Off needs no API
    /// key, starts no thread and costs a check for each batch. Only a warning that no subscriber took yet has a short-lived
    /// thread, which logs it once a subscriber exists.
    pub fn with_enabled(mut self, enabled: bool) -> Self {
        self.settings.enabled = Some(enabled);
        self
    }

    /// Sends inputs and outputs, or leaves them out. `RETRACE_CAPTURE_CONTENT`; on by default, for they are what a run is replayed
    /// from, and off if the variable cannot be read. Without them structure, names, tokens, cost and errors remain.
    pub fn with_capture_content(mut self, capture: bool) -> Self {
        self.settings.capture_content = Some(capture);
        self
    }

    /// Which spans are sent. `RETRACE_SPAN_SELECTION`; by default those of GenAI and the root above them.
    pub fn with_span_selection(mut self, selection: SpanSelection) -> Self {
        self.settings.selection = Some(selection);
        self
    }

    /// Which spans are sent, decided by the application: those for which `policy` says yes, and the root above them. A span
    /// whose parent is left out hangs from its nearest ancestor that is not.
    ///
    /// It runs on the worker's thread and should be quick; when it panics, the default decides.
    ///
    /// ```
    /// use opentelemetry_retrace::RetraceExporter;
    ///
    /// // GenAI spans as by default, and the queries around them.
    /// let builder = RetraceExporter::builder()
    ///     .with_span_policy(|span| span.is_genai || span.attribute("db.system.name").is_some());
    /// ```
    pub fn with_span_policy(self, policy: impl Fn(&SpanFacts<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.with_span_selection(SpanSelection::policy(policy))
    }

    /// How runs are sent: a [`Transport`] or its name. `RETRACE_TRANSPORT`; [`Transport::Auto`] by default.
    ///
    /// ```
    /// use opentelemetry_retrace::{RetraceSpanProcessor, Transport};
    ///
    /// let live = RetraceSpanProcessor::builder().with_transport(Transport::Ws);
    /// let at_the_end = RetraceSpanProcessor::builder().with_transport("http");
    /// ```
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

    /// How bodies of HTTP requests are packed. `OTEL_EXPORTER_RETRACE_COMPRESSION`; by default not at all, for nobody knows
    /// which receivers take it. One that answers 415 gets that body again as it is, and no packed one any more.
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.settings.compression = Some(compression);
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

    /// Allows `http` to a host other than this machine, named as the base URL names it (`receiver:3001`). May be called several
    /// times. `RETRACE_ALLOW_CLEARTEXT_HOST`; none by default.
    ///
    /// The API key and all content go there in clear text. A warning at the start states it.
    pub fn with_cleartext_host(mut self, host: impl Into<String>) -> Self {
        self.settings.cleartext_hosts.push(host.into());
        self
    }

    /// Bytes of everything that waits in memory; 64 MiB by default, 64 KiB at least.
    ///
    /// A quarter is for the queue from the application, eleven 64ths for runs that are open, a half for records
    /// that wait for delivery or confirmation, those read from the spool included, and for spans that are held in case their
    /// run fails. Five 64ths are left for the spans that are read or written at the moment. Each span is counted with its texts,
    /// with the room that its lists keep, and with up to 1 KiB for its places in tables, until it leaves that part.
    ///
    /// A test at the allocator holds the bound, with two exceptions: a buffer of less than 1 MiB can be exceeded by 64 KiB, and a
    /// span that takes more than a 64th of the buffer takes several times its size while it is translated.
    ///
    /// A receiver that takes spans, but slower than they come, is waited for: new spans are refused when the queue is full. While
    /// it fails, the oldest spans that wait for delivery go first. Either are counted as lost, and their run is marked lossy.
    pub fn with_buffer_bytes(mut self, bytes: usize) -> Self {
        self.settings.buffer_bytes = Some(bytes);
        self
    }

    /// Bytes of one request; 32 MiB by default, 64 KiB at least. The longest contents of a larger run are cut.
    pub fn with_body_bytes(mut self, bytes: usize) -> Self {
        self.settings.body_bytes = Some(bytes);
        self
    }

    /// A directory in which runs wait for the next start that could not be delivered: at a shutdown, when the buffer is
    /// full, or after [`Builder::with_retry_deadline`]. `RETRACE_SPOOL_DIR`; none by default.
    ///
    /// **What is kept there is what would have been sent, inputs and outputs included, in clear text**, after
    /// [`Builder::with_before_send`]; never the API key. On Unix the directory is made for its owner alone (mode 0700), its
    /// files too (0600); elsewhere what the system does by default holds. Give each receiver a directory of its own: what is
    /// in it is sent to whichever is configured then.
    ///
    /// Several processes may share one. All of them write; the first that holds its lock sends what is there, oldest first,
    /// and deletes each run when it is confirmed or refused. A run that was read once and is found again, as its reader died,
    /// is taken for delivered if the receiver has it. Records are checksummed, so one that a crash of the machine left
    /// damaged is counted ([`crate::LossReason::Damaged`]) and passed over; nothing is synced to the platter. A disk that
    /// takes no more costs what was to be written. Everything happens on the worker's thread.
    pub fn with_spool(mut self, dir: impl Into<PathBuf>) -> Self {
        self.settings.spool = Some(dir.into());
        self
    }

    /// Bytes of everything in the spool; 256 MiB by default. When it is full the oldest runs go first.
    pub fn with_spool_bytes(mut self, bytes: u64) -> Self {
        self.settings.spool_bytes = Some(bytes);
        self
    }

    /// How long a run is kept in the spool; a week by default.
    pub fn with_spool_age(mut self, age: Duration) -> Self {
        self.settings.spool_age = Some(age);
        self
    }

    /// How long a run whose root has ended waits for spans that end after it; a quarter of a second by default. It does not
    /// wait while a flush waits, or the export of a batch that is not full.
    pub fn with_linger(mut self, linger: Duration) -> Self {
        self.settings.linger = Some(linger);
        self
    }

    /// How long a run is kept for a receiver that cannot be reached; 15 minutes by default.
    pub fn with_retry_deadline(mut self, deadline: Duration) -> Self {
        self.settings.keep = Some(deadline);
        self
    }

    /// The share of runs that is sent to Retrace, from 0 to 1, decided when their root is known; the other exporters of the
    /// pipeline keep theirs. To sample for the whole pipeline use [`crate::RetraceSampler`], which decides alike.
    ///
    /// Without it `RETRACE_SAMPLE_RATE` and `RETRACE_SAMPLE_SEED` decide, unless a [`crate::RetraceSampler`] decides in this
    /// process: the rate is applied once. All by default.
    pub fn with_sample_rate(mut self, rate: f64) -> Self {
        self.settings.sample_rate = Some(rate);
        self
    }

    /// With a rate: decides by the name of the root span and this seed, as Retrace's other SDKs do, instead of by the trace
    /// id.
    pub fn with_sample_seed(mut self, seed: impl Into<String>) -> Self {
        self.settings.sample_seed = Some(seed.into());
        self
    }

    /// With a rate and a seed: decides by this key of the root span instead of its name, as
    /// [`RetraceSamplerBuilder::with_sample_key`](crate::RetraceSamplerBuilder::with_sample_key) describes. Called on the worker's
    /// thread, and where runs are announced also on the thread that begins the root; an exporter sees the attributes that the
    /// root has at its end.
    pub fn with_sample_key(mut self, key: impl Fn(&RootSpan<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        self.settings.sample_key = Some(SampleKey::new(key));
        self
    }

    /// Which runs that were not sampled are sent because they failed; by default all of which any span failed. Such a run states
    /// `kept_for_failure` in its metadata.
    ///
    /// Their spans are held as they came, in up to a quarter of [`Builder::with_buffer_bytes`], until their root has ended. A
    /// pipeline shows runs that its sampler left out to a [`RetraceSpanProcessor`] only, and only if the sampler has them
    /// recorded, as [`crate::RetraceSampler`] does. Those that [`Builder::with_sample_rate`] leaves out both ways in see.
    pub fn with_failures(mut self, failures: Failures) -> Self {
        self.settings.failures = Some(failures);
        self
    }

    /// Whether spans join the run of a caller that says it records the trace ([`crate::RecordedRun`]); so says what our
    /// propagator wrote into `tracestate`, and a `traceparent` as Retrace's other SDKs write it. Yes by default. A service
    /// that strangers call says no: then each of its requests is a run of its own.
    ///
    /// What is joined is sent whatever [`Builder::with_sample_rate`] says, so that the caller's run is whole. A receiver that
    /// takes no spans of a run that another process began gets them as a run of their own, which names the caller's.
    pub fn with_joined_runs(mut self, joined_runs: bool) -> Self {
        self.settings.join = Some(joined_runs);
        self
    }

    /// Lets the receiver run functions again that the application serves, over its connection. `RETRACE_ALLOW_REMOTE_REPLAY`; off
    /// by default, also if the variable cannot be read. Needs a transport with a connection, and
    /// [`RetraceSpanProcessor::commands`].
    pub fn with_remote_replay(mut self, allow: bool) -> Self {
        self.settings.remote_replay = Some(allow);
        self
    }

    /// Lets recorded responses that the receiver sends answer model calls and tools of such a run.
    /// `RETRACE_ALLOW_REMOTE_CASSETTE`; off by default, also if the variable cannot be read.
    pub fn with_remote_cassette(mut self, allow: bool) -> Self {
        self.settings.remote_cassette = Some(allow);
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

    /// Builds it and starts its worker. May be called anywhere; nothing is sent yet.
    ///
    /// # Errors
    /// A setting that is missing, malformed or unsafe, or an operating system that gives no thread. A number or a switch
    /// in the environment that cannot be read is no error: a switch that protects is off, everything else keeps its default,
    /// and `warnings()` of what was built has a line about it.
    pub fn build(self) -> Result<P, BuildError> {
        NAMED.call_once(|| {
            let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
            startup_log::warn_shared("setting", unknown_variables(names));
        });
        self.build_from(&|name| std::env::var_os(name))
    }

    fn build_from(self, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<P, BuildError> {
        let (config, warnings) = self.settings.resolve(environment);
        let mut startup_log = StartupLog::default();
        // A sampler reads the rate as well, and its warning is the same.
        let (of_all, own) = warnings.into_iter().partition(|warning| warning.starts_with(SAMPLE_RATE));
        startup_log::warn_shared("setting", of_all);
        startup_log.warn("setting", own);
        let Some(config) = config? else {
            startup_log.note("disabled", "nothing is recorded: Retrace is switched off");
            return Ok(P::into(None, Arc::new(startup_log)));
        };
        check_files(&config)?;
        startup_log.note(STARTED, &start_notice(&config));
        let startup_log = Arc::new(startup_log);
        let metrics = Metrics::new(&config.base_url);
        let blueprint = Blueprint {
            config,
            before_send: self.before_send,
            on_error: self.on_error,
            metrics,
            startup_log: Arc::downgrade(&startup_log),
        };
        let pipeline = Pipeline::start(blueprint, P::IS_PROCESSOR)?;
        Ok(P::into(Some(Arc::new(pipeline)), startup_log))
    }
}

impl RetraceExporterBuilder {
    /// The size at which a batch counts as full, so that its export does not wait for delivery.
    /// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`; 512 by default. Set it where the processor's is set in code.
    pub fn with_max_export_batch_size(mut self, size: usize) -> Self {
        self.settings.batch_size = Some(size.max(1));
        self
    }
}

impl<P> fmt::Debug for Builder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

/// Checks that the files and directories of the settings can be used, also those that are not needed at once.
fn check_files(config: &Config) -> Result<(), BuildError> {
    // With TLS the connector reads the certificates.
    if let Some((path, source_name)) = config.certificate.as_ref().filter(|_| !config.base_url.is_secure()) {
        std::fs::File::open(path).map_err(|error| BuildError::Certificate {
            source_name,
            path: path.clone(),
            problem: error.to_string(),
        })?;
    }
    config.spool.as_ref().map_or(Ok(()), |spool| {
        Spool::check(spool).map_err(|error| BuildError::Spool {
            source_name: spool.source_name,
            path: spool.dir.clone(),
            problem: error.to_string(),
        })
    })
}

/// Describes where runs are sent and with what. Content leaves by default, so the application's log has a line about it.
fn start_notice(config: &Config) -> String {
    if config.capture_content {
        format!(
            "runs are sent to {} with the inputs and outputs of models and tools; RETRACE_CAPTURE_CONTENT=false sends \
             structure, names, tokens, cost and errors only",
            config.base_url.as_str()
        )
    } else {
        format!("runs are sent to {} without inputs and outputs", config.base_url.as_str())
    }
}
