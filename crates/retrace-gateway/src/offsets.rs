//! Offsets of a log whose records are settled in any order: which of them may be committed.
//!
//! Pure: no client, no clock. A record has parts, one for each trace that it belongs to; it is settled when all of them
//! are. The offset that may be committed is the largest one before which everything is settled, and which does not divide a
//! group: the records of one trace that are delivered together. After a crash, records are read again from the committed
//! offset. If it divided a group, the second half alone would be delivered again, and its run would have the totals of the
//! half.

use std::collections::{BTreeMap, HashMap};

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Partition {
    /// Name of the topic.
    pub(crate) topic: String,
    /// Number of the partition.
    pub(crate) number: i32,
}

/// Identifies one record of one assignment of its partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Position {
    partition: Partition,
    /// Number of the assignment: after a rebalance the same offset is another record.
    epoch: u64,
    offset: i64,
}

impl Position {
    /// The partition of the record.
    pub(crate) const fn partition(&self) -> &Partition {
        &self.partition
    }
}

/// Offsets of the assigned partitions.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    partitions: HashMap<Partition, Assigned>,
    epochs: u64,
}

#[derive(Debug)]
struct Assigned {
    epoch: u64,
    /// Records that are not committed, by offset.
    records: BTreeMap<i64, Record>,
    /// First offset of each group that still grows, by trace.
    groups: HashMap<[u8; 16], i64>,
    /// Offset after the last record that was read.
    next: Option<i64>,
    /// Offset that was committed last.
    committed: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// Number of parts that are not settled.
    open: usize,
    /// First offset of the groups that it is part of.
    first: i64,
}

impl Offsets {
    /// Begins an assignment of a partition.
    pub(crate) fn assign(&mut self, partition: Partition) {
        self.epochs += 1;
        let assigned = Assigned {
            epoch: self.epochs,
            records: BTreeMap::new(),
            groups: HashMap::new(),
            next: None,
            committed: None,
        };
        self.partitions.insert(partition, assigned);
    }

    /// Ends an assignment: its records belong to another consumer, which reads them again.
    pub(crate) fn revoke(&mut self, partition: &Partition) {
        self.partitions.remove(partition);
    }

    /// Notes a record that was read. It has a part for each of `traces`, and `more` parts; the caller settles all of them.
    pub(crate) fn read(
        &mut self,
        partition: &Partition,
        offset: i64,
        traces: impl IntoIterator<Item = [u8; 16]>,
        more: usize,
    ) -> Position {
        if !self.partitions.contains_key(partition) {
            self.assign(partition.clone());
        }
        let mut epoch = 0;
        if let Some(assigned) = self.partitions.get_mut(partition) {
            epoch = assigned.epoch;
            assigned.next = Some(offset.saturating_add(1));
            let mut record = Record { open: more, first: offset };
            for trace in traces {
                let first = *assigned.groups.entry(trace).or_insert(offset);
                record = Record { open: record.open + 1, first: record.first.min(first) };
            }
            assigned.records.insert(offset, record);
        }
        Position { partition: partition.clone(), epoch, offset }
    }

    /// Notes that the group of a trace is complete: its records are delivered together, and later ones are another group.
    pub(crate) fn end_group(&mut self, position: &Position, trace: &[u8; 16]) {
        if let Some(assigned) = self.current(position) {
            assigned.groups.remove(trace);
        }
    }

    /// Notes that one part of a record is settled. A record of an earlier assignment is ignored.
    pub(crate) fn settle(&mut self, position: &Position) {
        let record = self.current(position).and_then(|assigned| assigned.records.get_mut(&position.offset));
        if let Some(record) = record {
            record.open = record.open.saturating_sub(1);
        }
    }

    fn current(&mut self, position: &Position) -> Option<&mut Assigned> {
        self.partitions.get_mut(&position.partition).filter(|assigned| assigned.epoch == position.epoch)
    }

    /// Returns true if the partition of the record is still assigned as it was when the record was read.
    pub(crate) fn is_current(&self, position: &Position) -> bool {
        self.partitions.get(&position.partition).is_some_and(|assigned| assigned.epoch == position.epoch)
    }

