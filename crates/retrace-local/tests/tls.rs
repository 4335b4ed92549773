//! HTTPS by two files.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use retrace_local::{Server, StartError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;

/// A certificate for this machine, and its key.
struct Files {
    dir: tempfile::TempDir,
    pem: String,
}

impl Files {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let (dir, pem) = (tempfile::tempdir().unwrap(), made.cert.pem());
        std::fs::write(dir.path().join("cert.pem"), &pem).unwrap();
        std::fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self { dir, pem }
    }

    /// Sends a request as a client that trusts the certificate, and reads the answer.
    fn ask(&self, server: &Server, request: &str) -> String {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let config = Arc::new(config.with_no_client_auth());
        let connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(server.addr()).unwrap());
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A peer that closes without notice has sent everything.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

const PATH: &str = "/api/v1/traces";

fn head(length: usize) -> String {
    let fixed = "Host: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nX-Retrace-Key: rt_local";
    format!("{fixed}\r\nContent-Length: {length}")
}

#[test]
fn runs_are_taken_and_read_over_https_and_not_in_clear_text() {
    let files = Files::new();
    let server = Server::builder().with_tls(files.path("cert.pem"), files.path("key.pem")).start().unwrap();
    assert!(server.url().starts_with("https://127.0.0.1:"), "{}", server.url());
    assert!(server.ws_url().starts_with("wss://127.0.0.1:"), "{}", server.ws_url());
    let run = json!({"id": "t", "started_at": "2026-01-02T03:04:05Z", "spans": []}).to_string();
    let answer = files.ask(&server, &format!("POST {PATH} HTTP/1.1\r\n{}\r\n\r\n{run}", head(run.len())));
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let answer = files.ask(&server, &format!("GET {PATH} HTTP/1.1\r\n{}\r\n\r\n", head(0)));
    assert!(answer.contains(r#""total":1"#), "{answer}");
    let mut plain = TcpStream::connect(server.addr()).unwrap();
    plain.write_all(format!("GET {PATH} HTTP/1.1\r\n{}\r\n\r\n", head(0)).as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let files = Files::new();
    std::fs::write(files.path("empty.pem"), "").unwrap();
    let other = Files::new();
    for (certificate, key, named) in [
        (files.path("missing.pem"), files.path("key.pem"), "missing.pem"),
        (files.path("empty.pem"), files.path("key.pem"), "empty.pem"),
        (files.path("cert.pem"), files.path("cert.pem"), "cert.pem"),
        (files.path("cert.pem"), other.path("key.pem"), "key.pem"),
    ] {
        let error = Server::builder().with_tls(certificate, key).start().unwrap_err();
        assert!(matches!(error, StartError::Tls { .. }), "{error}");
        assert!(error.to_string().contains(named) && error.to_string().contains("PEM"), "{error}");
    }
}
