//! Conversion of client data to stored data. Pure: no socket, no clock, no database.
//!
//! [`upload`] and [`patch`] parse and check a body, [`TraceRow`] and [`SpanRow`] are its stored form and convert back
//! to the records. [`frame()`] parses and checks a WebSocket frame, and [`FieldUpdate`] merges such events into one record in
//! any order. [`retrace_protocol::Trace::apply`] merges an uploaded end into a stored record.

mod check;
pub(crate) mod field_names;
mod frame;
mod merge;
mod read;
mod row;

pub(crate) use frame::{BadFrame, Frame, Numbered, frame};
pub(crate) use merge::{FieldUpdate, FieldVersions, Fields, fields_of};
pub(crate) use read::{patch, upload};
pub(crate) use retrace_otlp::json_body as json;
pub(crate) use row::{Content, EndedSpan, SpanRow, TraceRow};

use retrace_protocol::read::Refusal;

/// Longest accepted id, in bytes. Each stored record has a path with its id, which limits the length.
pub(crate) const MAX_ID_BYTES: usize = 512;

/// A body that passed all checks, as rows.
#[derive(Debug)]
pub(crate) struct Upload {
    /// The trace.
    pub(crate) trace: TraceRow,
    /// Its spans, in the order of the request.
    pub(crate) spans: Vec<SpanRow>,
    /// The run belongs to another process, which sends its start and its end (`metadata.otel.joined`).
    pub(crate) joined: bool,
}

/// Returns a refusal of one field.
pub(crate) fn blame(field: impl Into<String>, error: impl Into<String>) -> Refusal {
    Refusal { error: error.into(), field: Some(field.into()) }
}
