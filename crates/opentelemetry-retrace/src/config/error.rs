//! Why a pipeline could not be built.

use std::fmt;

use thiserror::Error;

/// What is wrong with a setting, where it came from, and what to do about it.
///
/// Never holds an API key or the value of a header. `Debug` shows the same words as `Display`, because that is what a `main`
/// that returns the error prints.
#[derive(Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no API key.
    #[error(
        "no API key: call with_api_key or set RETRACE_API_KEY (a receiver on this machine takes any, such as rt_local); \
         to run without Retrace set RETRACE_ENABLED=false"
    )]
    MissingApiKey,

    /// The API key cannot be a key.
    #[error("the API key from {source_name} {problem}: copy it again, without quotes or line breaks")]
    InvalidApiKey {
        /// The setter or the variable.
        source_name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// The base URL is none.
    #[error(
        "the base URL {url:?} from {source_name} {problem}: use the form https://host[:port][/path], \
         or http://127.0.0.1:port for a receiver on this machine"
    )]
    InvalidBaseUrl {
        /// The setter or the variable.
        source_name: &'static str,
        /// The value, without credentials.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// The base URL would send the API key in clear text over a network.
    #[error(
        "the base URL {url:?} from {source_name} would send the API key in clear text: use https, \
         or a host that is this machine (localhost, 127.0.0.1, [::1]); for a receiver in a network that you trust, such as \
         another container, set RETRACE_ALLOW_CLEARTEXT_HOST={host}"
    )]
    CleartextUrl {
        /// The setter or the variable.
        source_name: &'static str,
        /// The value.
        url: String,
        /// Its host and port, as a setting that allows it names them.
        host: String,
    },

    /// The base URL asks for TLS, and the crate was built without.
    #[error(
        "the base URL {url:?} needs TLS: enable the feature `rustls-aws-lc-rs` or `rustls-ring` of opentelemetry-retrace"
    )]
    NoTls {
        /// The value.
        url: String,
    },

    /// Compression is asked for, and the crate was built without.
    #[error("with_compression(Gzip) needs the feature `gzip` of opentelemetry-retrace: enable it")]
    NoCompression,

    /// There is no such transport.
    #[error("the transport {value:?} from {source_name} does not exist: use {allowed}")]
    UnknownTransport {
        /// The setter or the variable.
        source_name: &'static str,
        /// The value.
        value: String,
        /// What may be written.
        allowed: &'static str,
    },

    /// A header cannot be sent.
    #[error("the header {name:?} from {source_name} {problem}")]
    InvalidHeader {
        /// The setter or the variable.
        source_name: &'static str,
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// A number is out of range.
    #[error("{source_name}({value}) is out of range: use {allowed}")]
    OutOfRange {
        /// The setter.
        source_name: &'static str,
        /// The value.
        value: String,
        /// What may be given.
        allowed: &'static str,
    },

    /// The certificates cannot be read.
    #[error(
        "the certificates in {path:?} from {source_name} cannot be used: {problem}; give a PEM file of the authorities to trust"
    )]
    Certificate {
        /// The setter or the variable.
        source_name: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// The spool cannot be written.
    #[error(
        "the spool {path:?} from {source_name} cannot be used: {problem}; give a directory that this process may make and \
         write, or leave the setting out"
    )]
    Spool {
        /// The setter or the variable.
        source_name: &'static str,
        /// The directory.
        path: std::path::PathBuf,
        /// The error of the operating system.
        problem: String,
    },

    /// The environment names a proxy that cannot be used.
    #[error(
        "the proxy {scheme}://{host} from HTTPS_PROXY or ALL_PROXY cannot be used: give one of the scheme http or https, \
         or name the receiver's host in NO_PROXY"
    )]
    Proxy {
        /// Its scheme.
        scheme: String,
        /// Its host.
        host: String,
    },

    /// A sample rate is out of range.
    #[error("the rate {rate} from {source_name} is not a sample rate: use a number from 0 to 1")]
    InvalidRate {
        /// The setter.
        source_name: &'static str,
        /// The value.
        rate: f64,
    },

    /// The HTTP client could not be made.
    #[error("the HTTP client cannot be made: {problem}")]
    Client {
        /// What it says.
        problem: String,
    },

    /// The operating system gave no thread.
    #[error("the background worker cannot be started: {0}")]
    Worker(#[source] std::io::Error),
}

impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
