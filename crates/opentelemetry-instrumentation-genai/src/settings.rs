//! Settings that an instrumentation shares with its calls.

use std::sync::Arc;

use opentelemetry::global::BoxedTracer;

use crate::api::Api;
use crate::content_policy::{Capture, Limits};
use crate::interceptor::Interceptor;
#[cfg(feature = "_playback")]
use crate::interceptor::Timer;
use crate::json::{TruncationLimits, UnreadPath};

/// Settings of an [`Instrumentation`](crate::Instrumentation).
pub(crate) struct Settings {
    pub(crate) tracer: Option<BoxedTracer>,
    pub(crate) capture: Capture,
    pub(crate) limits: Limits,
    pub(crate) apis: Vec<Arc<dyn Api>>,
    pub(crate) providers: Vec<(String, String)>,
    pub(crate) include_usage: bool,
    pub(crate) propagate: bool,
    pub(crate) interceptor: Option<Arc<dyn Interceptor>>,
    #[cfg(feature = "_playback")]
    pub(crate) timer: Timer,
    #[cfg(feature = "metrics")]
    pub(crate) metrics: Option<crate::metrics::Metrics>,
}

impl Settings {
    pub(crate) fn measures(&self) -> bool {
        #[cfg(feature = "metrics")]
        return self.metrics.is_some();
        #[cfg(not(feature = "metrics"))]
        false
    }
}

/// Returns the limits of a document of a request or a response.
pub(crate) fn truncation_limits(settings: &Settings, unread: &'static [UnreadPath]) -> TruncationLimits {
    // A short document has no text that would be cut; without content capture it only has to be short.
    let (text, short) = match settings.capture.is_on() {
        true => (settings.limits.text, settings.limits.text.min(settings.limits.attribute)),
        false => (Limits::NAME, 4096),
    };
    // A document holds more than one attribute: messages, tools, response.
    TruncationLimits { text, document: settings.limits.attribute.saturating_mul(4), short, unread }
}
