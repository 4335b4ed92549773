//! Between the outbox and the spool: what could not be delivered leaves for the disk, and what came from there is settled.

use std::time::Duration;

use crate::outbox::record::{RecordName, decode, encode};
use crate::outbox::{Notice, Outbox};
use crate::stats::LossReason;

/// What is between here and the disk.
#[derive(Debug, Default)]
pub(super) struct Spooling {
    leaving: Vec<Leaving>,
    /// Accepted spans in `leaving`, and in what was taken out of it and is not yet known to be on the disk.
    spans: u64,
    settled: Vec<RecordName>,
}

/// A record to be written.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub bytes: Vec<u8>,
    /// Accepted spans in it.
    pub spans: u64,
    /// Why they are lost if it cannot be written.
    pub reason: LossReason,
}

impl Outbox {
    /// From now on there is a spool.
    pub(crate) fn spools(&mut self) {
        self.spooling = Some(Spooling::default());
    }

    pub(crate) fn has_spool(&self) -> bool {
        self.spooling.is_some()
    }

    /// Lets a post go to the disk, or stay there.
    pub(super) fn spool(&mut self, serial: u64, reason: LossReason) {
        let Some(spooling) = &mut self.spooling else { return };
        let Some(post) = self.posts.remove(&serial) else { return };
        self.weight -= post.weight();
        if post.in_flight {
            self.in_flight -= 1;
        }
        let spans = post.sources();
        self.spans -= spans;
        if post.spooled_as.is_some() {
            self.account.spooled += spans;
        } else if let Some(bytes) = encode(&post) {
            spooling.leaving.push(Leaving { bytes, spans, reason });
            spooling.spans += spans;
        } else {
            self.lose(LossReason::Internal, spans, LossReason::Internal.as_str());
        }
    }

    /// Lets everything from this number on go to the disk.
    pub(crate) fn spool_from(&mut self, serial: u64, reason: LossReason) {
        let serials: Vec<u64> = self.posts.range(serial..).map(|(serial, _)| *serial).collect();
        serials.into_iter().for_each(|serial| self.spool(serial, reason));
    }

    /// Spans that are on their way to the disk.
    pub(super) fn leaving(&self) -> u64 {
        self.spooling.as_ref().map_or(0, |spooling| spooling.spans)
    }

    /// The same, counted in the records that are still here.
    pub(super) fn count_leaving(&self) -> u64 {
        self.spooling.iter().flat_map(|spooling| &spooling.leaving).map(|leaving| leaving.spans).sum()
    }

    /// Spans that were taken to be written to the disk, and of which nothing was heard yet.
    #[cfg(test)]
    pub(crate) fn leaving_elsewhere(&self) -> u64 {
        self.leaving() - self.count_leaving()
    }

    /// Forgets records that were taken and of which nothing was heard.
    pub(super) fn recount_leaving(&mut self) {
        let spans = self.count_leaving();
        if let Some(spooling) = &mut self.spooling {
            spooling.spans = spans;
        }
    }

    /// What is to be written now. Whoever takes it says what came of it.
    pub(crate) fn take_leaving(&mut self) -> Vec<Leaving> {
        self.spooling.as_mut().map(|spooling| std::mem::take(&mut spooling.leaving)).unwrap_or_default()
    }

    /// Records are on the disk.
    pub(crate) fn spooled(&mut self, spans: u64) {
        self.has_left(spans);
        self.account.spooled += spans;
    }

    /// Records are not on the disk, for this reason, and are lost.
    pub(crate) fn not_spooled(&mut self, reason: LossReason, spans: u64, why: &str) {
        self.has_left(spans);
        self.lose(reason, spans, why);
    }

    fn has_left(&mut self, spans: u64) {
        if let Some(spooling) = &mut self.spooling {
            spooling.spans -= spans;
        }
    }

    /// Records of earlier processes were given up: for their age, or for want of room.
    pub(crate) fn dropped_from_spool(&mut self, reason: LossReason, spans: u64) {
        self.account.recovered += spans;
        self.lose(reason, spans, "they were in the spool for too long, or had no room in it");
    }

    pub(super) fn is_settled(&mut self, record: Option<RecordName>) {
        if let Some(spooling) = &mut self.spooling {
            spooling.settled.extend(record);
        }
    }

    /// Records whose spans were delivered or lost: they are not needed any more.
    pub(crate) fn take_settled(&mut self) -> Vec<RecordName> {
        self.spooling.as_mut().map(|spooling| std::mem::take(&mut spooling.settled)).unwrap_or_default()
    }

    /// Whether there is room for what earlier processes left.
    pub(crate) fn has_room_for_recovered(&self) -> bool {
        self.weight < self.limits.bytes / 4 && self.posts.len() < self.limits.posts / 4
    }

    /// Takes in what an earlier process left; one that is damaged is passed over, and counted.
    pub(crate) fn recover(&mut self, name: RecordName, bytes: &[u8], now: Duration) {
        match decode(bytes, name.clone(), now) {
            Some(post) => {
                self.account.recovered += post.sources();
                self.insert(post);
            }
            None => {
                self.account.recovered += name.spans;
                self.account.lose(LossReason::Damaged, name.spans);
                let text = format!("{} spans lost: their record in the spool is damaged", name.spans);
                self.notices.push(Notice::lost(text));
                self.is_settled(Some(name));
            }
        }
    }
}
