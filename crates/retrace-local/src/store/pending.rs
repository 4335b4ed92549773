//! Queue of runs that wait to be indexed.

use std::collections::{HashSet, VecDeque};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use retrace_protocol::Id;

use super::{Change, Outcome, lock};

/// Largest number of queued ids; above it, all stored runs are compared with the index instead.
const NAMED: usize = 50_000;
/// The indexer waits while the latest commit is younger than this,
const QUIET: Duration = Duration::from_millis(40);
/// unless a caller waits for the index, or the oldest queued run has waited for this long.
const LONGEST_DELAY: Duration = Duration::from_millis(400);
/// Under constant load, indexing takes one part in this many of the time.
const SHARE: u32 = 20;

/// A queue of runs without duplicates, which callers can wait for.
#[derive(Debug, Default)]
pub(super) struct Pending {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Id>,
    named: HashSet<Id>,
    /// Number of runs that have entered and left the queue since the start.
    entered: u64,
    left: u64,
    /// Key after which all runs are to be compared, if a comparison is due.
    compare_after: Option<i64>,
    last_commit: Option<Instant>,
    oldest: Option<Instant>,
    /// Number of callers that wait for the index.
    hurried: usize,
    rest_until: Option<Instant>,
    closed: bool,
}

/// Next task of the indexer.
#[derive(Debug)]
pub(super) enum Work {
    /// Index these runs.
    Runs(Vec<Id>),
    /// Compare the stored runs above this key with the index.
    Compare(i64),
    Done,
}

impl Pending {
    /// Creates a queue that begins with a comparison of all runs.
    pub(super) fn new() -> Self {
        let pending = Self::default();
        lock(&pending.state).compare_after = Some(0);
        pending
    }

    /// Queues the runs that committed changes affect.
    pub(super) fn committed<'a>(&self, changes: impl Iterator<Item = (&'a Change, Outcome)>) {
        let mut state = lock(&self.state);
        let mut is_touched = false;
        for (change, outcome) in changes {
            if matches!(outcome, Outcome::Done | Outcome::Merged) {
                touched(change, |id| {
                    state.push(id);
                    is_touched = true;
                });
            }
        }
        if is_touched {
            let now = Instant::now();
            state.last_commit = Some(now);
            state.oldest.get_or_insert(now);
            self.changed.notify_all();
        }
    }

    /// Adds the result of a comparison, and the key to continue at.
    pub(super) fn compared(&self, ids: &[Id], go_on: Option<i64>) {
        let mut state = lock(&self.state);
        state.compare_after = go_on;
        ids.iter().for_each(|id| state.push(id));
        self.changed.notify_all();
    }

    /// Waits for the next task.
    pub(super) fn next(&self, most: usize) -> Work {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return Work::Done;
            }
            let now = Instant::now();
            let wait = state.wait(now);
            if wait.is_zero() {
                let ids: Vec<Id> = {
                    let State { queue, named, .. } = &mut *state;
                    let count = most.min(queue.len());
                    let ids: Vec<Id> = queue.drain(..count).collect();
                    ids.iter().for_each(|id| _ = named.remove(id));
                    ids
                };
                if !ids.is_empty() {
                    state.oldest = (!state.queue.is_empty()).then_some(now);
                    return Work::Runs(ids);
                }
                if let Some(after) = state.compare_after {
                    return Work::Compare(after);
                }
            }
            state = self
                .changed
                .wait_timeout(state, wait.max(Duration::from_millis(1)))
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
        }
    }

    /// Removes indexed runs, including those that cannot be indexed; `took` is the time of the indexing.
    pub(super) fn indexed(&self, count: usize, took: Duration) {
        let mut state = lock(&self.state);
        state.left += u64::try_from(count).unwrap_or_default();
        state.rest_until = Some(Instant::now() + took * (SHARE - 1));
        self.changed.notify_all();
    }

    /// Waits until all runs that are pending now are indexed; returns false if they are not within `limit`.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let mut state = lock(&self.state);
        let (mut goal, deadline) = (state.entered, Instant::now() + limit);
        let mut is_comparing = state.compare_after.is_some();
        state.hurried += 1;
        self.changed.notify_all();
        let is_done = loop {
            if is_comparing && state.compare_after.is_none() {
                // The runs that the comparison found are also waited for.
                (goal, is_comparing) = (state.entered, false);
            }
            if state.left >= goal && !is_comparing {
                break true;
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() || state.closed {
                break false;
            }
            state = self.changed.wait_timeout(state, rest).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        };
        state.hurried -= 1;
        is_done
    }

    /// Stops the indexing.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}

