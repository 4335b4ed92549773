//! Dead-letter topic: messages that cannot be taken, with the reason in their headers.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::KafkaResult;
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};

use super::client_config;
use super::context::log_line;
use crate::config::Kafka;
use crate::metrics::Metrics;
use crate::ticket::Ticket;

/// Longest wait for the last messages at a stop.
const FLUSH: Duration = Duration::from_secs(5);
/// Memory of messages that are not in the topic yet, in KiB. Beyond it a message is counted as lost.
const BUFFER_KIB: &str = "65536";

/// Defect of a message.
#[derive(Debug)]
pub(crate) struct Defect {
    /// Kind, for the log.
    pub(crate) kind: &'static str,
    /// Reason, for the headers of the dead letter. It may quote the message, so the log does not have it.
    pub(crate) reason: String,
}

/// Sends messages to the dead-letter topic, if there is one.
pub(crate) struct DeadLetters {
    producer: Option<(String, ThreadedProducer<Deliveries>)>,
    metrics: Arc<Metrics>,
}

/// Settles each message when it is in the topic.
struct Deliveries {
    metrics: Arc<Metrics>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        if let Err((error, _)) = result {
            // Temporary failures are repeated without end, so this one is permanent.
            tracing::error!(%error, "a message that cannot be read is lost: the dead-letter topic does not take it");
            self.metrics.dead_letters_lost.add(1);
        }
        ticket.settle();
    }
}

impl DeadLetters {
    pub(crate) fn new(kafka: &Kafka, metrics: Arc<Metrics>) -> KafkaResult<Self> {
        let Some(topic) = kafka.dead_letter_topic.clone() else { return Ok(Self { producer: None, metrics }) };
        let mut client = client_config::producer(kafka);
        client
            .set("message.timeout.ms", "0")
            .set("enable.idempotence", "true")
            .set("queue.buffering.max.kbytes", BUFFER_KIB);
        let deliveries = Deliveries { metrics: Arc::clone(&metrics) };
        let producer = ThreadedProducer::from_config_and_context(&client, deliveries)?;
        Ok(Self { producer: Some((topic, producer)), metrics })
    }

    /// Sends a copy of the message; its ticket is settled when it is in the topic. Without a topic it is counted as lost.
    pub(crate) fn send(&self, message: &rdkafka::message::BorrowedMessage<'_>, defect: &Defect, ticket: Ticket) {
        self.metrics.dead_letters.add(1);
        let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
        tracing::warn!(topic, partition, offset, defect = defect.kind, "a message goes to the dead-letter topic");
        let Some((dead, producer)) = &self.producer else {
            self.metrics.dead_letters_lost.add(1);
            return ticket.settle();
        };
        let mut headers = message.headers().map_or_else(OwnedHeaders::new, rdkafka::message::BorrowedHeaders::detach);
        let (number, at) = (partition.to_string(), offset.to_string());
        for (key, value) in [
            ("retrace.reason", defect.reason.as_str()),
            ("retrace.topic", topic),
            ("retrace.partition", number.as_str()),
            ("retrace.offset", at.as_str()),
        ] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut record = BaseRecord::<[u8], [u8], Box<Ticket>>::with_opaque_to(dead, Box::new(ticket)).headers(headers);
        if let Some(payload) = message.payload() {
            record = record.payload(payload);
        }
        if let Some(key) = message.key() {
            record = record.key(key);
        }
        if let Err((error, record)) = producer.send(record) {
            tracing::error!(%error, "a message that cannot be read is lost: the dead-letter topic does not take it");
            self.metrics.dead_letters_lost.add(1);
            record.delivery_opaque.settle();
        }
    }

    /// Waits until all are in the topic, for a while.
    pub(crate) fn flush(&self) {
        if let Some((_, producer)) = &self.producer {
            let _ = producer.flush(FLUSH);
        }
    }
}
