//! Figures over the runs that a filter selects.

use std::cmp::Ordering::Equal;
use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::selection::selected;
use super::sessions::names;
use super::usage::{PartUsage, RunUsage};
use super::{Reader, StoreError};
use crate::index::{PartKind, Usage};
use crate::query::TraceQuery;

/// Largest number of tools and agents in the result: the most called ones.
const LISTED: usize = 20;
/// Largest number of models per day: those with the highest cost, then the most tokens; the others are summed.
const MODELS: usize = 12;
/// Bound of the ids of values, which grow from 1.
const MAX_VALUE: usize = 1 << 24;
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
            let selection = selected(database, query)?;
            let mut sums = Sums { zone, ..Sums::default() };
            let mut statement = database.prepare_cached("SELECT key, usage FROM run_usage")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if selection.as_ref().is_some_and(|keys| !row.get(0).is_ok_and(|key| keys.contains(key))) {
                    continue;
                }
                sums.add(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?);
            }
            sums.finish(|values| names(database, values))
        })
    }
}

/// Sums over runs, by value instead of name.
#[derive(Debug, Default)]
struct Sums {
    zone: i32,
    numbers: Numbers,
    micros: Vec<i64>,
    days: HashMap<i64, DaySums>,
    parts: Parts,
    /// Models of the run that is added.
    models: Vec<(i64, Usage)>,
}

/// Sums by value. A large database has a million parts: their places are found without hashing.
#[derive(Debug, Default)]
struct Parts {
    /// Place in `sums` plus one by value, 0 for values without sums.
    places: Vec<u32>,
    sums: Vec<(i64, PartSums)>,
}

impl Parts {
    /// Returns the sums of a value, or `None` if it is too large for one that the index has given.
    fn of(&mut self, value: i64) -> Option<&mut PartSums> {
        let at = usize::try_from(value).ok().filter(|at| *at < MAX_VALUE)?;
        if at >= self.places.len() {
            self.places.resize(at + 1, 0);
        }
        let place = self.places.get_mut(at)?;
        if *place == 0 {
            self.sums.push((value, PartSums::default()));
            *place = u32::try_from(self.sums.len()).ok()?;
        }
        let (_, sums) = self.sums.get_mut(usize::try_from(*place).ok()? - 1)?;
        Some(sums)
    }
}

#[derive(Debug, Default)]
struct DaySums {
    day: Day,
    micros: Vec<i64>,
    models: HashMap<i64, Spent>,
}

#[derive(Debug, Default)]
struct PartSums {
    kind: Option<PartKind>,
    part: Part,
    micros: u64,
}

impl Sums {
    /// Adds the packed usage of a run. Damaged usage counts as far as it can be read.
    fn add(&mut self, usage: &[u8]) {
        let Self { zone, numbers, micros, days, parts, models } = self;
        let mut run = RunUsage::default();
        models.clear();
        let _ = run.unpack_with(usage, |PartUsage { value, kind, usage }| {
            if !kind.is_called() {
                return;
            }
            let Some(PartSums { kind: known, part, micros }) = parts.of(value) else { return };
            *known = Some(kind);
            part.runs += 1;
            part.calls += usage.calls;
            part.errors += usage.errors;
            part.input_tokens = part.input_tokens.saturating_add(usage.input_tokens);
            part.output_tokens = part.output_tokens.saturating_add(usage.output_tokens);
            part.cost += usage.cost;
            *micros = micros.saturating_add(usage.micros);
            if kind == PartKind::Model {
                models.push((value, usage));
            }
        });
        let duration = run.micros.map(|micros| i64::try_from(micros).unwrap_or(i64::MAX));
        let failed = u64::from(run.has_error);
        numbers.runs += 1;
        numbers.failed += failed;
        numbers.tokens = numbers.tokens.saturating_add(run.tokens);
        numbers.cost += run.cost;
        micros.extend(duration);
        let Some(at) = run.started_micros.map(|started| day_of(started, *zone)) else { return };
        let DaySums { day, micros, models: of_day } = days.entry(at).or_default();
        day.day = at;
        day.runs += 1;
        day.failed += failed;
        micros.extend(duration);
        for (model, usage) in models {
            of_day.entry(*model).or_default().add(*usage);
        }
    }

