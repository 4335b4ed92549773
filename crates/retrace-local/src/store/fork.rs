//! Storage of forks and their executions.

use retrace_protocol::metadata::{FORK_EXECUTION_ID, FORK_ID};
use retrace_protocol::{Event, Id, Json, Status, Timestamp, Trace};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::job::Outcome;
use super::{Reader, StoreError, read};
use crate::fork::{Execution, Fork, ForkStatus, Mode, NewFork, now_micros};
use crate::ingest::Numbered;

/// Largest number of stored executions of a fork; older ones are removed.
const MAX_EXECUTIONS: u32 = 100;

/// A change of forks. Times are in microseconds since 1970.
#[derive(Debug)]
pub(crate) enum ForkChange {
    /// Stores a fork under this id. [`Outcome::Unknown`] if its run does not exist.
    Create { id: String, fork: NewFork, now: i64 },
    /// Begins an execution, which supersedes the earlier ones. [`Outcome::Unknown`] if the fork does not exist.
    Begin { fork_id: String, execution_id: String, now: i64, lease: i64 },
    /// Claims an execution, or renews its lease.
    Claim { fork_id: String, execution_id: String, now: i64, lease: i64 },
    /// Ends those of the executions that are running as failed: their agent has disconnected.
    Lost { executions: Vec<String>, reason: &'static str },
}

/// One page of forks, newest first.
#[derive(Debug, Serialize)]
pub(crate) struct ForkPage {
    pub(crate) forks: Vec<Fork>,
    /// Number of forks on all pages.
    pub(crate) total: u64,
    pub(crate) limit: u64,
    pub(crate) offset: u64,
}

impl ForkChange {
    pub(super) fn make(&self, database: &Connection, version: i64) -> Result<Outcome, StoreError> {
        match self {
            Self::Create { id, fork, now } => create(database, id, fork, *now, version),
            Self::Begin { fork_id, execution_id, now, lease } => {
                begin(database, fork_id, execution_id, (*now, *lease), version)
            }
            Self::Claim { fork_id, execution_id, now, lease } => {
                claim(database, fork_id, execution_id, (*now, *lease), version)
            }
            Self::Lost { executions, reason } => {
                for execution in executions {
                    lose(database, execution, reason, version)?;
                }
                Ok(Outcome::Done)
            }
        }
    }
}

fn create(database: &Connection, id: &str, fork: &NewFork, now: i64, version: i64) -> Result<Outcome, StoreError> {
    let NewFork { trace_id, span_id, modified_input, substitutions, mode } = fork;
    let substitutions = substitutions.as_ref().map(Json::from_serialize);
    let mut insert = database.prepare_cached(
        "INSERT INTO forks (id, trace_id, span_id, modified_input, substitutions, mode, created_micros, version)
         SELECT ?1, id, ?3, ?4, ?5, ?6, ?7, ?8 FROM traces WHERE id = ?2",
    )?;
    let added = insert.execute(params![
        id,
        trace_id.as_text(),
        span_id.as_text(),
        modified_input.as_ref().map(Json::as_str),
        substitutions.as_ref().map(Json::as_str),
        mode.as_str(),
        now,
        version,
    ])?;
    Ok(if added > 0 { Outcome::Done } else { Outcome::Unknown })
}

/// Marks a fork as changed; returns false if it does not exist.
fn touch(database: &Connection, fork_id: &str, version: i64) -> Result<bool, StoreError> {
    let mut update = database.prepare_cached("UPDATE forks SET version = ?2 WHERE id = ?1")?;
    Ok(update.execute(params![fork_id, version])? > 0)
}

fn begin(
    database: &Connection,
    fork_id: &str,
    execution_id: &str,
    (now, lease): (i64, i64),
    version: i64,
) -> Result<Outcome, StoreError> {
    if !touch(database, fork_id, version)? {
        return Ok(Outcome::Unknown);
    }
    database
        .prepare_cached(
            "UPDATE fork_executions SET status = CASE WHEN lease_micros < ?2 THEN 'expired' ELSE 'superseded' END
             WHERE fork_id = ?1 AND status = 'running'",
        )?
        .execute(params![fork_id, now])?;
    database
        .prepare_cached(
            "INSERT INTO fork_executions (id, fork_id, status, started_micros, lease_micros)
             VALUES (?1, ?2, 'running', ?3, ?4)",
        )?
        .execute(params![execution_id, fork_id, now, lease])?;
    database
        .prepare_cached(
            "DELETE FROM fork_executions WHERE fork_id = ?1 AND key NOT IN
                 (SELECT key FROM fork_executions WHERE fork_id = ?1 ORDER BY key DESC LIMIT ?2)",
        )?
        .execute(params![fork_id, MAX_EXECUTIONS])?;
    Ok(Outcome::Done)
}

fn claim(
    database: &Connection,
    fork_id: &str,
    execution_id: &str,
    (now, lease): (i64, i64),
    version: i64,
) -> Result<Outcome, StoreError> {
    let found: Option<(i64, String, i64, bool)> = database
        .prepare_cached(
            "SELECT key, status, lease_micros,
                 key = (SELECT max(key) FROM fork_executions WHERE fork_id = ?1)
             FROM fork_executions WHERE fork_id = ?1 AND id = ?2",
        )?
        .query_row([fork_id, execution_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((key, status, held, is_newest)) = found else {
        // An unknown execution was superseded and removed.
        let is_fork = touch(database, fork_id, version)?;
        return Ok(if is_fork { Outcome::Superseded } else { Outcome::Unknown });
    };
    if !is_newest {
        return Ok(Outcome::Superseded);
    }
    match ForkStatus::from_stored(&status) {
        ForkStatus::Running if held < now => {
            touch(database, fork_id, version)?;
            let mut update = database.prepare_cached("UPDATE fork_executions SET status = 'expired' WHERE key = ?1")?;
            update.execute([key])?;
            Ok(Outcome::Expired)
        }
        ForkStatus::Expired => Ok(Outcome::Expired),
        ForkStatus::Superseded => Ok(Outcome::Superseded),
        // A heartbeat may arrive after the end of its run.
        ForkStatus::Completed => Ok(Outcome::Done),
        // An agent that reconnects continues; one whose run has failed is only late.
        ForkStatus::Running | ForkStatus::Failed | ForkStatus::Created => {
            touch(database, fork_id, version)?;
            database
                .prepare_cached(
                    "UPDATE fork_executions SET claimed_micros = ?2, lease_micros = ?3, status = 'running', error = NULL
                     WHERE key = ?1 AND (status = 'running' OR trace_id IS NULL)",
                )?
                .execute(params![key, now, lease])?;
            Ok(Outcome::Done)
        }
    }
}

fn lose(database: &Connection, execution_id: &str, reason: &str, version: i64) -> Result<(), StoreError> {
    let fork: Option<String> = database
        .prepare_cached(
            "UPDATE fork_executions SET status = 'failed', error = ?2 WHERE id = ?1 AND status = 'running'
             RETURNING fork_id",
        )?
        .query_row([execution_id, reason], |row| row.get(0))
        .optional()?;
    if let Some(fork) = fork {
        touch(database, &fork, version)?;
    }
    Ok(())
}

/// Removes the forks of a deleted run, and its links from executions that recorded it.
pub(super) fn forget_run(database: &Connection, trace_id: &str) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM fork_executions WHERE fork_id IN (SELECT id FROM forks WHERE trace_id = ?1)",
        "DELETE FROM forks WHERE trace_id = ?1",
        "UPDATE fork_executions SET trace_id = NULL WHERE trace_id = ?1",
    ] {
        database.prepare_cached(statement)?.execute([trace_id])?;
    }
    Ok(())
}

/// Updates the execution that records the run `id`, if there is one. `metadata` is the stored metadata of the run, if
/// the change contains it.
pub(super) fn follow(database: &Connection, id: &Id, metadata: Option<&Json>, version: i64) -> Result<(), StoreError> {
    if metadata.is_some_and(names_fork) {
        link(database, id)?;
    }
    let id_text = id.as_text();
    let executions: Vec<(i64, String)> = database
        .prepare_cached("SELECT key, fork_id FROM fork_executions WHERE trace_id = ?1")?
        .query_map([&id_text], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    if executions.is_empty() {
        return Ok(());
    }
    let Some(run) = read::trace_record(database, id)? else { return Ok(()) };
    let status = status_of(&run);
    for (key, fork_id) in executions {
        // A superseded execution keeps its status, even with a run.
        database
            .prepare_cached(
                "UPDATE fork_executions SET status = ?2, error = ?3 WHERE key = ?1 AND status <> 'superseded'
                 AND NOT (status = 'expired' AND ?2 = 'running')",
            )?
            .execute(params![key, ForkStatus::of_run(status).as_str(), run.error])?;
        touch(database, &fork_id, version)?;
    }
    Ok(())
}

/// Updates the executions of the runs that these events start or end.
pub(super) fn follow_events(database: &Connection, events: &[Numbered], version: i64) -> Result<(), StoreError> {
    let mut executions = database.prepare_cached("SELECT EXISTS (SELECT 1 FROM fork_executions)")?;
    if !executions.query_row([], |row| row.get(0))? {
        return Ok(());
    }
    for event in events {
        match &event.event {
            Event::TraceStarted(trace) => {
                let metadata = trace.metadata.as_ref().filter(|metadata| names_fork(metadata));
                if let Some((id, metadata)) = trace.id.as_ref().zip(metadata) {
                    follow(database, id, Some(metadata), version)?;
                }
            }
            Event::TraceEnded(end) => follow(database, &end.id, None, version)?,
            Event::SpanStarted(_) | Event::SpanEnded(_) => {}
        }
    }
    Ok(())
}

/// Returns true if the metadata may be that of a fork's run.
fn names_fork(metadata: &Json) -> bool {
    metadata.as_str().contains(FORK_ID)
}

fn status_of(run: &Trace) -> Status {
    match (run.status, read::has_ended(run)) {
        (Some(status), _) => status,
        (None, true) => Status::Completed,
        (None, false) => Status::Running,
    }
}

/// Links a run to the execution that its metadata names; without an execution id, to the newest one.
fn link(database: &Connection, id: &Id) -> Result<(), StoreError> {
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "_fork_id")]
        fork_id: Option<String>,
        #[serde(rename = "_fork_execution_id")]
        execution_id: Option<String>,
    }
    debug_assert_eq!((FORK_ID, FORK_EXECUTION_ID), ("_fork_id", "_fork_execution_id"));
    let Some(run) = read::trace_record(database, id)? else { return Ok(()) };
    let metadata = run.metadata.and_then(|metadata| serde_json::from_str::<Metadata>(metadata.as_str()).ok());
    let Some(Metadata { fork_id: Some(fork_id), execution_id }) = metadata else { return Ok(()) };
    database
        .prepare_cached(
            "UPDATE fork_executions SET trace_id = ?3 WHERE key =
                 (SELECT max(key) FROM fork_executions WHERE fork_id = ?1 AND (?2 IS NULL OR id = ?2))",
        )?
        .execute(params![fork_id, execution_id, id.as_text()])?;
    Ok(())
}

