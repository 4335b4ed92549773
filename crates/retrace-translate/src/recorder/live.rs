//! What is told of a run while it happens.

use retrace_protocol::{Id, Span, Trace};

use crate::recorder::RecordedSpan;

/// Something of a run that is told while it happens.
#[derive(Debug)]
pub struct LiveUpdate {
    /// The Retrace trace.
    pub run: Id,
    /// The run belongs to the process that called this one, which says its beginning and its end.
    pub joined: bool,
    /// What happened.
    pub event: LiveEvent,
}

/// What happened in a run.
///
/// Of one run, [`LiveEvent::Began`] comes first and [`LiveEvent::Ended`] or [`LiveEvent::LetGo`] last.
///
/// Of a run that belongs to another process, [`LiveEvent::Began`] and [`LiveEvent::Ended`] say what would stand in its trace
/// if it began with these spans: only for a receiver that takes the spans in no other way.
#[derive(Debug)]
pub enum LiveEvent {
    /// The run began: running, no totals, no spans. Comes once more, when the telling ends, if by then more is known of what
    /// it began with: its name, input, metadata or session.
    RunStarted(Trace),
    /// A step began and is under way: it has no end, no duration, no output and no usage. Its [`LiveEvent::SpanEnded`] says
    /// all of it again, under the same parent.
    ///
    /// Model calls come without it, and so does what shows only at its end what it is; but one from which something hangs
    /// that was told comes like this when the telling ends before it does, so that every parent is there.
    SpanStarted(Span),
    /// A step has ended; the whole span. One that was made up from messages has no sources.
    SpanEnded(RecordedSpan),
    /// The run ended: all that `Began` said, and its end.
    RunEnded(Trace),
    /// Nothing more comes of the run, though its local roots have not ended: it was let go for lack of room or of any sign
    /// of life. It stays as it was told.
    RunAbandoned,
}
