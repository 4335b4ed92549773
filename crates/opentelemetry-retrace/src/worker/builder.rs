//! Configuration and construction of exporters and processors.

use std::ffi::OsString;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::time::Duration;

use opentelemetry_http::HttpClient;
use retrace_protocol::Signal;
use retrace_translate::{SpanFacts, SpanSelection};

use crate::config::secret::ApiKey;
use crate::config::{
    BuildError, Compression, Config, SAMPLE_RATE, Settings, Transport, UnknownTransport, unknown_variables,
};
use crate::log::startup_log::{self, StartupLog};
use crate::metrics::Metrics;
use crate::recording::redact::{BeforeSend, Record};
use crate::sampling::Failures;
use crate::sampling::sample_key::{RootSpan, SampleKey};
use crate::stats::settlement::{OnSettlement, Settlement};
use crate::transport::client::GivenClient;
use crate::transport::spool::Spool;
use crate::transport::worker::OnError;
use crate::worker::worker_config::WorkerConfig;
use crate::worker::worker_handle::{Pipeline, WayIn};

/// Limits the warnings about unknown variables to one per process.
static NAMED: Once = Once::new();

/// Configures `P`: a [`RetraceExporter`](crate::RetraceExporter) or a [`RetraceSpanProcessor`](crate::RetraceSpanProcessor). Settings that are not made come from
/// the environment ([`crate::VARIABLES`]), then from the defaults.
#[must_use = "a builder does nothing until build() is called"]
pub struct Builder<P> {
    pub(crate) settings: Settings,
    before_send: Option<BeforeSend>,
    on_error: Option<OnError>,
    http_client: Option<GivenClient>,
    on_settlement: Option<OnSettlement>,
    builds: PhantomData<fn() -> P>,
}

impl<P> Default for Builder<P> {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            before_send: None,
            on_error: None,
            http_client: None,
            on_settlement: None,
            builds: PhantomData,
        }
    }
}

impl<P> Clone for Builder<P> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            before_send: self.before_send.clone(),
            on_error: self.on_error.clone(),
            http_client: self.http_client.clone(),
            on_settlement: self.on_settlement.clone(),
            builds: PhantomData,
        }
    }
}

impl<P: WayIn> Builder<P> {
    /// Sets the API key. `RETRACE_API_KEY`; required, unless recording is switched off.
    pub fn with_api_key(mut self, key: impl Into<ApiKey>) -> Self {
        self.settings.api_key = Some(key.into());
        self
    }

    /// Sets the base URL of Retrace: `https`, or `http` to this machine. `RETRACE_BASE_URL`; by default the
    /// hosted API.
    pub fn with_base_url(mut self, url: impl Into<String>) -> Self {
        self.settings.base_url = Some(url.into());
        self
    }

    /// Sets the project that runs are filed under. `RETRACE_PROJECT_ID`.
    pub fn with_project_id(mut self, id: impl Into<String>) -> Self {
        self.settings.project_id = Some(id.into());
        self
    }

    /// Sets the deployment environment of runs. `RETRACE_ENVIRONMENT`; by default the resource's
    /// `deployment.environment.name`.
    pub fn with_environment(mut self, environment: impl Into<String>) -> Self {
        self.settings.environment = Some(environment.into());
        self
    }

    /// Switches recording on or off. `RETRACE_ENABLED`; on by default, off if the variable cannot be read.
    /// Off needs no API key, starts no thread and costs a check for each batch. The only exception is a
    /// warning that no subscriber took yet: a short-lived thread logs it once a subscriber exists.
    pub fn with_enabled(mut self, enabled: bool) -> Self {
        self.settings.enabled = Some(enabled);
        self
    }

    /// Sends inputs and outputs, or leaves them out. `RETRACE_CAPTURE_CONTENT`; on by default, because a run
    /// is replayed from them, and off if the variable cannot be read. Without them structure, names, tokens,
    /// cost and errors remain.
    pub fn with_capture_content(mut self, capture: bool) -> Self {
        self.settings.capture_content = Some(capture);
        self
    }

    /// Selects the spans that are sent. `RETRACE_SPAN_SELECTION`; by default GenAI spans and the root above
    /// them.
    pub fn with_span_selection(mut self, selection: SpanSelection) -> Self {
        self.settings.selection = Some(selection);
        self
    }

    /// Selects the spans that are sent by a function of the application: those for which `policy` returns
    /// true, and the root above them. A span whose parent is left out is attached to its nearest ancestor
    /// that is not.
    ///
    /// The policy runs on the worker's thread and should be quick; when it panics, the default decides.
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

    /// Sets the transport: a [`Transport`] or its name. `RETRACE_TRANSPORT`; [`Transport::Auto`] by default.
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

