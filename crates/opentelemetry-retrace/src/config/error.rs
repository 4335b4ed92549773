//! Error of building a pipeline.

use std::fmt;

use thiserror::Error;

/// Invalid setting: the problem, its source, and the remedy.
///
/// Never holds an API key or the value of a header. `Debug` has the same text as `Display`, because a `main` that returns the
/// error prints it with `Debug`.
#[derive(Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no API key.
    #[error(
        "no API key: call with_api_key or set RETRACE_API_KEY (a receiver on this machine takes any, such as rt_local); \
         to run without Retrace set RETRACE_ENABLED=false"
    )]
    MissingApiKey,

    /// The API key is not usable.
    #[error("the API key from {source_name} {problem}: copy it again, without quotes or line breaks")]
    InvalidApiKey {
        /// Setter or variable.
        source_name: &'static str,
        /// Problem of the key.
        problem: &'static str,
    },

    /// The base URL is invalid.
    #[error(
        "the base URL {url:?} from {source_name} {problem}: use the form https://host[:port][/path], \
         or http://127.0.0.1:port for a receiver on this machine"
    )]
    InvalidBaseUrl {
        /// Setter or variable.
        source_name: &'static str,
        /// Value, without credentials.
        url: String,
        /// Problem of the value.
        problem: &'static str,
    },

    /// The base URL would send the API key in clear text over a network.
    #[error(
        "the base URL {url:?} from {source_name} would send the API key in clear text: use https, \
         or a host that is this machine (localhost, 127.0.0.1, [::1]); for a receiver in a network that you trust, such as \
         another container, set RETRACE_ALLOW_CLEARTEXT_HOST={host}"
    )]
    CleartextUrl {
        /// Setter or variable.
        source_name: &'static str,
        /// Value.
        url: String,
        /// Host and port of the URL, as a setting that allows it names them.
        host: String,
    },

    /// The base URL requires TLS, and the crate was built without.
    #[error(
        "the base URL {url:?} needs TLS: enable the feature `rustls-aws-lc-rs` or `rustls-ring` of opentelemetry-retrace"
    )]
    NoTls {
        /// Value.
        url: String,
    },

    /// Compression is requested, and the crate was built without.
    #[error("with_compression(Gzip) needs the feature `gzip` of opentelemetry-retrace: enable it")]
    NoCompression,

    /// There is no such transport.
    #[error("the transport {value:?} from {source_name} does not exist: use {allowed}")]
    UnknownTransport {
        /// Setter or variable.
        source_name: &'static str,
        /// Value.
        value: String,
        /// Accepted values.
        allowed: &'static str,
    },

    /// A header cannot be sent.
    #[error("the header {name:?} from {source_name} {problem}")]
    InvalidHeader {
        /// Setter or variable.
        source_name: &'static str,
        /// Name of the header.
        name: String,
        /// Problem of the header.
        problem: &'static str,
    },

    /// A number is out of range.
    #[error("{source_name}({value}) is out of range: use {allowed}")]
    OutOfRange {
        /// Setter.
        source_name: &'static str,
        /// Value.
        value: String,
        /// Accepted values.
        allowed: &'static str,
    },

    /// The certificates cannot be read.
    #[error(
        "the certificates in {path:?} from {source_name} cannot be used: {problem}; give a PEM file of the authorities to trust"
    )]
    Certificate {
        /// Setter or variable.
        source_name: &'static str,
        /// File.
        path: std::path::PathBuf,
        /// Problem of the file.
        problem: String,
    },

    /// The spool cannot be written.
    #[error(
        "the spool {path:?} from {source_name} cannot be used: {problem}; give a directory that this process may make and \
         write, or leave the setting out"
    )]
    Spool {
        /// Setter or variable.
        source_name: &'static str,
        /// Directory.
        path: std::path::PathBuf,
        /// Error of the operating system.
        problem: String,
    },

    /// The environment names a proxy that cannot be used.
    #[error(
        "the proxy {scheme}://{host} from HTTPS_PROXY or ALL_PROXY cannot be used: give one of the scheme http or https, \
         or name the receiver's host in NO_PROXY"
    )]
    Proxy {
        /// Scheme of the proxy.
        scheme: String,
        /// Host of the proxy.
        host: String,
    },

    /// A sample rate is out of range.
    #[error("the rate {rate} from {source_name} is not a sample rate: use a number from 0 to 1")]
    InvalidRate {
        /// Setter.
        source_name: &'static str,
        /// Value.
        rate: f64,
    },

    /// The HTTP client cannot be created.
    #[error("the HTTP client cannot be made: {problem}")]
    Client {
        /// Error of the client.
        problem: String,
    },

    /// The operating system starts no thread.
    #[error("the background worker cannot be started: {0}")]
    Worker(#[source] std::io::Error),
}

impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
