//! What the engine has to do with the spool: it decides, and the worker reads and writes.

use std::time::Duration;

use crate::engine::Engine;
use crate::outbox::{Leaving, RecordName};
use crate::stats::LossReason;

impl Engine {
    /// What is to be written now. It counts as pending until the worker says what came of it.
    pub(crate) fn take_leaving(&mut self) -> Vec<Leaving> {
        self.delivery.outbox.take_leaving()
    }

    /// So many spans are on the disk.
    pub(crate) fn spooled(&mut self, spans: u64) {
        self.delivery.outbox.spooled(spans);
    }

    /// They are not, for this reason.
    pub(crate) fn not_spooled(&mut self, reason: LossReason, spans: u64, why: &str) {
        self.delivery.outbox.not_spooled(reason, spans, why);
    }

    /// Records that are not needed any more.
    pub(crate) fn take_settled(&mut self) -> Vec<RecordName> {
        self.delivery.outbox.take_settled()
    }

    /// Whether there is room for what earlier processes left.
    pub(crate) fn wants_recovered(&self) -> bool {
        self.closing.is_none() && !self.halted && self.delivery.outbox.has_room_for_recovered()
    }

    /// Takes in what an earlier process left.
    pub(crate) fn recover_record(&mut self, name: RecordName, bytes: &[u8], now: Duration) {
        self.delivery.outbox.recover(name, bytes, now);
    }

    /// What earlier processes left was given up.
    pub(crate) fn dropped_from_spool(&mut self, reason: LossReason, spans: u64) {
        self.delivery.outbox.dropped_from_spool(reason, spans);
    }
}
