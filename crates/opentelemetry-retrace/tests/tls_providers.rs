//! P17: with whatever TLS provider the build has, one, two or none, nothing panics and none is installed for the process.
//!
//! Which provider that is, the features say: `.ci/run tls` runs this with each choice.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[cfg(any(feature = "rustls-aws-lc-rs", feature = "rustls-ring"))]
mod with_tls {
    use std::net::{SocketAddr, TcpListener};
    use std::path::Path;
    use std::sync::Arc;
    use std::thread::{JoinHandle, spawn};
    use std::time::Duration;

    use opentelemetry::trace::{Span as _, SpanBuilder, Tracer as _, TracerProvider as _};
    use opentelemetry_retrace::RetraceSpanProcessor;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanProcessor as _};
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::crypto::CryptoProvider;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use tokio_tungstenite::tungstenite::{Message, accept};

    /// Limit of every wait, far above what the slowest machine takes.
    const HANG: Duration = Duration::from_secs(120);

    /// Whichever there is.
    fn provider() -> CryptoProvider {
        #[cfg(feature = "rustls-ring")]
        return rustls::crypto::ring::default_provider();
        #[cfg(not(feature = "rustls-ring"))]
        return rustls::crypto::aws_lc_rs::default_provider();
    }

    /// A receiver that confirms the frames of one secure WebSocket, the authority behind it, and the frames that it got.
    fn receiver() -> (SocketAddr, String, JoinHandle<Vec<String>>) {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = spawn(move || {
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut ws = accept(StreamOwned::new(connection, listener.accept().unwrap().0)).unwrap();
            let mut kinds = Vec::new();
            while let Ok(Message::Text(text)) = ws.read() {
                let frame: serde_json::Value = serde_json::from_str(text.as_str()).unwrap();
                let answer = match frame["seq"].as_u64() {
                    Some(seq) => format!(r#"{{"type":"ack","seq":{seq}}}"#),
                    None => r#"{"type":"auth_ok"}"#.to_owned(),
                };
                kinds.push(frame["type"].as_str().unwrap().to_owned());
                ws.send(Message::text(answer)).unwrap();
            }
            let _ = ws.flush();
            kinds
        });
        (address, authority.pem(), served)
    }

    /// Sends a run of one model call over a secure WebSocket.
    fn send(certificate: &Path) {
        let (address, authority, served) = receiver();
        std::fs::write(certificate, authority).unwrap();
        let processor = RetraceSpanProcessor::builder()
            .with_api_key("rt_x")
            .with_base_url(format!("https://localhost:{}", address.port()))
            .with_transport("ws")
            .with_certificate(certificate)
            .with_flush_timeout(HANG)
            .build()
            .unwrap();
        let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
        let attributes = [opentelemetry::KeyValue::new("gen_ai.operation.name", "chat")];
        let mut span = provider.tracer("t").build(SpanBuilder::from_name("chat").with_attributes(attributes));
        span.end();
        processor.force_flush().unwrap();
        let stats = processor.stats();
        assert_eq!((stats.delivered, stats.lost.total(), stats.restarts), (1, 0, 0), "{stats:?}");
        provider.shutdown_with_timeout(HANG).unwrap();
        assert_eq!(served.join().unwrap(), ["auth", "trace_started", "span_started", "span_ended", "trace_ended"]);
    }

    /// One test, as what is installed is of the process.
    #[test]
    fn pain_17_a_secure_websocket_needs_no_installed_provider_and_installs_none() {
        let dir = tempfile::tempdir().unwrap();
        let certificate = dir.path().join("authority.pem");
        assert!(CryptoProvider::get_default().is_none());
        send(&certificate);
        assert!(CryptoProvider::get_default().is_none(), "what the application may want to choose is left to it");
        provider().install_default().unwrap();
        send(&certificate);
    }

    /// What others do that do not name theirs: with two features of rustls there is none to choose.
    #[test]
    #[cfg(all(feature = "rustls-aws-lc-rs", feature = "rustls-ring"))]
    fn two_providers_are_what_makes_others_panic() {
        let ambiguous = || rustls::ClientConfig::builder();
        let installed = CryptoProvider::get_default().is_some();
        assert!(installed || std::panic::catch_unwind(ambiguous).is_err());
    }
}

#[cfg(not(any(feature = "rustls-aws-lc-rs", feature = "rustls-ring")))]
#[test]
fn pain_17_without_a_provider_https_is_an_error_of_the_builder() {
    use opentelemetry_retrace::{BuildError, RetraceExporter, RetraceSpanProcessor};

    for transport in ["ws", "http", "auto"] {
        let settings = ("rt_x", "https://receiver.example");
        let exporter = RetraceExporter::builder().with_api_key(settings.0).with_base_url(settings.1);
        let processor = RetraceSpanProcessor::builder().with_api_key(settings.0).with_base_url(settings.1);
        let errors = [
            exporter.with_transport(transport).build().err().unwrap(),
            processor.with_transport(transport).build().err().unwrap(),
        ];
        for error in errors {
            assert!(matches!(error, BuildError::NoTls { .. }), "{error}");
            assert!(error.to_string().contains("rustls-aws-lc-rs"), "{error}");
        }
    }
}
