//! Memory of all spans that are not delivered yet, bounded in bytes over all tenants.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes in use, and their limit.
#[derive(Debug)]
pub(crate) struct Room {
    limit: usize,
    used: AtomicUsize,
}

impl Room {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    /// Reserves bytes; returns false if there is no room. A single request that is larger than the limit is admitted when
    /// nothing else is in memory.
    pub(crate) fn reserve(&self, bytes: usize) -> bool {
        let admit = |used: usize| {
            let after = used.saturating_add(bytes);
            (used == 0 || after <= self.limit).then_some(after)
        };
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, admit).is_ok()
    }

    /// Returns bytes.
    pub(crate) fn release(&self, bytes: usize) {
        let _ = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| Some(used.saturating_sub(bytes)));
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    /// The limit.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_until_something_is_released() {
        let room = Room::new(100);
        assert!(room.reserve(60) && !room.reserve(41) && room.reserve(40));
        room.release(60);
        assert!(room.reserve(60));
        room.release(100);
        assert!(room.reserve(1_000), "a single one is admitted");
        assert!(!room.reserve(1));
        room.release(2_000);
        assert_eq!(room.used(), 0);
    }
}
