//! Callbacks of the consumer: rebalances and log lines.

use std::collections::HashSet;
use std::sync::Arc;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::kafka::error_log::ErrorLog;
use crate::metrics::Metrics;
use crate::offsets::Partition;
use crate::tenants::TenantPipelines;
use crate::ticket::Ledger;

/// State of the callbacks.
pub(crate) struct Context {
    pub(crate) ledger: Ledger,
    pub(crate) tenants: Arc<TenantPipelines>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) errors: ErrorLog,
}

impl Context {
    /// Returns the offsets that may be committed, of these partitions or of all.
    pub(crate) fn to_commit(&self, of: Option<&HashSet<Partition>>) -> Option<TopicPartitionList> {
        let offsets = self.ledger.lock().to_commit();
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            if of.is_none_or(|of| of.contains(&partition)) {
                let _ = list.add_partition_offset(&partition.topic, partition.number, Offset::Offset(offset));
            }
        }
        (list.count() > 0).then_some(list)
    }

    /// Commits offsets, and waits for the answer: of a commit without a wait librdkafka reports no result to its event queue.
    pub(crate) fn commit(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        match consumer.commit(list, CommitMode::Sync) {
            Ok(()) => self.committed(list),
            Err(error) => {
                tracing::warn!(%error, "offsets are not committed; unless that succeeds later, what they cover is read again");
            }
        }
    }

    /// Notes that these offsets are committed.
    fn committed(&self, list: &TopicPartitionList) {
        let mut offsets = self.ledger.lock();
        for each in list.elements() {
            if let (Ok(()), Offset::Offset(offset)) = (each.error(), each.offset()) {
                offsets.committed(&Partition { topic: each.topic().to_owned(), number: each.partition() }, offset);
            }
        }
        self.metrics.kafka_commits.add(1);
    }

    /// Gives partitions up: what is settled is committed, and what waits is left to the next consumer.
    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &HashSet<Partition>) {
        if !consumer.assignment_lost()
            && let Some(list) = self.to_commit(Some(partitions))
        {
            self.commit(consumer, &list);
        }
        let traces = self.tenants.revoke(partitions);
        self.metrics.handed_over_traces.add(traces as u64);
        let mut offsets = self.ledger.lock();
        partitions.iter().for_each(|partition| offsets.revoke(partition));
        tracing::info!(partitions = partitions.len(), traces, "partitions are revoked");
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.metrics.kafka_errors.add(1);
        self.errors.warn(&error, &reason);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        self.metrics.kafka_rebalances.add(1);
        match rebalance {
            Rebalance::Assign(list) => {
                let mut offsets = self.ledger.lock();
                partitions(list).into_iter().for_each(|partition| offsets.assign(partition));
                tracing::info!(partitions = list.count(), "partitions are assigned");
            }
            Rebalance::Revoke(list) => self.revoke(consumer, &partitions(list)),
            Rebalance::Error(error) => tracing::warn!(%error, "a rebalance failed"),
        }
    }
}

fn partitions(list: &TopicPartitionList) -> HashSet<Partition> {
    let elements = list.elements();
    elements.iter().map(|each| Partition { topic: each.topic().to_owned(), number: each.partition() }).collect()
}

/// Writes a line of librdkafka into the log.
pub(super) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::error!(facility, message, "librdkafka");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(facility, message, "librdkafka"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(facility, message, "librdkafka"),
        RDKafkaLogLevel::Debug => tracing::debug!(facility, message, "librdkafka"),
    }
}
