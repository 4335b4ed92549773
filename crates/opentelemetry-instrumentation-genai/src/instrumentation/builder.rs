//! Configuration of an instrumentation.

use std::fmt;
use std::sync::Arc;

use opentelemetry::global::{BoxedTracer, ObjectSafeTracer};
use opentelemetry::trace::TracerProvider;

use crate::api::{Api, CatchPanicApi};
use crate::content_policy::{CAPTURE_VARIABLE, Capture};
use crate::instrumentation::{Instrumentation, scope};
use crate::interceptor::Interceptor;
#[cfg(feature = "_playback")]
use crate::interceptor::Timer;
use crate::settings::Settings;

/// Configures an [`Instrumentation`].
#[must_use]
pub struct Builder {
    pub(super) settings: Settings,
    pub(super) capture: Option<Capture>,
}

impl Builder {
    /// Records spans with this provider instead of the global one, which is looked up for every call.
    pub fn with_tracer_provider<P>(mut self, provider: &P) -> Self
    where
        P: TracerProvider,
        P::Tracer: ObjectSafeTracer + Send + Sync + 'static,
    {
        self.settings.tracer = Some(BoxedTracer::new(Box::new(provider.tracer_with_scope(scope()))));
        self
    }

    /// Sets whether content is recorded. Default: [`CAPTURE_VARIABLE`], and without it no content.
    pub fn with_capture(mut self, capture: Capture) -> Self {
        self.capture = Some(capture);
        self
    }

    /// Sets the limit of each text in bytes. Default: [`Limits::TEXT`](crate::Limits::TEXT).
    pub fn with_text_limit(mut self, bytes: usize) -> Self {
        self.settings.limits.text = bytes;
        self
    }

    /// Sets the limit of each attribute with content in bytes. Default: [`Limits::ATTRIBUTE`](crate::Limits::ATTRIBUTE).
    pub fn with_attribute_limit(mut self, bytes: usize) -> Self {
        self.settings.limits.attribute = bytes;
        self
    }

    /// Adds an API, which takes precedence over the built-in ones.
    pub fn with_api(mut self, api: impl Api + 'static) -> Self {
        self.settings.apis.push(Arc::new(CatchPanicApi(api)));
        self
    }

    /// Sets the provider of a host, or of a host and port: `("localhost:8000", "vllm")`. Default for an unknown host: the
    /// vendor of the API.
    pub fn with_provider(mut self, host: impl Into<String>, provider: impl Into<String>) -> Self {
        self.settings.providers.push((host.into().to_ascii_lowercase(), provider.into()));
        self
    }

    /// Requests token counts for chat streams of OpenAI-compatible APIs (`stream_options.include_usage`) if the caller does
    /// not. Default: off, requests are never changed.
    ///
    /// The stream then has one more chunk at its end, with empty `choices`, which the caller receives.
    pub fn with_include_usage(mut self, include: bool) -> Self {
        self.settings.include_usage = include;
        self
    }

    /// Injects the context into the headers of the call with the global propagator. Default: off, since providers are third
    /// parties. Meant for a gateway under one's own control.
    pub fn with_propagation(mut self, propagate: bool) -> Self {
        self.settings.propagate = propagate;
        self
    }

    /// Shows each model call to this interceptor before it is sent. Default: none.
    pub fn with_interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.settings.interceptor = Some(Arc::new(interceptor));
        self
    }

    /// Sets the function that waits between the chunks of a recorded response with a [`Pace`](crate::interceptor::Pace):
    /// `with_timer(tokio::time::sleep)`. Default: a timer that needs no runtime.
    #[cfg(feature = "_playback")]
    pub fn with_timer<F>(mut self, sleep: impl Fn(std::time::Duration) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.settings.timer = Timer::new(Arc::new(move |duration| Box::pin(sleep(duration))));
        self
    }

    /// Records the metrics of the conventions with this meter provider: token usage, duration, time to first chunk.
    #[cfg(feature = "metrics")]
    pub fn with_meter_provider(mut self, provider: &dyn opentelemetry::metrics::MeterProvider) -> Self {
        self.settings.metrics = Some(crate::metrics::Metrics::new(&provider.meter_with_scope(scope())));
        self
    }

    /// Builds the instrumentation.
    #[must_use]
    pub fn build(self) -> Instrumentation {
        let mut settings = self.settings;
        let environment = || Capture::from_environment(std::env::var_os(CAPTURE_VARIABLE));
        settings.capture = self.capture.unwrap_or_else(environment);
        Instrumentation { settings: Arc::new(settings) }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Builder").field("capture", &self.capture).finish_non_exhaustive()
    }
}
