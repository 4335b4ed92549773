//! The index of runs: derived from their rows.

use retrace_protocol::{Id, Status};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::totals::{Source, over_all};
use super::usage::{PartUsage, RunUsage};
use super::{StoreError, read};
use crate::index::{Facts, PartKind, Words};

/// Number of runs per step of the comparison of the index with the stored runs.
const LOOKED_UP: i64 = 500;

/// The index entry of a run.
#[derive(Debug)]
pub(crate) struct IndexedRun {
    id: Id,
    key: i64,
    version: i64,
    facts: Facts,
    words: String,
}

impl IndexedRun {
    /// Reads a run; returns `None` if it is not stored.
    pub(super) fn read(database: &Connection, id: &Id) -> Result<Option<Self>, StoreError> {
        let Some((stored, version)) = read::version(database, id)? else { return Ok(None) };
        let record = over_all(database, stored.record, stored.live.is_some(), Source::Spans)?;
        let mut words = Words::default();
        let (key, content): (i64, [Option<String>; 3]) = database
            .prepare_cached("SELECT key, metadata, input, output FROM traces WHERE id = ?1")?
            .query_row([id.as_text()], |row| Ok((row.get(0)?, [row.get(1)?, row.get(2)?, row.get(3)?])))?;
        let [metadata, input, output] = content;
        let mut facts = Facts::of_trace(&record, metadata.as_deref(), &mut words);
        let mut bytes = [&metadata, &input, &output].into_iter().flatten().map(String::len).sum::<usize>();
        // Names and errors precede content, so that the limit cuts off content.
        let mut heads = database.prepare_cached(
            "SELECT head, coalesce(octet_length(input), 0) + coalesce(octet_length(output), 0)
                 + coalesce(octet_length(metadata), 0)
             FROM spans INDEXED BY spans_by_trace WHERE trace_id = ?1",
        )?;
        let mut rows = heads.query([id.as_text()])?;
        while let Some(row) = rows.next()? {
            let head = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            bytes += head.len() + usize::try_from(row.get::<_, i64>(1)?).unwrap_or_default();
            facts.add_span(head, &mut words);
        }
        facts.bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        facts.finish();
        // The content of a run in progress would be indexed again after each change.
        if record.status != Some(Status::Running) {
            [input, output].iter().flatten().for_each(|json| words.add_json(json));
            let mut contents = database.prepare_cached(
                "SELECT input, output FROM spans INDEXED BY spans_by_trace WHERE trace_id = ?1 ORDER BY seq, key",
            )?;
            let mut rows = contents.query([id.as_text()])?;
            while let Some(row) = rows.next()? {
                for column in 0..2 {
                    if let Some(json) = row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from)? {
                        words.add_json(json);
                    }
                }
            }
        }
        let version = i64::try_from(version).unwrap_or(i64::MAX);
        Ok(Some(Self { id: id.clone(), key, version, facts, words: words.into_text() }))
    }

    /// Replaces the index entry, unless the run no longer exists.
    pub(super) fn store(&self, database: &Connection) -> Result<(), StoreError> {
        let Self { id, key, version, facts, words } = self;
        let mut known = database.prepare_cached("SELECT EXISTS (SELECT 1 FROM traces WHERE key = ?1 AND id = ?2)")?;
        if !known.query_row(params![key, id.as_text()], |row| row.get::<_, bool>(0))? {
            return Ok(());
        }
        remove(database, *key)?;
        let parts = add_values(database, *key, facts)?;
        let first = |kind: PartKind| parts.iter().find(|part| part.kind == kind).map(|part| part.value);
        database
            .prepare_cached(
                "INSERT INTO run_index (key, version, started_micros, status, name, micros, tokens, cost, spans, failed_spans,
                     has_error, session, user, bytes)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?
            .execute(params![
                key,
                version,
                facts.started_micros,
                facts.status.map(Status::as_str),
                facts.name,
                facts.micros.map(number),
                number(facts.tokens),
                facts.cost,
                number(facts.spans),
                number(facts.failed_spans),
                facts.has_error,
                first(PartKind::Session),
                first(PartKind::User),
                number(facts.bytes),
            ])?;
        let usage = RunUsage {
            started_micros: facts.started_micros,
            micros: facts.micros,
            tokens: facts.tokens,
            cost: facts.cost,
            has_error: facts.has_error,
            parts,
        };
        database
            .prepare_cached("INSERT INTO run_usage (key, usage) VALUES (?1, ?2)")?
            .execute(params![key, usage.pack()])?;
        database
            .prepare_cached("INSERT INTO run_words (rowid, words) VALUES (?1, ?2)")?
            .execute(params![key, words])?;
        Ok(())
    }
}

