//! The four events of a run.

use serde::{Serialize, Serializer};

use crate::{Id, Span, SpanEnded, Trace, TraceEnded};

/// One event of a run (PROTOCOL.md section 5).
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A run began.
    TraceStarted(Box<Trace>),
    /// A step began, or a complete step.
    SpanStarted(Box<Span>),
    /// A step ended.
    SpanEnded(Box<SpanEnded>),
    /// A run ended.
    TraceEnded(Box<TraceEnded>),
}

impl Event {
    /// The frame type that carries this event.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::TraceStarted(_) => EventKind::TraceStarted,
            Self::SpanStarted(_) => EventKind::SpanStarted,
            Self::SpanEnded(_) => EventKind::SpanEnded,
            Self::TraceEnded(_) => EventKind::TraceEnded,
        }
    }

    /// Returns the id of the trace or span, which an ack names. A start without an id has none.
    #[must_use]
    pub fn id(&self) -> Option<&Id> {
        match self {
            Self::TraceStarted(trace) => trace.id.as_ref(),
            Self::SpanStarted(span) => Some(&span.id),
            Self::SpanEnded(end) => Some(&end.id),
            Self::TraceEnded(end) => Some(&end.id),
        }
    }

    /// Returns the id of the trace, if the event states it.
    #[must_use]
    pub fn trace_id(&self) -> Option<&Id> {
        match self {
            Self::TraceStarted(trace) => trace.id.as_ref(),
            Self::SpanStarted(span) => Some(&span.trace_id),
            Self::SpanEnded(end) => end.trace_id.as_ref(),
            Self::TraceEnded(end) => Some(&end.id),
        }
    }
}

impl Serialize for Event {
    /// Serialises the data only; a frame adds the type and the number.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::TraceStarted(data) => data.serialize(serializer),
            Self::SpanStarted(data) => data.serialize(serializer),
            Self::SpanEnded(data) => data.serialize(serializer),
            Self::TraceEnded(data) => data.serialize(serializer),
        }
    }
}

/// The four frame types of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// `trace_started`
    TraceStarted,
    /// `span_started`
    SpanStarted,
    /// `span_ended`
    SpanEnded,
    /// `trace_ended`
    TraceEnded,
}

impl EventKind {
    /// All kinds, in the order of a run.
    pub const ALL: [Self; 4] = [Self::TraceStarted, Self::SpanStarted, Self::SpanEnded, Self::TraceEnded];

    /// Returns the wire value of `type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TraceStarted => "trace_started",
            Self::SpanStarted => "span_started",
            Self::SpanEnded => "span_ended",
            Self::TraceEnded => "trace_ended",
        }
    }

    /// Reads a wire value; returns `None` for an unknown one.
    #[must_use]
    pub fn from_wire(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == value)
    }
}
