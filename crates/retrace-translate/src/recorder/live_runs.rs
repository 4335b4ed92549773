//! The live runs, ordered by deadline.

use std::collections::BTreeSet;

use foldhash::HashMap;
use std::time::Duration;

use crate::recorder::RecorderLimits;
use crate::recorder::live_run::LiveRun;

/// Live runs that are open.
#[derive(Debug, Default)]
pub(crate) struct LiveRuns {
    runs: HashMap<[u8; 16], Entry>,
    /// Ordered by the time of the last span.
    by_age: BTreeSet<(Duration, [u8; 16])>,
    /// Runs whose local roots have ended, ordered by the time at which they are closed.
    by_due: BTreeSet<(Duration, [u8; 16])>,
    sources: u64,
    weight: usize,
}

/// A run with its share of the sums and its keys in the orders.
#[derive(Debug)]
struct Entry {
    run: LiveRun,
    age: Duration,
    due: Option<Duration>,
    sources: u64,
    weight: usize,
}

impl LiveRuns {
    pub(crate) fn contains(&self, trace_id: &[u8; 16]) -> bool {
        self.runs.contains_key(trace_id)
    }

    pub(crate) fn get_mut(&mut self, trace_id: &[u8; 16]) -> Option<&mut LiveRun> {
        self.runs.get_mut(trace_id).map(|entry| &mut entry.run)
    }

    pub(crate) fn take(&mut self, trace_id: &[u8; 16]) -> Option<LiveRun> {
        let entry = self.runs.remove(trace_id)?;
        self.by_age.remove(&(entry.age, *trace_id));
        if let Some(due) = entry.due {
            self.by_due.remove(&(due, *trace_id));
        }
        self.sources -= entry.sources;
        self.weight -= entry.weight;
        Some(entry.run)
    }

    pub(crate) fn put(&mut self, trace_id: [u8; 16], run: LiveRun, limits: &RecorderLimits) {
        let wait = if run.only_lingers() { limits.linger } else { limits.linger.max(limits.outlive) };
        let due = run.over.map(|over| over.saturating_add(wait));
        let (age, sources, weight) = (run.last_seen, run.sources(), run.weight());
        self.by_age.insert((age, trace_id));
        if let Some(due) = due {
            self.by_due.insert((due, trace_id));
        }
        self.sources += sources;
        self.weight += weight;
        self.runs.insert(trace_id, Entry { run, age, due, sources, weight });
    }

    /// Returns the run that is closed next, and when.
    pub(crate) fn next_due(&self) -> Option<(Duration, [u8; 16])> {
        self.by_due.first().copied()
    }

    /// Returns the run without spans for the longest time, and since when.
    pub(crate) fn oldest(&self) -> Option<(Duration, [u8; 16])> {
        self.by_age.first().copied()
    }

    /// Returns the runs that wait for nothing but the linger, and since when.
    pub(crate) fn lingering(&self) -> impl Iterator<Item = (Duration, [u8; 16])> {
        self.by_due.iter().filter_map(|(_, trace_id)| {
            let run = &self.runs.get(trace_id)?.run;
            Some((run.over.filter(|_| run.only_lingers())?, *trace_id))
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Number of accepted spans that have not come out.
    pub(crate) fn sources(&self) -> u64 {
        self.sources
    }

    /// Approximate size in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }
}
