//! From what a client sent to what is stored. Pure: no socket, no clock, no database.
//!
//! [`upload`] and [`patch`] read and check a body, [`TraceRow`] and [`SpanRow`] are what the store keeps of it and turn
//! back into the records they came from. [`frame()`] reads and checks what comes over a WebSocket, and [`Word`] is how such
//! events become one record whatever order they come in. Merging an uploaded end into a stored record is
//! [`retrace_protocol::Trace::apply`].

mod check;
mod frame;
mod merge;
mod read;
mod row;

pub(crate) use frame::{BadFrame, Frame, Numbered, frame};
pub(crate) use merge::{Clocks, Fields, Word, fields_of};
pub(crate) use read::{json, patch, upload};
pub(crate) use row::{Content, SpanRow, TraceRow};

use retrace_protocol::read::Refusal;

/// Longest id that is taken, in bytes. Every stored record can be asked for by its path, so an id has to fit into one.
pub(crate) const MAX_ID_BYTES: usize = 512;

/// A body that passed all checks, as rows.
#[derive(Debug)]
pub(crate) struct Upload {
    /// The trace.
    pub(crate) trace: TraceRow,
    /// Its spans, in the order they were sent.
    pub(crate) spans: Vec<SpanRow>,
    /// The run belongs to another process, which says its beginning and its end (`metadata.otel.joined`).
    pub(crate) joined: bool,
}

/// A refusal that blames one field.
pub(crate) fn blame(field: impl Into<String>, error: impl Into<String>) -> Refusal {
    Refusal { error: error.into(), field: Some(field.into()) }
}