    /// Number of records of a partition that are not committed.
    pub(crate) fn uncommitted(&self, partition: &Partition) -> usize {
        self.partitions.get(partition).map_or(0, |assigned| assigned.records.len())
    }

    /// Number of records that are not committed, over all partitions.
    pub(crate) fn all_uncommitted(&self) -> usize {
        self.partitions.values().map(|assigned| assigned.records.len()).sum()
    }

    /// Returns the offsets to commit that were not committed yet.
    pub(crate) fn to_commit(&self) -> Vec<(Partition, i64)> {
        let offsets = self.partitions.iter().filter_map(|(partition, assigned)| {
            let offset = assigned.safe()?;
            let is_new = assigned.records.keys().next().is_some_and(|first| *first < offset);
            is_new.then(|| (partition.clone(), offset))
        });
        offsets.collect()
    }

    /// Notes that an offset was committed.
    pub(crate) fn committed(&mut self, partition: &Partition, offset: i64) {
        if let Some(assigned) = self.partitions.get_mut(partition)
            && assigned.committed.is_none_or(|before| offset > before)
        {
            assigned.committed = Some(offset);
            assigned.records = assigned.records.split_off(&offset);
        }
    }
}

impl Assigned {
    /// Returns the largest offset that may be committed.
    fn safe(&self) -> Option<i64> {
        let mut offset =
            self.records.iter().find(|(_, record)| record.open > 0).map(|(offset, _)| *offset).or(self.next)?;
        // Each step takes in the whole of a group that the offset would divide.
        while let Some(first) = self.records.range(offset..).map(|(_, record)| record.first).min() {
            if first >= offset {
                break;
            }
            offset = first;
        }
        Some(offset)
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small numbers of the model
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn partition(number: i32) -> Partition {
        Partition { topic: "t".into(), number }
    }

    fn trace(n: u8) -> [u8; 16] {
        [n; 16]
    }

    #[test]
    fn what_is_before_the_first_open_record_is_committed() {
        let mut offsets = Offsets::default();
        offsets.assign(partition(0));
        let positions: Vec<_> = (10..14).map(|n| offsets.read(&partition(0), n, [trace(n as u8)], 0)).collect();
        offsets.settle(&positions[1]);
        assert_eq!(offsets.to_commit(), []);
        offsets.settle(&positions[0]);
        assert_eq!(offsets.to_commit(), [(partition(0), 12)]);
        offsets.committed(&partition(0), 12);
        assert_eq!(offsets.to_commit(), []);
        offsets.settle(&positions[2]);
        offsets.settle(&positions[3]);
        assert_eq!(offsets.to_commit(), [(partition(0), 14)]);
        offsets.committed(&partition(0), 14);
        assert_eq!(offsets.uncommitted(&partition(0)), 0);
    }

    #[test]
    fn a_group_is_not_divided() {
        let mut offsets = Offsets::default();
        let first = offsets.read(&partition(0), 5, [trace(1)], 0);
        let other = offsets.read(&partition(0), 6, [trace(2)], 0);
        let second = offsets.read(&partition(0), 7, [trace(1)], 0);
        offsets.end_group(&first, &trace(1));
        offsets.settle(&first);
        offsets.settle(&second);
        assert_eq!(offsets.to_commit(), [], "6 is open, and 7 is delivered again together with 5");
        let later = offsets.read(&partition(0), 8, [trace(1)], 0);
        offsets.settle(&other);
        assert_eq!(offsets.to_commit(), [(partition(0), 8)], "8 is another group");
        offsets.settle(&later);
        assert_eq!(offsets.to_commit(), [(partition(0), 9)]);
    }

    #[test]
    fn a_record_of_an_earlier_assignment_settles_nothing() {
        let mut offsets = Offsets::default();
        let before = offsets.read(&partition(0), 5, [], 1);
        offsets.revoke(&partition(0));
        offsets.assign(partition(0));
        let again = offsets.read(&partition(0), 5, [], 1);
        offsets.settle(&before);
        assert_eq!(offsets.to_commit(), []);
        assert_eq!((offsets.is_current(&before), offsets.is_current(&again)), (false, true));
        offsets.settle(&again);
        assert_eq!(offsets.to_commit(), [(partition(0), 6)]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Read(i32, Vec<u8>),
        Deliver(u8),
        Settle(usize),
        Rebalance(i32),
        Commit,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..2_i32, prop::collection::btree_set(0..6_u8, 0..3)).prop_map(|(n, traces)| Step::Read(n, traces.into_iter().collect())),
            3 => (0..6_u8).prop_map(Step::Deliver),
            4 => any::<usize>().prop_map(Step::Settle),
            1 => (0..2_i32).prop_map(Step::Rebalance),
            2 => Just(Step::Commit),
        ]
    }

