//! Reads by the index: the runs that a filter selects, in any order.

use retrace_protocol::Trace;
use retrace_protocol::read::{Stored, TracePage};
use rusqlite::Connection;

use super::key_set::KeySet;
use super::read::{FAILED, TRACE_HEAD, rows_of_page};
use super::selection::selected;
use super::{Reader, StoreError};
use crate::query::{Order, TraceQuery};

/// A selection of at most this number of runs is sorted; of a larger one, a page is found by the index of the order.
const SORTED: u64 = 2_000;

impl Reader {
    /// Returns one page of the traces that `query` selects, by the index, heads only.
    pub(crate) fn find(&self, query: &TraceQuery) -> Result<TracePage<Stored<Trace>>, StoreError> {
        self.read(|database| find(database, query))
    }
}

fn find(database: &Connection, query: &TraceQuery) -> Result<TracePage<Stored<Trace>>, StoreError> {
    let selection = selected(database, query)?;
    let total = match &selection {
        Some(keys) => keys.len(),
        None => {
            let mut count = database.prepare_cached("SELECT count(*) FROM run_index")?;
            count.query_row([], |row| row.get::<_, i64>(0))?.unsigned_abs()
        }
    };
    let keys = page_keys(database, query, selection.as_ref(), SORTED)?;
    // Columns with a high cost per run are read for the page's rows only.
    let sql = format!(
        "SELECT {TRACE_HEAD}, (SELECT count(*) FROM spans WHERE trace_id = traces.id),
            EXISTS (SELECT 1 FROM golden WHERE trace_id = traces.id),
            (SELECT count(*) FROM spans WHERE trace_id = traces.id AND {FAILED})
         FROM json_each(?1) AS found CROSS JOIN traces ON traces.key = found.value ORDER BY found.key"
    );
    let mut statement = database.prepare_cached(&sql)?;
    let traces = rows_of_page(database, statement.query([json_list(keys.iter().copied())])?)?;
    Ok(TracePage { traces, total, limit: u64::from(query.limit()), offset: query.offset() })
}

/// Returns the keys of one page of the selection, in the order of the query. A selection of at most `sorted` keys is
/// sorted.
fn page_keys(
    database: &Connection,
    query: &TraceQuery,
    selection: Option<&KeySet>,
    sorted: u64,
) -> Result<Vec<i64>, StoreError> {
    let Order { column, direction } = query.order();
    let way = direction.as_sql();
    let order = format!("ORDER BY run_index.{column} {way}, key {way}");
    let (limit, offset) = (i64::from(query.limit()), i64::try_from(query.offset()).unwrap_or(i64::MAX));
    let Some(selection) = selection else {
        let mut keys = database.prepare_cached(&format!("SELECT key FROM run_index {order} LIMIT ?1 OFFSET ?2"))?;
        let rows = keys.query_map([limit, offset], |row| row.get(0))?;
        return Ok(rows.collect::<Result<_, _>>()?);
    };
    if selection.len() <= query.offset() {
        return Ok(Vec::new());
    }
    if selection.len() <= sorted {
        let list = json_list(selection.keys());
        let sql = format!(
            "SELECT run_index.key FROM json_each(?1) AS found CROSS JOIN run_index ON run_index.key = found.value
             ORDER BY run_index.{column} {way}, run_index.key {way} LIMIT ?2 OFFSET ?3"
        );
        let mut keys = database.prepare_cached(&sql)?;
        let rows = keys.query_map((list, limit, offset), |row| row.get(0))?;
        return Ok(rows.collect::<Result<_, _>>()?);
    }
    let mut statement = database.prepare_cached(&format!("SELECT key FROM run_index {order}"))?;
    let mut rows = statement.query([])?;
    let (mut keys, mut skip) = (Vec::new(), query.offset());
    while keys.len() < usize::try_from(limit).unwrap_or_default() {
        let Some(row) = rows.next()? else { break };
        let key = row.get(0)?;
        if !selection.contains(key) {
            continue;
        }
        if skip > 0 {
            skip -= 1;
        } else {
            keys.push(key);
        }
    }
    Ok(keys)
}

/// Returns keys as a JSON array, the argument of `json_each`.
pub(super) fn json_list(keys: impl Iterator<Item = i64>) -> String {
    let keys: Vec<String> = keys.map(|key| key.to_string()).collect();
    format!("[{}]", keys.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema;

    /// All ways to find a page return the same keys, for each order, also where runs are equal or lack a value.
    #[test]
    fn a_page_does_not_depend_on_how_it_is_found() {
        let database = schema::open_memory(false).unwrap();
        for key in 1..=60_i64 {
            let started = (key % 7 != 0).then_some(key * 31 % 20);
            let status = ["completed", "failed", "running"][usize::try_from(key % 3).unwrap()];
            database
                .execute(
                    "INSERT INTO run_index (key, version, started_micros, status, name, micros, tokens, cost, spans, failed_spans,
                         has_error, bytes) VALUES (?1, 1, ?2, ?3, ?4, ?2, ?5, ?5, ?5, 0, 0, 0)",
                    (key, started, status, format!("name {}", key % 5), key * 17 % 11),
                )
                .unwrap();
        }
        let all: KeySet = (1..=60).collect();
        let odd: KeySet = (1..=60).filter(|key| key % 2 == 1).collect();
        for sort in ["started", "duration", "tokens", "cost", "spans", "name", "status"] {
            for order in ["asc", "desc"] {
                let mut pages = Vec::new();
                for offset in [0, 7, 28, 60] {
                    let query =
                        TraceQuery::parse(&format!("sort={sort}&order={order}&limit=9&offset={offset}")).unwrap();
                    let page = |selection, sorted| page_keys(&database, &query, selection, sorted).unwrap();
                    assert_eq!(page(Some(&all), 0), page(None, 0), "{sort} {order} {offset}");
                    assert_eq!(page(Some(&all), 100), page(None, 0), "{sort} {order} {offset}");
                    assert_eq!(page(Some(&odd), 0), page(Some(&odd), 100), "{sort} {order} {offset}");
                    assert!(page(Some(&odd), 0).iter().all(|key| odd.contains(*key)));
                    pages.push(page(Some(&odd), 0).len());
                }
                assert_eq!(pages, [9, 9, 2, 0], "{sort} {order}");
            }
        }
    }
}
