//! Propagator that carries traces from service to service.

mod headers;
mod names;
pub(crate) mod remote_run_registry;
pub mod traceparent;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};
use retrace_translate::attributes;

use crate::config::BuildError;
use crate::trace_context::context::{Announced, Received};
use crate::trace_context::run;
use crate::trace_context::tracestate::Members;
use crate::trace_context::{RemoteRunContext, Traceparent};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// Propagator that [`Installer`](crate::Installer) set up, for functions that have none of their own.
static INSTALLED: RwLock<Option<RetracePropagator>> = RwLock::new(None);
static FIELDS: LazyLock<[String; 2]> = LazyLock::new(|| [TRACEPARENT.to_owned(), TRACESTATE.to_owned()]);

/// Carries traces from service to service: W3C Trace Context level 2, with the announcement of runs recorded
/// in Retrace.
///
/// ```
/// use opentelemetry::global;
/// use opentelemetry_retrace::RetracePropagator;
///
/// global::set_text_map_propagator(RetracePropagator::default().compose_with_baggage());
/// ```
///
/// It takes the place of the SDK's `TraceContextPropagator` and follows the standard where that one does not:
/// it checks the length and the characters of every field, reads all fields of a repeated header, and passes
/// on the random flag and the `tracestate` entries of others unchanged and in their order. The parts that the
/// SDK's types cannot hold stay in the `Context`, so spans must be started from the `Context` that was
/// extracted (`start_with_context`, `set_parent`); where only a `SpanContext` is kept, keys with more than
/// one `@` and the random flag below an unsampled parent are lost.
///
/// Extraction: an invalid or repeated `traceparent` leaves the `Context` as it is, so a new trace begins. A
/// `tracestate` with an invalid part is dropped as a whole, and the trace goes on.
///
/// Injection: without a valid span nothing is written. `tracestate` is left out when it is empty; it holds 32
/// entries at most and 8 KiB, beyond which whole entries are cut, those over 128 characters first, then from
/// the right. A remote span that is passed on with no span in between keeps its `tracestate` unchanged.
///
/// A carrier that can be written but not cleared, such as OpenTelemetry's `Injector`, keeps the `tracestate` of an earlier
/// call when it is used again for one that has none: use a new one, or [`RetracePropagator::inject_headers`].
///
/// # Runs
/// [`RemoteRunContext`] announces a trace that Retrace records to the next service. The propagator announces none
/// on its own, because a span does not show whether its trace is recorded:
/// [`RetracePropagatorBuilder::with_runs`] with
/// [`RetraceSpanProcessor::announcer`](crate::RetraceSpanProcessor::announcer) announces it, and so does
/// [`RemoteRunContext::announce`].
#[derive(Clone, Default)]
pub struct RetracePropagator {
    settings: RetracePropagatorBuilder,
}

/// Function from a `Context` to the announcement of its trace; `None` if the trace is not recorded in
/// Retrace.
type Runs = Arc<dyn Fn(&Context) -> Option<RemoteRunContext> + Send + Sync>;

/// Configures a [`RetracePropagator`].
#[derive(Clone, Default)]
#[must_use = "a builder does nothing until build() is called"]
pub struct RetracePropagatorBuilder {
    runs: Option<Runs>,
    without_runs: bool,
    random_ids: bool,
}

impl RetracePropagatorBuilder {
    /// Sets the function that returns the announcement of the run for the `Context` of an outgoing call;
    /// `None` if its trace is not recorded in Retrace. It is called on the thread that calls, and only when
    /// the span is sampled; its result takes precedence over [`RemoteRunContext::announce`]. If it panics, nothing
    /// is announced. Default: no trace is announced, except by [`RemoteRunContext::announce`].
    ///
    /// The next service leaves the start and the end of the run to this one, so a run that is announced is
    /// also sent: if the announcement has no [span](RemoteRunContext::with_span_id) and no processor of this
    /// process has a position for the call in a run that is sent, the calling span becomes part of the run,
    /// by the attribute [`attributes::OUTGOING_CALL`]. Return `None` for a
    /// trace that an exporter samples out.
    ///
    /// [`RetraceSpanProcessor::announcer`](crate::RetraceSpanProcessor::announcer) returns the runs that are
    /// sent. An exporter sees no span begin, so beside an exporter every trace that calls another service is
    /// announced, with GenAI spans or without:
    ///
    /// ```
    /// use opentelemetry_retrace::{RemoteRunContext, RetracePropagator};
    ///
    /// let propagator = RetracePropagator::builder().with_runs(|_| Some(RemoteRunContext::new())).build()?;
    /// # Ok::<(), opentelemetry_retrace::BuildError>(())
    /// ```
    pub fn with_runs(mut self, runs: impl Fn(&Context) -> Option<RemoteRunContext> + Send + Sync + 'static) -> Self {
        self.runs = Some(Arc::new(runs));
        self
    }

