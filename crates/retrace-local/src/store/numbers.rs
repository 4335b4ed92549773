//! Figures over the runs that a filter selects.

use std::collections::BTreeMap;

use rusqlite::{Connection, params_from_iter};
use serde::Serialize;

use super::find::Condition;
use super::{Reader, StoreError};
use crate::query::TraceQuery;

/// Largest number of tools and agents in the result: the most called ones.
const LISTED: usize = 20;
/// Largest number of models per day: those with the highest cost, then the most tokens; the others are summed.
const MODELS: usize = 12;
const MICROS_OF_DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// Figures over runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Numbers {
    pub(crate) runs: u64,
    pub(crate) failed: u64,
    pub(crate) tokens: u64,
    pub(crate) cost: f64,
    pub(crate) latency_ms: Percentiles,
    /// Figures by day, oldest first, without days that have no runs.
    pub(crate) days: Vec<Day>,
    pub(crate) models: Vec<Part>,
    pub(crate) tools: Vec<Part>,
    pub(crate) agents: Vec<Part>,
}

/// Percentiles of the duration of runs, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
}

/// Figures of one day, in the client's time zone.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Day {
    /// Days since 1 January 1970.
    pub(crate) day: i64,
    pub(crate) runs: u64,
    pub(crate) failed: u64,
    pub(crate) latency_ms: Percentiles,
    /// Usage by model; models beyond the limit are summed under an empty name.
    pub(crate) models: BTreeMap<String, Spent>,
}

/// Usage of a model on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Spent {
    pub(crate) calls: u64,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) cost: f64,
}

/// Figures of a model, a tool or an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Part {
    pub(crate) value: String,
    pub(crate) runs: u64,
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) cost: f64,
    pub(crate) mean_ms: f64,
}

impl Reader {
    /// Returns figures over all runs that `query` selects, independent of the page. `zone` is the client's time zone,
    /// in minutes east of UTC.
    pub(crate) fn numbers(&self, query: &TraceQuery, zone: i32) -> Result<Numbers, StoreError> {
        self.read(|database| {
            let condition = Condition::of(query.filter(), query.status());
            let mut numbers = runs(database, &condition, zone)?;
            numbers.models = parts(database, &condition, "model")?;
            numbers.tools = parts(database, &condition, "tool")?;
            numbers.agents = parts(database, &condition, "agent")?;
            models_of_days(database, &condition, zone, &mut numbers)?;
            numbers.models.truncate(LISTED);
            Ok(numbers)
        })
    }
}

fn runs(database: &Connection, condition: &Condition, zone: i32) -> Result<Numbers, StoreError> {
    let day = day_of(zone);
    let sql = format!(
        "SELECT {day}, micros, has_error, tokens, cost FROM {} WHERE {} ORDER BY micros",
        condition.tables, condition.sql
    );
    let mut statement = database.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(&condition.values))?;
    let (mut numbers, mut all) = (Numbers::default(), Vec::new());
    let mut days: BTreeMap<i64, (Day, Vec<i64>)> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (at, micros): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
        let failed = u64::from(row.get::<_, bool>(2)?);
        numbers.runs += 1;
        numbers.failed += failed;
        numbers.tokens += row.get::<_, i64>(3)?.unsigned_abs();
        numbers.cost += row.get::<_, f64>(4)?;
        all.extend(micros);
        if let Some(at) = at {
            let (day, times) = days.entry(at).or_default();
            day.day = at;
            day.runs += 1;
            day.failed += failed;
            times.extend(micros);
        }
    }
    numbers.latency_ms = Percentiles::of(&all);
    numbers.days = days.into_values().map(|(day, times)| Day { latency_ms: Percentiles::of(&times), ..day }).collect();
    Ok(numbers)
}

