//! Decorator around another span processor, so that the SDK has one only.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use crate::processor::RetraceSpanProcessor;

/// A [`RetraceSpanProcessor`] around another processor, made by [`RetraceSpanProcessor::around`].
///
/// The other processor receives every call, as if it were alone: each start before Retrace does, each ended
/// span unchanged and on the same thread, each flush, the shutdown, the resource. A flush or a shutdown runs
/// in both at the same time, so neither waits for the time that the other takes; errors of both are returned.
#[derive(Debug)]
pub struct Around<P> {
    retrace: RetraceSpanProcessor,
    other: P,
}

impl<P> Around<P> {
    pub(crate) fn new(retrace: RetraceSpanProcessor, other: P) -> Self {
        Self { retrace, other }
    }

    /// Returns the other processor.
    pub fn other(&self) -> &P {
        &self.other
    }
}

impl<P: SpanProcessor> SpanProcessor for Around<P> {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        self.other.on_start(span, cx);
        self.retrace.on_start(span, cx);
    }

    fn on_end(&self, span: SpanData) {
        self.retrace.copy_end(&span);
        self.other.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        let (ours, others) = self.retrace.flush_while(|| self.other.force_flush());
        both(ours, others)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let (ours, others) = self.retrace.shut_down_while(timeout, || self.other.shutdown_with_timeout(timeout));
        both(ours, others)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.retrace.set_resource(resource);
        self.other.set_resource(resource);
    }
}

/// Combines the results of both processors.
fn both(ours: OTelSdkResult, others: OTelSdkResult) -> OTelSdkResult {
    match (ours, others) {
        (Ok(()), result) | (result, Ok(())) => result,
        (Err(OTelSdkError::AlreadyShutdown), Err(OTelSdkError::AlreadyShutdown)) => Err(OTelSdkError::AlreadyShutdown),
        (Err(OTelSdkError::Timeout(ours)), Err(OTelSdkError::Timeout(others))) => {
            Err(OTelSdkError::Timeout(ours.max(others)))
        }
        (Err(ours), Err(others)) => {
            Err(OTelSdkError::InternalFailure(format!("Retrace: {ours}; the other processor: {others}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_either_says_is_reported() {
        let failed = |what: &str| OTelSdkError::InternalFailure(what.to_owned());
        let timeout = |secs| OTelSdkError::Timeout(Duration::from_secs(secs));
        for (ours, others, expected) in [
            (Ok(()), Ok(()), "Ok(())"),
            (Err(timeout(1)), Ok(()), "Err(Timeout(1s))"),
            (Ok(()), Err(failed("b")), r#"Err(InternalFailure("b"))"#),
            (Err(timeout(1)), Err(timeout(2)), "Err(Timeout(2s))"),
            (Err(OTelSdkError::AlreadyShutdown), Err(OTelSdkError::AlreadyShutdown), "Err(AlreadyShutdown)"),
        ] {
            assert_eq!(format!("{:?}", both(ours, others)), expected);
        }
        let Err(OTelSdkError::InternalFailure(text)) = both(Err(failed("a")), Err(failed("b"))) else { panic!() };
        assert!(text.contains("a; the other") && text.ends_with('b'), "{text}");
    }
}