    /// Sets whether a [`RemoteRunContext`] is read and written. If not, this is a propagator of plain W3C Trace
    /// Context, and an entry of Retrace is passed on like any other. Default: yes.
    pub fn with_recorded_runs(mut self, recorded_runs: bool) -> Self {
        self.without_runs = !recorded_runs;
        self
    }

    /// Sets whether the last seven bytes of trace ids of this process are random, as those of
    /// [`RetraceIdGenerator`](crate::RetraceIdGenerator) and of the SDK's generator are. If so, traces that
    /// begin here are sent with the random flag. Default: no.
    ///
    /// A trace counts as begun here when its `Context` was not made from one that a propagator of this kind
    /// extracted.
    pub fn with_random_ids(mut self, random_ids: bool) -> Self {
        self.random_ids = random_ids;
        self
    }

    /// Builds the propagator.
    ///
    /// # Errors
    /// None at present.
    pub fn build(self) -> Result<RetracePropagator, BuildError> {
        if self.runs.is_some() {
            remote_run_registry::watch_all();
        }
        Ok(RetracePropagator { settings: self })
    }
}

impl fmt::Debug for RetracePropagatorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetracePropagatorBuilder")
            .field("runs", &self.runs.is_some())
            .field("recorded_runs", &!self.without_runs)
            .field("random_ids", &self.random_ids)
            .finish()
    }
}

impl RetracePropagator {
    /// Returns a builder for a propagator.
    pub fn builder() -> RetracePropagatorBuilder {
        RetracePropagatorBuilder::default()
    }

    pub(crate) fn set_installed(self) {
        *INSTALLED.write().unwrap_or_else(PoisonError::into_inner) = Some(self);
    }

    /// Returns the propagator that [`Installer`](crate::Installer) set up, or one with default settings.
    pub(crate) fn installed() -> Self {
        INSTALLED.read().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    /// Returns the `traceparent` for a call from this `Context`.
    pub(crate) fn traceparent(&self, cx: &Context) -> Option<Traceparent> {
        let span = cx.span();
        let parent = Traceparent::of(span.span_context())?;
        Some(match Received::of(cx) {
            Some(received) => parent.with_random(received.random),
            None if self.settings.random_ids && !span.span_context().is_remote() => parent.with_random(true),
            None => parent,
        })
    }

    /// Returns the `tracestate` for a call from this `Context`.
    fn tracestate(&self, cx: &Context) -> Option<String> {
        let span = cx.span();
        let state = span.span_context().trace_state();
        let mut members = match Received::of(cx) {
            Some(received) if received.state == *state => Cow::Borrowed(&received.members),
            Some(received) => Cow::Owned(received.members.changed(&received.state, state)),
            None => Cow::Owned(Members::of(state)),
        };
        if let Some(run) = self.run(cx) {
            members.to_mut().put_first(run::KEY, &run.to_value());
        }
        members.to_header()
    }

    /// Returns the announcement for a call. A remote span is passed on unchanged: its own service announces
    /// it.
    fn run(&self, cx: &Context) -> Option<RemoteRunContext> {
        let span = cx.span();
        if self.settings.without_runs || span.span_context().is_remote() || !span.span_context().is_sampled() {
            return None;
        }
        let ask = |runs: &Runs| catch_unwind(AssertUnwindSafe(|| runs(cx))).unwrap_or_default();
        let run = self.settings.runs.as_ref().and_then(ask).or_else(|| Announced::of(cx).cloned())?;
        if run.span_id().is_some() {
            return Some(run);
        }
        // The callee's spans need a parent that is in the run.
        let position = remote_run_registry::position(cx);
        if !position.as_ref().is_some_and(|position| position.is_sent) {
            span.set_attribute(KeyValue::new(attributes::OUTGOING_CALL, true));
        }
        Some(match position {
            Some(position) => run.or(position.run),
            None => run,
        })
    }
}

impl fmt::Debug for RetracePropagator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetracePropagator").field("settings", &self.settings).finish()
    }
}

impl TextMapPropagator for RetracePropagator {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let Some(parent) = self.traceparent(cx) else { return };
        injector.set(TRACEPARENT, parent.to_string());
        if let Some(state) = self.tracestate(cx) {
            injector.set(TRACESTATE, state);
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let parent = match extractor.get_all(TRACEPARENT).as_deref() {
            Some([one]) => one.parse::<Traceparent>().ok(),
            _ => None,
        };
        let Some(parent) = parent else { return cx.clone() };
        let fields = extractor.get_all(TRACESTATE).unwrap_or_default();
        let members = Members::parse(&fields).unwrap_or_default();
        let state = members.to_state();
        let entry = members.get(run::KEY).filter(|_| !self.settings.without_runs);
        let received = Received {
            trace_id: parent.trace_id(),
            random: parent.is_random(),
            run: entry.and_then(RemoteRunContext::parse),
            state: state.clone(),
            members,
        };
        cx.with_remote_span_context(parent.with_state(state)).with_value(received)
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&*FIELDS)
    }
}
