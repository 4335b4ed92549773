//! Retention: removes traces above the limits of age and size.

use rusqlite::{Connection, params};

use super::StoreError;
use super::job::{Outcome, delete};

/// Largest number of traces that one commit removes.
const AT_ONCE: u32 = 50;
/// Largest number of free pages that one commit returns.
const PAGES_AT_ONCE: u32 = 2_000;
/// Time for which a run with status `running` is kept after its latest data, in microseconds.
const UNDER_WAY: i64 = 60 * 60 * 1_000_000;

/// Limits of one check. Golden traces and those in progress are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prune {
    /// The current time, in microseconds since 1970 UTC.
    pub(crate) now: i64,
    /// Start time before which traces are removed.
    pub(crate) before: Option<i64>,
    /// Size of the database above which the oldest traces are removed, in bytes.
    pub(crate) max_bytes: Option<u64>,
}

impl Prune {
    /// Removes some of the oldest traces.
    pub(super) fn make(&self, database: &Connection) -> Result<Outcome, StoreError> {
        let is_large = self.max_bytes.map(|max| Ok::<_, StoreError>(used_bytes(database)? > max)).transpose()?;
        let before = if is_large == Some(true) { Some(i64::MAX) } else { self.before };
        let Some(before) = before else { return Ok(Outcome::Unknown) };
        let mut oldest = database.prepare_cached(
            "SELECT id FROM traces INDEXED BY traces_by_start
             WHERE (started_micros < ?1 OR started_micros IS NULL AND ?1 = 9223372036854775807)
                 AND NOT EXISTS (SELECT 1 FROM golden WHERE trace_id = traces.id)
                 AND NOT (status IS 'running' AND version > ?2)
             ORDER BY started_micros LIMIT ?3",
        )?;
        let rows = oldest.query_map(params![before, self.now - UNDER_WAY, AT_ONCE], |row| row.get::<_, String>(0))?;
        let ids: Vec<String> = rows.collect::<Result<_, _>>()?;
        for id in &ids {
            delete(database, &id.as_str().into())?;
        }
        Ok(if ids.is_empty() { Outcome::Unknown } else { Outcome::Done })
    }
}

/// Returns some free pages to the file system, if the database was created with incremental vacuum.
pub(super) fn give_back(database: &Connection) -> Result<Outcome, StoreError> {
    let pages = |name: &str| database.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if pages("auto_vacuum")? != 2 || pages("freelist_count")? == 0 {
        return Ok(Outcome::Unknown);
    }
    let mut give = database.prepare(&format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})"))?;
    let mut rows = give.query([])?;
    while rows.next()?.is_some() {}
    Ok(Outcome::Done)
}

/// Returns the size of the pages in use, in bytes.
fn used_bytes(database: &Connection) -> Result<u64, StoreError> {
    let value = |name: &str| database.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let used = value("page_count")? - value("freelist_count")?;
    Ok(used.unsigned_abs().saturating_mul(value("page_size")?.unsigned_abs()))
}
