//! Reads by the index: the runs that a filter selects, in any order.

use retrace_protocol::read::{Stored, TracePage};
use retrace_protocol::{Status, Trace};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::read::{FAILED, TRACE_HEAD, rows_of_page};
use super::{Reader, StoreError};
use crate::query::{Filter, TraceQuery};

/// Condition of a filter on `run_index`, with its values.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    /// Tables of the condition.
    pub(super) tables: &'static str,
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Condition {
    pub(super) fn of(filter: &Filter, status: Option<Status>) -> Self {
        let mut condition = Self { tables: "run_index", sql: "1".to_owned(), values: Vec::new() };
        if let Some(words) = &filter.search {
            // Each match of the search is joined one by one: no list of all matches is built.
            condition.tables = "run_words CROSS JOIN run_index ON run_index.key = run_words.rowid";
            condition.and("run_words MATCH ?", words.clone());
        }
        if let Some(status) = status {
            condition.and("status = ?", status.as_str().to_owned());
        }
        if let Some(from) = filter.from {
            condition.and("started_micros >= ?", from);
        }
        if let Some(to) = filter.to {
            condition.and("started_micros < ?", to);
        }
        for (column, text) in &filter.texts {
            condition.and(&format!("{column} = ?"), text.clone());
        }
        for (column, sign, bound) in &filter.bounds {
            // The plus prevents a scan of most of the table by an index: the order of the list determines the index.
            condition.and(&format!("+{column} {sign} ?"), *bound);
        }
        if let Some(has_error) = filter.has_error {
            condition.and("has_error = ?", i64::from(has_error));
        }
        for (kind, values) in &filter.parts {
            let places = vec!["?"; values.len()].join(", ");
            condition.and(
                &format!("key IN (SELECT key FROM run_parts WHERE kind = ? AND value IN ({places}))"),
                (*kind).to_owned(),
            );
            condition.values.extend(values.iter().cloned().map(Value::from));
        }
        if let Some(golden) = filter.golden {
            let sign = if golden { "" } else { "NOT " };
            let marked = "SELECT traces.key FROM golden JOIN traces ON traces.id = golden.trace_id";
            condition.sql.push_str(&format!(" AND key {sign}IN ({marked})"));
        }
        condition
    }

    fn and(&mut self, sql: &str, value: impl Into<Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(sql);
        self.values.push(value.into());
    }
}

impl Reader {
    /// Returns one page of the traces that `query` selects, by the index, heads only.
    pub(crate) fn find(&self, query: &TraceQuery) -> Result<TracePage<Stored<Trace>>, StoreError> {
        self.read(|database| find(database, query))
    }
}

fn find(database: &Connection, query: &TraceQuery) -> Result<TracePage<Stored<Trace>>, StoreError> {
    let mut condition = Condition::of(query.filter(), query.status());
    if let Some(failed) = query.failed_spans() {
        condition.sql.push_str(if failed { " AND failed_spans > 0" } else { " AND failed_spans = 0" });
    }
    let Condition { tables, sql, mut values } = condition;
    let total: i64 = database
        .prepare_cached(&format!("SELECT count(*) FROM {tables} WHERE {sql}"))?
        .query_row(params_from_iter(&values), |row| row.get(0))?;
    let (column, way) = (query.order().column, query.order().direction.as_sql());
    let keys = format!(
        "SELECT key, {column} AS place FROM {tables} WHERE {sql} ORDER BY {column} {way}, key {way} LIMIT ? OFFSET ?"
    );
    values.push(i64::from(query.limit()).into());
    values.push(i64::try_from(query.offset()).unwrap_or(i64::MAX).into());
    // Columns with a high cost per run are read for the page's rows only.
    let sql = format!(
        "SELECT {TRACE_HEAD}, (SELECT count(*) FROM spans WHERE trace_id = traces.id),
            EXISTS (SELECT 1 FROM golden WHERE trace_id = traces.id),
            (SELECT count(*) FROM spans WHERE trace_id = traces.id AND {FAILED})
         FROM ({keys}) AS found CROSS JOIN traces ON traces.key = found.key ORDER BY place {way}, found.key {way}"
    );
    let mut statement = database.prepare_cached(&sql)?;
    let traces = rows_of_page(database, statement.query(params_from_iter(&values))?)?;
    Ok(TracePage { traces, total: total.unsigned_abs(), limit: u64::from(query.limit()), offset: query.offset() })
}
