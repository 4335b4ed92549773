//! HTTPS to a receiver whose certificate a private authority signed, or nobody; directly and through a proxy.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use integration_tests::agent;
use integration_tests::wait::{HANG, SPENT, settled};
use opentelemetry_retrace::{BuildError, LossReason, RetraceExporter, SignalCode};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter as _};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A receiver of this name that answers one connection, and the certificate of the authority behind it.
fn receiver(name: &str) -> (SocketAddr, String, JoinHandle<Result<String, std::io::Error>>) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut reader = BufReader::new(StreamOwned::new(connection, stream));
        let head = read_head(&mut reader)?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        reader.get_mut().write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}")?;
        Ok(head)
    });
    (address, authority.pem(), served)
}

fn read_head(reader: &mut impl BufRead) -> Result<String, std::io::Error> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// A proxy that lets one tunnel through, to this address whatever it is asked for, or none.
fn proxy(to: Option<SocketAddr>) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let (mut near, _) = listener.accept().unwrap();
        let head = read_head(&mut BufReader::new(near.try_clone().unwrap())).unwrap();
        let Some(to) = to else {
            near.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").unwrap();
            return head;
        };
        let mut far = TcpStream::connect(to).unwrap();
        near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        let (mut from_near, mut to_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from_near, &mut to_far));
        let _ = std::io::copy(&mut far, &mut near);
        head
    });
    (address, served)
}

/// Runs an agent in a process of its own, whose environment names the proxy; whether it went well, and its words.
fn agent_behind(proxy: &str, authority: &str) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("authority.pem");
    std::fs::write(&path, authority).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_otel-agent"))
        .env_clear()
        .env("HTTPS_PROXY", proxy)
        .env("RETRACE_API_KEY", "rt_x")
        .env("RETRACE_BASE_URL", "https://receiver.example")
        .env("RETRACE_TRANSPORT", "http")
        .env("OTEL_EXPORTER_RETRACE_CERTIFICATE", path)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap() + std::str::from_utf8(&output.stderr).unwrap())
}

/// Runs the agent against a receiver whose certificate is trusted or not. Without trust the shutdown begins when the first
/// attempt has failed.
fn run(address: SocketAddr, certificate: Option<&str>) -> (opentelemetry_retrace::Stats, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("authority.pem");
    let signals = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = Arc::clone(&signals);
    let (failing, failed) = channel();
    let mut builder = RetraceExporter::builder()
        .with_api_key("rt_x")
        .with_base_url(format!("https://localhost:{}", address.port()))
        .with_transport("http")
        .with_timeout(HANG)
        .with_on_error(move |signal| {
            heard.lock().unwrap().push((signal.code, signal.message.clone()));
            let _ = failing.send(());
        });
    if let Some(pem) = certificate {
        std::fs::write(&path, pem).unwrap();
        builder = builder.with_certificate(&path);
    }
    let exporter = builder.build().unwrap();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    agent::run(&provider);
    if certificate.is_some() {
        exporter.shutdown_with_timeout(HANG).unwrap();
    } else {
        failed.recv_timeout(HANG).unwrap();
        let _ = exporter.shutdown_with_timeout(SPENT);
        settled(|| exporter.stats());
    }
    let signals = signals.lock().unwrap();
    let texts = signals.iter().map(|(code, text)| format!("{}: {text}", code.as_str())).collect();
    assert!(signals.iter().all(|(code, _)| [SignalCode::Unreachable, SignalCode::SpansLost].contains(code)));
    (exporter.stats(), texts)
}

#[test]
fn pain_16_https_is_spoken_and_the_given_authority_trusted() {
    let (address, authority, served) = receiver("localhost");
    let (stats, signals) = run(address, Some(&authority));
    assert_eq!((stats.delivered, signals.len()), (agent::SPANS, 0), "{signals:?}");
    assert!(served.join().unwrap().unwrap().contains("x-retrace-key: rt_x"));
}

#[test]
fn a_certificate_that_nobody_trusts_gets_no_key() {
    let (address, _, served) = receiver("localhost");
    let (stats, signals) = run(address, None);
    assert_eq!(stats.lost.by(LossReason::Shutdown), agent::SPANS);
    assert!(signals[0].contains("certificate"), "{signals:?}");
    assert!(served.join().unwrap().is_err(), "the handshake was not completed");
}

#[test]
fn authorities_that_cannot_be_read_are_an_error_of_the_builder() {
    let builder = RetraceExporter::builder().with_api_key("rt_x").with_certificate("/no/such.pem");
    assert!(matches!(builder.build(), Err(BuildError::Certificate { .. })));
}

#[test]
fn pain_15_a_proxy_makes_the_way_and_sees_no_key() {
    let (address, authority, served) = receiver("receiver.example");
    let (proxy, proxied) = proxy(Some(address));
    // user:word
    let (ok, words) = agent_behind(&format!("http://user:word@{proxy}"), &authority);
    assert!(ok, "{words}");
    let asked = proxied.join().unwrap();
    assert!(asked.starts_with("CONNECT receiver.example:443 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_ascii_lowercase().contains("\r\nproxy-authorization: basic dxnlcjp3b3jk\r\n"), "{asked}");
    assert!(!asked.contains("rt_x"), "{asked}");
    assert!(served.join().unwrap().unwrap().contains("x-retrace-key: rt_x"));
}

#[test]
fn a_proxy_that_refuses_is_not_passed_by_and_its_password_not_shown() {
    let (_, authority, _) = receiver("receiver.example");
    let (proxy, proxied) = proxy(None);
    let (ok, words) = agent_behind(&format!("http://user:word@{proxy}"), &authority);
    assert!(!ok && proxied.join().unwrap().starts_with("CONNECT receiver.example:443"));
    assert!(!words.contains("word") && !words.contains("rt_x"), "{words}");
}

#[test]
fn a_proxy_of_an_unknown_kind_is_an_error_of_the_builder() {
    let (_, authority, _) = receiver("receiver.example");
    let (ok, words) = agent_behind("socks5://user:word@127.0.0.1:1080", &authority);
    assert!(!ok && words.contains("socks5") && words.contains("NO_PROXY") && !words.contains("word"), "{words}");
}
