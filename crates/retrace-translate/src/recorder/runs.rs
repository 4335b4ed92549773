//! The open runs, ordered by deadline.

use std::collections::BTreeSet;
use std::time::Duration;

use foldhash::HashMap;

use crate::recorder::RecorderLimits;
use crate::recorder::run::OpenRun;

/// Places of the table for each open run; the table gives back what it has beyond that, as after a burst.
const SPARE_ROOM: usize = 8;
/// Number of runs for which the table keeps its places in any case.
const FEW_RUNS: usize = 64;

/// Bytes of a run in the table and in the orders, their spare places included.
const ORDERS: usize = 2 * (size_of::<([u8; 16], Box<Entry>)>() + 2 * size_of::<(Duration, [u8; 16])>());

/// Runs that are open, by trace id.
#[derive(Debug, Default)]
pub(crate) struct OpenRuns {
    /// A run is large, so the table has pointers: its spare places and its growth cost little.
    runs: HashMap<[u8; 16], Box<Entry>>,
    /// Ordered by the time of the last span.
    by_age: BTreeSet<(Duration, [u8; 16])>,
    /// Runs whose local roots have ended, ordered by the time at which they are closed.
    by_due: BTreeSet<(Duration, [u8; 16])>,
    live: usize,
    sources: u64,
    weight: usize,
}

/// A run with its keys in the orders and its share of the sums.
#[derive(Debug)]
struct Entry {
    run: OpenRun,
    stats: RunStats,
}

/// Values by which open runs are ordered, and which are summed up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RunStats {
    pub last_seen: Duration,
    /// Time at which the run is closed; `None` while a local root is running.
    pub due: Option<Duration>,
    /// True if the run waits for nothing but late spans.
    pub lingers: bool,
    /// Number of accepted spans that have not come out.
    pub sources: u64,
    /// Approximate size in bytes.
    pub weight: usize,
}

impl OpenRuns {
    pub(crate) fn get(&self, trace_id: &[u8; 16]) -> Option<&OpenRun> {
        self.runs.get(trace_id).map(|entry| &entry.run)
    }

    /// Returns a run to change what no order and no sum depends on.
    pub(crate) fn get_mut(&mut self, trace_id: &[u8; 16]) -> Option<&mut OpenRun> {
        self.runs.get_mut(trace_id).map(|entry| &mut entry.run)
    }

    /// Changes a run.
    pub(crate) fn change<T>(
        &mut self,
        trace_id: [u8; 16],
        limits: &RecorderLimits,
        change: impl FnOnce(&mut OpenRun) -> T,
    ) -> Option<T> {
        let entry = self.runs.get_mut(&trace_id)?;
        let changed = change(&mut entry.run);
        let before = std::mem::replace(&mut entry.stats, entry.run.stats(limits));
        let after = entry.stats;
        self.note(trace_id, Some(before), Some(after));
        Some(changed)
    }

    pub(crate) fn insert(&mut self, trace_id: [u8; 16], run: OpenRun, limits: &RecorderLimits) {
        let stats = run.stats(limits);
        self.note(trace_id, None, Some(stats));
        self.live += usize::from(run.live.is_some());
        self.runs.insert(trace_id, Box::new(Entry { run, stats }));
    }

    pub(crate) fn take(&mut self, trace_id: &[u8; 16]) -> Option<OpenRun> {
        let Entry { run, stats } = *self.runs.remove(trace_id)?;
        if self.runs.capacity() > SPARE_ROOM * self.runs.len().max(FEW_RUNS) {
            self.runs.shrink_to(2 * self.runs.len());
        }
        self.note(*trace_id, Some(stats), None);
        self.live -= usize::from(run.live.is_some());
        Some(run)
    }

    /// Returns the run that is closed next, and when.
    pub(crate) fn next_due(&self) -> Option<(Duration, [u8; 16])> {
        self.by_due.first().copied()
    }

    /// Returns the run without spans for the longest time, and since when.
    pub(crate) fn oldest(&self) -> Option<(Duration, [u8; 16])> {
        self.by_age.first().copied()
    }

    /// Returns the runs that wait for nothing but late spans.
    pub(crate) fn lingering(&self) -> Vec<[u8; 16]> {
        let lingers = |trace_id: &[u8; 16]| self.runs.get(trace_id).is_some_and(|entry| entry.stats.lingers);
        self.by_due.iter().map(|(_, trace_id)| *trace_id).filter(lingers).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Number of runs that are emitted while they happen.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Number of accepted spans that have not come out.
    pub(crate) fn sources(&self) -> u64 {
        self.sources
    }

    /// Approximate size in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.weight + self.runs.len() * ORDERS
    }

    /// Updates the orders and the sums after a change of one run.
    fn note(&mut self, trace_id: [u8; 16], before: Option<RunStats>, after: Option<RunStats>) {
        let seen = |stats: RunStats| stats.last_seen;
        reorder(&mut self.by_age, trace_id, before.map(seen), after.map(seen));
        let due = |stats: RunStats| stats.due;
        reorder(&mut self.by_due, trace_id, before.and_then(due), after.and_then(due));
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        self.sources = self.sources - before.sources + after.sources;
        self.weight = self.weight - before.weight + after.weight;
    }
}

/// Moves a run to another position in an order.
fn reorder(
    order: &mut BTreeSet<(Duration, [u8; 16])>,
    trace_id: [u8; 16],
    before: Option<Duration>,
    after: Option<Duration>,
) {
    // Spans arrive in batches, so that mostly nothing moves.
    if before == after {
        return;
    }
    if let Some(before) = before {
        order.remove(&(before, trace_id));
    }
    order.extend(after.map(|after| (after, trace_id)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Resource;
    use std::sync::Arc;

    #[test]
    fn after_a_burst_the_table_gives_its_places_back() {
        let (mut runs, limits) = (OpenRuns::default(), RecorderLimits::default());
        let resource = Arc::new(Resource::default());
        let id = |number: u128| number.to_be_bytes();
        (0..5_000)
            .for_each(|number| runs.insert(id(number), OpenRun::new(Arc::clone(&resource), Duration::ZERO), &limits));
        assert!(runs.runs.capacity() >= 5_000);
        (100..5_000).for_each(|number| assert!(runs.take(&id(number)).is_some()));
        assert!(runs.runs.capacity() <= 8 * 100, "{}", runs.runs.capacity());
        assert!((0..100).all(|number| runs.take(&id(number)).is_some()) && runs.len() == 0);
    }
}
