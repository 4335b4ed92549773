//! HTTPS: a certificate and its key, read once at the start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Error of a certificate or a key that cannot be used.
#[derive(Clone, thiserror::Error)]
#[error("cannot use {} for HTTPS: {problem}; give PEM files of a certificate and of its private key", path.display())]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// The defect of the file.
    pub problem: String,
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl std::fmt::Debug for TlsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Files of the certificate and its key.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// PEM file of the certificate chain.
    pub certificate: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Creates a TLS acceptor. `protocols` are the ALPN protocols; none disables ALPN.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read, or if the key does not fit the certificate.
    pub fn acceptor(&self, protocols: &[&[u8]]) -> Result<TlsAcceptor, TlsError> {
        let certificates = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?)
            .map_err(|_| problem(&self.key, "it has no private key in PEM form".to_owned()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(certificates, key))
            .map_err(|error| problem(&self.key, format!("it does not fit the certificate: {error}")))?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| problem(path, error.to_string()))?;
    if found.is_empty() {
        return Err(problem(path, "it has no certificate in PEM form".to_owned()));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| problem(path, error.to_string()))
}

fn problem(path: &Path, problem: String) -> TlsError {
    TlsError { path: path.to_owned(), problem }
}
