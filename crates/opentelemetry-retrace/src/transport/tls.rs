//! TLS with an explicit provider, which is never installed.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_platform_verifier::BuilderVerifierExt as _;

use crate::config::BuildError;

/// Returns the provider that the application has installed for its process, or the one of this build's
/// features. It is passed on explicitly: none is installed, and a second one in the build does no harm.
fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(built_in()))
}

pub(super) fn built_in() -> CryptoProvider {
    #[cfg(feature = "rustls-aws-lc-rs")]
    return rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "rustls-aws-lc-rs"))]
    return rustls::crypto::ring::default_provider();
}

/// Creates a client configuration that trusts the operating system's authorities, or those of a PEM file
/// instead.
pub(crate) fn client(certificate: Option<(&Path, &'static str)>) -> Result<ClientConfig, BuildError> {
    let builder = builder()?;
    Ok(match certificate {
        Some((path, source_name)) => builder.with_root_certificates(roots(path, source_name)?),
        None => builder.with_platform_verifier().map_err(|error| client_error(&error))?,
    }
    .with_no_client_auth())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, BuildError> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| client_error(&error))
}

fn client_error(error: &rustls::Error) -> BuildError {
    BuildError::Client { problem: error.to_string() }
}

/// Checks that a PEM file holds certificate authorities, also where the URL of the receiver needs none.
pub(crate) fn check_authorities(path: &Path, source_name: &'static str) -> Result<(), BuildError> {
    roots(path, source_name).map(drop)
}

fn roots(path: &Path, source_name: &'static str) -> Result<RootCertStore, BuildError> {
    let problem = |problem: String| BuildError::Certificate { source_name, path: path.to_owned(), problem };
    let pem = std::fs::read(path).map_err(|error| problem(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| problem(error.to_string()))?;
        roots.add(certificate).map_err(|error| problem(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(problem("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_an_error_that_names_it() {
        let missing = client(Some((Path::new("/no/such.pem"), "with_certificate"))).unwrap_err().to_string();
        assert!(missing.contains("/no/such.pem") && missing.contains("with_certificate"), "{missing}");
        let empty = client(Some((Path::new(env!("CARGO_MANIFEST_PATH")), "with_certificate"))).unwrap_err().to_string();
        assert!(empty.contains("no certificate"), "{empty}");
    }

    #[test]
    fn it_is_an_error_as_well_where_the_url_needs_no_tls() {
        let builder = || crate::RetraceExporter::builder().with_api_key("rt_x").with_base_url("http://127.0.0.1:9");
        for path in ["/no/such.pem", env!("CARGO_MANIFEST_PATH")] {
            let error = builder().with_certificate(path).build().unwrap_err();
            assert!(matches!(error, BuildError::Certificate { .. }), "{error}");
        }
    }
}
