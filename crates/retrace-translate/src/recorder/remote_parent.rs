//! How spans hang from a run that another process records.

use retrace_protocol::Id;

use crate::options::Options;
use crate::span_reader::Agent;
use crate::view::{Parent, SpanView};

/// What the caller of a local root says of the run to which it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteParent {
    /// The span of the caller's under which it stands; nothing when it stands under the trace itself.
    pub parent: Option<[u8; 8]>,
    pub session: Option<String>,
    pub agent: Option<Agent>,
}

impl RemoteParent {
    /// `None` for a span that begins a run of its own, and for one that begins nothing.
    ///
    /// Retrace's own SDKs write the first half of the trace id where `traceparent` has the parent (PROTOCOL.md section 17):
    /// who calls like that records the trace.
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

    /// Bytes that it takes, roughly.
    pub(crate) fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        size_of::<Self>() + text(&self.session) + self.agent.as_ref().map_or(0, |agent| agent.id.len())
    }
}
