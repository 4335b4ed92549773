//! Exchange between ledger and spool: undelivered requests are written, and records of the spool are settled.

use std::time::Duration;

use retrace_protocol::Id;

use crate::delivery::ledger::Ledger;
use crate::delivery::record::{RecordName, decode, encode};
use crate::stats::LossReason;
use crate::stats::settlement::Outcome;

/// State of the exchange with the spool.
#[derive(Debug, Default)]
pub(super) struct Spooling {
    leaving: Vec<Leaving>,
    /// Number of accepted spans in `leaving`, and in records that were taken and are not yet known to be
    /// written.
    spans: u64,
    settled: Vec<RecordName>,
}

/// Record to write.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub run: Id,
    pub bytes: Vec<u8>,
    /// Number of accepted spans in it.
    pub spans: u64,
    /// Reason of the loss if it cannot be written.
    pub reason: LossReason,
}

impl Ledger {
    pub(crate) fn has_spool(&self) -> bool {
        self.spooling.is_some()
    }

    /// Moves a request to the spool, or leaves it there.
    pub(super) fn spool(&mut self, number: u64, reason: LossReason) {
        if !self.has_spool() {
            return;
        }
        let Some(request) = self.remove_request(number) else { return };
        let spans = request.sources();
        if request.spooled_as.is_some() {
            self.settle(&request.id, spans, Outcome::Spooled);
        } else if let (Some(bytes), Some(spooling)) = (encode(&request), &mut self.spooling) {
            spooling.leaving.push(Leaving { run: request.id, bytes, spans, reason });
            spooling.spans += spans;
        } else {
            self.lose(&request.id, LossReason::Internal, spans, LossReason::Internal.as_str());
        }
    }

    /// Moves all requests from this number on to the spool.
    pub(super) fn spool_from(&mut self, number: u64, reason: LossReason) {
        let numbers: Vec<u64> = self.requests.range(number..).map(|(number, _)| *number).collect();
        numbers.into_iter().for_each(|number| self.spool(number, reason));
    }

    /// Number of spans on their way to the spool.
    pub(super) fn leaving(&self) -> u64 {
        self.spooling.as_ref().map_or(0, |spooling| spooling.spans)
    }

    /// Counts the spans in the records that are not taken yet.
    pub(super) fn count_leaving(&self) -> u64 {
        self.spooling.iter().flat_map(|spooling| &spooling.leaving).map(|leaving| leaving.spans).sum()
    }

    /// Number of spans in records that were taken, whose outcome is not reported yet.
    #[cfg(test)]
    pub(crate) fn leaving_elsewhere(&self) -> u64 {
        self.leaving() - self.count_leaving()
    }

    /// Removes taken records without a reported outcome from the count.
    pub(super) fn recount_leaving(&mut self) {
        let spans = self.count_leaving();
        if let Some(spooling) = &mut self.spooling {
            spooling.spans = spans;
        }
    }

    /// Takes the records to write now. The caller reports the outcome.
    pub(crate) fn take_leaving(&mut self) -> Vec<Leaving> {
        self.spooling.as_mut().map(|spooling| std::mem::take(&mut spooling.leaving)).unwrap_or_default()
    }

    /// Records that spans were written to the spool.
    pub(crate) fn spooled(&mut self, leaving: &Leaving) {
        self.has_left(leaving.spans);
        self.settle(&leaving.run, leaving.spans, Outcome::Spooled);
    }

    /// Records that spans could not be written, and are lost for the reason of the record.
    pub(crate) fn not_spooled(&mut self, leaving: &Leaving, why: &str) {
        self.has_left(leaving.spans);
        self.lose(&leaving.run, leaving.reason, leaving.spans, why);
    }

    fn has_left(&mut self, spans: u64) {
        if let Some(spooling) = &mut self.spooling {
            spooling.spans -= spans;
        }
    }

    /// Records that records of earlier processes were dropped, because of their age or for lack of room.
    pub(crate) fn dropped_from_spool(&mut self, reason: LossReason, spans: u64) {
        self.account.recovered += spans;
        self.lose_unnamed(reason, spans, "they were in the spool for too long, or had no room in it");
    }

    pub(super) fn is_settled(&mut self, record: Option<RecordName>) {
        if let Some(spooling) = &mut self.spooling {
            spooling.settled.extend(record);
        }
    }

    /// Takes the names of records whose spans are delivered or lost: they can be removed.
    pub(crate) fn take_settled(&mut self) -> Vec<RecordName> {
        self.spooling.as_mut().map(|spooling| std::mem::take(&mut spooling.settled)).unwrap_or_default()
    }

    /// Returns true if there is room for records of earlier processes.
    pub(crate) fn has_room_for_recovered(&self) -> bool {
        self.requests_weight < self.limits.bytes / 4 && self.requests.len() < self.limits.runs / 4
    }

    /// Adds a record of an earlier process; a damaged one is skipped, and counted.
    pub(crate) fn recover_record(&mut self, name: RecordName, bytes: &[u8], now: Duration) {
        match decode(bytes, name.clone(), now) {
            Some(request) => {
                self.account.recovered += request.sources();
                if let Some(run) = request.run() {
                    self.settlements.note_origin(&run.trace);
                }
                self.insert(request);
            }
            None => {
                self.account.recovered += name.spans;
                self.account.lose(LossReason::Damaged, name.spans);
                self.settlements.of_trace(None, name.spans, Outcome::Lost(LossReason::Damaged));
                self.notice_loss(name.spans, "their record in the spool is damaged");
                self.is_settled(Some(name));
            }
        }
    }
}
