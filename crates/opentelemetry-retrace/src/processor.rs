//! The span processor: it sees spans begin, so that runs are told while they happen.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::{Span as _, Status};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use crate::builder::RetraceSpanProcessorBuilder;
use crate::inbox::Seen;
use crate::pipeline::{Pipeline, WayIn};
use crate::propagator::RecordedRun;
use crate::stats::Stats;

/// What a span failed of that ended because a panic unwound through it; the SDK says nothing of that.
const UNWOUND: &str = "the thread panicked";

/// Sends the runs among the spans of a pipeline to Retrace, while they happen.
///
/// An ordinary [`SpanProcessor`]: it stands beside any other processor and exporter. A run shows up the moment its first
/// GenAI span begins; tools and agents show as running, model calls when they end. What [`crate::RetraceExporter`] does
/// with spans that have ended, this does from their start; use one of the two, not both.
///
/// ```no_run
/// use opentelemetry_retrace::RetraceSpanProcessor;
/// use opentelemetry_sdk::trace::SdkTracerProvider;
///
/// let retrace = RetraceSpanProcessor::builder().with_api_key("rt_…").build()?;
/// let provider = SdkTracerProvider::builder().with_span_processor(retrace.clone()).build();
/// // … the agent runs, and can be watched …
/// provider.shutdown()?;
/// println!("{:?}", retrace.stats());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What the application's threads do
/// A span that begins or ends is put into a queue bounded in bytes: one copy of the span and one short lock that nobody
/// holds while waiting. When the queue is full a beginning is left out, and told with the end; an end that finds no room is
/// counted as lost. Of a span that is recorded and not sampled only the end is taken, in case its run fails
/// ([`crate::Builder::with_failures`]).
///
/// # Panics of the application
/// A span that ends while a panic unwinds its thread, and has no status, counts as failed. That includes one that a
/// destructor began and ended meanwhile: nothing tells them apart.
///
/// # Clones
/// Clones share one pipeline: keep one to read [`RetraceSpanProcessor::stats`]. When the last is dropped without a
/// shutdown, what is left is flushed for as long as the flush timeout allows.
#[derive(Clone)]
pub struct RetraceSpanProcessor {
    /// Nothing when recording is switched off.
    pipeline: Option<Arc<Pipeline>>,
}

impl WayIn for RetraceSpanProcessor {
    fn into(pipeline: Option<Arc<Pipeline>>) -> Self {
        Self { pipeline }
    }
}

impl RetraceSpanProcessor {
    /// Begins to configure a processor. What is not set comes from the environment, then from the defaults.
    pub fn builder() -> RetraceSpanProcessorBuilder {
        RetraceSpanProcessorBuilder::default()
    }

    /// What became of every span so far. All zeros when recording is switched off.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.pipeline.as_ref().map_or_else(Stats::default, |pipeline| pipeline.stats())
    }

    /// Whether anything is recorded; see `RETRACE_ENABLED`.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.pipeline.is_some()
    }

    pub(crate) fn flush_timeout(&self) -> Option<Duration> {
        Some(self.pipeline.as_ref()?.flush_timeout)
    }

    /// Says of the `Context` of a call whether the run of its span is sent, and where in it what is called has its place: for
    /// [`RetracePropagatorBuilder::with_runs`](crate::RetracePropagatorBuilder::with_runs). [`crate::install()`] does that by
    /// itself.
    ///
    /// ```no_run
    /// use opentelemetry::global;
    /// use opentelemetry_retrace::{RetracePropagator, RetraceSpanProcessor};
    ///
    /// let retrace = RetraceSpanProcessor::builder().build()?;
    /// let propagator = RetracePropagator::builder().with_runs(retrace.announcer()).build()?;
    /// global::set_text_map_propagator(propagator.compose_with_baggage());
    /// # Ok::<(), opentelemetry_retrace::BuildError>(())
    /// ```
    ///
    /// A run is known to be sent from when a span of it began that is sent ([`crate::SpanSelection`]) by what is known of it
    /// then. From the first call of this function on, each sampled span costs one more look at its attributes and one short
    /// lock at either end. What it needs is bounded: 16,384 runs, 4,096 spans of each and 131,072 of all together.
    pub fn announcer(&self) -> impl Fn(&Context) -> Option<RecordedRun> + Clone + Send + Sync + use<> {
        let announcer = self.pipeline.as_ref().map(|pipeline| Arc::clone(&pipeline.announcer));
        if let Some(announcer) = &announcer {
            announcer.watch();
        }
        move |cx| announcer.as_ref()?.run(cx)
    }

    /// [`SpanProcessor::force_flush`] for async code: does not block a thread, and runs on any executor.
    ///
    /// # Errors
    /// As [`SpanProcessor::force_flush`].
    pub async fn flush(&self) -> OTelSdkResult {
        match &self.pipeline {
            Some(pipeline) => pipeline.flush().await,
            None => Ok(()),
        }
    }
}

