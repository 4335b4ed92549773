//! Kafka in, Retrace out: against the mock cluster of librdkafka.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use rdkafka::message::{Headers as _, Message as _};
use retrace_gateway::Gateway;
use retrace_local::Server;
use support::kafka::{Broker, TOPIC, missing};
use support::{HANG, counts, ended, gateway, gateway_with, metric, request, runs, runtime, span, until, whole};

const GROUP: &str = "retrace-gateway";

/// Waits for all traces, each with its calls and its agent, and that there is no other run.
async fn all(sink: &Server, traces: u64, calls: u64) {
    until("all runs are whole", || runs(sink) >= traces && missing(sink, traces, calls + 1).is_empty()).await;
    assert_eq!(counts(sink, traces), (traces, traces * (calls + 1)));
}

/// The log of this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Captures all lines from now on. May be called once.
    fn capture() -> Self {
        let log = Self::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(move || writer.clone())
            .init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Waits until everything is committed.
async fn all_committed(broker: &Broker) {
    until("everything is committed", || {
        let (committed, ends) = broker.committed(GROUP);
        committed == ends
    })
    .await;
}

#[test]
fn messages_become_runs_and_their_offsets_are_committed() {
    runtime().block_on(async {
        let (broker, sink) = (Broker::start(4), Server::start().unwrap());
        for trace in 0..50 {
            broker.send_trace(trace, 3);
        }
        broker.flush();
        let gateway = gateway(sink.url(), &broker.config("")).await;
        all(&sink, 50, 3).await;
        all_committed(&broker).await;
        assert_eq!(metric(&gateway, "received_spans_total{source=\"kafka\"}"), 200);
        until("nothing is uncommitted", || metric(&gateway, "kafka_uncommitted_messages") == 0).await;
        let totals = gateway.stop(HANG).await;
        assert_eq!((totals["default"].accepted, totals["default"].delivered), (200, 200));
    });
}

#[test]
fn protobuf_is_read() {
    runtime().block_on(async {
        let (broker, sink) = (Broker::start(1), Server::start().unwrap());
        let config = broker.config("").replace("otlp_json", "otlp_proto");
        let message: ExportTraceServiceRequest = serde_json::from_value(request("front", &whole(0, 2))).unwrap();
        broker.send_bytes(TOPIC, 0, &message.encode_to_vec());
        let _gateway = gateway(sink.url(), &config).await;
        all(&sink, 1, 2).await;
        all_committed(&broker).await;
    });
}

#[test]
fn compressed_batches_are_read_and_written() {
    runtime().block_on(async {
        let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
        let (broker, sink) = (Broker::start(5), Server::start().unwrap());
        for (partition, codec) in (0..).zip(codecs) {
            let traces = (0..20).map(|n| u64::try_from(partition).unwrap() * 20 + n);
            let mut messages: Vec<String> =
                traces.map(|trace| request("front", &whole(trace, 3)).to_string()).collect();
            messages.push("hello".repeat(1000));
            let (payload, wire) = broker.send_compressed(codec, partition, &messages);
            if codec == "none" {
                assert!(wire > payload, "{wire} of {payload} bytes");
            } else {
                assert!(wire < payload / 3, "{codec}: {wire} of {payload} bytes");
            }
        }
        let more = "dead_letter_topic = \"dead\"\nproperties = { \"compression.codec\" = \"zstd\" }";
        let gateway = gateway(sink.url(), &broker.config(more)).await;
        all(&sink, 100, 3).await;
        all_committed(&broker).await;
        assert_eq!((metric(&gateway, "dead_letters_total"), metric(&gateway, "dead_letters_lost_total")), (5, 0));
        let dead = broker.read("dead", 5, |message| message.payload().unwrap().len());
        assert_eq!(dead, [5000; 5]);
    });
}

#[test]
fn nothing_is_committed_while_the_sink_is_gone_and_consumption_is_paused() {
    runtime().block_on(async {
        let broker = Broker::start(2);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let head = "traces.wait_seconds = 0.05\ntraces.buffer_bytes = 131072\nretrace.buffer_bytes = 1048576\nretrace.request_timeout_seconds = 1";
        let gateway = gateway_with(&url, head, &broker.config("")).await;
        for trace in 0..200 {
            broker.send_trace(trace, 4);
        }
        broker.flush();
        until("consumption is paused", || metric(&gateway, "kafka_pauses_total") > 0).await;
        assert!(metric(&gateway, "buffer_bytes") <= 131_072);
        // The mock cluster keeps what a commit would have changed.
        assert_eq!(broker.committed(GROUP).0, 0);
        let sink = Server::builder().with_listener(listener).start().unwrap();
        all(&sink, 200, 4).await;
        all_committed(&broker).await;
    });
}

#[test]
fn a_message_that_cannot_be_read_goes_to_the_dead_letter_topic() {
    let log = Log::capture();
    runtime().block_on(async {
        let (broker, sink) = (Broker::start(1), Server::start().unwrap());
        let gateway = gateway(sink.url(), &broker.config("dead_letter_topic = \"dead\"")).await;
        broker.send_bytes(TOPIC, 0, b"hello");
        broker.send_trace(0, 2);
        let mut damaged = span(1, 2, 0);
        damaged["kind"] = serde_json::json!({"not": "a kind"});
        broker.send(0, &request("front", &[span(1, 1, 0), damaged]));
        broker.send_bytes(TOPIC, 0, b"");
        broker.send_bytes(TOPIC, 0, br#"{"resourceSpans":"canary text of a message"}"#);
        broker.flush();
        let dead = broker.read("dead", 4, |message| {
            let headers = message.headers().unwrap().iter();
            let headers: BTreeMap<String, String> = headers
                .map(|header| (header.key.to_owned(), String::from_utf8(header.value.unwrap().to_vec()).unwrap()))
                .collect();
            (headers, message.payload().map(<[u8]>::to_vec))
        });
        assert_eq!(dead[0].1.as_deref(), Some(&b"hello"[..]));
        assert_eq!((dead[0].0["retrace.topic"].as_str(), dead[0].0["retrace.offset"].as_str()), (TOPIC, "0"));
        assert!(dead[0].0["retrace.reason"].contains("JSON"), "{:?}", dead[0].0);
        assert!(dead[1].0["retrace.reason"].contains("1 records cannot be read"), "{:?}", dead[1].0);
        assert_eq!(dead[1].0["retrace.offset"], "3");
        assert!(dead[3].0["retrace.reason"].contains("canary"), "the reason quotes the message: {:?}", dead[3].0);
        all_committed(&broker).await;
        assert_eq!(ended(&sink, 0).spans.unwrap().len(), 3);
        assert_eq!(ended(&sink, 1).spans.unwrap().len(), 1, "the other span of the message is taken");
        assert_eq!((metric(&gateway, "dead_letters_total"), metric(&gateway, "dead_letters_lost_total")), (4, 0));
    });
    let log = log.text();
    assert!(log.contains("the message cannot be read") && !log.contains("canary"), "{log}");
}

#[test]
fn without_a_dead_letter_topic_it_is_counted_and_blocks_nothing() {
    runtime().block_on(async {
        let (broker, sink) = (Broker::start(1), Server::start().unwrap());
        broker.send_bytes(TOPIC, 0, b"hello");
        broker.send_trace(0, 1);
        broker.flush();
        let gateway = gateway(sink.url(), &broker.config("")).await;
        all(&sink, 1, 1).await;
        all_committed(&broker).await;
        assert_eq!(metric(&gateway, "dead_letters_lost_total"), 1);
    });
}

#[test]
fn a_topic_names_its_tenant() {
    runtime().block_on(async {
        let (broker, sink) = (Broker::start(1), Server::start().unwrap());
        let tenants = "[tenants]\ntopic_pattern = \"otlp.*.spans\"\n[[tenant]]\nname = \"a\"\napi_key_env = \"A_KEY\"\nproject_id = \"pa\"\n\
            [[tenant]]\nname = \"b\"\napi_key_env = \"B_KEY\"\nproject_id = \"pb\"\n";
        let config = broker.config("topics = [\"otlp.a.spans\", \"otlp.b.spans\", \"otlp_spans\"]");
        let gateway = gateway(sink.url(), &format!("{tenants}{config}")).await;
        for (trace, topic) in [(0, "otlp.a.spans"), (1, "otlp.b.spans"), (2, TOPIC)] {
            broker.send_bytes(topic, 0, request("front", &whole(trace, 1)).to_string().as_bytes());
        }
        broker.flush();
        let project = |trace: u64| ended(&sink, trace).project_id.map(|id| id.to_string());
        assert_eq!([project(0), project(1)], ["pa", "pb"].map(|id| Some(id.to_owned())));
        until("the third has no tenant", || metric(&gateway, "unknown_tenant_records_total") == 2).await;
        until("it is counted", || metric(&gateway, "dead_letters_lost_total") == 1).await;
    });
}

#[test]
fn a_stop_leaves_open_traces_to_the_next_gateway() {
    runtime().block_on(async {
        let (broker, sink) = (Broker::start(2), Server::start().unwrap());
        let head = "traces.wait_seconds = 3600\ntraces.wait_without_root_seconds = 3600";
        let first = gateway_with(sink.url(), head, &broker.config("")).await;
        for trace in 0..20 {
            broker.send_trace(trace, 2);
        }
        broker.flush();
        until("all are held", || metric(&first, "held_traces{tenant=\"default\"}") == 20).await;
        let totals = first.stop(HANG).await;
        assert_eq!((totals["default"].accepted, runs(&sink)), (0, 0));
        let _second = gateway(sink.url(), &broker.config("")).await;
        all(&sink, 20, 2).await;
        all_committed(&broker).await;
    });
}

#[test]
fn rebalances_lose_nothing_and_double_nothing() {
    runtime().block_on(async {
        let (broker, sink) = (Broker::start(6), Server::start().unwrap());
        let head = "traces.wait_seconds = 0.3\ntraces.wait_without_root_seconds = 2";
        let mut gateways: Vec<Gateway> = vec![gateway_with(sink.url(), head, &broker.config("")).await];
        let mut traces = 0;
        let mut rebalances = 0;
        for round in 0..6 {
            for _ in 0..100 {
                broker.send_trace(traces, 2);
                traces += 1;
            }
            broker.flush();
            if round % 2 == 0 {
                gateways.push(gateway_with(sink.url(), head, &broker.config("")).await);
                let joined = gateways.last().unwrap();
                until("the new one has partitions", || metric(joined, "kafka_rebalances_total") > 0).await;
            } else {
                let left = gateways.remove(0);
                rebalances += metric(&left, "kafka_rebalances_total");
                left.stop(HANG).await;
            }
        }
        all(&sink, traces, 2).await;
        all_committed(&broker).await;
        rebalances += gateways.iter().map(|gateway| metric(gateway, "kafka_rebalances_total")).sum::<u64>();
        assert!(rebalances >= 6, "{rebalances}");
    });
}

#[test]
fn a_broker_that_is_gone_for_a_while_costs_nothing() {
    runtime().block_on(async {
        let (broker, sink) = (Broker::start(2), Server::start().unwrap());
        let gateway = gateway(sink.url(), &broker.config("")).await;
        for trace in 0..30 {
            broker.send_trace(trace, 2);
        }
        broker.flush();
        all(&sink, 30, 2).await;
        broker.cluster.broker_down(1).unwrap();
        for trace in 30..60 {
            broker.send_trace(trace, 2);
        }
        until("the gateway notices", || metric(&gateway, "kafka_errors_total") > 0).await;
        assert_eq!(runs(&sink), 30);
        broker.cluster.broker_up(1).unwrap();
        broker.flush();
        all(&sink, 60, 2).await;
        all_committed(&broker).await;
        drop(gateway);
    });
}

#[test]
fn a_partition_that_has_most_of_the_load_is_paused_alone() {
    runtime().block_on(async {
        let (broker, sink) = (Broker::start(4), Server::start().unwrap());
        let head = "traces.wait_seconds = 0.05";
        let _gateway = gateway_with(sink.url(), head, &broker.config("pause_messages = 50")).await;
        for trace in 0..300 {
            let partition = if trace % 30 == 0 { i32::try_from(trace / 30 % 3).unwrap() + 1 } else { 0 };
            broker.send_trace_to(partition, trace, 1);
        }
        broker.flush();
        all(&sink, 300, 1).await;
        all_committed(&broker).await;
    });
}
