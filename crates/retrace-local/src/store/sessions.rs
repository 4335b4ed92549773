//! Sessions, and the values of filters.

use std::collections::BTreeMap;

use rusqlite::params_from_iter;
use serde::Serialize;

use super::find::Condition;
use super::{Reader, StoreError};
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
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) runs: u64,
    pub(crate) failed: u64,
    /// Start of the first and of the last run, in microseconds since 1970 UTC.
    pub(crate) first_micros: Option<i64>,
    pub(crate) last_micros: Option<i64>,
    pub(crate) tokens: u64,
    pub(crate) cost: f64,
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
            let Condition { tables, sql, mut values } = Condition::of(query.filter(), query.status());
            let total: i64 = database
                .prepare_cached(&format!("SELECT count(DISTINCT session) FROM {tables} WHERE session IS NOT NULL AND {sql}"))?
                .query_row(params_from_iter(&values), |row| row.get(0))?;
            values.push(i64::from(query.limit()).into());
            values.push(i64::try_from(query.offset()).unwrap_or(i64::MAX).into());
            let mut statement = database.prepare_cached(&format!(
                "SELECT session, count(*), sum(has_error), min(started_micros), max(started_micros), sum(tokens), sum(cost),
                     max(user)
                 FROM {tables} WHERE session IS NOT NULL AND {sql}
                 GROUP BY session ORDER BY 5 DESC, session LIMIT ? OFFSET ?"
            ))?;
            let rows = statement.query_map(params_from_iter(&values), |row| {
                let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
                Ok(Session {
                    id: row.get(0)?,
                    runs: number(1)?,
                    failed: number(2)?,
                    first_micros: row.get(3)?,
                    last_micros: row.get(4)?,
                    tokens: number(5)?,
                    cost: row.get(6)?,
                    user: row.get(7)?,
                })
            })?;
            Ok(SessionPage {
                sessions: rows.collect::<Result<_, _>>()?,
                total: total.unsigned_abs(),
                limit: u64::from(query.limit()),
                offset: query.offset(),
            })
        })
    }

    /// Returns the values of filters, those of the most runs.
    pub(crate) fn values(&self) -> Result<Values, StoreError> {
        let part = |kind: &'static str| {
            (kind, format!("SELECT value, count(*) FROM run_parts WHERE kind = '{kind}' GROUP BY value"))
        };
        let text = |name: &'static str| {
            (name, format!("SELECT {name}, count(*) FROM run_index WHERE {name} IS NOT NULL GROUP BY {name}"))
        };
        self.read(|database| {
            let mut values = Values::new();
            for (name, sql) in
                [part("model"), part("tool"), part("agent"), part("tag"), text("environment"), text("user")]
            {
                let mut statement = database.prepare_cached(&format!("{sql} ORDER BY 2 DESC, 1 LIMIT {LISTED}"))?;
                let rows = statement.query_map([], |row| {
                    Ok(Count { value: row.get(0)?, runs: row.get::<_, i64>(1)?.unsigned_abs() })
                })?;
                values.insert(name, rows.collect::<Result<_, _>>()?);
            }
            Ok(values)
        })
    }
}
