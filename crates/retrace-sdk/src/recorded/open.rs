//! The runs and steps of this process that are under way, so that none is left open when recording stops.

use std::cell::Cell;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};

use super::Recorded;
use crate::failure::Failure;

/// Parts with a lock of their own. A thread has one of them, so that threads seldom meet.
const PARTS: usize = 32;

static OPEN: [Mutex<Part>; PARTS] = [const { Mutex::new(Seats::new()) }; PARTS];
/// Process in which the first run began.
static PROCESS: OnceLock<u32> = OnceLock::new();
static NEXT_HOME: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Part of this thread.
    static HOME: Cell<Option<usize>> = const { Cell::new(None) };
}

type Part = Seats<Weak<Recorded>>;

/// Entries at places that stay theirs until they leave. Places are used again.
#[derive(Debug)]
struct Seats<T> {
    entries: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Seats<T> {
    const fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }

    /// The place of the next entry.
    fn next(&self) -> usize {
        self.free.last().copied().unwrap_or(self.entries.len())
    }

    /// Adds an entry at the next place.
    fn enter(&mut self, entry: T) {
        match self.free.pop().and_then(|at| self.entries.get_mut(at)) {
            Some(seat) => *seat = Some(entry),
            None => self.entries.push(Some(entry)),
        }
    }

    fn leave(&mut self, at: usize) {
        if self.entries.get_mut(at).is_some_and(|seat| seat.take().is_some()) {
            self.free.push(at);
        }
    }
}

/// Place of a run or a step among those that are under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    part: usize,
    at: usize,
}

/// Makes a run or a step, and notes that it has begun.
pub(crate) fn add(make: impl FnOnce(Option<Seat>) -> Recorded) -> Arc<Recorded> {
    let part = home();
    let Some(mut open) = OPEN.get(part).and_then(locked) else { return Arc::new(make(None)) };
    let recorded = Arc::new(make(Some(Seat { part, at: open.next() })));
    open.enter(Arc::downgrade(&recorded));
    recorded
}

/// Notes that it has ended.
pub(crate) fn remove(seat: Seat) {
    if let Some(mut open) = OPEN.get(seat.part).and_then(locked) {
        open.leave(seat.at);
    }
}

/// Ends everything that is under way as failed, the innermost first.
pub(crate) fn end_all() {
    let mut open = Vec::new();
    for part in &OPEN {
        let part = part.lock().unwrap_or_else(PoisonError::into_inner);
        open.extend(part.entries.iter().flatten().filter_map(Weak::upgrade));
    }
    open.sort_by_key(|recorded| std::cmp::Reverse(recorded.depth()));
    for recorded in open {
        recorded.end_failed(Failure::unfinished());
    }
}

fn home() -> usize {
    let home = HOME.try_with(|home| {
        home.get().unwrap_or_else(|| {
            let next = NEXT_HOME.fetch_add(1, Ordering::Relaxed) % PARTS;
            home.set(Some(next));
            next
        })
    });
    // A thread that ends has no such place any more.
    home.unwrap_or_default()
}

/// Locks a part. In the child of a fork another thread of the parent may hold it for ever: then it is left alone.
fn locked(part: &'static Mutex<Part>) -> Option<MutexGuard<'static, Part>> {
    match part.try_lock() {
        Ok(open) => Some(open),
        Err(TryLockError::Poisoned(open)) => Some(open.into_inner()),
        Err(TryLockError::WouldBlock) => {
            let is_child = *PROCESS.get()? != process::id();
            (!is_child).then(|| part.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }
}

/// Notes which process this is, before any part is locked.
pub(crate) fn note_process() {
    PROCESS.get_or_init(process::id);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_belong_to_one_entry() {
        let mut seats = Seats::new();
        for round in 0..100 {
            let places: Vec<usize> = (0..3)
                .map(|entry| {
                    let at = seats.next();
                    seats.enter((round, entry));
                    assert_eq!(seats.entries.get(at), Some(&Some((round, entry))));
                    at
                })
                .collect();
            assert!(places.iter().enumerate().all(|(n, at)| !places.iter().skip(n + 1).any(|other| other == at)));
            // Leaving twice frees a place once.
            places.iter().chain(&places).for_each(|at| seats.leave(*at));
        }
        assert_eq!((seats.entries.len(), seats.free.len()), (3, 3));
    }
}
