//! Interface of the crate `retrace-sdk`: decisions of the sampler before a span is made, and the agent of a context.
//!
//! Not part of the public API.

use std::sync::Arc;

use opentelemetry::trace::{Span as _, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::Span;
use retrace_translate::quick_scan;

use crate::id_generator::{RetraceIdGenerator, preset_trace_id};
use crate::sampler::RetraceSampler;
use crate::span::view::value;

/// Sampler of roots that decides as the one of a provider, without a span.
#[derive(Clone, Debug)]
pub struct HeadSampler {
    sampler: RetraceSampler,
    ids: RetraceIdGenerator,
}

/// Decision on a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The root and everything below it are not recorded.
    Drop(Unsampled),
    /// The span is recorded, under this trace id if there is one.
    Record(Option<TraceId>),
}

/// Context value under which runs are sampled whatever the rate is, such as those that a person requests.
#[derive(Clone, Copy, Debug)]
pub struct AlwaysSampled;

/// Root that is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsampled {
    trace_id: TraceId,
    span_id: SpanId,
}

impl Unsampled {
    /// Returns a context for everything below the root: spans there are not sampled either, in this process
    /// and in others.
    #[must_use]
    pub fn below(self, parent: &Context) -> Context {
        let Self { trace_id, span_id } = self;
        let span = SpanContext::new(trace_id, span_id, TraceFlags::default(), false, TraceState::NONE);
        parent.with_remote_span_context(span)
    }
}

impl HeadSampler {
    /// Creates a sampler that decides as a provider with this sampler and this generator.
    #[must_use]
    pub fn new(sampler: RetraceSampler, ids: RetraceIdGenerator) -> Self {
        Self { sampler, ids }
    }

    /// Decides on a root of this name. A span must then be started with the trace id of the decision:
    /// [`HeadSampler::with_trace_id`].
    #[must_use]
    #[inline]
    pub fn decide(&self, name: &str) -> Head {
        // The attributes are unknown here: the provider's sampler decides on the span.
        if self.sampler.records_all() || self.sampler.wants_whole_root() {
            return Head::Record(None);
        }
        let (trace_id, span_id) = self.ids.new_root_ids();
        if self.sampler.keeps_root(trace_id, name) {
            return Head::Record(Some(trace_id));
        }
        Head::Drop(Unsampled { trace_id, span_id })
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
    /// Id of the agent.
    pub id: Arc<str>,
    /// Role of the agent.
    pub role: Option<Arc<str>>,
    /// Id of the agent that called it.
    pub parent: Option<Arc<str>>,
}

impl AgentScope {
    /// Returns the attributes by which a span names the agent.
    pub fn attributes(&self) -> impl Iterator<Item = KeyValue> {
        let pairs = [
            ("retrace.agent_id", Some(&self.id)),
            ("retrace.agent_role", self.role.as_ref()),
            ("retrace.parent_agent_id", self.parent.as_ref()),
        ];
        pairs.into_iter().filter_map(|(key, value)| Some(KeyValue::new(key, Arc::clone(value?))))
    }

    /// Sets the agent on a GenAI span that begins without one. The nearest span above it that names an agent
    /// may be outside of the scope.
    pub(crate) fn name_on(&self, span: &mut Span) {
        let Some(data) = span.exported_data() else { return };
        let seen =
            quick_scan(&data.name, "", data.attributes.iter().map(|pair| (pair.key.as_str(), || value(&pair.value))));
        if seen.genai && seen.agent_id.is_none() {
            span.set_attributes(self.attributes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::trace::{IdGenerator as _, SdkTracerProvider};

    #[test]
    fn decisions_are_those_of_the_provider() {
        let rated = RetraceSampler::builder().with_failures(false).with_sample_rate(0.5);
        for sampler in [rated.clone().build().unwrap(), rated.with_sample_seed("seed").build().unwrap()] {
            let ids = RetraceIdGenerator::default();
            let head = HeadSampler::new(sampler.clone(), ids.clone());
            let provider = SdkTracerProvider::builder().with_sampler(sampler).with_id_generator(ids).build();
            let tracer = provider.tracer("test");
            let (mut recorded, mut dropped) = (0, HashSet::new());
            for name in (0..200).map(|n| format!("agent-{n}")) {
                let trace_id = match head.decide(&name) {
                    Head::Record(trace_id) => trace_id,
                    Head::Drop(unsampled) => {
                        let below = unsampled.below(&Context::new());
                        let span = below.span().span_context().clone();
                        // Calls below it carry these ids to other services.
                        assert!(span.is_valid() && !span.is_remote() && !span.is_sampled());
                        assert!(dropped.insert(span.trace_id()), "each run has an id of its own");
                        continue;
                    }
                };
                let span = HeadSampler::with_trace_id(trace_id, || tracer.start(name));
                assert!(span.is_recording());
                assert!(trace_id.is_none_or(|trace_id| trace_id == span.span_context().trace_id()));
                recorded += 1;
            }
            // The range is six standard deviations wide.
            assert!((58..=142).contains(&recorded), "{recorded}");
        }
    }

    #[test]
    fn a_trace_id_is_used_once_and_gone_after_a_panic() {
        let ids = RetraceIdGenerator::default();
        let trace_id = TraceId::from(7_u128);
        let made = HeadSampler::with_trace_id(Some(trace_id), || [ids.new_trace_id(), ids.new_trace_id()]);
        assert!(made[0] == trace_id && made[1] != trace_id);
        let panics = || HeadSampler::with_trace_id(Some(trace_id), || std::panic::resume_unwind(Box::new(())));
        assert!(std::panic::catch_unwind(panics).is_err());
        assert_ne!(ids.new_trace_id(), trace_id);
    }
}
