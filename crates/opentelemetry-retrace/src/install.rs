//! Setup of a whole pipeline, for an application that has none yet.

use std::fmt;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanProcessor, TracerProviderBuilder};
use retrace_protocol::limits::FLUSH_TIMEOUT;

use crate::config::{BuildError, is_sdk_disabled};
use crate::id_generator::RetraceIdGenerator;
use crate::processor::RetraceSpanProcessor;
use crate::processor::RetraceSpanProcessorBuilder;
use crate::propagator::RetracePropagator;
use crate::sampler::RetraceSamplerBuilder;
use crate::sampler::head_sampling::HeadSampler;
use crate::stats::Stats;

/// Sets up tracing to Retrace for an application that has no pipeline yet, with the settings of the
/// environment.
///
/// ```no_run
/// use opentelemetry::trace::Tracer as _;
/// use opentelemetry::{KeyValue, global};
///
/// let _retrace = opentelemetry_retrace::install()?; // RETRACE_API_KEY from the environment
/// let tracer = global::tracer("agent");
/// // A span is sent if it is a GenAI span: it has an attribute of the GenAI conventions.
/// let agent = tracer.span_builder("invoke_agent planner").with_attributes([
///     KeyValue::new("gen_ai.operation.name", "invoke_agent"),
///     KeyValue::new("gen_ai.agent.name", "planner"),
/// ]);
/// tracer.in_span_with_builder(agent, |_| { /* … */ });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`Installer::install`].
pub fn install() -> Result<Guard, BuildError> {
    Installer::new().install()
}

/// Configures the setup that [`install`] makes.
///
/// It makes a tracer provider and sets it as the global one, with
/// * the resource that `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` name, as the SDK reads them,
/// * a [`crate::RetraceSampler`], a [`RetraceIdGenerator`] and a [`RetraceSpanProcessor`],
/// * around the processor of [`Installer::with_span_processor`]: the way to another backend,
/// * the changes of [`Installer::with_provider`]: limits, another sampler, further processors;
///
/// and the global propagator that `OTEL_PROPAGATORS` names ([`RetracePropagator::compose_from_env`]), which
/// announces the runs that are sent to the next service ([`RetraceSpanProcessor::announcer`]). With
/// `OTEL_SDK_DISABLED=true`, or with `RETRACE_ENABLED=false` and nothing added, there is no provider and
/// spans cost nothing; propagation goes on.
#[must_use = "an installer does nothing until install() is called"]
pub struct Installer {
    processor: RetraceSpanProcessorBuilder,
    sampler: RetraceSamplerBuilder,
    around: Option<AddProcessor>,
    provider: Option<ChangeProvider>,
}

type AddProcessor = Box<dyn FnOnce(&RetraceSpanProcessor, TracerProviderBuilder) -> TracerProviderBuilder>;
type ChangeProvider = Box<dyn FnOnce(TracerProviderBuilder) -> TracerProviderBuilder>;

impl Installer {
    /// Creates an installer that uses the environment and the defaults.
    pub fn new() -> Self {
        Self {
            processor: RetraceSpanProcessor::builder(),
            sampler: RetraceSamplerBuilder::default(),
            around: None,
            provider: None,
        }
    }

    /// Sets the settings of the processor that sends to Retrace.
    pub fn with_processor(mut self, processor: RetraceSpanProcessorBuilder) -> Self {
        self.processor = processor;
        self
    }

    /// Sets the settings of the sampler.
    pub fn with_sampler(mut self, sampler: RetraceSamplerBuilder) -> Self {
        self.sampler = sampler;
        self
    }

    /// Sets the processor of another backend, such as a `BatchSpanProcessor` to a collector. The Retrace
    /// processor wraps it ([`RetraceSpanProcessor::around`]), which costs less than two processors side by
    /// side. The last call takes effect.
    ///
    /// ```no_run
    /// # use opentelemetry_sdk::error::OTelSdkResult;
    /// # use opentelemetry_sdk::trace::{SpanData, SpanExporter};
    /// use opentelemetry_retrace::Installer;
    /// use opentelemetry_sdk::trace::BatchSpanProcessor;
    /// # #[derive(Debug)]
    /// # struct Otlp;
    /// # impl SpanExporter for Otlp {
    /// #     async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
    /// #         Ok(())
    /// #     }
    /// # }
    /// # let exporter = Otlp;
    ///
    /// let batches = BatchSpanProcessor::builder(exporter).build();
    /// let _retrace = Installer::new().with_span_processor(batches).install()?;
    /// # Ok::<(), opentelemetry_retrace::BuildError>(())
    /// ```
    pub fn with_span_processor(mut self, other: impl SpanProcessor + 'static) -> Self {
        self.around = Some(Box::new(|retrace, builder| builder.with_span_processor(retrace.around(other))));
        self
    }

