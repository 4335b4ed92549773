//! The runs that are told while they happen, by when something is due.

use std::collections::BTreeSet;

use foldhash::HashMap;
use std::time::Duration;

use crate::recorder::RecorderLimits;
use crate::recorder::live_run::LiveRun;

/// Live runs that are under way.
#[derive(Debug, Default)]
pub(crate) struct LiveRuns {
    runs: HashMap<[u8; 16], Entry>,
    /// By when they were last seen.
    by_age: BTreeSet<(Duration, [u8; 16])>,
    /// Those whose local roots have ended, by when they are to be told as ended.
    by_due: BTreeSet<(Duration, [u8; 16])>,
    sources: u64,
    weight: usize,
}

/// A run, and what the sums and the orders have of it.
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

    /// The run that is to be told as ended next, and when.
    pub(crate) fn next_due(&self) -> Option<(Duration, [u8; 16])> {
        self.by_due.first().copied()
    }

    /// The run that was silent longest, and since when.
    pub(crate) fn oldest(&self) -> Option<(Duration, [u8; 16])> {
        self.by_age.first().copied()
    }

    /// Runs that are over and wait for nothing but the linger, and since when.
    pub(crate) fn lingering(&self) -> impl Iterator<Item = (Duration, [u8; 16])> {
        self.by_due.iter().filter_map(|(_, trace_id)| {
            let run = &self.runs.get(trace_id)?.run;
            Some((run.over.filter(|_| run.only_lingers())?, *trace_id))
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Spans that were accepted and have not come out.
    pub(crate) fn sources(&self) -> u64 {
        self.sources
    }

    /// Bytes that they take, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }
}
