//! Kafka over TLS, with and without SASL/SCRAM: a proxy of its own has both in front of the mock cluster.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/process.rs"]
mod process;
#[path = "support/scram.rs"]
mod scram;
mod support;
#[path = "support/tls_proxy.rs"]
mod tls_proxy;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;

use process::{PROGRAM, Process, output};
use rdkafka::message::Message as _;
use retrace_local::Server;
use support::kafka::{Broker, missing};
use support::{counts, gateway, get, metric, post_blocking, request, runs, runtime, until, whole};
use tls_proxy::{TlsProxy, certificate};

const GROUP: &str = "retrace-gateway";
/// A secret that is in no line of the log: what reads the log of a process looks for its beginning.
const PASSWORD: &str = "rt_secret of Kafka";

/// Configuration of a gateway that reads from a proxy, with these properties.
fn config(broker: &Broker, proxy: &TlsProxy, properties: &str) -> String {
    let config = broker.config(&format!("dead_letter_topic = \"dead\"\n{properties}"));
    config.replace(&broker.cluster.bootstrap_servers(), &format!("127.0.0.1:{}", proxy.port))
}

/// Waits for all traces, and that they are committed.
async fn all(broker: &Broker, sink: &Server, traces: u64, messages: i64) {
    until("all runs are whole", || runs(sink) >= traces && missing(sink, traces, 3).is_empty()).await;
    assert_eq!(counts(sink, traces), (traces, traces * 3));
    until("everything is committed", || broker.committed(GROUP) == (messages, messages)).await;
}

/// A command that runs a gateway with this configuration of Kafka.
fn command(dir: &Path, sink: &Server, kafka: &str, more: &str) -> Command {
    let file = dir.join("gateway.toml");
    let head =
        "traces.wait_seconds = 0.1\notlp.http = \"127.0.0.1:0\"\notlp.grpc = \"\"\nadmin.listen = \"127.0.0.1:0\"";
    fs::write(&file, format!("{head}\n{more}\nretrace.base_url = \"{}\"\n{kafka}", sink.url())).unwrap();
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(&file);
    command
}

/// Waits for an error of Kafka with this reason.
fn wait_for_error(gateway: &Process, reason: &str) {
    while !gateway.line("Kafka")["reason"].as_str().is_some_and(|line| line.contains(reason)) {}
}

#[test]
fn brokers_are_read_over_tls() {
    runtime().block_on(async {
        let (broker, sink) = (Broker::start(4), Server::start().unwrap());
        let proxy = TlsProxy::start(&broker.cluster.bootstrap_servers(), None).await;
        let dir = tempfile::tempdir().unwrap();
        let authority = dir.path().join("authority.pem");
        fs::write(&authority, &proxy.authority).unwrap();
        for trace in 0..50 {
            broker.send_trace(trace, 2);
        }
        broker.send_bytes(support::kafka::TOPIC, 0, b"hello");
        broker.flush();
        let properties = format!(
            "properties = {{ \"security.protocol\" = \"SSL\", \"ssl.ca.location\" = \"{}\" }}",
            authority.display()
        );
        let gateway = gateway(sink.url(), &config(&broker, &proxy, &properties)).await;
        all(&broker, &sink, 50, 101).await;
        assert_eq!(broker.read("dead", 1, |message| message.payload().map(<[u8]>::to_vec)), [Some(b"hello".to_vec())]);
        assert_eq!(metric(&gateway, "kafka_errors_total"), 0);
        // The consumer and the producer, each to the broker that the metadata name.
        assert!(proxy.accepted.load(Ordering::Relaxed) >= 4);
    });
}

#[test]
fn a_broker_of_another_authority_is_reported_and_the_gateway_goes_on() {
    runtime().block_on(async {
        let (broker, sink) = (Broker::start(1), Server::start().unwrap());
        let proxy = TlsProxy::start(&broker.cluster.bootstrap_servers(), None).await;
        let dir = tempfile::tempdir().unwrap();
        let authority = dir.path().join("other.pem");
        fs::write(&authority, certificate().0).unwrap();
        let properties = format!(
            "properties = {{ \"security.protocol\" = \"SSL\", \"ssl.ca.location\" = \"{}\" }}",
            authority.display()
        );
        let config = config(&broker, &proxy, &properties);
        let mut gateway = Process::spawn(command(dir.path(), &sink, &config, ""));
        wait_for_error(&gateway, "certificate verify failed");
        let metrics = get(format!("http://{}/metrics", gateway.admin)).await.body;
        let errors = metrics.lines().find_map(|line| line.strip_prefix("retrace_gateway_kafka_errors_total "));
        assert!(errors.unwrap().parse::<u64>().unwrap() > 0, "{metrics}");
        let body = request("front", &whole(0, 2)).to_string();
        assert_eq!(post_blocking(&format!("http://{}/v1/traces", gateway.http), &[], &body).status, 200);
        until("the run has arrived", || missing(&sink, 1, 3).is_empty()).await;
        assert_eq!(proxy.accepted.load(Ordering::Relaxed), 0);
        assert!(gateway.terminate().success());
    });
}

#[test]
fn scram_has_its_password_from_the_environment_and_never_in_the_log() {
    runtime().block_on(async {
        let (broker, sink) = (Broker::start(2), Server::start().unwrap());
        let proxy = TlsProxy::start(&broker.cluster.bootstrap_servers(), Some(("gateway", PASSWORD))).await;
        let dir = tempfile::tempdir().unwrap();
        let authority = dir.path().join("authority.pem");
        fs::write(&authority, &proxy.authority).unwrap();
        for trace in 0..20 {
            broker.send_trace(trace, 2);
        }
        broker.flush();
        let properties = format!(
            "properties_env = {{ \"sasl.password\" = \"KAFKA_PASSWORD\" }}\n[kafka.properties]\n\"security.protocol\" = \"SASL_SSL\"\n\
             \"ssl.ca.location\" = \"{}\"\n\"sasl.mechanism\" = \"SCRAM-SHA-512\"\n\"sasl.username\" = \"gateway\"\n\"debug\" = \"all\"",
            authority.display()
        );
        let config = config(&broker, &proxy, &properties);
        let gateway_with = |password: &str| {
            let mut command = command(dir.path(), &sink, &config, "log.level = \"debug\"");
            command.env("KAFKA_PASSWORD", password);
            Process::spawn(command)
        };
        let mut wrong = gateway_with("rt_secret of another");
        wait_for_error(&wrong, "SASL authentication error");
        assert_eq!((runs(&sink), proxy.accepted.load(Ordering::Relaxed)), (0, 0));
        assert!(wrong.terminate().success());

        let mut gateway = gateway_with(PASSWORD);
        all(&broker, &sink, 20, 40).await;
        assert!(gateway.terminate().success());
        // The log is read to its end, and no line of it holds the password.
        gateway.line("spans of a tenant");

        let path = dir.path().join("gateway.toml");
        let variables = [("RETRACE_API_KEY", "rt_secret"), ("KAFKA_PASSWORD", PASSWORD)];
        let (status, out, err) = output(&["--check", "--config", path.to_str().unwrap()], &variables);
        assert!(status.success() && out.contains("over TLS, with SASL as group"), "{out}{err}");
        assert!(!(out + &err).contains("rt_secret"));
    });
}