impl State {
    fn push(&mut self, id: &Id) {
        if self.named.len() >= NAMED {
            // The comparison finds these runs.
            self.compare_after = Some(0);
        } else if !self.named.contains(id) {
            self.named.insert(id.clone());
            self.queue.push_back(id.clone());
            self.entered += 1;
        }
    }

    /// Returns the delay until the next task may start.
    fn wait(&self, now: Instant) -> Duration {
        const IDLE: Duration = Duration::from_secs(3600);
        if self.queue.is_empty() && self.compare_after.is_none() {
            return IDLE;
        }
        if self.hurried > 0 {
            return Duration::ZERO;
        }
        let since = |at: Option<Instant>| at.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        let quiet = QUIET.saturating_sub(since(self.last_commit));
        if quiet.is_zero() {
            return quiet;
        }
        let delay = LONGEST_DELAY.saturating_sub(since(self.oldest));
        let rest = self.rest_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        quiet.min(delay.max(rest))
    }
}

/// Calls `run` with the id of each run that a change affects.
fn touched(change: &Change, mut run: impl FnMut(&Id)) {
    match change {
        Change::Create(upload) => run(&upload.trace.id),
        Change::Patch(id, _) | Change::Golden(id, _) => run(id),
        Change::Otlp(part) => run(part.id()),
        Change::Events(events) => {
            let mut last = None;
            for numbered in events {
                // If the end of a span has no trace id, the end of its trace has.
                let id = numbered.event.trace_id();
                if id != last {
                    id.into_iter().for_each(&mut run);
                    last = id;
                }
            }
        }
        Change::Delete(_) | Change::Fork(_) | Change::Index(_) | Change::Prune(_) | Change::GiveBack => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::HANG;

    fn marked(id: usize) -> Change {
        Change::Golden(id.to_string().as_str().into(), true)
    }

    fn commit(pending: &Pending, ids: impl Iterator<Item = usize>) {
        let changes: Vec<Change> = ids.map(marked).collect();
        pending.committed(changes.iter().map(|change| (change, Outcome::Done)));
    }

    fn compared() -> Pending {
        let pending = Pending::new();
        pending.compared(&[], None);
        pending
    }

    fn runs(pending: &Pending) -> usize {
        match pending.next(10) {
            Work::Runs(ids) => ids.len(),
            work => panic!("{work:?}"),
        }
    }

    #[test]
    fn a_run_waits_once_and_who_waits_learns_when_it_is_indexed() {
        let pending = compared();
        commit(&pending, [1, 2, 1, 1].into_iter());
        assert_eq!(runs(&pending), 2);
        assert!(!pending.wait(Duration::ZERO), "it is not indexed yet");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pending.wait(HANG));
            pending.indexed(2, Duration::ZERO);
            assert!(waiting.join().unwrap());
        });
        assert!(pending.wait(Duration::ZERO), "nothing is pending");
    }

    #[test]
    fn who_waits_waits_for_what_a_comparison_finds() {
        let pending = Pending::new();
        assert!(matches!(pending.next(10), Work::Compare(0)));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pending.wait(HANG));
            pending.compared(&["a".into()], None);
            assert_eq!(runs(&pending), 1);
            pending.indexed(1, Duration::ZERO);
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn more_than_can_be_named_are_found_by_a_comparison() {
        let pending = compared();
        commit(&pending, 0..NAMED + 5);
        let mut named = 0;
        let after = loop {
            match pending.next(1_000) {
                Work::Runs(ids) => named += ids.len(),
                Work::Compare(after) => break after,
                Work::Done => panic!("closed"),
            }
        };
        assert_eq!((named, after), (NAMED, 0));
    }

    #[test]
    fn a_run_that_nobody_touched_is_not_indexed() {
        let pending = compared();
        pending.committed([(&marked(1), Outcome::Unknown)].into_iter());
        pending.close();
        assert!(matches!(pending.next(10), Work::Done));
        assert!(pending.wait(Duration::ZERO));
    }
}
