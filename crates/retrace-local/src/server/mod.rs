//! The server: runs on its own threads, and starts and stops inside or outside of a runtime.

mod auth;
mod builder;
mod changes;
mod comparison;
mod enforcement;
mod error;
mod explore;
mod forks;
mod guard;
mod http;
mod page;
mod recording;
mod recordings;
mod retention;
mod stream;

use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use retrace_protocol::read::TracePage;
use retrace_protocol::{Id, Trace, endpoint};
use tokio::sync::oneshot;

pub use builder::{ServerBuilder, StartError};
pub(crate) use guard::Hosts;
#[cfg(feature = "replay")]
pub(crate) use guard::Stranger;
use http::{App, Rules, router};
#[cfg(feature = "grpc")]
use retrace_otlp::server::GrpcService;
use retrace_otlp::server::{self as otlp_server, Bodies, Encryption, Endpoint, Service};

use crate::query::TraceQuery;
use crate::store::{self, Opened, Reader, StoreError, Writer};

/// Time that running reads have to end when the server stops.
const READS_GRACE: Duration = Duration::from_secs(1);
/// Time that running requests have to end when the server stops.
const GRACE: Duration = Duration::from_secs(2);
/// Limit of the whole stop. Work that is not done by then ends with its thread, or with the process.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A running receiver. Stops when it is dropped.
///
/// It runs on its own threads, so that it may be started, used and dropped inside or outside of a Tokio runtime.
///
/// ```
/// use retrace_local::Server;
///
/// let server = Server::start()?;
/// println!("RETRACE_BASE_URL={}", server.url());
/// assert_eq!(server.traces(&Default::default())?.total, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    url: String,
    grpc_url: Option<String>,
    reader: Reader,
    read_only: Option<String>,
    stop: Option<oneshot::Sender<()>>,
    stopped: Mutex<mpsc::Receiver<()>>,
}

/// Error of a read from a server's database.
#[derive(thiserror::Error)]
#[error("the receiver's database cannot be read: {source}")]
pub struct ReadError {
    source: Box<dyn Error + Send + Sync>,
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl std::fmt::Debug for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self { source: Box::new(error) }
    }
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1 that stores everything in memory and accepts any key.
    ///
    /// # Errors
    /// Returns a [`StartError`]; with these settings, only if the system is out of threads, files or memory.
    pub fn start() -> Result<Self, StartError> {
        Self::builder().start()
    }

    /// Returns a builder with the default settings.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::new()
    }

    fn with(settings: &ServerBuilder) -> Result<Self, StartError> {
        let key = settings.checked_key()?;
        let encryption = settings.encryption(&[])?;
        let scheme = if encryption.is_some() { "https" } else { "http" };
        let listener = settings.listen()?;
        let addr = address(&listener)?;
        #[cfg_attr(not(feature = "grpc"), allow(unused_mut))]
        let mut endpoints = vec![Listening { listener, encryption, is_grpc: false }];
        #[cfg_attr(not(feature = "grpc"), allow(unused_mut))]
        let mut grpc_url = None;
        #[cfg(feature = "grpc")]
        if let Some(listener) = settings.listen_grpc()? {
            grpc_url = Some(format!("{scheme}://{}", reachable(address(&listener)?)));
            let encryption = settings.encryption(&[b"h2"])?;
            endpoints.push(Listening { listener, encryption, is_grpc: true });
        }
        let opened = store::open_any(settings.db.as_deref(), !settings.retention.keeps_everything())
            .map_err(|error| StartError::db(settings.db.clone(), &error))?;
        let Opened { writer, reader, thread: writing, read_only } = opened;
        let pruning = settings.retention.start(writer.weak()).map_err(StartError::System)?;
        let bodies = Bodies::new(settings.max_body_bytes, settings.patience);
        let hosts = Hosts::new(addr.ip(), settings.host_names.clone());
        let (recording, recorder) = recording::record(settings.otlp.clone(), settings.otlp_bytes);
        let recorder = (recorder, writer.clone());
        let enforcement = enforcement::Enforcement::new(settings.policies.clone());
        let rules = Rules { bodies, key, hosts, fork_lease: settings.fork_lease, enforcement };
        let app = App::new(writer, reader.clone(), recording, rules).with_read_only(read_only.clone());

        let (stop, stop_requested) = oneshot::channel();
        let (started, wait_for_start) = mpsc::channel();
        let (done, stopped) = mpsc::channel();
        let patience = settings.patience;
        thread::Builder::new()
            .name("retrace-local".into())
            .spawn(move || {
                run(endpoints, app, recorder, patience, stop_requested, &started);
                drop(pruning);
                // No writer remains, so this thread ends when all queued changes are stored.
                let _ = writing.join();
                let _ = done.send(());
            })
            .map_err(StartError::System)?;
        let lost = || Err(std::io::Error::other("the server's thread ended"));
        wait_for_start.recv().unwrap_or_else(|_| lost()).map_err(StartError::System)?;
        let url = format!("{scheme}://{}", reachable(addr));
        Ok(Self { addr, url, grpc_url, reader, read_only, stop: Some(stop), stopped: Mutex::new(stopped) })
    }

    /// The base URL for clients on this machine, such as `http://127.0.0.1:3001`, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of the WebSocket, such as `ws://127.0.0.1:3001/ws/v1/stream` (PROTOCOL.md section 4).
    #[must_use]
    pub fn ws_url(&self) -> String {
        format!("{}{}", self.url.replacen("http", "ws", 1), endpoint::STREAM)
    }

    /// The endpoint for OTLP, for `OTEL_EXPORTER_OTLP_ENDPOINT`: equal to [`Server::url`], to which exporters append
    /// `/v1/traces` and `/v1/logs`.
    ///
    /// ```
    /// let server = retrace_local::Server::start()?;
    /// println!("OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_EXPORTER_OTLP_ENDPOINT={}", server.otlp_url());
    /// # Ok::<(), retrace_local::StartError>(())
    /// ```
    #[must_use]
    pub fn otlp_url(&self) -> &str {
        &self.url
    }

    /// The endpoint for OTLP over gRPC, such as `http://127.0.0.1:4317`, if `ServerBuilder::with_grpc_addr` has set an
    /// address.
    #[must_use]
    pub fn grpc_url(&self) -> Option<&str> {
        self.grpc_url.as_deref()
    }

    /// The address on which the server listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Reason for which this server is read-only, if it is: a newer version has written its database. Stored runs can
    /// be read, and every request that would change them is answered 503, so that clients keep their data.
    #[must_use]
    pub fn read_only(&self) -> Option<&str> {
        self.read_only.as_deref()
    }

    /// Returns one page of the stored traces, newest first, without spans, inputs, outputs and metadata (PROTOCOL.md
    /// section 1).
    ///
    /// Reads in the calling thread, as do the other methods: microseconds in memory, disk latency from a file.
    ///
    /// # Errors
    /// Returns an error if the database is gone or damaged.
    pub fn traces(&self, query: &TraceQuery) -> Result<TracePage, ReadError> {
        let page = self.reader.page(query)?;
        Ok(TracePage {
            traces: page.traces.into_iter().map(|stored| stored.record).collect(),
            total: page.total,
            limit: page.limit,
            offset: page.offset,
        })
    }

    /// Returns a stored trace as it was sent, with its spans in the order of arrival; `None` if it is not stored.
    ///
    /// # Errors
    /// Returns an error if the database is gone or damaged.
    pub fn trace(&self, id: &Id) -> Result<Option<Trace>, ReadError> {
        Ok(self.reader.trace(id, true)?.map(|stored| stored.record))
    }

    /// Waits until a trace is stored and has ended, at most for `limit`; returns `None` if it has not ended by then.
    ///
    /// Blocks the calling thread, which each commit wakes: there is no polling.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let server = retrace_local::Server::start()?;
    /// let id = "0af76519-16cd-43dd-8448-eb211c80319c".into();
    /// if let Some(trace) = server.wait_for_end(&id, Duration::from_millis(1))? {
    ///     println!("{:?}", trace.status);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the database is gone or damaged.
    pub fn wait_for_end(&self, id: &Id, limit: Duration) -> Result<Option<Trace>, ReadError> {
        // A time beyond the range of the clock is an unbounded wait; a century represents it.
        let deadline = Instant::now().checked_add(limit).unwrap_or_else(|| Instant::now() + CENTURY);
        Ok(self.reader.wait_until(deadline, |database| store::ended_trace(database, id))?)
    }

    /// Stops the server: it accepts no new requests, running requests get a moment to end, all accepted data is
    /// committed, and a database file has no write-ahead log left. Takes milliseconds, and seconds at most.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
            let stopped = self.stopped.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
            let _ = stopped.recv_timeout(STOP_LIMIT);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// A server that listens on all addresses is reachable on loopback.
