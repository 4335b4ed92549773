//! Settings of a server, and the errors of its start.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use retrace_otlp::server::Encryption;
#[cfg(feature = "tls")]
use retrace_otlp::server::TlsFiles;
use retrace_translate::Options;

use super::Server;
use super::auth::{ApiKey, KeyError};
use super::retention::Retention;
use crate::policy::Policies;
use crate::store::OpenError;

/// Configures a [`Server`]; created by [`Server::builder`].
///
/// ```
/// use retrace_local::Server;
///
/// let server = Server::builder().with_api_key("rt_local").with_max_body_bytes(1 << 20).start()?;
/// assert!(server.url().starts_with("http://127.0.0.1:"));
/// # Ok::<(), retrace_local::StartError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a server runs once it is started"]
pub struct ServerBuilder {
    addr: SocketAddr,
    listener: Option<Arc<TcpListener>>,
    pub(super) allow_remote: bool,
    pub(super) host_names: Vec<String>,
    pub(super) db: Option<PathBuf>,
    pub(super) api_key: Option<Secret>,
    pub(super) max_body_bytes: u64,
    pub(super) patience: Duration,
    pub(super) otlp: Options,
    pub(super) otlp_bytes: usize,
    #[cfg(feature = "grpc")]
    grpc_addr: Option<SocketAddr>,
    pub(super) fork_lease: Duration,
    pub(super) policies: Policies,
    pub(super) retention: Retention,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsFiles>,
}

