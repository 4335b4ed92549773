//! Operations of the engine on the spool: the engine decides, and the worker reads and writes.

use std::time::Duration;

use crate::delivery::{Leaving, RecordName};
use crate::pipeline_state::PipelineState;
use crate::stats::LossReason;

impl PipelineState {
    /// Takes the records to write now. They count as pending until the worker reports the outcome.
    pub(crate) fn take_leaving(&mut self) -> Vec<Leaving> {
        self.ledger.take_leaving()
    }

    /// Records that spans were written to the spool.
    pub(crate) fn spooled(&mut self, leaving: &Leaving) {
        self.ledger.spooled(leaving);
    }

    /// Records that spans could not be written, and are lost for the reason of the record.
    pub(crate) fn not_spooled(&mut self, leaving: &Leaving, why: &str) {
        self.ledger.not_spooled(leaving, why);
    }

    /// Takes the names of the records that can be removed.
    pub(crate) fn take_settled(&mut self) -> Vec<RecordName> {
        self.ledger.take_settled()
    }

    /// Returns true if there is room for records of earlier processes.
    pub(crate) fn wants_recovered(&self) -> bool {
        self.closing.is_none() && !self.halted && self.ledger.has_room_for_recovered()
    }

    /// Adds a record of an earlier process.
    pub(crate) fn recover_record(&mut self, name: RecordName, bytes: &[u8], now: Duration) {
        self.ledger.recover_record(name, bytes, now);
    }

    /// Records that records of earlier processes were dropped.
    pub(crate) fn dropped_from_spool(&mut self, reason: LossReason, spans: u64) {
        self.ledger.dropped_from_spool(reason, spans);
    }
}
