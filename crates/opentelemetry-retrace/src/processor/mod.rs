//! Span processor that sends runs while they happen.

pub(crate) mod held_start;
pub(crate) mod wrapping_processor;

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::{Span as _, Status, TraceContextExt as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use crate::log::startup_log::StartupLog;
use crate::processor::wrapping_processor::Around;
use crate::recording::queue::SpanEvent;
use crate::remote::{Commands, CommandsError};
use crate::sampler::head_sampling::AgentScope;
use crate::span::not_sent::is_not_sent;
use crate::span::span_stub::SpanStub;
use crate::span::start_hint;
use crate::stats::Stats;
use crate::trace_context::RemoteRunContext;
use crate::transport::requests::Requests;
use crate::worker::builder::Builder;
use crate::worker::worker_handle::{Pipeline, WayIn};

/// Status description of a span that ended while a panic unwound its thread; the SDK sets none.
const UNWOUND: &str = "the thread panicked";

/// Configures a [`RetraceSpanProcessor`].
pub type RetraceSpanProcessorBuilder = Builder<RetraceSpanProcessor>;

/// Sends the runs among the spans of a pipeline to Retrace, while they happen.
///
/// An ordinary [`SpanProcessor`], to be used beside any other processor and exporter, or, at less cost,
/// around another one ([`RetraceSpanProcessor::around`]). A run shows up the moment its first GenAI span
/// begins; tools and agents show as running, model calls when they end. A span begins as a GenAI span if its
/// first attributes show it, or its name: `invoke_agent …`, `create_agent …`, `invoke_workflow …`,
/// `execute_tool …`, `retrace.…`. It does the same as [`crate::RetraceExporter`], but from the start of spans
/// and with [some differences](#differences-from-the-exporter); use one of the two, not both.
///
/// ```no_run
/// use opentelemetry_retrace::RetraceSpanProcessor;
/// use opentelemetry_sdk::trace::SdkTracerProvider;
///
/// let retrace = RetraceSpanProcessor::builder().build()?; // RETRACE_API_KEY from the environment
/// let provider = SdkTracerProvider::builder().with_span_processor(retrace.clone()).build();
/// // … the agent runs, and can be watched …
/// provider.shutdown()?;
/// println!("{:?}", retrace.stats());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What the application's threads do
/// A span that begins or ends is put into a queue bounded in bytes: one copy of the span and one short lock
/// that nobody holds while waiting. If a span is not selected, only its position is kept when it begins. The
/// worker is woken by the first span after a pause, and then looks by itself every millisecond until there is
/// another pause. When the queue is full, a start is left out and its data is sent with the end; an end that
/// finds no room is counted as lost. If a span is recorded and not sampled, only its end is taken, in case
/// its run fails ([`crate::Builder::with_failures`]).
///
/// # Beside the exporter
/// A run that has ended is the same as [`crate::RetraceExporter`] sends it: a step that later spans change is sent again when the
/// run ends. For that the content of runs under way is kept, in a quarter of the memory that open runs may take; a step
/// that is older than that stays as it was sent.
///
/// # Panics of the application
/// A span that ends while a panic unwinds its thread, and has no status, counts as failed. That includes a
/// span that a destructor begins and ends meanwhile: the two cases cannot be distinguished.
///
/// # Clones
/// Clones share one pipeline: keep one to read [`RetraceSpanProcessor::stats`]. When the last is dropped
/// without a shutdown, the waiting spans are flushed for as long as the flush timeout allows.
#[derive(Clone)]
pub struct RetraceSpanProcessor {
    /// `None` when recording is switched off.
    pipeline: Option<Arc<Pipeline>>,
    /// Declared after the pipeline, which is shut down when it is dropped.
    startup_log: Arc<StartupLog>,
}

impl WayIn for RetraceSpanProcessor {
    const IS_PROCESSOR: bool = true;

    fn into(pipeline: Option<Arc<Pipeline>>, startup_log: Arc<StartupLog>) -> Self {
        Self { pipeline, startup_log }
    }
}

impl RetraceSpanProcessor {
    /// Returns a builder. Settings that are not made come from the environment, then from the defaults.
    pub fn builder() -> RetraceSpanProcessorBuilder {
        RetraceSpanProcessorBuilder::default()
    }

    /// Returns the counts of all spans so far by outcome. All zeros when recording is switched off.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.pipeline.as_ref().map_or_else(Stats::default, |pipeline| pipeline.stats())
    }

    /// Subscribes to the commands by which the receiver runs functions of the application again: `resume` and
    /// `replay` frames. One part of an application takes them at a time. The connection is kept from now on,
    /// also while there is nothing to send.
    ///
    /// # Errors
    /// The application did not allow it ([`crate::Builder::with_remote_replay`]), the transport is
    /// [`crate::Transport::Http`], recording is off or over, or the commands have a subscriber already.
    pub fn commands(&self) -> Result<Commands, CommandsError> {
        self.pipeline.as_ref().ok_or(CommandsError::Disabled)?.commands()
    }

    /// Returns warnings about settings in the environment that could not be read, in the order in which they
    /// were found: those of this build, then those of the samplers and propagators that were built in this
    /// process. At most 64 lines of about 512 bytes; no key, no content.
    ///
    /// They are logged as well. The documentation of the crate explains where they go when no subscriber
    /// takes them.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.startup_log.warnings()
    }

    /// Returns true if anything is recorded; see `RETRACE_ENABLED`.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.pipeline.is_some()
    }

    /// Writes the warnings that no subscriber took.
    pub(crate) fn finish_log(&self) {
        self.startup_log.finish();
    }

    /// Client for other requests to the same receiver. `None` when recording is switched off.
    #[doc(hidden)]
    #[must_use]
    pub fn requests(&self) -> Option<Requests> {
        let blueprint = self.pipeline.as_ref()?.blueprint()?;
        Some(Requests::new(blueprint.config.clone(), blueprint.http_client.clone()))
    }

    /// Returns the flush timeout.
    #[doc(hidden)]
    #[must_use]
    pub fn flush_timeout(&self) -> Option<Duration> {
        Some(self.pipeline.as_ref()?.flush_timeout)
    }

    /// Returns a function from the `Context` of a call to the run of its span, if that run is sent, and the
    /// position in it of the called service's spans: for
    /// [`RetracePropagatorBuilder::with_runs`](crate::RetracePropagatorBuilder::with_runs).
    /// [`Installer`](crate::Installer) sets it up by itself.
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
    /// A run is known to be sent once one of its spans begins that is selected ([`crate::SpanSelection`]) by
    /// its attributes at that time. From the first call of this function on, each sampled span costs one more
    /// scan of its attributes and one short lock at its start and at its end. The memory is bounded: 16,384
    /// runs, 4,096 spans of each and 131,072 of all together.
    pub fn announcer(&self) -> impl Fn(&Context) -> Option<RemoteRunContext> + Clone + Send + Sync + use<> {
        let announcer = self.pipeline.as_ref().map(|pipeline| Arc::clone(&pipeline.announcer));
        if let Some(announcer) = &announcer {
            announcer.watch();
        }
        move |cx| announcer.as_ref()?.run(cx)
    }

    /// Wraps another processor with this one, for a pipeline that has both.
    ///
    /// To two processors side by side the SDK gives a copy of every span, of each attribute and event. As a
    /// wrapper, this processor copies only what is sent: GenAI spans, and the root above them. Of the other
    /// spans it keeps only the position, so that the tree stays whole. The runs are the same.
    /// [`SpanSelection::All`] and policies still copy every span.
    ///
    /// ```no_run
    /// use opentelemetry_retrace::RetraceSpanProcessor;
    /// use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider};
    /// # use opentelemetry_sdk::error::OTelSdkResult;
    /// # use opentelemetry_sdk::trace::{SpanData, SpanExporter};
    /// # #[derive(Debug)]
    /// # struct Otlp;
    /// # impl SpanExporter for Otlp {
    /// #     async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
    /// #         Ok(())
    /// #     }
    /// # }
    /// # let exporter = Otlp;
    ///
    /// let batches = BatchSpanProcessor::builder(exporter).build(); // to the backend that you have
    /// let retrace = RetraceSpanProcessor::builder().build()?;
    /// let provider = SdkTracerProvider::builder().with_span_processor(retrace.around(batches)).build();
    /// # Ok::<(), opentelemetry_retrace::BuildError>(())
    /// ```
    ///
    /// When a span begins, the SDK gives access to it only by a copy, which is made once and dropped again.
    /// With a [`RetraceSampler`](crate::RetraceSampler) in the provider there is no copy of a span without
    /// relevant attributes: the sampler has seen them. [`Installer`](crate::Installer) sets up both.
    ///
    /// A span that is not copied whole is not sent, with one exception: a run is sent before its root ends
    /// (after half an hour of silence, or 50,000 spans, or when memory is short), and then such a span ends
    /// after its parent and with GenAI spans below it. It is the root of what is sent from there on, without
    /// attributes, events and links of its own.
    ///
    /// [`SpanSelection::All`]: crate::SpanSelection::All
    pub fn around<P: SpanProcessor>(&self, other: P) -> Around<P> {
        Around::new(self.clone(), other)
    }

    /// Handles the start of a sampled span.
    pub(crate) fn began(&self, data: SpanData) {
        let Some(pipeline) = &self.pipeline else { return };
        if is_not_sent(&data.attributes) {
            return;
        }
        pipeline.announcer.began(&data);
        let light = if pipeline.lightens { SpanStub::of(&data, pipeline.reads_state) } else { None };
        let _ = match light {
            Some(light) => pipeline.push_beginning(light),
            None => pipeline.push_seen(SpanEvent::Began(data)),
        };
    }

    /// Handles the end of a span that another processor receives as well.
    pub(crate) fn copy_end(&self, span: &SpanData) {
        let Some(pipeline) = self.ended(span) else { return };
        let mut light = if pipeline.lightens { SpanStub::of(span, pipeline.reads_state) } else { None };
        if let Some(light) = light.as_mut().filter(|_| thread::panicking()) {
            light.unwound();
        }
        let _ = pipeline.push_copy(span, light, || unwound(span.clone()));
    }

    /// Records the end of a span; returns the pipeline if it wants the span.
    fn ended(&self, span: &SpanData) -> Option<&Pipeline> {
        let pipeline = self.pipeline.as_ref()?;
        if is_not_sent(&span.attributes) {
            return None;
        }
        pipeline.announcer.ended(span);
        (pipeline.takes_unsampled || span.span_context.is_sampled()).then_some(pipeline)
    }

    /// Flushes, and runs `meanwhile` at the same time.
    pub(crate) fn flush_while<R>(&self, meanwhile: impl FnOnce() -> R) -> (OTelSdkResult, R) {
        match &self.pipeline {
            Some(pipeline) => pipeline.flush_while(meanwhile),
            None => (Ok(()), meanwhile()),
        }
    }

    /// Shuts down, and runs `meanwhile` at the same time.
    pub(crate) fn shut_down_while<R>(&self, within: Duration, meanwhile: impl FnOnce() -> R) -> (OTelSdkResult, R) {
        let stopped = match &self.pipeline {
            Some(pipeline) => pipeline.shut_down_while(within, meanwhile),
            None => (Ok(()), meanwhile()),
        };
        self.startup_log.finish();
        stopped
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
    fn on_start(&self, span: &mut Span, cx: &Context) {
        let Some(pipeline) = &self.pipeline else { return self.startup_log.retry_detached() };
        if let Some(agent) = cx.get::<AgentScope>() {
            agent.name_on(span);
        }
        let (parent, context) = (cx.span(), span.span_context());
        let parent = parent.span_context();
        let has_no_hint = start_hint::has_no_hint(parent);
        if !context.is_sampled() {
            if pipeline.takes_unsampled && (!parent.is_valid() || parent.is_remote()) {
                pipeline.root_began(context.trace_id());
            }
            return;
        }
        // A start without room, or after a shutdown, is covered by the end of the span, which is counted.
        if has_no_hint && pipeline.lightens {
            pipeline.announcer.began_unselected(context, parent.span_id());
            let _ = pipeline.push_beginning(SpanStub::beginning(context, parent.span_id(), pipeline.reads_state));
            return;
        }
        let Some(data) = span.exported_data() else { return };
        if let Some(data) = held_start::hold(self, data) {
            self.began(data);
        }
    }

    fn on_end(&self, span: SpanData) {
        let Some(pipeline) = self.ended(&span) else { return };
        // After a shutdown nothing is recorded, by the caller's decision.
        let _ = pipeline.push_seen(SpanEvent::Ended(unwound(span)));
    }

    /// Waits until all events so far are confirmed or lost, for as long as the flush timeout allows. Over
    /// HTTP, runs that have not ended stay open and are not waited for.
    fn force_flush(&self) -> OTelSdkResult {
        self.flush_while(|| ()).0
    }

    /// Flushes and stops, within `timeout`. Spans that are not delivered by then are counted as lost.
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.shut_down_while(timeout, || ()).0
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(pipeline) = &self.pipeline {
            pipeline.set_resource(resource);
        }
    }
}