const FORK: &str = "id, trace_id, span_id, modified_input, substitutions, mode, created_micros, version";

impl Reader {
    /// Returns a fork with its executions.
    pub(crate) fn fork(&self, id: &str) -> Result<Option<Fork>, StoreError> {
        self.read(|database| {
            let sql = format!("SELECT {FORK} FROM forks WHERE id = ?1");
            let mut statement = database.prepare_cached(&sql)?;
            let fork = statement.query_row([id], |row| Ok(fork(database, row))).optional()?.transpose()?;
            Ok(fork)
        })
    }

    /// Returns one page of the forks of a run, or of all runs, newest first.
    pub(crate) fn forks(&self, trace_id: Option<&Id>, limit: u32, offset: u64) -> Result<ForkPage, StoreError> {
        self.read(|database| {
            let of = trace_id.map(Id::as_text);
            let of = of.as_deref();
            let total: i64 = database
                .prepare_cached("SELECT count(*) FROM forks WHERE ?1 IS NULL OR trace_id = ?1")?
                .query_row([of], |row| row.get(0))?;
            let sql = format!(
                "SELECT {FORK} FROM forks WHERE ?1 IS NULL OR trace_id = ?1 ORDER BY key DESC LIMIT ?2 OFFSET ?3"
            );
            let mut statement = database.prepare_cached(&sql)?;
            let mut rows = statement.query(params![of, limit, i64::try_from(offset).unwrap_or(i64::MAX)])?;
            let mut forks = Vec::new();
            while let Some(row) = rows.next()? {
                forks.push(fork(database, row)?);
            }
            Ok(ForkPage { forks, total: total.unsigned_abs(), limit: u64::from(limit), offset })
        })
    }
}

