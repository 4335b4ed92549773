//! HTTPS to a receiver whose certificate a private authority signed, or nobody.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use integration_tests::agent;
use opentelemetry_retrace::{BuildError, LossReason, RetraceExporter, SignalCode};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter as _};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A receiver that answers one connection, and the certificate of the authority behind it.
fn receiver() -> (SocketAddr, String, JoinHandle<Result<String, std::io::Error>>) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
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
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head)?;
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        reader.get_mut().write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}")?;
        Ok(head)
    });
    (address, authority.pem(), served)
}

fn run(address: SocketAddr, certificate: Option<&str>) -> (opentelemetry_retrace::Stats, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("authority.pem");
    let signals = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = Arc::clone(&signals);
    let mut builder = RetraceExporter::builder()
        .with_api_key("rt_x")
        .with_base_url(format!("https://localhost:{}", address.port()))
        .with_on_error(move |signal| heard.lock().unwrap().push((signal.code, signal.message.clone())));
    if let Some(pem) = certificate {
        std::fs::write(&path, pem).unwrap();
        builder = builder.with_certificate(&path);
    }
    let exporter = builder.build().unwrap();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    agent::run(&provider);
    let _ = exporter.shutdown_with_timeout(Duration::from_secs(2));
    let signals = signals.lock().unwrap();
    let texts = signals.iter().map(|(code, text)| format!("{}: {text}", code.as_str())).collect();
    assert!(signals.iter().all(|(code, _)| [SignalCode::Unreachable, SignalCode::SpansLost].contains(code)));
    (exporter.stats(), texts)
}

#[test]
fn pain_16_https_is_spoken_and_the_given_authority_trusted() {
    let (address, authority, served) = receiver();
    let (stats, signals) = run(address, Some(&authority));
    assert_eq!((stats.delivered, signals.len()), (agent::SPANS, 0), "{signals:?}");
    assert!(served.join().unwrap().unwrap().contains("x-retrace-key: rt_x"));
}

#[test]
fn a_certificate_that_nobody_trusts_gets_no_key() {
    let (address, _, served) = receiver();
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
