//! The decision on a run or a step before its span is made.

use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::trace::{SpanBuilder, TraceContextExt as _, TraceId};
use opentelemetry_retrace::__private::{AgentScope, AlwaysSampled, Head, HeadSampler, Unsampled};

use super::Innermost;
use crate::installed::{Installed, Started};

/// Decision on a run or a step.
#[derive(Debug, Default)]
pub(crate) enum Decision {
    /// It is not recorded, and spans below it need not be marked.
    #[default]
    Nothing,
    /// A run that was not sampled, and its place in traces: nothing below it is sampled either.
    Unsampled(Unsampled),
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
    fn new(record: Record, parent: &Context, agent: Option<AgentScope>) -> Self {
        let Record { has_parent, is_certain, trace_id } = record;
        let depth = match parent.get::<Innermost>() {
            Some(above) if has_parent => above.0.depth().saturating_add(1),
            _ => 0,
        };
        Self { installed: Installed::current(), parent: parent.clone(), agent, has_parent, depth, is_certain, trace_id }
    }

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
        match Context::map_current(|parent| Verdict::of(parent, name)) {
            Verdict::Nothing => Self::Nothing,
            Verdict::Unsampled(span) => Self::Unsampled(span),
            Verdict::Record(record) => {
                let place = |parent: &Context| Place::new(record, parent, parent.get::<AgentScope>().cloned());
                Self::Record(Context::map_current(place))
            }
        }
    }

    /// Decides on a run or a step of this name below a context. An agent scope around the caller holds all the same.
    pub(crate) fn below(parent: &Context, name: &str) -> Self {
        if Installed::is_off() {
            return Self::Nothing;
        }
        match Verdict::of(parent, name) {
            Verdict::Nothing => Self::Nothing,
            Verdict::Unsampled(span) => Self::Unsampled(span),
            Verdict::Record(record) => {
                let agent = Context::map_current(|cx| cx.get().cloned()).or_else(|| parent.get().cloned());
                Self::Record(Place::new(record, parent, agent))
            }
        }
    }
}

/// Decision before a place is made for what is recorded. It is small: what is not recorded has nothing to carry.
#[derive(Debug)]
pub(crate) enum Verdict {
    Nothing,
    Unsampled(Unsampled),
    Record(Record),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    has_parent: bool,
    is_certain: bool,
    trace_id: Option<TraceId>,
}

impl Verdict {
    #[inline]
    fn of(parent: &Context, name: &str) -> Self {
        if parent.is_telemetry_suppressed() {
            return Self::Nothing;
        }
        let record = |has_parent, is_certain| Record { has_parent, is_certain, trace_id: None };
        Self::Record(match Above::of(parent) {
            Above::Unrecorded => return Self::Nothing,
            Above::Recording => record(true, true),
            Above::Ended => record(true, false),
            Above::Remote => record(false, false),
            Above::Nothing if parent.get::<AlwaysSampled>().is_some() => {
                record(false, Installed::with(|installed| installed.head.is_some()))
            }
            Above::Nothing => {
                match Installed::with(|installed| installed.head.as_ref().map(|head| head.decide(name))) {
                    Some(Head::Drop(span)) => return Self::Unsampled(span),
                    Some(Head::Record(trace_id)) => Record { trace_id, ..record(false, true) },
                    None => record(false, false),
                }
            }
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