fn fork(database: &Connection, row: &Row<'_>) -> Result<Fork, StoreError> {
    let (id, trace_id, span_id): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (mode, created, version): (String, i64, i64) = (row.get(5)?, row.get(6)?, row.get(7)?);
    let executions = executions(database, &id)?;
    let newest = executions.last().cloned();
    Ok(Fork {
        trace_id: trace_id.into(),
        span_id: span_id.into(),
        mode: Mode::from_wire(&mode).unwrap_or_default(),
        modified_input: read::json(row, 3)?,
        substitutions: read::json(row, 4)?,
        created_at: time(created),
        status: newest.as_ref().map_or(ForkStatus::Created, |newest| newest.status),
        execution_id: newest.as_ref().map(|newest| newest.id.clone()),
        claimed_at: newest.as_ref().and_then(|newest| newest.claimed_at.clone()),
        lease_expires_at: newest.as_ref().map(|newest| newest.lease_expires_at.clone()),
        result_trace_id: newest.as_ref().and_then(|newest| newest.result_trace_id.clone()),
        error: newest.and_then(|newest| newest.error),
        id,
        executions,
        version: version.unsigned_abs(),
    })
}

fn executions(database: &Connection, fork_id: &str) -> Result<Vec<Execution>, StoreError> {
    let now = now_micros();
    let mut statement = database.prepare_cached(
        "SELECT id, status, started_micros, claimed_micros, lease_micros, trace_id, error
         FROM fork_executions WHERE fork_id = ?1 ORDER BY key",
    )?;
    let mut rows = statement.query([fork_id])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (status, lease): (String, i64) = (row.get(1)?, row.get(4)?);
        let status = match ForkStatus::from_stored(&status) {
            ForkStatus::Running if lease < now => ForkStatus::Expired,
            status => status,
        };
        let error: Option<String> = row.get(6)?;
        let expired = "the lease ended without a heartbeat of the agent: start the fork again";
        found.push(Execution {
            id: row.get(0)?,
            status,
            started_at: time(row.get(2)?),
            claimed_at: row.get::<_, Option<i64>>(3)?.map(time),
            lease_expires_at: time(lease),
            result_trace_id: row.get::<_, Option<String>>(5)?.map(Id::from),
            error: error.or_else(|| (status == ForkStatus::Expired).then(|| expired.to_owned())),
        });
    }
    Ok(found)
}

fn time(micros: i64) -> Timestamp {
    Timestamp::from_unix_micros(micros.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests;