/// An API key that is not validated yet.
#[derive(Clone)]
pub(super) struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl ServerBuilder {
    /// Default limit of a request body: 64 MiB.
    pub const DEFAULT_MAX_BODY_BYTES: u64 = 64 * 1024 * 1024;
    /// Default time limit of a client: 60 s.
    pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);

    /// Default limit of the OTLP traces in memory: 64 MiB.
    pub const DEFAULT_OTLP_BYTES: usize = 64 * 1024 * 1024;

    /// Default lease of a fork execution, which an agent renews with heartbeats: 15 minutes, three heartbeats of the
    /// official client.
    pub const DEFAULT_FORK_LEASE: Duration = crate::fork::LEASE;

    pub(super) fn new() -> Self {
        Self {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            listener: None,
            allow_remote: false,
            host_names: Vec::new(),
            db: None,
            api_key: None,
            max_body_bytes: Self::DEFAULT_MAX_BODY_BYTES,
            patience: Self::DEFAULT_PATIENCE,
            otlp: Options::default(),
            otlp_bytes: Self::DEFAULT_OTLP_BYTES,
            #[cfg(feature = "grpc")]
            grpc_addr: None,
            fork_lease: Self::DEFAULT_FORK_LEASE,
            policies: Policies::default(),
            retention: Retention::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Sets the address to listen on. Port 0, as in the default `127.0.0.1:0`, takes any free port: [`Server::addr`]
    /// returns it.
    ///
    /// An address that is not loopback is rejected unless [`ServerBuilder::with_allow_remote`] is set.
    pub fn with_addr(mut self, addr: SocketAddr) -> Self {
        self.addr = addr;
        self
    }

    /// Listens on an already bound socket, for example from a service manager, or from a test that needs the address
    /// before the server starts. It overrides [`ServerBuilder::with_addr`], and the same addresses are rejected.
    pub fn with_listener(mut self, listener: TcpListener) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Allows an address that other machines can reach.
    ///
    /// **Without a certificate ([`ServerBuilder::with_tls`]) content travels in clear text, and without an API key
    /// anyone on the network can read, change and delete all of it.** On a single machine, leave this unset; for access
    /// from another one, an SSH tunnel is safer.
    pub fn with_allow_remote(mut self, allow: bool) -> Self {
        self.allow_remote = allow;
        self
    }

    /// Adds a host name under which this server accepts requests, such as that of a container; without port.
    /// `localhost`, loopback addresses and the bound address are always accepted, requests with other host names are
    /// rejected.
    pub fn with_host_name(mut self, name: impl Into<String>) -> Self {
        self.host_names.push(name.into());
        self
    }

    /// Also accepts OTLP over gRPC, at this address; port 0 takes any free port. [`Server::grpc_url`] has the URL.
    /// Disabled by default.
    ///
    /// An address that is not loopback is rejected unless [`ServerBuilder::with_allow_remote`] is set. With a
    /// certificate ([`ServerBuilder::with_tls`]) the calls are encrypted. Requires the feature `grpc`.
    #[cfg(feature = "grpc")]
    pub fn with_grpc_addr(mut self, addr: SocketAddr) -> Self {
        self.grpc_addr = Some(addr);
        self
    }

    /// Serves HTTPS only, with the certificate chain and the private key in these PEM files, which are read once.
    /// Requires the feature `tls`.
    #[cfg(feature = "tls")]
    pub fn with_tls(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls = Some(TlsFiles { certificate: certificate.into(), key: key.into() });
        self
    }

    /// Stores everything in this SQLite file, which is created if necessary. By default the database is in memory, and
    /// its data is lost when the server stops.
    pub fn with_db(mut self, path: impl Into<PathBuf>) -> Self {
        self.db = Some(path.into());
        self
    }

    /// Requires this API key from all clients (PROTOCOL.md section 2). By default any key is accepted, and none is
    /// required.
    pub fn with_api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(Secret(key.into()));
        self
    }

    /// Sets the limit of a request body, in bytes; larger bodies are rejected. Default
    /// [`ServerBuilder::DEFAULT_MAX_BODY_BYTES`].
    ///
    /// Bodies are read into memory: up to twice this size is held at a time, and a few times that during parsing.
    pub fn with_max_body_bytes(mut self, bytes: u64) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Sets the time limit for a client to send the head of a request, to send its body, and to accept a part of the
    /// response. Default [`ServerBuilder::DEFAULT_PATIENCE`]. An idle connection is closed after this time too.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets how OTLP spans are translated: which of them become part of a run, whether their content is recorded, and
    /// under which project and environment. Runs of the Retrace wire protocol are not affected.
    ///
    /// ```
    /// use retrace_local::Server;
    /// use retrace_translate::{Options, SpanSelection};
    ///
    /// let mut options = Options::default();
    /// options.selection = SpanSelection::All;
    /// let server = Server::builder().with_otlp_options(options).start()?;
    /// # Ok::<(), retrace_local::StartError>(())
    /// ```
    pub fn with_otlp_options(mut self, options: Options) -> Self {
        self.otlp = options;
        self
    }

    /// Sets the approximate limit of the OTLP traces in memory, in bytes. Default
    /// [`ServerBuilder::DEFAULT_OTLP_BYTES`].
    ///
    /// A trace stays in memory for ten minutes after its last data, so that later spans are merged with it. Above the
    /// limit, the traces that have been idle the longest are stored and dropped from memory; later data is added to the
    /// stored run.
    pub fn with_otlp_bytes(mut self, bytes: usize) -> Self {
        self.otlp_bytes = bytes;
        self
    }

    /// Sets the lease of a fork execution after its start or a claim. Clients renew their claim every 300 s while they
    /// execute; an execution whose lease has ended is expired. Default [`ServerBuilder::DEFAULT_FORK_LEASE`].
    pub fn with_fork_lease(mut self, lease: Duration) -> Self {
        self.fork_lease = lease;
        self
    }

    /// Applies these policies, which block or hold calls. By default every call is allowed.
    pub fn with_policies(mut self, policies: Policies) -> Self {
        self.policies = policies;
        self
    }

    /// Removes runs that began longer ago, oldest first, except golden runs and runs in progress. By default all runs
    /// are kept.
    ///
    /// The server checks at the start and every ten seconds, and returns the space of removed runs to the system. A
    /// file that an older version created is rewritten once for that, at the start.
    pub fn with_keep(mut self, age: Duration) -> Self {
        self.retention.age = Some(age);
        self
    }

    /// Removes the oldest runs while the database is larger than this, in bytes, except golden runs and runs in
    /// progress; see [`ServerBuilder::with_keep`]. By default only the disk or the memory limits the size.
    pub fn with_max_db_bytes(mut self, bytes: u64) -> Self {
        self.retention.max_bytes = Some(bytes);
        self
    }

    /// Starts the server, which accepts requests when this returns. Takes a few milliseconds.
    ///
    /// May be called inside or outside of a Tokio runtime: the server has its own threads.
    ///
    /// # Errors
    /// Returns a [`StartError`] if settings contradict each other, if the address is in use, or if the database cannot
    /// be used.
    pub fn start(self) -> Result<Server, StartError> {
        Server::with(&self)
    }

    pub(super) fn checked_key(&self) -> Result<Option<ApiKey>, StartError> {
        let key = self.api_key.as_ref().map(|Secret(key)| ApiKey::new(key)).transpose();
        key.map_err(|problem: KeyError| StartError::ApiKey { problem: problem.to_string() })
    }

    /// Reads certificate and key, if configured. `protocols` are the ALPN protocols.
    pub(super) fn encryption(&self, protocols: &[&[u8]]) -> Result<Encryption, StartError> {
        #[cfg(feature = "tls")]
        return self.tls.as_ref().map(|files| files.acceptor(protocols)).transpose().map_err(|error| {
            let retrace_otlp::server::TlsError { path, problem } = error;
            StartError::Tls { path, problem }
        });
        #[cfg(not(feature = "tls"))]
        {
            let _ = protocols;
            Ok(None)
        }
    }

    /// Binds the gRPC address, if configured.
    #[cfg(feature = "grpc")]
    pub(super) fn listen_grpc(&self) -> Result<Option<TcpListener>, StartError> {
        self.grpc_addr.map(|addr| self.bind(addr)).transpose()
    }

    fn bind(&self, addr: SocketAddr) -> Result<TcpListener, StartError> {
        self.check(addr)?;
        TcpListener::bind(addr).map_err(|error| StartError::bind(addr, error))
    }

    /// Binds the address after the check that it is allowed.
    pub(super) fn listen(&self) -> Result<TcpListener, StartError> {
        match &self.listener {
            Some(listener) => {
                self.check(listener.local_addr().map_err(StartError::System)?)?;
                listener.try_clone().map_err(StartError::System)
            }
            None => self.bind(self.addr),
        }
    }

    fn check(&self, addr: SocketAddr) -> Result<(), StartError> {
        // Other machines can reach neither loopback nor an IPv4-mapped loopback address.
        let loopback = match addr.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.to_canonical().is_loopback(),
        };
        if loopback || self.allow_remote { Ok(()) } else { Err(StartError::NotLoopback { addr }) }
    }
}

