//! What can be done to the database, and how.

use retrace_protocol::{Id, Json, TracePatch};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use super::{StoreError, read};
use crate::ingest::{Content, TraceRow, Upload};

/// One change.
#[derive(Debug)]
pub(crate) enum Change {
    /// Store a new trace with its spans.
    Create(Box<Upload>),
    /// Lay an end over a stored trace.
    Patch(Id, Box<TracePatch>),
    /// Remove a trace, its spans and its mark.
    Delete(Id),
    /// Set or remove a trace's golden mark; the trace need not be there yet.
    Golden(Id, bool),
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was made.
    Done,
    /// There is such a trace already; it is as it was.
    Exists,
    /// There is no such trace.
    Unknown,
}

impl Change {
    /// Makes the change in the transaction that `database` is in.
    pub(super) fn make(&self, database: &Connection) -> Result<Outcome, StoreError> {
        match self {
            Self::Create(upload) => create(database, upload),
            Self::Patch(id, patch) => merge(database, id, patch),
            Self::Delete(id) => delete(database, id),
            Self::Golden(id, golden) => mark(database, id, *golden),
        }
    }
}

fn create(database: &Connection, upload: &Upload) -> Result<Outcome, StoreError> {
    let trace = &upload.trace;
    let mut insert = database.prepare_cached(
        "INSERT INTO traces (id, started_micros, status, head, input, output, metadata)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING",
    )?;
    if write_trace(&mut insert, trace)? == 0 {
        return Ok(Outcome::Exists);
    }
    let trace_id = trace.id.as_text();
    let mut insert = database.prepare_cached(
        "INSERT INTO spans (trace_id, id, head, input, output, metadata) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for span in &upload.spans {
        let Content { input, output, metadata } = &span.content;
        insert.execute(params![trace_id, span.id.as_text(), span.head, text(input), text(output), text(metadata)])?;
    }
    Ok(Outcome::Done)
}

fn merge(database: &Connection, id: &Id, patch: &TracePatch) -> Result<Outcome, StoreError> {
    let Some(mut trace) = read::trace_record(database, id)? else { return Ok(Outcome::Unknown) };
    trace.apply(patch.clone().into_ended(id.clone()));
    let mut update = database.prepare_cached(
        "UPDATE traces SET started_micros = ?2, status = ?3, head = ?4, input = ?5, output = ?6, metadata = ?7
         WHERE id = ?1",
    )?;
    write_trace(&mut update, &TraceRow::new(id.clone(), trace)?)?;
    Ok(Outcome::Done)
}

fn delete(database: &Connection, id: &Id) -> Result<Outcome, StoreError> {
    let id = id.as_text();
    let known: Option<i64> = database
        .prepare_cached("DELETE FROM traces WHERE id = ?1 RETURNING key")?
        .query_row([&id], |row| row.get(0))
        .optional()?;
    if known.is_none() {
        return Ok(Outcome::Unknown);
    }
    database.prepare_cached("DELETE FROM spans WHERE trace_id = ?1")?.execute([&id])?;
    database.prepare_cached("DELETE FROM golden WHERE trace_id = ?1")?.execute([&id])?;
    Ok(Outcome::Done)
}

fn mark(database: &Connection, id: &Id, golden: bool) -> Result<Outcome, StoreError> {
    let statement = if golden {
        "INSERT INTO golden (trace_id) VALUES (?1) ON CONFLICT (trace_id) DO NOTHING"
    } else {
        "DELETE FROM golden WHERE trace_id = ?1"
    };
    database.prepare_cached(statement)?.execute([id.as_text()])?;
    Ok(Outcome::Done)
}

fn write_trace(statement: &mut CachedStatement<'_>, row: &TraceRow) -> rusqlite::Result<usize> {
    let Content { input, output, metadata } = &row.content;
    statement.execute(params![
        row.id.as_text(),
        row.started_micros,
        row.status.map(retrace_protocol::Status::as_str),
        row.head,
        text(input),
        text(output),
        text(metadata),
    ])
}

fn text(json: &Option<Json>) -> Option<&str> {
    json.as_ref().map(Json::as_str)
}
