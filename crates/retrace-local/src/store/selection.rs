//! The runs that a filter selects, as a set of keys.
//!
//! Each condition reads one index, or all of `run_index` where no index has its column, so that the time depends on the
//! number of runs and not on how the conditions combine.

use retrace_protocol::Status;
use rusqlite::types::Value;
use rusqlite::{Connection, ToSql, params_from_iter};

use super::StoreError;
use super::key_set::KeySet;
use crate::query::{Filter, TraceQuery};

/// Returns the keys of the selected runs, or `None` if `query` selects all.
pub(super) fn selected(database: &Connection, query: &TraceQuery) -> Result<Option<KeySet>, StoreError> {
    let filter = query.filter();
    let mut selection = Selection { database, keys: None };
    if let Some(words) = &filter.search {
        selection.narrow("SELECT rowid FROM run_words WHERE run_words MATCH ?", [words])?;
    }
    for (kind, values) in filter.parts() {
        let places = vec!["?"; values.len()].join(", ");
        let values = std::iter::once(kind).chain(values.iter().map(String::as_str));
        // `CROSS` fixes the order of the loops: each value, then its runs.
        let sql = format!(
            "SELECT key FROM run_values CROSS JOIN run_parts ON run_parts.value = run_values.id
             WHERE run_values.kind = ? AND run_values.value IN ({places})"
        );
        selection.narrow(&sql, values)?;
    }
    if let Some((sql, values)) = columns(filter, query.status(), query.failed_spans()) {
        selection.narrow(&sql, values)?;
    }
    if let Some(is_golden) = filter.golden {
        // There are few marks.
        const GOLDEN: &str = "SELECT traces.key FROM golden CROSS JOIN traces ON traces.id = golden.trace_id";
        if is_golden {
            selection.narrow(GOLDEN, NO_VALUES)?;
        } else {
            selection.exclude(GOLDEN)?;
        }
    }
    Ok(selection.keys)
}

const NO_VALUES: [i64; 0] = [];

struct Selection<'a> {
    database: &'a Connection,
    keys: Option<KeySet>,
}

impl Selection<'_> {
    /// Keeps the runs whose keys the query returns.
    fn narrow<T: ToSql>(&mut self, sql: &str, values: impl IntoIterator<Item = T>) -> Result<(), StoreError> {
        let keys = self.read(sql, values)?;
        match &mut self.keys {
            Some(known) => known.retain(&keys),
            None => self.keys = Some(keys),
        }
        Ok(())
    }

    /// Removes the runs whose keys the query returns.
    fn exclude(&mut self, sql: &str) -> Result<(), StoreError> {
        let keys = self.read(sql, NO_VALUES)?;
        if self.keys.is_none() {
            self.keys = Some(self.read("SELECT key FROM run_index", NO_VALUES)?);
        }
        self.keys.iter_mut().for_each(|known| known.remove(&keys));
        Ok(())
    }

    fn read<T: ToSql>(&self, sql: &str, values: impl IntoIterator<Item = T>) -> Result<KeySet, StoreError> {
        let mut statement = self.database.prepare_cached(sql)?;
        let rows = statement.query_map(params_from_iter(values), |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Returns the query of the conditions on columns, with its values, if there are any.
fn columns(filter: &Filter, status: Option<Status>, failed_spans: Option<bool>) -> Option<(String, Vec<Value>)> {
    let mut conditions: Vec<String> = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut bound = |condition: String, value: Value| {
        conditions.push(condition);
        values.push(value);
    };
    if let Some(status) = status {
        bound("status = ?".to_owned(), status.as_str().to_owned().into());
    }
    if let Some(from) = filter.from {
        bound("started_micros >= ?".to_owned(), from.into());
    }
    if let Some(to) = filter.to {
        bound("started_micros < ?".to_owned(), to.into());
    }
    for (column, sign, limit) in &filter.bounds {
        bound(format!("{column} {sign} ?"), (*limit).into());
    }
    // Literals, by which the partial indexes apply.
    let literal = |is_set: Option<bool>, yes, no| is_set.map(|is_set: bool| if is_set { yes } else { no });
    conditions.extend(literal(filter.has_error, "has_error = 1", "has_error = 0").map(str::to_owned));
    conditions.extend(literal(failed_spans, "failed_spans > 0", "failed_spans = 0").map(str::to_owned));
    if conditions.is_empty() {
        return None;
    }
    // The last term keeps SQLite from an index that has only one of several columns, and most rows: reading a row by its
    // key costs more than the next row of a scan.
    let from = if conditions.len() == 1 { "run_index" } else { "run_index NOT INDEXED" };
    Some((format!("SELECT key FROM {from} WHERE {}", conditions.join(" AND ")), values))
}
