//! Interface of the crate `retrace-sdk`: decisions of the sampler before a span is made, and the agent of a context.
//!
//! Not part of the public API.

use std::sync::Arc;

use opentelemetry::trace::{TraceId, TraceState};
use opentelemetry_sdk::trace::IdGenerator as _;

use crate::id_generator::{RetraceIdGenerator, preset_trace_id};
use crate::sampler::RetraceSampler;

/// Decides on roots as the sampler of a provider does, without a span.
#[derive(Clone, Debug)]
pub struct HeadSampler {
    sampler: RetraceSampler,
    ids: RetraceIdGenerator,
}

/// Decision on a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Nothing is recorded.
    Drop,
    /// The span is recorded, under this trace id if there is one.
    Record(Option<TraceId>),
}

impl HeadSampler {
    /// Decides as a provider with this sampler and this generator does.
    #[must_use]
    pub fn new(sampler: RetraceSampler, ids: RetraceIdGenerator) -> Self {
        Self { sampler, ids }
    }

    /// Decides on a root of this name. A trace id that was drawn for the decision must be the one of the span:
    /// [`HeadSampler::with_trace_id`].
    #[must_use]
    pub fn decide(&self, name: &str) -> Head {
        if self.sampler.records_all() {
            return Head::Record(None);
        }
        if self.sampler.decides_by_name() {
            let keeps = self.sampler.keeps_root(TraceId::INVALID, name, &TraceState::NONE);
            return if keeps { Head::Record(None) } else { Head::Drop };
        }
        let trace_id = self.ids.new_trace_id();
        match self.sampler.keeps_root(trace_id, name, &TraceState::NONE) {
            true => Head::Record(Some(trace_id)),
            false => Head::Drop,
        }
    }

    /// Runs `start`; the first trace id that a [`RetraceIdGenerator`] makes on this thread meanwhile is `trace_id`.
    pub fn with_trace_id<R>(trace_id: Option<TraceId>, start: impl FnOnce() -> R) -> R {
        match trace_id {
            Some(trace_id) => preset_trace_id(trace_id, start),
            None => start(),
        }
    }
}

/// Agent of all spans that begin below a context that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentScope {
    /// Its id.
    pub id: Arc<str>,
    /// Its role.
    pub role: Option<Arc<str>>,
    /// The id of the agent that called it.
    pub parent: Option<Arc<str>>,
}
