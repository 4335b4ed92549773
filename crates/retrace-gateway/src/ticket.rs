//! Tickets: parts of records of a log that are settled when their spans are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::offsets::{Offsets, Position};

/// Offsets that the consumer and the pipelines share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Offsets>>);

impl Ledger {
    /// Locks the offsets, for a moment. No code panics while it holds the lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Offsets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a ticket for a part of a record.
    pub(crate) fn ticket(&self, position: &Position) -> Ticket {
        Ticket { ledger: self.clone(), position: position.clone() }
    }
}

/// One part of a record. A ticket that is dropped settles nothing: its record is read again.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    ledger: Ledger,
    position: Position,
}

impl Ticket {
    /// The record.
    pub(crate) const fn position(&self) -> &Position {
        &self.position
    }

    /// Notes that the trace of this part is on its way: records that come later are delivered separately.
    pub(crate) fn end_group(&self, trace: &[u8; 16]) {
        self.ledger.lock().end_group(&self.position, trace);
    }

    /// Settles the part: its spans are delivered, or lost and counted.
    pub(crate) fn settle(self) {
        self.ledger.lock().settle(&self.position);
    }
}
