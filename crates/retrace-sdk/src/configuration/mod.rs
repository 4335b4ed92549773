//! Set-up of the pipeline.

mod exit;
pub(crate) mod guard;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_retrace::__private::HeadSampler;
use opentelemetry_retrace::{
    ApiKey, BuildError, Compression, Failures, Installer, Record, RetraceIdGenerator, RetraceSampler,
    RetraceSamplerBuilder, RetraceSpanProcessor, RetraceSpanProcessorBuilder, RootSpan, Signal, SpanFacts,
    SpanSelection, Transport, UnknownTransport,
};
use opentelemetry_sdk::trace::{SpanProcessor, TracerProviderBuilder};

use self::guard::Guard;
use crate::dropped_guard;
use crate::enforcement::ServerEnforcement;
use crate::installed::{BeforeSend, Installed, captures_content};
use crate::recorded::open;
use crate::replay::limits;

/// Sets up recording as the environment states: `RETRACE_API_KEY` and the other variables of [`VARIABLES`](crate::VARIABLES).
///
/// Makes an OpenTelemetry tracer provider, with a sampler, and sets it as the global one: see [`Installer`]. Works with any
/// async runtime, and with none. Call it once, first thing in `main`, and keep the guard: dropping it flushes.
///
/// ```no_run
/// let _retrace = retrace::install()?;
/// # Ok::<(), retrace::BuildError>(())
/// ```
///
/// # Errors
/// A setting that is missing, malformed or unsafe; in the first place `RETRACE_API_KEY`. An application that goes on without a
/// guard records nothing. With `RETRACE_ENABLED=false` no key is needed, and nothing is recorded.
pub fn install() -> Result<Guard, BuildError> {
    configure().install()
}

/// Begins to configure recording. What is not set in code comes from the environment, then from the defaults.
///
/// ```no_run
/// use std::time::Duration;
///
/// let _retrace = retrace::configure()
///     .with_environment("staging")
///     .with_sample_rate(0.1)
///     .with_flush_timeout(Duration::from_secs(2))
///     .install()?;
/// # Ok::<(), retrace::BuildError>(())
/// ```
pub fn configure() -> Configuration {
    Configuration {
        processor: RetraceSpanProcessor::builder(),
        sampler: RetraceSampler::builder(),
        installer: Installer::new(),
        captures_content: None,
        is_sampling_set: false,
        before_send: None,
        enforcement: ServerEnforcement::default(),
    }
}

/// Adds Retrace to a pipeline that is there: short for `configure().layer_on(builder)`.
///
/// # Errors
/// As [`install`].
pub fn layer_on(builder: TracerProviderBuilder) -> Result<(TracerProviderBuilder, Guard), BuildError> {
    configure().layer_on(builder)
}

/// Configures recording; made by [`configure`]. The setters are those of the builders of `opentelemetry-retrace`.
#[must_use = "a configuration does nothing until it is installed"]
pub struct Configuration {
    processor: RetraceSpanProcessorBuilder,
    sampler: RetraceSamplerBuilder,
    installer: Installer,
    captures_content: Option<bool>,
    is_sampling_set: bool,
    before_send: Option<BeforeSend>,
    enforcement: ServerEnforcement,
}

/// Setters that hand their argument to the builder of the processor.
macro_rules! of_processor {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*);)*) => {
        $($(#[$doc])* pub fn $name(mut self, $($argument: $type),*) -> Self {
            self.processor = self.processor.$name($($argument),*);
            self
        })*
    };
}