/// Adds a run to its values; returns what it used of each.
fn add_values(database: &Connection, key: i64, facts: &Facts) -> Result<Vec<PartUsage>, StoreError> {
    let mut value_id = database.prepare_cached(
        "INSERT INTO run_values (kind, value, runs) VALUES (?1, ?2, 1)
         ON CONFLICT (kind, value) DO UPDATE SET runs = runs + 1 RETURNING id",
    )?;
    let mut part = database.prepare_cached("INSERT INTO run_parts (value, key) VALUES (?1, ?2)")?;
    let mut parts = Vec::with_capacity(facts.parts.len());
    for ((kind, value), usage) in &facts.parts {
        let value = value_id.query_row(params![kind.as_str(), value], |row| row.get(0))?;
        part.execute([value, key])?;
        parts.push(PartUsage { value, kind: *kind, usage: *usage });
    }
    Ok(parts)
}

/// Removes a run from the index.
pub(super) fn remove(database: &Connection, key: i64) -> Result<(), StoreError> {
    if database.prepare_cached("DELETE FROM run_index WHERE key = ?1")?.execute([key])? == 0 {
        return Ok(());
    }
    let usage: Option<Vec<u8>> = database
        .prepare_cached("DELETE FROM run_usage WHERE key = ?1 RETURNING usage")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    let parts = usage.and_then(|bytes| RunUsage::unpack(&bytes)).unwrap_or_default().parts;
    let mut part = database.prepare_cached("DELETE FROM run_parts WHERE value = ?1 AND key = ?2")?;
    let mut less = database.prepare_cached("UPDATE run_values SET runs = runs - 1 WHERE id = ?1 RETURNING runs")?;
    let mut unused = database.prepare_cached("DELETE FROM run_values WHERE id = ?1")?;
    for PartUsage { value, .. } in parts {
        part.execute([value, key])?;
        if less.query_row([value], |row| row.get::<_, i64>(0)).optional()? == Some(0) {
            unused.execute([value])?;
        }
    }
    database.prepare_cached("DELETE FROM run_words WHERE rowid = ?1")?.execute([key])?;
    Ok(())
}

/// Returns the ids of stored runs that the index lacks or has in another version, from those with the lowest keys above
/// `after`; and the key to continue after, `None` at the end.
pub(super) fn outdated(database: &Connection, after: i64) -> Result<(Vec<Id>, Option<i64>), StoreError> {
    let last: Option<i64> = database
        .prepare_cached("SELECT key FROM traces WHERE key > ?1 ORDER BY key LIMIT 1 OFFSET ?2")?
        .query_row(params![after, LOOKED_UP - 1], |row| row.get(0))
        .optional()?;
    let mut statement = database.prepare_cached(
        "SELECT id FROM traces LEFT JOIN run_index ON run_index.key = traces.key
         WHERE traces.key > ?1 AND traces.key <= ?2 AND run_index.version IS NOT
             max(traces.version, coalesce((SELECT max(version) FROM spans WHERE trace_id = traces.id), 0))
         ORDER BY traces.key",
    )?;
    let rows = statement.query_map([after, last.unwrap_or(i64::MAX)], |row| row.get::<_, String>(0))?;
    let ids = rows.map(|id| id.map(Id::from)).collect::<Result<_, _>>()?;
    Ok((ids, last))
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
