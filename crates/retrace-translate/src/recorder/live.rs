//! What is told of a run while it happens.

use retrace_protocol::{Id, Span, Trace};

use crate::recorder::Recorded;

/// Something of a run that is told while it happens.
#[derive(Debug)]
pub struct Live {
    /// The Retrace trace.
    pub run: Id,
    /// What happened.
    pub event: LiveEvent,
}

/// What happened in a run.
///
/// Of one run, [`LiveEvent::Began`] comes first and [`LiveEvent::Ended`] last. A run that is let go before it ends never
/// gets the latter.
#[derive(Debug)]
pub enum LiveEvent {
    /// The run began. Comes again, before [`LiveEvent::Ended`], when more is known of what it began with: its name, input,
    /// metadata or session.
    Began(Trace),
    /// A step began and is under way: it has no end, no duration and no output. Its [`LiveEvent::SpanEnded`] says all of
    /// it again.
    SpanBegan(Span),
    /// A step has ended; the whole span. One that was made up from messages has no sources.
    SpanEnded(Recorded),
    /// The run ended: all that `Began` said, and its end.
    Ended(Trace),
}
