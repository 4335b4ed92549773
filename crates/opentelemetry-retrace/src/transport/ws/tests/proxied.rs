//! The whole route to a receiver on another machine: TCP, a tunnel through a proxy, TLS, WebSocket.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{JoinHandle, spawn};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio_tungstenite::tungstenite;

use super::*;
use crate::transport::connect::Connector;
use crate::transport::ws::Ws;

const HOST: &str = "receiver.example";

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Starts a receiver of one connection; returns its address, its authority, and the texts that it gets.
fn receiver() -> (SocketAddr, String, JoinHandle<Vec<String>>) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([HOST.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(crate::transport::tls::built_in()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let (listener, address) = listen();
    let served = spawn(move || {
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut ws = tungstenite::accept(StreamOwned::new(connection, listener.accept().unwrap().0)).unwrap();
        let mut texts = Vec::new();
        while let Ok(Message::Text(text)) = ws.read() {
            texts.push(text.to_string());
            ws.send(Message::text(r#"{"type":"auth_ok"}"#)).unwrap();
        }
        let _ = ws.flush();
        texts
    });
    (address, authority.pem(), served)
}

/// Starts a proxy of one tunnel, to this address whatever the request names, or none; returns the request
/// that it gets.
fn proxy(to: Option<SocketAddr>) -> (SocketAddr, JoinHandle<String>) {
    let (listener, address) = listen();
    let served = spawn(move || {
        let mut near = listener.accept().unwrap().0;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            near.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        if let Some(to) = to {
            near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
            let far = TcpStream::connect(to).unwrap();
            let (mut up, mut down) = ((near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near));
            spawn(move || std::io::copy(&mut up.0, &mut up.1));
            let _ = std::io::copy(&mut down.0, &mut down.1);
        } else {
            near.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
        String::from_utf8(head).unwrap()
    });
    (address, served)
}

fn ws(proxy: SocketAddr, authority: &str) -> Ws {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("authority.pem");
    std::fs::write(&path, authority).unwrap();
    let config = config(Settings {
        api_key: Some(KEY.into()),
        base_url: Some(format!("https://{HOST}")),
        certificate: Some(path),
        ..Settings::default()
    });
    let connector = Connector::through(&format!("http://user:word@{proxy}"), &config).unwrap();
    Ws { connector, ..Ws::new(&config).unwrap() }
}

#[tokio::test]
async fn pain_15_a_proxy_makes_the_way_and_sees_nothing() {
    let (address, authority, served) = receiver();
    let (proxy, proxied) = proxy(Some(address));
    let mut link = ws(proxy, &authority).open(false);
    assert!(matches!(next(&mut link).await, Incoming::Open));
    put(&link, &frame(1, 300_000)).await;
    link.close();
    assert_eq!(closed(&mut link).await.0.reason, CloseReason::Ended);
    let texts = served.join().unwrap();
    assert!(texts[0].contains(KEY));
    assert_eq!(texts[1..], [frame(1, 300_000)]);
    drop(link);
    let request_text = proxied.join().unwrap();
    assert!(request_text.starts_with("CONNECT receiver.example:443 HTTP/1.1\r\n"), "{request_text}");
    // The credentials are `user:word`.
    assert!(
        request_text.to_ascii_lowercase().contains("\r\nproxy-authorization: basic dxnlcjp3b3jk\r\n"),
        "{request_text}"
    );
    assert!(!request_text.contains(KEY), "{request_text}");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_no_connection() {
    let (proxy, proxied) = proxy(None);
    let (_, authority, _) = receiver();
    let (closed, _) = closed(&mut ws(proxy, &authority).open(false)).await;
    assert_eq!(closed.reason, CloseReason::NotConnected, "the key was not even request_text for");
    assert!(closed.cause.contains("prox") && !closed.cause.contains("word"), "{closed:?}");
    proxied.join().unwrap();
}
