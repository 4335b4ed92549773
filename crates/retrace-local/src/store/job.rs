//! Changes of the database.

use retrace_protocol::{Id, Json, TracePatch};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use super::index::IndexedRun;
use super::otlp::OtlpRun;
use super::prune::{self, Prune};
use super::{StoreError, event, fork, index, read};
use crate::ingest::{Content, Numbered, TraceRow, Upload};

/// A change of the database.
#[derive(Debug)]
pub(crate) enum Change {
    /// Store a new trace with its spans, complete a trace that began over a WebSocket and has not ended, or add spans
    /// to one that another process records.
    Create(Box<Upload>),
    /// Apply an end to a stored trace.
    Patch(Id, Box<TracePatch>),
    /// Remove a trace, its spans and its mark.
    Delete(Id),
    /// Set or remove a trace's golden mark; the trace need not exist.
    Golden(Id, bool),
    /// Store events of live runs; each may be stored repeatedly.
    Events(Vec<Numbered>),
    /// Store an emission of an OTLP run.
    Otlp(Box<OtlpRun>),
    /// Change forks.
    Fork(Box<fork::ForkChange>),
    /// Write runs into the index.
    Index(Vec<IndexedRun>),
    /// Remove some of the oldest traces; [`Outcome::Unknown`] if there are none to remove.
    Prune(Prune),
    /// Return some of the free space to the system; [`Outcome::Unknown`] if there is none.
    GiveBack,
}

/// Result of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The change was made.
    Done,
    /// The change was merged into an existing trace.
    Merged,
    /// The trace exists, and is unchanged.
    Exists,
    /// The trace does not exist.
    Unknown,
    /// A newer execution of the fork has begun.
    Superseded,
    /// The lease of the execution has ended.
    Expired,
}

impl Change {
    /// Makes the change in the transaction that `database` is in.
    ///
    /// `version` is the version of the changed rows.
    pub(super) fn make(&self, database: &Connection, version: i64) -> Result<Outcome, StoreError> {
        match self {
            Self::Create(upload) => {
                let outcome = create(database, upload, version)?;
                fork::follow(database, &upload.trace.id, upload.trace.content.metadata.as_ref(), version)?;
                Ok(outcome)
            }
            Self::Patch(id, patch) => {
                let outcome = merge(database, id, patch, version)?;
                fork::follow(database, id, None, version)?;
                Ok(outcome)
            }
            Self::Delete(id) => delete(database, id),
            Self::Golden(id, golden) => mark(database, id, *golden, version),
            Self::Events(events) => {
                event::store(database, events, version)?;
                fork::follow_events(database, events, version)?;
                Ok(Outcome::Done)
            }
            Self::Otlp(run) => run.store(database, version),
            Self::Fork(change) => change.make(database, version),
            Self::Index(runs) => runs.iter().try_for_each(|run| run.store(database)).map(|()| Outcome::Done),
            Self::Prune(prune) => prune.make(database),
            Self::GiveBack => prune::give_back(database),
        }
    }
}

fn create(database: &Connection, upload: &Upload, version: i64) -> Result<Outcome, StoreError> {
    if upload.joined {
        let is_known = event::join_upload(database, upload, version)?;
        return Ok(if is_known { Outcome::Merged } else { Outcome::Done });
    }
    let trace = &upload.trace;
    let mut insert = database.prepare_cached(
        "INSERT INTO traces (id, started_micros, status, head, input, output, metadata, version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING",
    )?;
    if write_trace(&mut insert, trace, version)? == 0 {
        return Ok(if event::merge_upload(database, upload, version)? { Outcome::Merged } else { Outcome::Exists });
    }
    if event::has_spans(database, &trace.id)? {
        event::add_spans(database, upload, version)?;
        return Ok(Outcome::Done);
    }
    let trace_id = trace.id.as_text();
    let mut insert = database.prepare_cached(
        "INSERT INTO spans (trace_id, id, head, input, output, metadata, version, failed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for span in &upload.spans {
        let Content { input, output, metadata } = &span.content;
        let (input, output, metadata) = (text(input), text(output), text(metadata));
        let id = span.id.as_text();
        insert.execute(params![trace_id, id, span.head, input, output, metadata, version, span.failed])?;
    }
    Ok(Outcome::Done)
}

fn merge(database: &Connection, id: &Id, patch: &TracePatch, version: i64) -> Result<Outcome, StoreError> {
    let Some(mut trace) = read::trace_record(database, id)? else { return Ok(Outcome::Unknown) };
    trace.apply(patch.clone().into_ended(id.clone()));
    let mut update = database.prepare_cached(
        "UPDATE traces SET started_micros = ?2, status = ?3, head = ?4, input = ?5, output = ?6, metadata = ?7,
             version = ?8, otlp = 0
         WHERE id = ?1",
    )?;
    write_trace(&mut update, &TraceRow::new(id.clone(), trace)?, version)?;
    Ok(Outcome::Done)
}

pub(super) fn delete(database: &Connection, id: &Id) -> Result<Outcome, StoreError> {
    let id = id.as_text();
    let known: Option<i64> = database
        .prepare_cached("DELETE FROM traces WHERE id = ?1 RETURNING key")?
        .query_row([&id], |row| row.get(0))
        .optional()?;
    let Some(key) = known else { return Ok(Outcome::Unknown) };
    index::remove(database, key)?;
    database.prepare_cached("DELETE FROM spans WHERE trace_id = ?1")?.execute([&id])?;
    database.prepare_cached("DELETE FROM early_ends WHERE trace_id = ?1")?.execute([&id])?;
    database.prepare_cached("DELETE FROM golden WHERE trace_id = ?1")?.execute([&id])?;
    database.prepare_cached("DELETE FROM joined WHERE trace_id = ?1")?.execute([&id])?;
    fork::forget_run(database, &id)?;
    Ok(Outcome::Done)
}

fn mark(database: &Connection, id: &Id, golden: bool, version: i64) -> Result<Outcome, StoreError> {
    let statement = if golden {
        "INSERT INTO golden (trace_id) VALUES (?1) ON CONFLICT (trace_id) DO NOTHING"
    } else {
        "DELETE FROM golden WHERE trace_id = ?1"
    };
    database.prepare_cached(statement)?.execute([id.as_text()])?;
    let mut update = database.prepare_cached("UPDATE traces SET version = ?2 WHERE id = ?1")?;
    update.execute(params![id.as_text(), version])?;
    Ok(Outcome::Done)
}

fn write_trace(statement: &mut CachedStatement<'_>, row: &TraceRow, version: i64) -> rusqlite::Result<usize> {
    let Content { input, output, metadata } = &row.content;
    statement.execute(params![
        row.id.as_text(),
        row.started_micros,
        row.status.map(retrace_protocol::Status::as_str),
        row.head,
        text(input),
        text(output),
        text(metadata),
        version,
    ])
}

pub(super) fn text(json: &Option<Json>) -> Option<&str> {
    json.as_ref().map(Json::as_str)
}
