//! A mock cluster of librdkafka, and a producer for it.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{
    BaseProducer, BaseRecord, DefaultProducerContext, DeliveryResult, Producer as _, ProducerContext,
};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::Offset;
use rdkafka::{ClientConfig, ClientContext};
use serde_json::Value;

use super::{HANG, request, run_id, span};

pub(crate) const TOPIC: &str = "otlp_spans";

pub(crate) struct Broker {
    pub(crate) cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
    pub(crate) partitions: i32,
}

impl Broker {
    pub(crate) fn start(partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        for topic in [TOPIC, "dead", "otlp.a.spans", "otlp.b.spans"] {
            cluster.create_topic(topic, partitions, 1).unwrap();
        }
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("queue.buffering.max.messages", "1000000")
            .create()
            .unwrap();
        Self { cluster, producer, partitions }
    }

    /// Configuration of a gateway that reads from here, by JSON.
    pub(crate) fn config(&self, more: &str) -> String {
        format!(
            "[kafka]\nbrokers = [\"{}\"]\nencoding = \"otlp_json\"\nsession_timeout_seconds = 6\ncommit_interval_seconds = 0.1\n{more}",
            self.cluster.bootstrap_servers()
        )
    }

    /// Sends messages in batches that are compressed; returns the bytes of the messages, and those that went to the broker.
    pub(crate) fn send_compressed(&self, codec: &str, partition: i32, messages: &[String]) -> (u64, u64) {
        let sent = Sent::default();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.cluster.bootstrap_servers()).set("compression.codec", codec);
        config.set("linger.ms", "200").set("statistics.interval.ms", "20");
        let producer: BaseProducer<Sent> = BaseProducer::from_config_and_context(&config, sent.clone()).unwrap();
        for message in messages {
            let record = BaseRecord::<[u8], [u8]>::to(TOPIC).partition(partition).payload(message.as_bytes());
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(HANG).unwrap();
        let wire = loop {
            producer.poll(Duration::from_millis(20));
            let sent = sent.0.lock().unwrap_or_else(PoisonError::into_inner);
            if sent.0 == messages.len() as u64 {
                break sent.1;
            }
        };
        (messages.iter().map(|message| message.len() as u64).sum(), wire)
    }

    pub(crate) fn send_bytes(&self, topic: &str, partition: i32, payload: &[u8]) {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(payload);
        while let Err((_, again)) = self.producer.send(record) {
            record = again;
            self.producer.poll(Duration::from_millis(10));
        }
    }

    pub(crate) fn send(&self, partition: i32, request: &Value) {
        self.send_bytes(TOPIC, partition, request.to_string().as_bytes());
    }

    /// Sends a trace as two messages: the model calls, then the agent above them.
    pub(crate) fn send_trace(&self, trace: u64, calls: u64) {
        self.send_trace_to(i32::try_from(trace % u64::try_from(self.partitions).unwrap()).unwrap(), trace, calls);
    }

    pub(crate) fn send_trace_to(&self, partition: i32, trace: u64, calls: u64) {
        let spans: Vec<Value> = (0..calls).map(|n| span(trace, n + 2, 1)).collect();
        self.send(partition, &request("worker", &spans));
        self.send(partition, &request("front", &[span(trace, 1, 0)]));
    }

    pub(crate) fn flush(&self) {
        self.producer.flush(HANG).unwrap();
    }

    fn client(&self, group: &str) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.cluster.bootstrap_servers()).set("group.id", group);
        config.set("enable.auto.commit", "false").set("auto.offset.reset", "earliest").create().unwrap()
    }

    /// Sums over the partitions: committed offsets of a group, and ends.
    pub(crate) fn committed(&self, group: &str) -> (i64, i64) {
        let client = self.client(group);
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_range(TOPIC, 0, self.partitions - 1);
        let list = client.committed_offsets(list, HANG).unwrap();
        let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        let committed = list.elements().iter().map(|each| offset(each.offset())).sum();
        let ends =
            (0..self.partitions).map(|partition| client.fetch_watermarks(TOPIC, partition, HANG).unwrap().1).sum();
        (committed, ends)
    }

    /// Reads a number of messages from the start of a topic.
    pub(crate) fn read<T>(
        &self,
        topic: &str,
        count: usize,
        of: impl Fn(&rdkafka::message::BorrowedMessage<'_>) -> T,
    ) -> Vec<T> {
        let client = self.client("reader");
        let mut list = rdkafka::TopicPartitionList::new();
        for partition in 0..self.partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        client.assign(&list).unwrap();
        let mut read = Vec::new();
        while read.len() < count {
            let message = client.poll(HANG).expect("no message within the limit").unwrap();
            read.push(of(&message));
        }
        read
    }
}

/// Messages and bytes that a producer has sent, by its statistics.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<(u64, u64)>>);

impl ClientContext for Sent {
    fn stats(&self, statistics: Statistics) {
        let bytes = statistics.brokers.values().map(|broker| broker.txbytes).sum();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (u64::try_from(statistics.txmsgs).unwrap(), bytes);
    }
}

impl ProducerContext for Sent {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        result.as_ref().map_err(|(error, _)| error.clone()).unwrap();
    }
}

/// Ids of the runs that are missing.
pub(crate) fn missing(sink: &retrace_local::Server, traces: u64, spans: u64) -> Vec<u64> {
    let is_whole = |n: &u64| {
        let run = sink.trace(&run_id(*n)).unwrap();
        run.and_then(|run| Some(run.spans?.len() as u64)) == Some(spans)
    };
    (0..traces).filter(|n| !is_whole(n)).collect()
}