/// Error of the start of a server. The message has the cause and a remedy.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Other machines can reach the address.
    #[error(
        "{addr} can be reached from other machines, which could then read everything: listen on 127.0.0.1 or [::1], or \
         allow remote clients by `--allow-remote` (in code `with_allow_remote`) and set an API key"
    )]
    NotLoopback {
        /// The address.
        addr: SocketAddr,
    },
    /// The API key is invalid.
    #[error("the API key {problem}: set another one, or none to take any key")]
    ApiKey {
        /// The defect of the key; never contains the key itself.
        problem: String,
    },
    /// Another program listens on the address.
    #[error("{addr} is in use: end the program that listens there, or choose another port (0 takes any free one)")]
    AddrInUse {
        /// The address.
        addr: SocketAddr,
    },
    /// The system rejects the address.
    #[error("cannot listen on {addr} ({source}): choose another address or port")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The database cannot be used.
    #[error("cannot use the database {}: {problem}", path.display())]
    Db {
        /// The file; empty for a database in memory.
        path: PathBuf,
        /// The cause and a remedy.
        problem: String,
    },
    /// The certificate or its key cannot be used.
    #[error("cannot use {} for HTTPS: {problem}; give PEM files of a certificate and of its private key", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// The defect of the file.
        problem: String,
    },
    /// The system has no thread left, or no I/O driver.
    #[error("cannot start ({0}): the system is out of threads or files; end other programs and try again")]
    System(io::Error),
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl std::fmt::Debug for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl StartError {
    pub(super) fn bind(addr: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::AddrInUse { addr },
            _ => Self::Bind { addr, source },
        }
    }

    pub(super) fn db(path: Option<PathBuf>, problem: &OpenError) -> Self {
        Self::Db { path: path.unwrap_or_default(), problem: problem.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_needs_no_leave() {
        let check = |builder: &ServerBuilder, addr: &str| builder.check(addr.parse().unwrap());
        let (guarded, open) = (Server::builder(), Server::builder().with_allow_remote(true));
        for loopback in ["127.0.0.1:0", "127.3.2.1:80", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            assert!(check(&guarded, loopback).is_ok(), "{loopback}");
        }
        for reachable in ["0.0.0.0:0", "[::]:0", "192.168.1.5:0", "[::ffff:10.0.0.1]:0"] {
            let error = check(&guarded, reachable).unwrap_err();
            assert!(matches!(error, StartError::NotLoopback { .. }), "{reachable}");
            assert!(check(&open, reachable).is_ok());
        }
        let error = Server::builder().with_addr("0.0.0.0:0".parse().unwrap()).start().unwrap_err();
        assert!(matches!(error, StartError::NotLoopback { .. }), "{error}");
    }

    #[test]
    fn a_socket_that_somebody_else_bound_is_under_the_same_rule() {
        let bound = |addr: &str| TcpListener::bind(addr).unwrap();
        let listener = bound("127.0.0.1:0");
        let addr = listener.local_addr().unwrap();
        assert_eq!(Server::builder().with_listener(listener).start().unwrap().addr(), addr);
        let error = Server::builder().with_listener(bound("0.0.0.0:0")).start().unwrap_err();
        assert!(matches!(error, StartError::NotLoopback { .. }), "{error}");
    }

    #[test]
    fn a_bad_key_is_an_error_that_does_not_show_it() {
        for key in ["", "rt_geheim mit Leerzeichen"] {
            let error = Server::builder().with_api_key(key).start().unwrap_err();
            assert!(matches!(error, StartError::ApiKey { .. }));
            assert!(!error.to_string().contains("geheim"), "{error}");
        }
    }

    #[test]
    fn the_key_is_not_in_debug() {
        assert!(!format!("{:?}", Server::builder().with_api_key("rt_secret")).contains("secret"));
    }
}
