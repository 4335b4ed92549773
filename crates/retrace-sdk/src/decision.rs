//! The decision on a run or a step before its span is made.

use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::trace::{SpanBuilder, SpanContext, TraceContextExt as _, TraceId};
use opentelemetry_retrace::__private::{AgentScope, Head, HeadSampler};

use crate::installed::{Installed, Started};
use crate::recorded::Innermost;

/// Decision on a run or a step.
#[derive(Debug, Default)]
pub(crate) enum Decision {
    /// It is not recorded, and spans below it need not be marked.
    #[default]
    Nothing,
    /// A run that was not sampled, and its place in traces: nothing below it is sampled either.
    Unsampled(SpanContext),
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
    /// How many runs and steps of this crate stand above it, if the nearest is in this process.
    pub(crate) depth: u32,
    /// The span will be recorded: what describes it can be evaluated before it is made.
    pub(crate) is_certain: bool,
    trace_id: Option<TraceId>,
}

impl Place {
    /// Makes the span.
    pub(crate) fn start(&self, builder: SpanBuilder) -> Started {
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
        if Installed::is_off() {
            return Self::Nothing;
        }
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
                Above::Ended | Above::Remote => (false, None),
                Above::Nothing => match installed.head.as_ref().map(|head| head.decide(name)) {
                    Some(Head::Drop(span)) => return Self::Unsampled(span),
                    Some(Head::Record(trace_id)) => (true, trace_id),
                    None => (false, None),
                },
            };
            let has_parent = matches!(above, Above::Recording | Above::Ended);
            Self::Record(Place {
                installed: Arc::clone(installed),
                parent: parent.clone(),
                agent: agent(),
                has_parent,
                depth: match parent.get::<Innermost>() {
                    Some(above) if has_parent => above.0.depth().saturating_add(1),
                    _ => 0,
                },
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
    /// It has ended, and was recorded: what begins below it late still belongs there.
    Ended,
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
            (true, false) if context.is_sampled() || parent.get::<Innermost>().is_some() => Self::Ended,
            (true, false) => Self::Unrecorded,
        }
    }
}
