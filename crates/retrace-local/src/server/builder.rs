//! Settings of a server, and what can be wrong with them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use retrace_translate::Options;

use super::Server;
use super::auth::{ApiKey, KeyError};
use super::listener::Encryption;
#[cfg(feature = "tls")]
use super::tls::TlsFiles;
use crate::policy::Policies;
use crate::store::OpenError;

/// What a server is started with; made by [`Server::builder`].
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
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsFiles>,
}

/// A key before it is checked.
#[derive(Clone)]
pub(super) struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl ServerBuilder {
    /// The largest body that is taken unless another limit is set: 64 MiB.
    pub const DEFAULT_MAX_BODY_BYTES: u64 = 64 * 1024 * 1024;
    /// How long a client may take unless another time is set: 60 s.
    pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);

    /// How much of the traces that come over OTLP is held unless another limit is set: 64 MiB.
    pub const DEFAULT_OTLP_BYTES: usize = 64 * 1024 * 1024;

    /// How long an agent holds an execution of a fork without a heartbeat unless another time is set: 15 minutes, three
    /// heartbeats of the official client.
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
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Where to listen. Port 0, as in the default `127.0.0.1:0`, takes any free port: [`Server::addr`] says which.
    ///
    /// An address that is not loopback is refused unless [`ServerBuilder::with_allow_remote`] is set.
    pub fn with_addr(mut self, addr: SocketAddr) -> Self {
        self.addr = addr;
        self
    }

    /// Listens on this socket, which somebody else bound: a service manager, or a test that must know the address before
    /// anybody answers there. It takes the place of [`ServerBuilder::with_addr`], and the same addresses are refused.
    pub fn with_listener(mut self, listener: TcpListener) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Allows an address that other machines can reach.
    ///
    /// **Without a certificate ([`ServerBuilder::with_tls`]) content then travels in clear text, and without an API key everyone on the network can read,
    /// change and delete all of it.** For one machine, leave this alone; to look in from another, an SSH tunnel is safer.
    pub fn with_allow_remote(mut self, allow: bool) -> Self {
        self.allow_remote = allow;
        self
    }

    /// One more name under which this server may be asked, such as that of a container; without port. `localhost`,
    /// addresses of loopback and the bound address are always allowed, requests under other names are refused.
    pub fn with_host_name(mut self, name: impl Into<String>) -> Self {
        self.host_names.push(name.into());
        self
    }

    /// Takes OTLP over gRPC as well, at this address; port 0 takes any free port. [`Server::grpc_url`] has the URL. Default: not.
    ///
    /// An address that is not loopback is refused unless [`ServerBuilder::with_allow_remote`] is set. With a certificate
    /// ([`ServerBuilder::with_tls`]) the calls are encrypted. Needs the feature `grpc`.
    #[cfg(feature = "grpc")]
    pub fn with_grpc_addr(mut self, addr: SocketAddr) -> Self {
        self.grpc_addr = Some(addr);
        self
    }

    /// Speaks HTTPS, and only that, with the certificate chain and the private key in these PEM files. They are read once. Needs
    /// the feature `tls`.
    #[cfg(feature = "tls")]
    pub fn with_tls(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls = Some(TlsFiles { certificate: certificate.into(), key: key.into() });
        self
    }

    /// Keeps everything in this SQLite file, which is created if need be. Without one, all is kept in memory and gone
    /// when the server stops.
    pub fn with_db(mut self, path: impl Into<PathBuf>) -> Self {
        self.db = Some(path.into());
        self
    }

    /// Requires this key of every client (PROTOCOL.md section 2). Without one, any key is taken, and none too.
    pub fn with_api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(Secret(key.into()));
        self
    }

    /// Refuses bodies that are larger, in bytes. Default [`ServerBuilder::DEFAULT_MAX_BODY_BYTES`].
    ///
    /// Bodies are read into memory: up to twice this much is held at once, and a few times that while it is parsed.
    pub fn with_max_body_bytes(mut self, bytes: u64) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// How long a client may take to send the head of a request, to send its body, and to take a part of the answer.
    /// Default [`ServerBuilder::DEFAULT_PATIENCE`]. An idle connection is closed after this time too.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How spans that come over OTLP are translated: which of them become part of a run, whether with their content, and
    /// under which project and environment. Runs that come over the Retrace wire are taken as they are.
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

    /// How much of the traces that come over OTLP is held, in bytes, roughly. Default
    /// [`ServerBuilder::DEFAULT_OTLP_BYTES`].
    ///
    /// A trace is held for ten minutes after the last of it came, so that what comes later finds its place. When there are
    /// more, those that were silent longest are forgotten; they are stored before, and what comes of them later is added.
    pub fn with_otlp_bytes(mut self, bytes: usize) -> Self {
        self.otlp_bytes = bytes;
        self
    }

    /// How long an agent holds an execution of a fork after it was started or claimed. Clients claim again every 300 s while they
    /// execute; an execution whose lease has ended counts as expired. Default [`ServerBuilder::DEFAULT_FORK_LEASE`].
    pub fn with_fork_lease(mut self, lease: Duration) -> Self {
        self.fork_lease = lease;
        self
    }

    /// Blocks and holds calls by these policies. By default every call is allowed.
    pub fn with_policies(mut self, policies: Policies) -> Self {
        self.policies = policies;
        self
    }

    /// Starts the server, which answers as soon as this returns. Takes a few milliseconds.
    ///
    /// May be called inside a runtime or outside of any: the server has threads of its own.
    ///
    /// # Errors
    /// Settings that contradict themselves, an address that is taken, a database that cannot be used; see
    /// [`StartError`].
    pub fn start(self) -> Result<Server, StartError> {
        Server::with(&self)
    }

    pub(super) fn checked_key(&self) -> Result<Option<ApiKey>, StartError> {
        let key = self.api_key.as_ref().map(|Secret(key)| ApiKey::new(key)).transpose();
        key.map_err(|problem: KeyError| StartError::ApiKey { problem: problem.to_string() })
    }

    /// Reads certificate and key, if there are any. `protocols` are those of ALPN.
    pub(super) fn encryption(&self, protocols: &[&[u8]]) -> Result<Encryption, StartError> {
        #[cfg(feature = "tls")]
        return self.tls.as_ref().map(|files| files.acceptor(protocols)).transpose();
        #[cfg(not(feature = "tls"))]
        {
            let _ = protocols;
            Ok(None)
        }
    }

    /// Binds the address of gRPC, if there is one.
    #[cfg(feature = "grpc")]
    pub(super) fn listen_grpc(&self) -> Result<Option<TcpListener>, StartError> {
        self.grpc_addr.map(|addr| self.bind(addr)).transpose()
    }

    fn bind(&self, addr: SocketAddr) -> Result<TcpListener, StartError> {
        self.check(addr)?;
        TcpListener::bind(addr).map_err(|error| StartError::bind(addr, error))
    }

    /// Binds, once it is clear that the address is a safe one.
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
        // Other machines reach neither loopback nor an address in its mapped form.
        let loopback = match addr.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.to_canonical().is_loopback(),
        };
        if loopback || self.allow_remote { Ok(()) } else { Err(StartError::NotLoopback { addr }) }
    }
}

/// Why a server could not be started. Each says what was wrong and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Other machines could reach the address.
    #[error(
        "{addr} can be reached from other machines, which could then read everything: listen on 127.0.0.1 or [::1], or \
         allow remote clients explicitly and set an API key"
    )]
    NotLoopback {
        /// The address.
        addr: SocketAddr,
    },
    /// The API key is none.
    #[error("the API key {problem}: set another one, or none to take any key")]
    ApiKey {
        /// What is wrong with it; never the key itself.
        problem: String,
    },
    /// Somebody listens there already.
    #[error("{addr} is in use: end the program that listens there, or choose another port (0 takes any free one)")]
    AddrInUse {
        /// The address.
        addr: SocketAddr,
    },
    /// The system does not let us listen there.
    #[error("cannot listen on {addr} ({source}): choose another address or port")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The database cannot be used.
    #[error("cannot use the database {}: {problem}", path.display())]
    Db {
        /// The file; empty for a database in memory.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The certificate or its key cannot be used.
    #[error("cannot use {} for HTTPS: {problem}; give PEM files of a certificate and of its private key", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The system gives us no thread, or no way to wait for sockets.
    #[error("cannot start ({0}): the system is out of threads or files; end other programs and try again")]
    System(io::Error),
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
