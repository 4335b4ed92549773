//! Parent of a run's spans in another process.

use retrace_protocol::Id;

use crate::options::Options;
use crate::span_reader::Agent;
use crate::view::{Parent, SpanView};

/// Facts that the caller of a local root states about the run to which it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteParent {
    /// The calling span; `None` if the local root is a child of the trace itself.
    pub parent: Option<[u8; 8]>,
    pub session: Option<String>,
    pub agent: Option<Agent>,
}

impl RemoteParent {
    /// Returns `None` for a span that begins a run of its own, and for one that is no local root.
    ///
    /// Retrace's own SDKs write the first half of the trace id as the parent in `traceparent` (PROTOCOL.md section 17), which
    /// shows that the caller records the trace.
    pub(crate) fn of<V: SpanView>(span: &V, options: &Options) -> Option<Self> {
        let Parent::Remote(parent) = span.parent() else { return None };
        if !options.join {
            return None;
        }
        let trace = Id::from_otel_trace(span.trace_id()).to_otel_span();
        match span.caller() {
            Some(caller) => Some(Self {
                parent: Some(caller.span_id.unwrap_or(parent)).filter(|parent| trace != Some(*parent)),
                session: caller.session_id,
                agent: caller.agent_id.map(|id| Agent { id: id.into(), role: None, parent: None }),
            }),
            None => (trace == Some(parent)).then_some(Self { parent: None, session: None, agent: None }),
        }
    }

    /// Approximate size in bytes.
    pub(crate) fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        size_of::<Self>() + text(&self.session) + self.agent.as_ref().map_or(0, |agent| agent.id.len())
    }
}
