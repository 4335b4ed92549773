//! Properties of the two clients of librdkafka: the consumer, and the producer of dead letters.

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;

use crate::config::Kafka;

/// Properties that only a consumer has, by `CONFIGURATION.md` of librdkafka 2.12.1. A producer warns of each.
const CONSUMER_ONLY: &[&str] = &[
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "check.crcs",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session.timeout.ms",
];

/// Properties that only a producer has. A consumer warns of each.
const PRODUCER_ONLY: &[&str] = &[
    "acks",
    "batch.num.messages",
    "batch.size",
    "compression.codec",
    "compression.level",
    "compression.type",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "linger.ms",
    "message.send.max.retries",
    "message.timeout.ms",
    "partitioner",
    "produce.offset.report",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queuing.strategy",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "sticky.partitioning.linger.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Returns the properties of the consumer.
pub(super) fn consumer(kafka: &Kafka) -> ClientConfig {
    let mut client = common(kafka);
    client
        .set("group.id", &kafka.group)
        .set("session.timeout.ms", kafka.session_timeout.as_millis().to_string())
        .set("heartbeat.interval.ms", (kafka.session_timeout / 5).as_millis().to_string())
        .set("auto.offset.reset", "earliest")
        // A rebalance takes away only what goes to another consumer.
        .set("partition.assignment.strategy", "cooperative-sticky")
        // Prefetched messages, in KiB.
        .set("queued.max.messages.kbytes", "16384");
    set_properties(&mut client, kafka, PRODUCER_ONLY);
    // These are not settings: offsets are committed here, when they are settled.
    client.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    client
}

/// Returns the properties of the producer.
pub(super) fn producer(kafka: &Kafka) -> ClientConfig {
    let mut client = common(kafka);
    set_properties(&mut client, kafka, CONSUMER_ONLY);
    client
}

fn common(kafka: &Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &kafka.brokers).set("client.id", "retrace-gateway");
    client
}

/// Sets the properties of the configuration, without those of the other kind of client.
fn set_properties(client: &mut ClientConfig, kafka: &Kafka, without: &[&str]) {
    for (key, value) in kafka.properties.iter().filter(|(key, _)| !without.contains(&key.as_str())) {
        client.set(key, value.expose());
    }
}

