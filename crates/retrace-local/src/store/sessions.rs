//! Sessions, and the values of filters.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};
use serde::Serialize;

use super::find::json_list;
use super::key_set::KeySet;
use super::selection::selected;
use super::{Reader, StoreError};
use crate::index::PartKind;
use crate::query::TraceQuery;

/// Largest number of listed values of a kind: those of the most runs.
const LISTED: u32 = 100;

/// One page of the sessions, the latest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SessionPage {
    pub(crate) sessions: Vec<Session>,
    pub(crate) total: u64,
    pub(crate) limit: u64,
    pub(crate) offset: u64,
}

/// Figures of the runs of one session.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) runs: u64,
    pub(crate) failed: u64,
    /// Start of the first and of the last run, in microseconds since 1970 UTC.
    pub(crate) first_micros: Option<i64>,
    pub(crate) last_micros: Option<i64>,
    pub(crate) tokens: u64,
    pub(crate) cost: f64,
    /// The user of the latest run that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
}

/// A value, and the number of its runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Count {
    pub(crate) value: String,
    pub(crate) runs: u64,
}

/// Values by the name of the filter.
pub(crate) type Values = BTreeMap<&'static str, Vec<Count>>;

impl Reader {
    /// Returns one page of the sessions of the runs that `query` selects.
    pub(crate) fn sessions(&self, query: &TraceQuery) -> Result<SessionPage, StoreError> {
        self.read(|database| {
            let selection = selected(database, query)?;
            let mut latest = latest(database, selection.as_ref())?;
            let total = latest.len() as u64;
            // The latest first; sessions without a start last, and the newest value first among equals.
            latest.sort_unstable_by_key(|(value, started)| std::cmp::Reverse((*started, *value)));
            let offset = usize::try_from(query.offset()).unwrap_or(usize::MAX);
            let limit = usize::try_from(query.limit()).unwrap_or_default();
            let page = latest.into_iter().skip(offset).take(limit);
            let sums: Vec<(i64, Sum)> = page
                .map(|(value, _)| Ok((value, sum(database, value, selection.as_ref())?)))
                .collect::<Result<_, StoreError>>()?;
            let names = names(database, sums.iter().flat_map(|(value, sum)| [Some(*value), sum.user]).flatten())?;
            let named = |(value, sum): (i64, Sum)| Session {
                id: names.get(&value).cloned().unwrap_or_default(),
                user: sum.user.and_then(|user| names.get(&user)).cloned(),
                ..sum.session
            };
            let sessions = sums.into_iter().map(named).collect();
            Ok(SessionPage { sessions, total, limit: u64::from(query.limit()), offset: query.offset() })
        })
    }

    /// Returns the values of filters, those of the most runs.
    pub(crate) fn values(&self) -> Result<Values, StoreError> {
        self.read(|database| {
            let mut values = Values::new();
            let mut statement = database.prepare_cached(
                "SELECT value, runs FROM run_values WHERE kind = ?1 ORDER BY runs DESC, value LIMIT ?2",
            )?;
            for kind in PartKind::ALL.into_iter().filter(|kind| *kind != PartKind::Session) {
                let rows = statement.query_map(params![kind.as_str(), LISTED], |row| {
                    Ok(Count { value: row.get(0)?, runs: row.get::<_, i64>(1)?.unsigned_abs() })
                })?;
                values.insert(kind.as_str(), rows.collect::<Result<_, _>>()?);
            }
            Ok(values)
        })
    }
}

/// Figures of a session, with the user of its latest run that has one.
#[derive(Debug, Default)]
struct Sum {
    session: Session,
    user: Option<i64>,
}

/// Returns the sessions of the selected runs, each with the start of its last run. Reads one index, in its order.
fn latest(database: &Connection, selection: Option<&KeySet>) -> Result<Vec<(i64, Option<i64>)>, StoreError> {
    let mut statement = database.prepare_cached(
        "SELECT session, started_micros, key FROM run_index INDEXED BY run_index_by_session WHERE session IS NOT NULL
         ORDER BY session, started_micros",
    )?;
    let mut rows = statement.query([])?;
    let mut latest: Vec<(i64, Option<i64>)> = Vec::new();
    while let Some(row) = rows.next()? {
        if selection.is_some_and(|keys| !row.get(2).is_ok_and(|key| keys.contains(key))) {
            continue;
        }
        let (session, started) = (row.get(0)?, row.get(1)?);
        match latest.last_mut() {
            Some((known, last)) if *known == session => *last = started,
            _ => latest.push((session, started)),
        }
    }
    Ok(latest)
}

/// Sums the selected runs of a session.
fn sum(database: &Connection, session: i64, selection: Option<&KeySet>) -> Result<Sum, StoreError> {
    let mut statement = database.prepare_cached(
        "SELECT key, started_micros, has_error, tokens, cost, user FROM run_index INDEXED BY run_index_by_session
         WHERE session = ?1 ORDER BY started_micros",
    )?;
    let mut rows = statement.query([session])?;
    let mut sum = Sum::default();
    let session = &mut sum.session;
    while let Some(row) = rows.next()? {
        if selection.is_some_and(|keys| !row.get(0).is_ok_and(|key| keys.contains(key))) {
            continue;
        }
        let started: Option<i64> = row.get(1)?;
        session.runs += 1;
        session.failed += u64::from(row.get::<_, bool>(2)?);
        session.first_micros = session.first_micros.or(started);
        session.last_micros = started;
        session.tokens = session.tokens.saturating_add(row.get::<_, i64>(3)?.unsigned_abs());
        session.cost += row.get::<_, f64>(4)?;
        sum.user = row.get::<_, Option<i64>>(5)?.or(sum.user);
    }
    Ok(sum)
}

/// Returns the names of values.
pub(super) fn names(
    database: &Connection,
    values: impl Iterator<Item = i64>,
) -> Result<HashMap<i64, String>, StoreError> {
    let mut statement = database.prepare_cached(
        "SELECT run_values.id, run_values.value FROM json_each(?1) AS found CROSS JOIN run_values ON run_values.id = found.value",
    )?;
    let rows = statement.query_map([json_list(values)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