    /// A part of a record in the model: its trace, and the number of the delivery that took it.
    #[derive(Clone, Debug)]
    struct Part {
        position: Position,
        number: i32,
        trace: u8,
        delivery: Option<usize>,
        settled: bool,
    }

    proptest! {
        /// An offset is committed only when everything before it is settled, no delivery is divided, and in the end everything is committed.
        #[test]
        fn a_commit_neither_passes_nor_divides(steps in prop::collection::vec(step(), 0..150)) {
            let mut offsets = Offsets::default();
            let (mut next, mut committed) = ([0_i64; 2], [0_i64; 2]);
            let mut parts: Vec<Part> = Vec::new();
            let mut deliveries = 0;
            (0..2).for_each(|number| offsets.assign(partition(number)));
            let last = (0..6).map(Step::Deliver).chain(std::iter::repeat_n(Step::Settle(0), 200)).chain([Step::Commit]);
            for step in steps.into_iter().chain(last) {
                match step {
                    Step::Read(number, traces) => {
                        let offset = &mut next[number as usize];
                        let position = offsets.read(&partition(number), *offset, traces.iter().map(|n| trace(*n)), 0);
                        *offset += 1;
                        parts.extend(traces.into_iter().map(|trace| {
                            Part { position: position.clone(), number, trace, delivery: None, settled: false }
                        }));
                    }
                    Step::Deliver(of) => {
                        deliveries += 1;
                        for part in parts.iter_mut().filter(|part| part.trace == of && part.delivery.is_none()) {
                            part.delivery = Some(deliveries);
                            offsets.end_group(&part.position, &trace(of));
                        }
                    }
                    Step::Settle(which) => {
                        let mut open: Vec<usize> = parts.iter().filter(|part| !part.settled).filter_map(|part| part.delivery).collect();
                        open.dedup();
                        if let Some(delivery) = open.get(which % open.len().max(1)).copied() {
                            for part in parts.iter_mut().filter(|part| part.delivery == Some(delivery)) {
                                part.settled = true;
                                offsets.settle(&part.position);
                            }
                        }
                    }
                    Step::Rebalance(number) => {
                        // The partition comes back from the committed offset; what waits is dropped, and what is on its way settles.
                        offsets.revoke(&partition(number));
                        offsets.assign(partition(number));
                        parts.retain(|part| part.number != number || part.delivery.is_some());
                        next[number as usize] = committed[number as usize];
                    }
                    Step::Commit => {
                        for (of, offset) in offsets.to_commit() {
                            let current: Vec<&Part> =
                                parts.iter().filter(|part| part.number == of.number && offsets.is_current(&part.position)).collect();
                            let before = |part: &Part| part.position.offset < offset;
                            prop_assert!(current.iter().filter(|part| before(part)).all(|part| part.settled));
                            for part in &current {
                                let divided = current.iter().any(|other| {
                                    other.delivery == part.delivery && other.trace == part.trace && before(other) != before(part)
                                });
                                prop_assert!(!divided, "{offset} divides {part:?}");
                            }
                            prop_assert!(offset > committed[of.number as usize]);
                            committed[of.number as usize] = offset;
                            offsets.committed(&of, offset);
                        }
                    }
                }
            }
            prop_assert!(parts.iter().all(|part| part.settled));
            prop_assert_eq!(committed, next);
            prop_assert_eq!(offsets.all_uncommitted(), 0);
        }
    }
}