    /// Selects what is listed, and gives it the names that `names` finds.
    fn finish<E>(
        self,
        names: impl FnOnce(&mut dyn Iterator<Item = i64>) -> Result<HashMap<i64, String>, E>,
    ) -> Result<Numbers, E> {
        let Self { mut numbers, mut micros, days, parts, .. } = self;
        numbers.latency_ms = Percentiles::of(&mut micros);
        let mut kinds: BTreeMap<PartKind, Vec<(i64, Part)>> = BTreeMap::new();
        for (value, PartSums { kind, mut part, micros }) in parts.sums {
            #[allow(clippy::cast_precision_loss)] // A mean needs no more digits.
            let mean_ms = micros as f64 / 1000.0 / part.calls.max(1) as f64;
            part.mean_ms = mean_ms;
            if let Some(kind) = kind {
                kinds.entry(kind).or_default().push((value, part));
            }
        }
        for (kind, parts) in &mut kinds {
            parts.sort_by(|(a, one), (b, other)| {
                other.weight(*kind).partial_cmp(&one.weight(*kind)).unwrap_or(Equal).then(a.cmp(b))
            });
            parts.truncate(LISTED);
        }
        let names = names(&mut kinds.values().flatten().map(|(value, _)| *value))?;
        let name = |value: &i64| names.get(value).cloned().unwrap_or_default();
        let listed: Vec<i64> =
            kinds.get(&PartKind::Model).into_iter().flatten().take(MODELS).map(|(value, _)| *value).collect();
        let mut named = |kind| {
            let parts = kinds.remove(&kind).unwrap_or_default();
            parts.into_iter().map(|(value, part)| Part { value: name(&value), ..part }).collect()
        };
        numbers.models = named(PartKind::Model);
        numbers.tools = named(PartKind::Tool);
        numbers.agents = named(PartKind::Agent);
        numbers.days =
            days.into_values().map(|sums| sums.finish(|model| listed.contains(model).then(|| name(model)))).collect();
        numbers.days.sort_unstable_by_key(|day| day.day);
        Ok(numbers)
    }
}

impl DaySums {
    /// Names the models that are listed, and sums the others under an empty name.
    fn finish(mut self, name: impl Fn(&i64) -> Option<String>) -> Day {
        for (model, spent) in self.models {
            self.day.models.entry(name(&model).unwrap_or_default()).or_default().merge(spent);
        }
        Day { latency_ms: Percentiles::of(&mut self.micros), ..self.day }
    }
}

impl Spent {
    fn add(&mut self, usage: Usage) {
        let Usage { calls, input_tokens, output_tokens, cost, .. } = usage;
        self.merge(Self { calls, input_tokens, output_tokens, cost });
    }

    fn merge(&mut self, other: Self) {
        self.calls += other.calls;
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cost += other.cost;
    }
}

impl Part {
    /// Returns by what parts are ordered, highest first: models by cost and then tokens, others by calls.
    #[allow(clippy::cast_precision_loss)] // An order needs no more digits.
    fn weight(&self, kind: PartKind) -> (f64, f64) {
        match kind {
            PartKind::Model => (self.cost, self.input_tokens.saturating_add(self.output_tokens) as f64),
            _ => (self.calls as f64, 0.0),
        }
    }
}

/// Returns the day of a time in a zone, counted from 1 January 1970.
fn day_of(micros: i64, zone: i32) -> i64 {
    micros.saturating_add(i64::from(zone) * 60_000_000).div_euclid(MICROS_OF_DAY)
}

impl Percentiles {
    /// Computes the percentiles of times in microseconds, and sorts the times.
    fn of(micros: &mut [i64]) -> Self {
        micros.sort_unstable();
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
        let mut times: Vec<i64> = (1..=100).rev().map(|at| at * 1000).collect();
        assert_eq!(Percentiles::of(&mut times), Percentiles { p50: 50.0, p90: 90.0, p95: 95.0, p99: 99.0 });
        assert_eq!(Percentiles::of(&mut [7000]).p50, 7.0);
        assert_eq!(Percentiles::of(&mut []), Percentiles::default());
    }

    #[test]
    fn a_day_begins_at_midnight_of_the_zone() {
        let hour = 3_600_000_000;
        assert_eq!(
            [day_of(0, 0), day_of(-1, 0), day_of(23 * hour, 0), day_of(23 * hour, 60), day_of(0, -60)],
            [0, -1, 0, 1, -1]
        );
    }

    #[test]
    fn models_beyond_the_listed_ones_are_summed() {
        let mut sums = Sums::default();
        let part = |value: i64| PartUsage {
            value,
            kind: PartKind::Model,
            usage: Usage { calls: 1, input_tokens: value.unsigned_abs(), ..Usage::default() },
        };
        let run = RunUsage { started_micros: Some(0), parts: (1..=14).map(part).collect(), ..RunUsage::default() };
        sums.add(&run.pack());
        let numbers =
            sums.finish(|values| Ok::<_, ()>(values.map(|value| (value, format!("m{value}"))).collect())).unwrap();
        assert_eq!(numbers.models.len(), 14);
        let day = numbers.days.first().unwrap();
        assert_eq!((day.models.len(), day.models.get("m14").unwrap().calls), (MODELS + 1, 1));
        assert_eq!((day.models.get("").unwrap().calls, day.models.get("").unwrap().input_tokens), (2, 1 + 2));
    }
}