impl SpanProcessor for RetraceSpanProcessor {
    fn on_start(&self, span: &mut Span, _: &Context) {
        let Some(pipeline) = &self.pipeline else { return };
        if !span.span_context().is_sampled() {
            return;
        }
        if let Some(data) = span.exported_data() {
            pipeline.announcer.began(&data);
            // What finds no room, or comes after a shutdown, is told when it ends, or counted then.
            let _ = pipeline.push_seen(Seen::Began(data));
        }
    }

    fn on_end(&self, mut span: SpanData) {
        let Some(pipeline) = &self.pipeline else { return };
        pipeline.announcer.ended(&span);
        if pipeline.takes_unsampled || span.span_context.is_sampled() {
            if span.status == Status::Unset && thread::panicking() {
                span.status = Status::error(UNWOUND);
            }
            // After a shutdown nothing is recorded; that is the caller's doing.
            let _ = pipeline.push_seen(Seen::Ended(span));
        }
    }

    /// Waits until all that was said so far is confirmed or lost, for as long as the flush timeout allows. Over HTTP, runs
    /// that have not ended stay open and are not waited for.
    fn force_flush(&self) -> OTelSdkResult {
        self.pipeline.as_ref().map_or(Ok(()), |pipeline| pipeline.force_flush())
    }

    /// Flushes and stops, within `timeout`. What is not delivered by then is counted as lost.
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.pipeline.as_ref().map_or(Ok(()), |pipeline| pipeline.shut_down(timeout))
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(pipeline) = &self.pipeline {
            pipeline.set_resource(resource);
        }
    }
}

impl fmt::Debug for RetraceSpanProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetraceSpanProcessor")
            .field("enabled", &self.is_enabled())
            .field("stats", &self.stats())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::inbox::{Inbox, Message};
    use crate::testing::span_data;

    #[test]
    fn a_span_that_a_panic_ends_has_failed_unless_it_says_otherwise() {
        struct EndsWhenDropped(RetraceSpanProcessor, Status);
        impl Drop for EndsWhenDropped {
            fn drop(&mut self) {
                self.0.on_end(SpanData { status: self.1.clone(), ..span_data(1, 0, "s") });
            }
        }
        let inbox = Arc::new(Inbox::new(1 << 20));
        let pipeline = Pipeline::alone(Arc::clone(&inbox));
        let processor = RetraceSpanProcessor { pipeline: Some(Arc::new(pipeline)) };
        drop(EndsWhenDropped(processor.clone(), Status::Unset));
        for status in [Status::Unset, Status::Ok, Status::error("mine")] {
            let span = EndsWhenDropped(processor.clone(), status);
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let _span = span;
                panic!("as intended");
            }));
            assert!(unwound.is_err());
        }
        let messages = inbox.take(std::time::Instant::now()).messages;
        let [Message::Seen(seen)] = &messages[..] else { panic!("four spans ended") };
        let statuses: Vec<_> = seen
            .iter()
            .map(|seen| match seen {
                Seen::Ended(span) | Seen::Began(span) => span.status.clone(),
            })
            .collect();
        assert_eq!(statuses, [Status::Unset, Status::error(UNWOUND), Status::Ok, Status::error("mine")]);
    }
}