/// Returns all models, or the most called tools or agents.
fn parts(database: &Connection, condition: &Condition, kind: &str) -> Result<Vec<Part>, StoreError> {
    let order = if kind == "model" { "7 DESC, 5 + 6 DESC" } else { "3 DESC" };
    let sql = format!(
        "SELECT value, count(*), sum(calls), sum(errors), sum(input_tokens), sum(output_tokens), sum(run_parts.cost),
             sum(run_parts.micros)
         FROM run_parts {} GROUP BY value ORDER BY {order}, value LIMIT {}",
        of_runs(condition, kind),
        LISTED.max(MODELS),
    );
    let mut statement = database.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(&condition.values), |row| {
        let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        let calls = number(2)?;
        #[allow(clippy::cast_precision_loss)] // A mean needs no more digits.
        let mean_ms = number(7)? as f64 / 1000.0 / calls.max(1) as f64;
        Ok(Part {
            value: row.get(0)?,
            runs: number(1)?,
            calls,
            errors: number(3)?,
            input_tokens: number(4)?,
            output_tokens: number(5)?,
            cost: row.get(6)?,
            mean_ms,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn models_of_days(
    database: &Connection,
    condition: &Condition,
    zone: i32,
    numbers: &mut Numbers,
) -> Result<(), StoreError> {
    let listed: Vec<String> = numbers.models.iter().take(MODELS).map(|model| model.value.clone()).collect();
    let day = day_of(zone);
    let sql = format!(
        "SELECT (SELECT {day} FROM run_index WHERE key = run_parts.key), value, sum(calls), sum(input_tokens),
             sum(output_tokens), sum(cost)
         FROM run_parts {} GROUP BY 1, 2",
        of_runs(condition, "model"),
    );
    let mut statement = database.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(&condition.values))?;
    while let Some(row) = rows.next()? {
        let (at, model): (Option<i64>, String) = (row.get(0)?, row.get(1)?);
        let found = at.and_then(|at| numbers.days.binary_search_by_key(&at, |day| day.day).ok());
        let Some(day) = found.and_then(|found| numbers.days.get_mut(found)) else { continue };
        let spent = day.models.entry(if listed.contains(&model) { model } else { String::new() }).or_default();
        let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        spent.calls += number(2)?;
        spent.input_tokens += number(3)?;
        spent.output_tokens += number(4)?;
        spent.cost += row.get::<_, f64>(5)?;
    }
    Ok(())
}

/// Returns the condition on the parts of one kind, for the selected runs.
fn of_runs(condition: &Condition, kind: &str) -> String {
    if condition.sql == "1" {
        return format!("WHERE kind = '{kind}'");
    }
    format!("WHERE kind = '{kind}' AND key IN (SELECT key FROM {} WHERE {})", condition.tables, condition.sql)
}

/// Returns the SQL expression of a run's day in a zone.
fn day_of(zone: i32) -> String {
    // Rounded down, also before 1970.
    let shifted = format!("(started_micros + {})", i64::from(zone) * 60_000_000);
    format!("({shifted} - ({shifted} % {MICROS_OF_DAY} + {MICROS_OF_DAY}) % {MICROS_OF_DAY}) / {MICROS_OF_DAY}")
}

impl Percentiles {
    /// Computes the percentiles of sorted times in microseconds.
    fn of(micros: &[i64]) -> Self {
        let at = |share: usize| {
            let place = (micros.len() * share).div_ceil(100).saturating_sub(1);
            #[allow(clippy::cast_precision_loss)] // Times of years have microseconds left.
            let millis = micros.get(place).map_or(0.0, |micros| *micros as f64 / 1000.0);
            millis
        };
        Self { p50: at(50), p90: at(90), p95: at(95), p99: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Vec<i64> = (1..=100).map(|at| at * 1000).collect();
        assert_eq!(Percentiles::of(&times), Percentiles { p50: 50.0, p90: 90.0, p95: 95.0, p99: 99.0 });
        assert_eq!(Percentiles::of(&[7000]).p50, 7.0);
        assert_eq!(Percentiles::of(&[]), Percentiles::default());
    }

    #[test]
    fn a_day_begins_at_the_askers_midnight() {
        let database = Connection::open_in_memory().unwrap();
        let day = |micros: i64, zone: i32| -> i64 {
            let sql = format!("SELECT {} FROM (SELECT {micros} AS started_micros)", day_of(zone));
            database.query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        let hour = 3_600_000_000;
        assert_eq!([day(0, 0), day(-1, 0), day(23 * hour, 0), day(23 * hour, 60), day(0, -60)], [0, -1, 0, 1, -1]);
    }
}
