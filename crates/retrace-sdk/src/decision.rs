//! The decision on a run or a step before its span is made.

use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::trace::{SpanBuilder, SpanContext, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry_retrace::__private::{AgentScope, Head, HeadSampler};
use opentelemetry_retrace::RetraceIdGenerator;

use opentelemetry_sdk::trace::IdGenerator as _;

use crate::installed::Installed;
use crate::recorded::Innermost;

/// Decision on a run or a step.
#[derive(Debug, Default)]
pub(crate) enum Decision {
    /// It is not recorded, and spans below it need not be marked.
    #[default]
    Nothing,
    /// A run that was not sampled: so is everything below it.
    Unsampled,
    /// It is recorded, or the sampler of the provider decides.
    Record(Place),
}

/// Where a span is made.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) installed: Arc<Installed>,
    pub(crate) parent: Context,
    /// The agent of the current context, else of the parent.
    pub(crate) agent: Option<AgentScope>,
    /// A span of this process stands above it.
    pub(crate) has_parent: bool,
    /// A run or a step of this crate stands above it.
    pub(crate) has_recorded_parent: bool,
    /// The span will be recorded: what describes it can be evaluated before it is made.
    pub(crate) is_certain: bool,
    trace_id: Option<TraceId>,
}

impl Place {
    /// Makes the span; gives its context.
    pub(crate) fn start(&self, builder: SpanBuilder) -> Context {
        HeadSampler::with_trace_id(self.trace_id, || self.installed.start(builder, &self.parent))
    }
}

impl Decision {
    /// Returns true if it may be recorded.
    pub(crate) fn records(&self) -> bool {
        matches!(self, Self::Record(_))
    }

    /// Returns true if it may be recorded with its inputs and outputs.
    pub(crate) fn records_content(&self) -> bool {
        matches!(self, Self::Record(place) if place.installed.captures_content)
    }

    /// Decides on a run or a step of this name that is current below the current context.
    pub(crate) fn here(name: &str) -> Self {
        Context::map_current(|parent| Self::of(parent, || parent.get::<AgentScope>().cloned(), name))
    }

    /// Decides on a run or a step of this name below a context. An agent scope around the caller holds all the same.
    pub(crate) fn below(parent: &Context, name: &str) -> Self {
        let agent = || Context::map_current(|cx| cx.get().cloned()).or_else(|| parent.get().cloned());
        Self::of(parent, agent, name)
    }

    fn of(parent: &Context, agent: impl FnOnce() -> Option<AgentScope>, name: &str) -> Self {
        Installed::with(|installed| {
            if !installed.is_enabled || parent.is_telemetry_suppressed() {
                return Self::Nothing;
            }
            let above = Above::of(parent);
            let (is_certain, trace_id) = match above {
                Above::Unrecorded => return Self::Nothing,
                Above::Recording => (true, None),
                Above::Remote => (false, None),
                Above::Nothing => match installed.head.as_ref().map(|head| head.decide(name)) {
                    Some(Head::Drop) => return Self::Unsampled,
                    Some(Head::Record(trace_id)) => (true, trace_id),
                    None => (false, None),
                },
            };
            let has_parent = matches!(above, Above::Recording);
            Self::Record(Place {
                installed: Arc::clone(installed),
                parent: parent.clone(),
                agent: agent(),
                has_parent,
                has_recorded_parent: has_parent && parent.get::<Innermost>().is_some(),
                is_certain,
                trace_id,
            })
        })
    }
}

/// The span above a context.
enum Above {
    Nothing,
    Remote,
    Recording,
    Unrecorded,
}

impl Above {
    fn of(parent: &Context) -> Self {
        if !parent.has_active_span() {
            return Self::Nothing;
        }
        let span = parent.span();
        let context = span.span_context();
        match (context.is_valid(), context.is_remote()) {
            (false, _) => Self::Nothing,
            (true, true) => Self::Remote,
            (true, false) if span.is_recording() => Self::Recording,
            (true, false) => Self::Unrecorded,
        }
    }
}

/// Context of a run that was not sampled: spans below it are not sampled either.
pub(crate) fn unsampled(parent: &Context) -> Context {
    let ids = RetraceIdGenerator::default();
    let (trace_id, span_id) = (ids.new_trace_id(), ids.new_span_id());
    let span = SpanContext::new(trace_id, span_id, TraceFlags::default(), false, TraceState::NONE);
    parent.with_remote_span_context(span)
}