impl Configuration {
    of_processor! {
        /// Sets the API key. `RETRACE_API_KEY`; required, unless recording is switched off.
        with_api_key(key: impl Into<ApiKey>);
        /// Sets the address of Retrace: `https`, or `http` to this machine. `RETRACE_BASE_URL`; by default the hosted API.
        with_base_url(url: impl Into<String>);
        /// Sets the project that runs are filed under. `RETRACE_PROJECT_ID`.
        with_project_id(id: impl Into<String>);
        /// Sets the deployment environment of runs. `RETRACE_ENVIRONMENT`.
        with_environment(environment: impl Into<String>);
        /// Switches recording on or off. `RETRACE_ENABLED`; on by default. Off needs no API key.
        with_enabled(enabled: bool);
        /// Sets which spans are sent. `RETRACE_SPAN_SELECTION`; by default those of GenAI, those of this crate, and the root
        /// above them.
        with_span_selection(selection: SpanSelection);
        /// Sets which spans are sent, by a decision of the application's.
        with_span_policy(policy: impl Fn(&SpanFacts<'_>) -> bool + Send + Sync + 'static);
        /// Sets how long a flush may take, and a drop of the guard. `RETRACE_FLUSH_TIMEOUT`; 5 seconds by default.
        with_flush_timeout(timeout: Duration);
        /// Sets how long one request may take. `OTEL_EXPORTER_RETRACE_TIMEOUT`; 10 seconds by default.
        with_timeout(timeout: impl Into<Option<Duration>>);
        /// Sets how bodies of HTTP requests are compressed. `OTEL_EXPORTER_RETRACE_COMPRESSION`; not at all by default.
        with_compression(compression: Compression);
        /// Adds a header to every request. `OTEL_EXPORTER_RETRACE_HEADERS`.
        with_header(name: impl Into<String>, value: impl Into<String>);
        /// Sets a PEM file of the certificate authorities to trust. `OTEL_EXPORTER_RETRACE_CERTIFICATE`.
        with_certificate(path: impl Into<PathBuf>);
        /// Sets the bytes of everything that waits in memory; 64 MiB by default.
        with_buffer_bytes(bytes: usize);
        /// Sets the bytes of one request; 32 MiB by default.
        with_body_bytes(bytes: usize);
        /// Sets a directory in which runs that could not be delivered wait for the next start, content included.
        /// `RETRACE_SPOOL_DIR`; none by default.
        with_spool(dir: impl Into<PathBuf>);
        /// Sets the bytes of everything in the spool; 256 MiB by default.
        with_spool_bytes(bytes: u64);
        /// Sets how long a run is kept in the spool; a week by default.
        with_spool_age(age: Duration);
        /// Sets how long a run whose root has ended waits for spans that end later; a quarter of a second by default.
        with_linger(linger: Duration);
        /// Sets how long a run is kept for a receiver that cannot be reached; 15 minutes by default.
        with_retry_deadline(deadline: Duration);
        /// Sets whether spans join the run of a caller that states that it records the trace; on by default.
        with_joined_runs(joined_runs: bool);
        /// Lets the receiver run functions again that [`serve`](crate::serve()) serves. `RETRACE_ALLOW_REMOTE_REPLAY`; off by default.
        with_remote_replay(allow: bool);
        /// Lets recorded responses that the receiver sends answer what such a run calls. `RETRACE_ALLOW_REMOTE_CASSETTE`; off by
        /// default.
        with_remote_cassette(allow: bool);
        /// Sets a callback for refusals, failures and losses.
        with_on_error(callback: impl Fn(&Signal) + Send + Sync + 'static);
    }

    /// Sets a hook that sees each record before it leaves, and returns it, changed or not, or `None` to keep it back. Golden files
    /// are written through it as well.
    pub fn with_before_send(mut self, hook: impl Fn(Record) -> Option<Record> + Send + Sync + 'static) -> Self {
        let hook: BeforeSend = Arc::new(hook);
        self.before_send = Some(Arc::clone(&hook));
        self.processor = self.processor.with_before_send(move |record| hook(record));
        self
    }

    /// Sets whether the receiver checks each model call and each tool step of a run when it has ended; the next model call waits for
    /// the verdict, and is refused where that is `block` or `hold`, as are all later ones of the run. [`refusal`](crate::refusal())
    /// finds the [`EnforcementError`](crate::EnforcementError). While the receiver gives no verdict, for five seconds at most, only
    /// the ceilings of [`limits`](crate::limits()) hold. `RETRACE_SERVER_ENFORCEMENT`; off by default.
    pub fn with_server_enforcement(mut self, is_enabled: bool) -> Self {
        self.enforcement.is_enabled = Some(is_enabled);
        self
    }

    /// Sets how long a held call waits for an approval. It is refused when the hold is denied or expires, and at the end of this time.
    /// `RETRACE_ENFORCEMENT_HOLD_WAIT_SECONDS`; not at all by default.
    pub fn with_enforcement_hold_wait(mut self, wait: Duration) -> Self {
        self.enforcement.hold_wait = Some(wait);
        self
    }

    /// Sets how runs are sent: a [`Transport`] or its name, `auto`, `ws` or `http`. `RETRACE_TRANSPORT`; `auto` by default.
    pub fn with_transport<T>(mut self, transport: T) -> Self
    where
        T: TryInto<Transport>,
        T::Error: Into<UnknownTransport>,
    {
        self.processor = self.processor.with_transport(transport);
        self
    }

    /// Sets whether inputs and outputs are recorded, those of model calls by [`clients`](crate::clients) included.
    /// `RETRACE_CAPTURE_CONTENT`; on by default.
    pub fn with_capture_content(mut self, capture: bool) -> Self {
        self.captures_content = Some(capture);
        self.processor = self.processor.with_capture_content(capture);
        self
    }

    /// Sets the share of runs that are sampled, from 0 to 1, for the whole pipeline. `RETRACE_SAMPLE_RATE`; 1 by default. The
    /// decision is made once for a run; runs that fail are sent whatever it was ([`Configuration::with_failures`]).
    pub fn with_sample_rate(mut self, rate: f64) -> Self {
        self.is_sampling_set = true;
        self.sampler = self.sampler.with_sample_rate(rate);
        self
    }

    /// Decides by the name of a run and this seed, as Retrace's other SDKs do. `RETRACE_SAMPLE_SEED`; none by default.
    pub fn with_sample_seed(mut self, seed: impl Into<String>) -> Self {
        self.is_sampling_set = true;
        self.sampler = self.sampler.with_sample_seed(seed);
        self
    }

    /// Sets the key for a seed: this key of the root span decides instead of its name, such as a tenant. Equal keys are always decided
    /// alike. Without a seed it has no effect.
    ///
    /// Called on the thread that begins the root, with its name and the attributes that it begins with. Those of a run are its name
    /// and its agent: what else a key needs, such as a tenant, it takes from where the application keeps it. On `None`, and on a
    /// panic, the name is used. Another process that is to decide alike needs the same rate, seed and keys.
    ///
    /// ```
    /// thread_local!(static TENANT: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) });
    ///
    /// let configuration = retrace::configure()
    ///     .with_sample_rate(0.1)
    ///     .with_sample_seed("2026")
    ///     .with_sample_key(|_root| TENANT.with_borrow(Clone::clone));
    /// ```
    pub fn with_sample_key(mut self, key: impl Fn(&RootSpan<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        self.is_sampling_set = true;
        self.sampler = self.sampler.with_sample_key(key);
        self
    }

    /// Sets which runs that were not sampled are sent because they failed; by default all of which any span failed. With
    /// [`Failures::Off`] a run that is not sampled costs nothing.
    pub fn with_failures(mut self, failures: Failures) -> Self {
        self.processor = self.processor.with_failures(failures);
        self.sampler = self.sampler.with_failures(failures != Failures::Off);
        self
    }

    /// Adds the processor of another backend. The last one that is set holds.
    pub fn with_span_processor(mut self, other: impl SpanProcessor + 'static) -> Self {
        self.installer = self.installer.with_span_processor(other);
        self
    }

    /// Changes the provider that [`Configuration::install`] makes: a resource, limits, further processors, another sampler.
    pub fn with_provider(
        mut self,
        change: impl FnOnce(TracerProviderBuilder) -> TracerProviderBuilder + 'static,
    ) -> Self {
        self.installer = self.installer.with_provider(change);
        self
    }

    /// Sets everything up. What was global before is replaced.
    ///
    /// # Errors
    /// As [`install`].
    pub fn install(self) -> Result<Guard, BuildError> {
        let content = self.captures_content.unwrap_or_else(captures_content);
        let (before_send, enforcement) = (self.before_send, self.enforcement);
        limits::warn_of_environment();
        let guard = self.installer.with_processor(self.processor).with_sampler(self.sampler).install()?;
        let installed = match guard.provider() {
            Some(provider) => {
                let check = enforcement.resolve(guard.processor().requests());
                let head = guard.head_sampler().cloned();
                Installed::new(Some(provider), guard.processor(), head, content, before_send, check)
            }
            None => {
                enforcement.resolve(None);
                Installed::disabled()
            }
        };
        open::note_process();
        exit::watch();
        dropped_guard::installed();
        Ok(Guard::installed(guard, installed.install()))
    }

    /// Adds Retrace to a pipeline that is there, live and with ids that are Retrace's too. Its sampler stays, unless a rate or
    /// a seed is set in code here. The provider must become the global one.
    ///
    /// ```no_run
    /// use opentelemetry::global;
    /// use opentelemetry_sdk::trace::SdkTracerProvider;
    ///
    /// let (builder, _retrace) = retrace::configure().layer_on(SdkTracerProvider::builder())?;
    /// let provider = builder.build(); // with what you have
    /// global::set_tracer_provider(provider.clone());
    /// # Ok::<(), retrace::BuildError>(())
    /// ```
    ///
    /// # Errors
    /// As [`install`].
    pub fn layer_on(self, builder: TracerProviderBuilder) -> Result<(TracerProviderBuilder, Guard), BuildError> {
        let content = self.captures_content.unwrap_or_else(captures_content);
        let processor = self.processor.build()?;
        let ids = RetraceIdGenerator::default();
        let mut builder = builder.with_id_generator(ids.clone());
        let mut head = None;
        if self.is_sampling_set {
            let sampler = if processor.is_enabled() { self.sampler } else { self.sampler.with_failures(false) };
            let sampler = sampler.build()?;
            builder = builder.with_sampler(sampler.clone());
            head = Some(HeadSampler::new(sampler, ids));
        }
        let builder = builder.with_span_processor(processor.clone());
        limits::warn_of_environment();
        let check = self.enforcement.resolve(processor.requests());
        let generation = Installed::new(None, &processor, head, content, self.before_send, check).install();
        open::note_process();
        exit::watch();
        dropped_guard::installed();
        Ok((builder, Guard::layered(processor, generation)))
    }
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configuration").finish_non_exhaustive()
    }
}
