//! The runs and steps of this process that are under way, so that none is left open when recording stops.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::failure::Failure;
use crate::recorded::Recorded;

/// Parts with a lock of their own, so that threads seldom meet.
const PARTS: usize = 16;

static OPEN: [Mutex<BTreeMap<u64, Weak<Recorded>>>; PARTS] = [const { Mutex::new(BTreeMap::new()) }; PARTS];
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Place of a run or a step in the order in which they began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket(u64);

impl Ticket {
    pub(crate) fn next() -> Self {
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    fn part(self) -> &'static Mutex<BTreeMap<u64, Weak<Recorded>>> {
        let [first, ..] = &OPEN;
        usize::try_from(self.0 % PARTS as u64).ok().and_then(|at| OPEN.get(at)).unwrap_or(first)
    }
}

/// Notes that a run or a step has begun. In the child of a fork a lock may be held for ever: then it is not noted.
pub(crate) fn add(ticket: Ticket, recorded: &Arc<Recorded>) {
    if let Ok(mut part) = ticket.part().try_lock() {
        part.insert(ticket.0, Arc::downgrade(recorded));
    }
}

/// Notes that it has ended.
pub(crate) fn remove(ticket: Ticket) {
    if let Ok(mut part) = ticket.part().try_lock() {
        part.remove(&ticket.0);
    }
}

/// Ends everything that is under way as failed, the innermost first.
pub(crate) fn end_all() {
    let mut open = BTreeMap::new();
    for part in &OPEN {
        open.append(&mut part.lock().unwrap_or_else(PoisonError::into_inner));
    }
    for recorded in open.into_values().rev().filter_map(|recorded| recorded.upgrade()) {
        recorded.end_failed(Failure::unfinished());
    }
}