    /// Sets the timeout of a flush, and of a drop of the last clone. `RETRACE_FLUSH_TIMEOUT`; 5 seconds by
    /// default.
    pub fn with_flush_timeout(mut self, timeout: Duration) -> Self {
        self.settings.flush_timeout = Some(timeout);
        self
    }

    /// Sets the timeout of one request, `None` for no limit. `OTEL_EXPORTER_RETRACE_TIMEOUT`; 10 seconds by
    /// default.
    pub fn with_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.timeout = Some(timeout.into());
        self
    }

    /// Sets the compression of request bodies. `OTEL_EXPORTER_RETRACE_COMPRESSION`; none by default, because
    /// a receiver may not support it. If the receiver answers 415, the body is sent again without
    /// compression, and so are all later ones.
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.settings.compression = Some(compression);
        self
    }

    /// Sets the client that makes the HTTP requests, instead of the built-in one. Any asynchronous client that implements
    /// [`HttpClient`] of `opentelemetry-http` can be used, for instance `reqwest::Client` with the feature `reqwest` of that crate.
    ///
    /// The client decides about proxies, certificates and TLS for these requests; [`Builder::with_certificate`] and the variables
    /// for proxies have no effect on them. [`Builder::with_timeout`] still limits each request. The API key is a header of every
    /// request, so use a client that follows no redirects. Each body is copied into one piece of memory. A WebSocket
    /// connection is not made by the client: with [`Transport::Http`] everything is sent through it.
    ///
    /// The client is polled on the worker's thread, in a Tokio runtime. A client that blocks, such as
    /// `reqwest::blocking::Client`, cannot be used: it panics there, and each request counts as failed.
    ///
    /// ```
    /// use opentelemetry_retrace::{RetraceExporter, Transport};
    ///
    /// # #[derive(Debug)]
    /// # struct OwnClient;
    /// # #[async_trait::async_trait]
    /// # impl opentelemetry_http::HttpClient for OwnClient {
    /// #     async fn send_bytes(
    /// #         &self,
    /// #         _: opentelemetry_http::Request<opentelemetry_http::Bytes>,
    /// #     ) -> Result<opentelemetry_http::Response<opentelemetry_http::Bytes>, opentelemetry_http::HttpError> {
    /// #         Err("no network".into())
    /// #     }
    /// # }
    /// let builder = RetraceExporter::builder().with_transport(Transport::Http).with_http_client(OwnClient);
    /// ```
    pub fn with_http_client(mut self, client: impl HttpClient + 'static) -> Self {
        self.http_client = Some(Arc::new(client));
        self
    }

    /// Adds a header to every request, besides those of `OTEL_EXPORTER_RETRACE_HEADERS`. Its value is kept
    /// secret.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.headers.push((name.into(), value.into()));
        self
    }

    /// Sets a PEM file of the certificate authorities to trust, instead of the operating system's.
    /// `OTEL_EXPORTER_RETRACE_CERTIFICATE`.
    pub fn with_certificate(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.certificate = Some(path.into());
        self
    }

    /// Allows `http` to a host other than this machine, written as in the base URL (`receiver:3001`). May be
    /// called several times. `RETRACE_ALLOW_CLEARTEXT_HOST`; none by default.
    ///
    /// The API key and all content go there in clear text. A warning at the start states it.
    pub fn with_cleartext_host(mut self, host: impl Into<String>) -> Self {
        self.settings.cleartext_hosts.push(host.into());
        self
    }

    /// Sets the maximum bytes of everything that waits in memory; 64 MiB by default, 64 KiB at least.
    ///
    /// A quarter is for the queue from the application, eleven 64ths for runs that are open, a half for
    /// records that wait for delivery or confirmation, those read from the spool included, and for spans that
    /// are held in case their run fails. Five 64ths are left for the spans that are read or written at the
    /// moment. Each span is counted with its texts, with the capacity of its lists, and with up to 1 KiB for
    /// its entries in tables, until it leaves that part.
    ///
    /// A test at the allocator verifies the bound, with two exceptions: a buffer of less than 1 MiB can be
    /// exceeded by 64 KiB, and a span that takes more than a 64th of the buffer takes several times its size
    /// while it is translated.
    ///
    /// While a receiver accepts spans, but slower than they come, spans wait: new spans are refused when the
    /// queue is full. While it fails, the oldest spans that wait for delivery are dropped first. Both are
    /// counted as lost, and their run is marked lossy.
    pub fn with_buffer_bytes(mut self, bytes: usize) -> Self {
        self.settings.buffer_bytes = Some(bytes);
        self
    }

    /// Sets the maximum bytes of one request; 32 MiB by default, 64 KiB at least. The longest contents of a
    /// larger run are cut.
    pub fn with_body_bytes(mut self, bytes: usize) -> Self {
        self.settings.body_bytes = Some(bytes);
        self
    }

    /// Sets a directory in which undelivered runs wait for the next start: at a shutdown, when the buffer is
    /// full, or after [`Builder::with_retry_deadline`]. `RETRACE_SPOOL_DIR`; none by default.
    ///
    /// **The files hold the data of the requests, inputs and outputs included, in clear text**, after
    /// [`Builder::with_before_send`]; never the API key. On Unix the directory is created for its owner alone
    /// (mode 0700), its files too (0600); elsewhere the default permissions of the system apply. Give each
    /// receiver a directory of its own: its content is sent to the receiver that is configured at the next
    /// start.
    ///
    /// Several processes may share one. All of them write; the first that holds its lock sends the records,
    /// oldest first, and deletes each run when it is confirmed or rejected. A run that was read once and is
    /// found again, because its reader died, counts as delivered if the receiver has it. Records are
    /// checksummed, so one that a crash of the machine left damaged is counted
    /// ([`crate::LossReason::Damaged`]) and skipped; files are not synced to the disk. If a record cannot be
    /// written, its spans are lost. All file access is on the worker's thread.
    pub fn with_spool(mut self, dir: impl Into<PathBuf>) -> Self {
        self.settings.spool = Some(dir.into());
        self
    }

    /// Sets the maximum bytes of the spool; 256 MiB by default. When it is full the oldest runs are dropped
    /// first.
    pub fn with_spool_bytes(mut self, bytes: u64) -> Self {
        self.settings.spool_bytes = Some(bytes);
        self
    }

    /// Sets how long a run is kept in the spool; a week by default.
    pub fn with_spool_age(mut self, age: Duration) -> Self {
        self.settings.spool_age = Some(age);
        self
    }

    /// Sets how long a run whose root has ended waits for spans that end after it; a quarter of a second by
    /// default. It does not wait during a flush, or during the export of a batch that is not full.
    pub fn with_linger(mut self, linger: Duration) -> Self {
        self.settings.linger = Some(linger);
        self
    }

    /// Sets how long a run is kept while the receiver cannot be reached; 15 minutes by default.
    pub fn with_retry_deadline(mut self, deadline: Duration) -> Self {
        self.settings.keep = Some(deadline);
        self
    }

    /// Sets the share of runs that is sent to Retrace, from 0 to 1, decided when their root is known; the
    /// other exporters of the pipeline still get all runs. To sample for the whole pipeline use
    /// [`crate::RetraceSampler`], which decides alike.
    ///
    /// Without it `RETRACE_SAMPLE_RATE` and `RETRACE_SAMPLE_SEED` decide, unless a [`crate::RetraceSampler`]
    /// decides in this process: the rate is applied once. All by default.
    pub fn with_sample_rate(mut self, rate: f64) -> Self {
        self.settings.sample_rate = Some(rate);
        self
    }

    /// Sets the seed for a sample rate: the decision is by the name of the root span and this seed, as in
    /// Retrace's other SDKs, instead of by the trace id.
    pub fn with_sample_seed(mut self, seed: impl Into<String>) -> Self {
        self.settings.sample_seed = Some(seed.into());
        self
    }

    /// Sets the key for a sample rate with a seed: the decision is by this key of the root span instead of
    /// its name, as [`RetraceSamplerBuilder::with_sample_key`](crate::RetraceSamplerBuilder::with_sample_key)
    /// describes. Called on the worker's thread, and where runs are announced also on the thread that begins
    /// the root; an exporter sees the attributes that the root has at its end.
    pub fn with_sample_key(mut self, key: impl Fn(&RootSpan<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        self.settings.sample_key = Some(SampleKey::new(key));
        self
    }

    /// Selects the runs that are sent because they failed although they were not sampled; by default all in
    /// which any span failed. Such a run has `kept_for_failure` in its metadata.
    ///
    /// Their spans are held untranslated, in up to a quarter of [`Builder::with_buffer_bytes`], until their
    /// root has ended. If the sampler of the provider leaves a run out, only a [`RetraceSpanProcessor`](crate::RetraceSpanProcessor) gets
    /// its spans, and only if the sampler records them, as [`crate::RetraceSampler`] does. Runs that
    /// [`Builder::with_sample_rate`] leaves out reach exporter and processor.
    pub fn with_failures(mut self, failures: Failures) -> Self {
        self.settings.failures = Some(failures);
        self
    }

    /// Sets whether spans join the run of a caller that announces that it records the trace
    /// ([`crate::RemoteRunContext`]): by the entry that this crate's propagator writes into `tracestate`, or by a
    /// `traceparent` as Retrace's other SDKs write it. Yes by default. Disable it in a service that strangers
    /// call: then each of its requests is a run of its own.
    ///
    /// Joined spans are sent whatever [`Builder::with_sample_rate`] decides, so that the caller's run is
    /// whole. If a receiver accepts no spans of a run that another process began, it gets them as a run of
    /// their own, which refers to the caller's.
    pub fn with_joined_runs(mut self, joined_runs: bool) -> Self {
        self.settings.join = Some(joined_runs);
        self
    }

    /// Allows the receiver to run functions again that the application serves, over its connection.
    /// `RETRACE_ALLOW_REMOTE_REPLAY`; off by default, also if the variable cannot be read. Needs a transport
    /// with a connection, and [`RetraceSpanProcessor::commands`](crate::RetraceSpanProcessor::commands).
    pub fn with_remote_replay(mut self, allow: bool) -> Self {
        self.settings.remote_replay = Some(allow);
        self
    }

    /// Allows recorded responses that the receiver sends to answer model calls and tools of such a run.
    /// `RETRACE_ALLOW_REMOTE_CASSETTE`; off by default, also if the variable cannot be read.
    pub fn with_remote_cassette(mut self, allow: bool) -> Self {
        self.settings.remote_cassette = Some(allow);
        self
    }

    /// Sets a hook that receives each record before it is sent, after translation; it returns the record,
    /// changed or not, or `None` to hold it back.
    ///
    /// Called on the worker's thread, once for a run and once for each span. A live run passes when it begins and when it ends, a
    /// live span also when its record changes after that. Changes of ids are ignored. A
    /// record on which it panics is not sent and counts as lost.
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

    /// Sets a callback for notices to the user: rejections, failures, losses. Called on the worker's thread,
    /// which it should not block. The same notices are logged, at most once in five seconds for each kind.
    pub fn with_on_error(mut self, callback: impl Fn(&Signal) + Send + Sync + 'static) -> Self {
        self.on_error = Some(Arc::new(callback));
        self
    }

    /// Sets a callback for every group of spans that leaves the pipeline: delivered, set aside, spooled or lost, by
    /// trace, as far as it is known ([`Settlement::trace_id`]). With it a program that reads spans from a log knows up to
    /// which position they are settled.
    ///
    /// Called on the worker's thread, which it should not block, after [`Stats`](crate::Stats) include the spans. The
    /// sums over all calls equal the stats, except spans that the queue refused and for which `export` returned an
    /// error ([`LossReason::QueueFull`](crate::LossReason::QueueFull)): they were not accepted. Spans that the worker
    /// still holds when it ends are in no call ([`LossReason::Internal`](crate::LossReason::Internal)). A panic of the
    /// callback is caught and ignored.
    ///
    /// ```
    /// use opentelemetry_retrace::{Outcome, RetraceExporter};
    ///
    /// let builder = RetraceExporter::builder().with_settlements(|settlement| {
    ///     if let Outcome::Lost(reason) = settlement.outcome {
    ///         eprintln!("{} spans of {:?} are lost: {reason}", settlement.spans, settlement.trace_id);
    ///     }
    /// });
    /// ```
    pub fn with_settlements(mut self, callback: impl Fn(&Settlement) + Send + Sync + 'static) -> Self {
        self.on_settlement = Some(Arc::new(callback));
        self
    }

    /// Builds `P` and starts its worker. May be called anywhere; nothing is sent yet.
    ///
    /// # Errors
    /// A setting that is missing, malformed or unsafe, or an operating system that starts no thread. A number
    /// or a switch in the environment that cannot be read is no error: a switch that protects is off,
    /// everything else keeps its default, and `warnings()` of the built value has a line about it.
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
        let notice = start_notice(&config);
        let startup_log = Arc::new(startup_log);
        let metrics = Metrics::new(&config.base_url);
        let blueprint = WorkerConfig {
            config,
            before_send: self.before_send,
            on_error: self.on_error,
            http_client: self.http_client,
            on_settlement: self.on_settlement,
            metrics,
            startup_log: Arc::downgrade(&startup_log),
        };
        let pipeline = Pipeline::start(blueprint, P::IS_PROCESSOR)?;
        // Not before everything else has succeeded: after an error nothing is sent.
        startup_log.started(&notice);
        Ok(P::into(Some(Arc::new(pipeline)), startup_log))
    }
}

impl<P> fmt::Debug for Builder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

/// Checks that the files and directories of the settings can be used, also those that are not needed at once.
fn check_files(config: &Config) -> Result<(), BuildError> {
    if let Some((path, source_name)) = &config.certificate {
        #[cfg(feature = "_rustls")]
        crate::transport::tls::check_authorities(path, source_name)?;
        #[cfg(not(feature = "_rustls"))]
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

/// Describes where runs are sent and with which content. Content is sent by default, so the application's log
/// has a line about it.
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
