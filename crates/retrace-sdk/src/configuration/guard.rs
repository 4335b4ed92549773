//! The guard of a pipeline.

use opentelemetry_retrace::{RetraceSpanProcessor, Stats};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanProcessor as _};

use crate::dropped_guard;
use crate::installed::Installed;
use crate::recorded::open;

/// Keeps what [`install`](crate::install()) set up. Dropping it, also when a panic unwinds, ends the runs that are under way as
/// failed, flushes within the flush timeout, and stops recording.
#[derive(Debug)]
#[must_use = "when it is dropped, recording stops"]
pub struct Guard {
    pipeline: Pipeline,
    generation: u64,
}

#[derive(Debug)]
enum Pipeline {
    /// Its provider is ours.
    Own(Option<opentelemetry_retrace::Guard>),
    /// Its provider is the application's.
    Layered(RetraceSpanProcessor),
}

impl Guard {
    pub(crate) fn installed(guard: opentelemetry_retrace::Guard, generation: u64) -> Self {
        Self { pipeline: Pipeline::Own(Some(guard)), generation }
    }

    pub(crate) fn layered(processor: RetraceSpanProcessor, generation: u64) -> Self {
        Self { pipeline: Pipeline::Layered(processor), generation }
    }

    /// The provider, also the global one; `None` when nothing is recorded, and where the application made it.
    #[must_use]
    pub fn provider(&self) -> Option<&SdkTracerProvider> {
        match &self.pipeline {
            Pipeline::Own(guard) => guard.as_ref()?.provider(),
            Pipeline::Layered(_) => None,
        }
    }

    /// The processor that sends to Retrace.
    #[must_use]
    pub fn processor(&self) -> Option<&RetraceSpanProcessor> {
        match &self.pipeline {
            Pipeline::Own(guard) => guard.as_ref().map(opentelemetry_retrace::Guard::processor),
            Pipeline::Layered(processor) => Some(processor),
        }
    }

    /// Returns the counts of spans accepted, delivered and lost so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.processor().map(RetraceSpanProcessor::stats).unwrap_or_default()
    }

    /// Returns the warnings about settings in the environment that could not be read.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.processor().map(RetraceSpanProcessor::warnings).unwrap_or_default()
    }

    /// Waits until everything that has ended is delivered or lost, for as long as the flush timeout allows. Blocks the thread.
    ///
    /// # Errors
    /// As [`SdkTracerProvider::force_flush`].
    pub fn flush(&self) -> OTelSdkResult {
        match self.provider() {
            Some(provider) => provider.force_flush(),
            None => self.processor().map_or(Ok(()), RetraceSpanProcessor::force_flush),
        }
    }

    /// [`Guard::flush`] of what is sent to Retrace, for async code: blocks no thread, and runs on any executor.
    ///
    /// # Errors
    /// As [`RetraceSpanProcessor::flush`].
    pub async fn flush_async(&self) -> OTelSdkResult {
        match self.processor() {
            Some(processor) => processor.flush().await,
            None => Ok(()),
        }
    }

    /// Flushes and stops, and returns what a drop would keep to itself. `Ok` as well if the pipeline was shut down before.
    ///
    /// # Errors
    /// As [`SdkTracerProvider::shutdown`].
    pub fn shutdown(mut self) -> OTelSdkResult {
        self.stop()
    }

    fn stop(&mut self) -> OTelSdkResult {
        open::end_all();
        Installed::remove(self.generation);
        let stopped = match &mut self.pipeline {
            Pipeline::Own(guard) => guard.take().map_or(Ok(()), opentelemetry_retrace::Guard::shutdown),
            Pipeline::Layered(processor) => processor.force_flush(),
        };
        match stopped {
            // Whoever shut it down had the result.
            Err(OTelSdkError::AlreadyShutdown) => Ok(()),
            stopped => stopped,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let own = match &self.pipeline {
            Pipeline::Own(guard) => guard.as_ref().map(|guard| guard.processor().clone()),
            Pipeline::Layered(_) => None,
        };
        // Nobody is left to take the result; what was lost is in the log, or on standard error.
        let _ = self.stop();
        let stats = own.filter(RetraceSpanProcessor::is_enabled).map(|processor| processor.stats());
        if stats.is_some_and(|stats| stats.accepted + stats.set_aside == 0) {
            dropped_guard::dropped();
        }
    }
}