/// Sets an error status on a span that a panic ended, unless it has a status.
fn unwound(mut span: SpanData) -> SpanData {
    if span.status == Status::Unset && thread::panicking() {
        span.status = Status::error(UNWOUND);
    }
    span
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
    use crate::RetraceSampler;
    use crate::recording::queue::{Message, Queue};
    use crate::testing::{chat, span_data};
    use opentelemetry::trace::{SpanBuilder, Tracer as _, TracerProvider as _};
    use opentelemetry::{KeyValue, StringValue};
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use retrace_translate::SpanSelection;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_span_that_a_panic_ends_has_failed_unless_it_says_otherwise() {
        struct EndsWhenDropped(RetraceSpanProcessor, Status);
        impl Drop for EndsWhenDropped {
            fn drop(&mut self) {
                self.0.on_end(SpanData { status: self.1.clone(), ..span_data(1, 0, "s") });
            }
        }
        let queue = Arc::new(Queue::new(1 << 20));
        let pipeline = Pipeline::alone(Arc::clone(&queue));
        let processor = <RetraceSpanProcessor as WayIn>::into(Some(Arc::new(pipeline)), Arc::default());
        drop(EndsWhenDropped(processor.clone(), Status::Unset));
        for status in [Status::Unset, Status::Ok, Status::error("mine")] {
            let span = EndsWhenDropped(processor.clone(), status);
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let _span = span;
                panic!("as intended");
            }));
            assert!(unwound.is_err());
        }
        let mut messages = queue.take(std::time::Instant::now()).messages;
        let [Message::Seen(seen)] = &mut messages[..] else { panic!("four spans ended") };
        let statuses: Vec<_> = seen
            .drain()
            .map(|seen| match seen {
                SpanEvent::Ended(span) | SpanEvent::Began(span) => span.status,
            })
            .collect();
        assert_eq!(statuses, [Status::Unset, Status::error(UNWOUND), Status::Ok, Status::error("mine")]);
    }

    /// Returns a span with an attribute whose copies can be counted.
    fn counted(span: SpanData) -> (SpanData, Arc<str>) {
        let value: Arc<str> = Arc::from("value");
        let attribute = KeyValue::new("http.route", StringValue::from(Arc::clone(&value)));
        (SpanData { attributes: [span.attributes, vec![attribute]].concat(), ..span }, value)
    }

    #[test]
    fn around_another_only_what_is_sent_is_copied() {
        let of = |selection: SpanSelection| {
            let queue = Arc::new(Queue::new(1 << 20));
            let mut pipeline = Pipeline::alone(queue);
            pipeline.lightens = selection == SpanSelection::GenAi;
            <RetraceSpanProcessor as WayIn>::into(Some(Arc::new(pipeline)), Arc::default())
        };
        let copies = |processor: &RetraceSpanProcessor, span: SpanData| {
            let (span, value) = counted(span);
            processor.copy_end(&span);
            // Two references exist already: the span's own and the test's.
            Arc::strong_count(&value) - 2
        };
        let processor = of(SpanSelection::GenAi);
        processor.pipeline.as_ref().unwrap().push_seen(SpanEvent::Began(span_data(1, 0, "root"))).unwrap();
        assert_eq!(copies(&processor, span_data(2, 1, "GET")), 0);
        assert_eq!(copies(&processor, chat(3, 1)), 1);
        assert_eq!(copies(&processor, span_data(1, 0, "root")), 1);
        assert_eq!(copies(&processor, span_data(4, 1, "GET")), 1, "it may head what is told after the run");
        assert_eq!(copies(&of(SpanSelection::All), span_data(2, 1, "GET")), 1);
        let shut = of(SpanSelection::All);
        shut.shutdown_with_timeout(Duration::ZERO).unwrap_err();
        assert_eq!(copies(&shut, chat(2, 1)), 0);
        let off = <RetraceSpanProcessor as WayIn>::into(None, Arc::default());
        assert_eq!(copies(&off, chat(2, 1)), 0);
    }

    #[test]
    fn of_a_beginning_that_says_nothing_no_copy_is_made_where_the_sampler_is_ours() {
        start_hint::watch();
        let begun = |sampled_by_us: bool, attributes: Vec<KeyValue>| {
            let queue = Arc::new(Queue::new(1 << 20));
            let pipeline = Pipeline::alone(Arc::clone(&queue));
            let processor = <RetraceSpanProcessor as WayIn>::into(Some(Arc::new(pipeline)), Arc::default());
            let builder = SdkTracerProvider::builder().with_span_processor(processor);
            let provider = match sampled_by_us {
                true => builder.with_sampler(RetraceSampler::builder().with_sample_rate(1.0).build().unwrap()).build(),
                false => builder.build(),
            };
            let tracer = provider.tracer("test");
            let root = Context::new().with_span(tracer.start_with_context("root", &Context::new()));
            let child = tracer.build_with_context(SpanBuilder::from_name("child").with_attributes(attributes), &root);
            let mut messages = queue.take(std::time::Instant::now()).messages;
            let seen = messages.iter_mut().filter_map(|message| match message {
                Message::Seen(seen) => Some(seen.drain().collect::<Vec<_>>()),
                _ => None,
            });
            let [SpanEvent::Began(first), SpanEvent::Began(second)] = &seen.flatten().collect::<Vec<_>>()[..] else {
                panic!()
            };
            assert_eq!((&*first.name, first.start_time > UNIX_EPOCH), ("root", true));
            let (context, parent) = (child.span_context(), root.span().span_context().span_id());
            assert_eq!((second.span_context.span_id(), second.parent_span_id), (context.span_id(), parent));
            assert_eq!(second.span_context.trace_id(), context.trace_id());
            // A full copy has the start time.
            (second.start_time > UNIX_EPOCH, second.name.to_string())
        };
        let http = || vec![KeyValue::new("http.route", "/")];
        let chat = || vec![KeyValue::new("gen_ai.operation.name", "chat")];
        let session = || vec![KeyValue::new("session.id", "s")];
        assert_eq!(begun(true, http()), (false, String::new()));
        assert_eq!(begun(true, Vec::new()), (false, String::new()));
        assert_eq!(begun(true, chat()), (true, "child".to_owned()));
        assert_eq!(begun(true, session()), (true, String::new()));
        assert_eq!(begun(false, http()), (true, String::new()));
        assert_eq!(begun(false, chat()), (true, "child".to_owned()));
    }
}