    /// Adds to the provider, or changes it: further processors and exporters, a resource, limits.
    pub fn with_provider(
        mut self,
        change: impl FnOnce(TracerProviderBuilder) -> TracerProviderBuilder + 'static,
    ) -> Self {
        self.provider = Some(Box::new(change));
        self
    }

    /// Sets everything up. It replaces the global provider and propagator, so call it once, first thing in
    /// `main`.
    ///
    /// # Errors
    /// A setting that is missing, malformed or unsafe, as for [`crate::Builder::build`].
    pub fn install(self) -> Result<Guard, BuildError> {
        let retrace = self.processor.build()?;
        // Without Retrace no processor holds the runs that were not sampled.
        let sampler = if retrace.is_enabled() { self.sampler } else { self.sampler.with_failures(false) };
        let sampler = sampler.build()?;
        let ids = RetraceIdGenerator::builder().build()?;
        // A change of the provider may set another sampler.
        let head = self.provider.is_none().then(|| HeadSampler::new(sampler.clone(), ids.clone()));
        let propagator = RetracePropagator::builder().with_random_ids(true).with_runs(retrace.announcer()).build()?;
        propagator.clone().set_installed();
        global::set_text_map_propagator(propagator.compose_from_env());
        let is_alone = self.provider.is_none() && self.around.is_none();
        let provider = if is_sdk_disabled() || (!retrace.is_enabled() && is_alone) {
            None
        } else {
            let builder = SdkTracerProvider::builder().with_sampler(sampler).with_id_generator(ids);
            let builder = match self.around {
                Some(around) => around(&retrace, builder),
                None => builder.with_span_processor(retrace.clone()),
            };
            let builder = match self.provider {
                Some(change) => change(builder),
                None => builder,
            };
            Some(builder.build())
        };
        if let Some(provider) = &provider {
            global::set_tracer_provider(provider.clone());
        }
        Ok(Guard { provider, retrace, head })
    }
}

impl Default for Installer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Installer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installer").finish_non_exhaustive()
    }
}

/// Owns the pipeline that [`install`] set up. Dropping it, also when a panic unwinds, flushes within the
/// flush timeout and stops.
#[derive(Debug)]
#[must_use = "when it is dropped, recording stops"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
    retrace: RetraceSpanProcessor,
    head: Option<HeadSampler>,
}

impl Guard {
    /// Returns the processor that sends to Retrace.
    #[must_use]
    pub fn processor(&self) -> &RetraceSpanProcessor {
        &self.retrace
    }

    /// Sampler that decides as the one of the provider; `None` where that one is unknown.
    #[doc(hidden)]
    #[must_use]
    pub fn head_sampler(&self) -> Option<&HeadSampler> {
        self.head.as_ref()
    }

    /// Returns the provider, which is also the global one; `None` when nothing is recorded.
    #[must_use]
    pub fn provider(&self) -> Option<&SdkTracerProvider> {
        self.provider.as_ref()
    }

    /// Returns the counts of all spans so far by outcome.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.retrace.stats()
    }

    /// Returns warnings about settings in the environment that could not be read, as
    /// [`RetraceSpanProcessor::warnings`] does: those of the processor, the sampler and the propagators.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.retrace.warnings()
    }

    /// Flushes and stops, and returns the result, which a drop discards. `Ok` as well if the provider was shut down before.
    ///
    /// # Errors
    /// As [`SdkTracerProvider::shutdown`].
    pub fn shutdown(mut self) -> OTelSdkResult {
        self.stop()
    }

    fn stop(&mut self) -> OTelSdkResult {
        let within = self.retrace.flush_timeout().unwrap_or(FLUSH_TIMEOUT).max(SHORTEST);
        let stopped = self.provider.take().map_or(Ok(()), |provider| provider.shutdown_with_timeout(within));
        // Without a provider no shutdown of a processor writes the log lines.
        self.retrace.finish_log();
        match stopped {
            // Whoever shut it down had the result.
            Err(OTelSdkError::AlreadyShutdown) => Ok(()),
            stopped => stopped,
        }
    }
}

/// Shortest timeout of a shutdown: with none at all, no span would be delivered.
const SHORTEST: Duration = Duration::from_millis(100);

impl Drop for Guard {
    fn drop(&mut self) {
        // A drop has no caller for the result; losses are in the log, or on standard error.
        let _ = self.stop();
    }
}