fn reachable(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        addr.set_ip(if addr.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    addr
}

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A bound, non-blocking socket, and its protocol.
struct Listening {
    listener: TcpListener,
    encryption: Encryption,
    is_grpc: bool,
}

impl Listening {
    /// Converts to Tokio's socket. Requires a runtime.
    fn endpoint(self, app: &Arc<App>) -> std::io::Result<Endpoint> {
        let Self { listener, encryption, is_grpc } = self;
        #[cfg(feature = "grpc")]
        let service = match is_grpc {
            true => Service::Grpc(GrpcService::new(Arc::clone(app))),
            false => Service::Http(router(Arc::clone(app))),
        };
        #[cfg(not(feature = "grpc"))]
        let service = {
            let _ = is_grpc;
            Service::Http(router(Arc::clone(app)))
        };
        Ok(Endpoint { listener: tokio::net::TcpListener::from_std(listener)?, encryption, service })
    }
}

/// Makes a socket non-blocking, and returns its address.
fn address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.set_nonblocking(true).and_then(|()| listener.local_addr()).map_err(StartError::System)
}

/// Runs the server's thread until it is stopped.
fn run(
    endpoints: Vec<Listening>,
    app: App,
    (recorder, writer): (recording::Recorder, Writer),
    patience: Duration,
    stop_requested: oneshot::Receiver<()>,
    started: &mpsc::Sender<std::io::Result<()>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let app = Arc::new(app);
        match endpoints.into_iter().map(|each| each.endpoint(&app)).collect() {
            Ok(endpoints) => {
                let _ = started.send(Ok(()));
                let stop = async { drop(stop_requested.await) };
                let (finish, finish_requested) = oneshot::channel();
                let recording = tokio::spawn(recorder.run(writer, app.live.notifier(), finish_requested));
                // A WebSocket releases its permit when all frames that it has read are stored.
                let streams = app.streams.acquire_many(stream::MAX_STREAMS);
                otlp_server::serve(endpoints, patience, &app.closing, stop, GRACE, streams).await;
                // All answered requests are in the recorder's buffer, and are stored before this ends.
                let _ = finish.send(());
                let _ = recording.await;
            }
            Err(error) => drop(started.send(Err(error))),
        }
    });
    runtime.shutdown_timeout(READS_GRACE);
}
