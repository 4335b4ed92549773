"""A Kafka broker: the mock cluster inside librdkafka. Prints its address, and ends with its standard input."""

import sys

from confluent_kafka import Producer

producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "replaced by that of the mock cluster"})
[broker] = producer.list_topics(timeout=60).brokers.values()
print(f"{broker.host}:{broker.port}", flush=True)
sys.stdin.read()