/// Describes an error without the value of a property, which may be a password.
pub(super) fn describe(error: &KafkaError) -> String {
    match error {
        // librdkafka quotes a value that a property does not take.
        KafkaError::ClientConfig(_, problem, property, _) if problem.starts_with("Invalid value") => {
            format!("{property}: the value is not one that this property takes")
        }
        KafkaError::ClientConfig(_, problem, property, _) => format!("{property}: {problem}"),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use rdkafka::ClientContext;
    use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
    use rdkafka::consumer::{BaseConsumer, ConsumerContext};
    use rdkafka::producer::{BaseProducer, DeliveryResult, ProducerContext};

    use super::*;
    use crate::config::Config;

    /// Properties that librdkafka warns of last, in clients of any kind.
    const LAST: (&str, &str) = ("sasl.mechanism", "PLAIN");
    /// Values that each property takes, where it is not its default.
    const VALUES: &[(&str, &str)] = &[
        ("group.id", "g"),
        ("group.instance.id", "i"),
        ("group.remote.assignor", "uniform"),
        ("transactional.id", "t"),
        // The default configuration has no properties of topics.
        ("acks", "-1"),
        ("auto.commit.enable", "true"),
        ("auto.offset.reset", "largest"),
        ("compression.level", "-1"),
        ("consume.callback.max.messages", "0"),
        ("delivery.timeout.ms", "300000"),
        ("message.timeout.ms", "300000"),
        ("offset.store.path", "."),
        ("offset.store.sync.interval.ms", "-1"),
        ("partitioner", "consistent_random"),
        ("produce.offset.report", "false"),
        ("queuing.strategy", "fifo"),
        ("request.required.acks", "-1"),
        ("request.timeout.ms", "30000"),
    ];

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl ClientContext for Lines {
        fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
            if facility == "CONFWARN" {
                self.0.lock().unwrap().push(message.to_owned());
            }
        }
    }

    impl ConsumerContext for Lines {}

    impl ProducerContext for Lines {
        type DeliveryOpaque = ();

        fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
    }

    impl Lines {
        /// Polls a client until it has written its last warning.
        fn read(&self, poll: impl Fn(Duration)) -> Vec<String> {
            while !self.0.lock().unwrap().iter().any(|line| line.contains(LAST.0)) {
                poll(Duration::from_millis(10));
            }
            self.0.lock().unwrap().clone()
        }
    }

    fn warnings_of_producer(client: &ClientConfig) -> Vec<String> {
        let lines = Lines::default();
        let producer: BaseProducer<Lines> = BaseProducer::from_config_and_context(client, lines.clone()).unwrap();
        lines.read(|wait| {
            producer.poll(wait);
        })
    }

    fn warnings_of_consumer(client: &ClientConfig) -> Vec<String> {
        let lines = Lines::default();
        let consumer = BaseConsumer::from_config_and_context(client, lines.clone()).unwrap();
        lines.read(|wait| {
            consumer.poll(wait);
        })
    }

    fn value(property: &str) -> String {
        let value = VALUES.iter().find(|(known, _)| *known == property).map(|(_, value)| (*value).to_owned());
        value.unwrap_or_else(|| ClientConfig::new().create_native_config().unwrap().get(property).unwrap())
    }

    fn with(properties: &[&str]) -> Kafka {
        let pairs = properties.iter().map(|property| format!("{property:?} = {:?}\n", value(property)));
        let text = format!(
            "[kafka]\nbrokers = [\"127.0.0.1:1\"]\n[kafka.properties]\n{}{:?} = {:?}",
            pairs.collect::<String>(),
            LAST.0,
            LAST.1
        );
        Config::parse("test.toml", &text, &[], &|name| Some(name.to_owned())).unwrap().kafka.unwrap()
    }

    #[test]
    fn each_client_gets_what_it_takes() {
        let warnings = warnings_of_producer(&producer(&with(CONSUMER_ONLY)));
        assert_eq!(warnings.len(), 1, "{warnings:#?}");
        let warnings = warnings_of_consumer(&consumer(&with(PRODUCER_ONLY)));
        assert_eq!(warnings.len(), 1, "{warnings:#?}");
        let kafka = with(&["compression.codec", "fetch.min.bytes", "client.rack"]);
        assert!(
            producer(&kafka).get("compression.codec").is_some() && consumer(&kafka).get("fetch.min.bytes").is_some()
        );
        assert!(producer(&kafka).get("client.rack").is_some() && consumer(&kafka).get("client.rack").is_some());
    }

    #[test]
    fn librdkafka_warns_of_each_property_that_is_left_out() {
        for property in CONSUMER_ONLY {
            let mut client = producer(&with(&[]));
            let warnings = warnings_of_producer(client.set(*property, value(property)));
            assert!(warnings.iter().any(|line| line.contains("is a consumer property")), "{property}: {warnings:#?}");
        }
        for property in PRODUCER_ONLY {
            let mut client = consumer(&with(&[]));
            let warnings = warnings_of_consumer(client.set(*property, value(property)));
            assert!(warnings.iter().any(|line| line.contains("is a producer property")), "{property}: {warnings:#?}");
        }
    }

    #[test]
    fn an_error_does_not_show_the_value() {
        let mut client = ClientConfig::new();
        let error = client.set("sasl.pasword", "canary").create_native_config().map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("canary"));
        assert_eq!(describe(&error), "sasl.pasword: No such configuration property: \"sasl.pasword\"");
        let mut client = ClientConfig::new();
        let error = client.set("debug", "canary").create_native_config().map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("Invalid value \"canary\""), "{error}");
        assert_eq!(describe(&error), "debug: the value is not one that this property takes");
    }
}
