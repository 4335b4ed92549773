//! A proxy in front of a mock cluster, which has neither TLS nor SASL: it has both, and speaks plain Kafka behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::scram::{Credentials, Exchange};

/// Keys of requests.
const SASL_HANDSHAKE: u16 = 17;
const API_VERSIONS: u16 = 18;
const SASL_AUTHENTICATE: u16 = 36;
/// Error of a wrong password.
const SASL_AUTHENTICATION_FAILED: u16 = 58;

pub(crate) struct TlsProxy {
    pub(crate) port: u16,
    /// Certificate of the authority, as PEM.
    pub(crate) authority: String,
    /// Connections that are encrypted, and authenticated where that is asked for.
    pub(crate) accepted: Arc<AtomicU64>,
}

/// Makes an authority, and a configuration with its certificate for this machine.
pub(crate) fn certificate() -> (String, ServerConfig) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    // OpenSSL takes a certificate whose subject is its issuer for one that signs itself.
    authority.distinguished_name.push(DnType::CommonName, "authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (authority.pem(), config)
}

impl TlsProxy {
    /// Starts a proxy for the one broker of a cluster; with credentials each connection must have them, by SCRAM-SHA-512.
    pub(crate) async fn start(broker: &str, credentials: Option<Credentials>) -> Self {
        let (authority, config) = certificate();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::<AtomicU64>::default();
        let rewrite = Rewrite::new(broker, port);
        let (broker, count) = (broker.to_owned(), Arc::clone(&accepted));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, broker, count) = (acceptor.clone(), broker.clone(), Arc::clone(&count));
                let rewrite = rewrite.clone();
                tokio::spawn(async move {
                    let mut near = acceptor.accept(stream).await?;
                    let mut far = TcpStream::connect(broker).await?;
                    if let Some(credentials) = credentials {
                        authenticate(&mut near, &mut far, credentials).await?;
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                    let (mut from_near, mut to_near) = tokio::io::split(near);
                    let (mut from_far, mut to_far) = far.split();
                    let requests = tokio::io::copy(&mut from_near, &mut to_far);
                    let responses = async {
                        loop {
                            let response = read_frame(&mut from_far).await?;
                            write_frame(&mut to_near, &rewrite.apply(response)).await?;
                        }
                    };
                    // The end of either direction is the end of the connection.
                    tokio::select! {
                        result = requests => result.map(drop),
                        result = responses => result,
                    }
                });
            }
        });
        Self { port, authority, accepted }
    }
}

/// Replaces the address of the broker in its responses. Metadata and `FindCoordinator` have it as a host and four bytes of a port.
#[derive(Clone)]
struct Rewrite {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Rewrite {
    fn new(broker: &str, port: u16) -> Self {
        let (host, from) = broker.rsplit_once(':').unwrap();
        let address = |port: u16| [host.as_bytes(), &u32::from(port).to_be_bytes()].concat();
        Self { from: address(from.parse().unwrap()), to: address(port) }
    }

    fn apply(&self, mut response: Vec<u8>) -> Vec<u8> {
        for at in 0..(response.len() + 1).saturating_sub(self.from.len()) {
            if response[at..].starts_with(&self.from) {
                response[at..at + self.to.len()].copy_from_slice(&self.to);
            }
        }
        response
    }
}

async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; stream.read_u32().await? as usize];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    stream.write_u32(u32::try_from(frame.len()).unwrap()).await?;
    stream.write_all(frame).await?;
    stream.flush().await
}

fn u16_at(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

/// Answers the requests of SASL, and passes on those for the versions; returns when the client is authenticated.
async fn authenticate(
    near: &mut (impl AsyncRead + AsyncWrite + Unpin),
    far: &mut TcpStream,
    credentials: Credentials,
) -> io::Result<()> {
    let mut exchange = Exchange::new(credentials);
    loop {
        let request = read_frame(near).await?;
        let (key, version, id) = (u16_at(&request, 0), u16_at(&request, 2), &request[4..8]);
        match key {
            SASL_HANDSHAKE => {
                let mechanism = b"SCRAM-SHA-512";
                let response = [id, &[0, 0, 0, 0, 0, 1, 0, 13], mechanism].concat();
                write_frame(near, &response).await?;
            }
            SASL_AUTHENTICATE => {
                assert_eq!(version, 0);
                // After the header, which ends with the id of the client: a length of four bytes.
                let body = &request[10 + usize::from(u16_at(&request, 8)) + 4..];
                let Some(answer) = exchange.answer(std::str::from_utf8(body).unwrap()) else {
                    let message = b"no";
                    let error = SASL_AUTHENTICATION_FAILED.to_be_bytes();
                    write_frame(near, &[id, &error, &[0, 2], message, &[0, 0, 0, 0]].concat()).await?;
                    return Err(io::ErrorKind::PermissionDenied.into());
                };
                let length = u32::try_from(answer.len()).unwrap().to_be_bytes();
                write_frame(near, &[id, &[0, 0, 0xff, 0xff], &length, answer.as_bytes()].concat()).await?;
                if exchange.is_complete() {
                    return Ok(());
                }
            }
            API_VERSIONS => {
                write_frame(far, &request).await?;
                write_frame(near, &with_sasl(read_frame(far).await?, version)).await?;
            }
            other => panic!("request {other} before the client is authenticated"),
        }
    }
}

/// Adds the requests of SASL to those that a broker announces.
fn with_sasl(mut response: Vec<u8>, version: u16) -> Vec<u8> {
    if u16_at(&response, 4) != 0 {
        return response;
    }
    let added = [(SASL_HANDSHAKE, 1_u16), (SASL_AUTHENTICATE, 0)];
    let entry = |(key, highest): (u16, u16)| [key.to_be_bytes(), [0, 0], highest.to_be_bytes()].concat();
    if version >= 3 {
        // A compact array: its length plus one, and tags after each element.
        assert!(response[6] < 0x7e);
        response[6] += 2;
        let entries = added.into_iter().flat_map(|each| [entry(each), vec![0]].concat());
        response.splice(7..7, entries);
    } else {
        response[9] += 2;
        response.splice(10..10, added.into_iter().flat_map(entry));
    }
    response
}
