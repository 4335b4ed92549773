//! A model provider that answers from a cassette, for clients of any language.
//!
//! A client uses [`ReplayServer::url`] as its base URL. A `POST` to the path of a provider's API is matched against the
//! cassette and answered with the recorded response: status, headers and chunks. A call without a recorded response
//! gets status 422, which no client retries, with an error in the shape of its provider and the differences under
//! `retrace`.

mod calls;
mod connection;
mod error;
mod flat_cassette;
mod http;

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use axum::http::{HeaderMap, Uri};
use opentelemetry_instrumentation_genai::Instrumentation;
use retrace_replay::cassette::{Cassette, CassetteError, CassetteProblem, Origin};
use retrace_replay::render::project;
use retrace_replay::replay::{Mode, Options, Replay};
use retrace_replay::report::Report;
use tokio::sync::{Semaphore, oneshot};

pub use error::ReplayServerError;

use calls::Calls;

use crate::server::{Hosts, Stranger};

/// Pace of the responses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Pace {
    /// Without waiting.
    #[default]
    Instant,
    /// At the recorded times, multiplied by this factor: 1 is as recorded.
    Factor(f64),
}

/// Settings of a [`ReplayServer`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReplaySettings {
    /// Address to listen on. Port 0 takes any free port. Default: `127.0.0.1:0`.
    pub addr: SocketAddr,
    /// Allows an address that other machines can reach. Default: false.
    pub allow_remote: bool,
    /// Answers a changed request with the next recorded response and reports it. Default: false, it is rejected.
    pub lenient: bool,
    /// Pace of the responses. Default: without waiting.
    pub pace: Pace,
    /// Limit of a request body, in bytes. Default: 32 MiB.
    pub max_body_bytes: usize,
}

impl Default for ReplaySettings {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            allow_remote: false,
            lenient: false,
            pace: Pace::Instant,
            max_body_bytes: 32 * 1024 * 1024,
        }
    }
}

/// The server. It stops when it is dropped.
///
/// Clients do not send steps, so the lanes of the cassette are ignored: the first unused entry with an equal request
/// answers a call, from any position.
#[derive(Debug)]
pub struct ReplayServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// State that the connections share.
#[derive(Debug)]
struct Shared {
    file: PathBuf,
    settings: ReplaySettings,
    replay: Arc<Mutex<Replay>>,
    genai: Instrumentation,
    hosts: Hosts,
    /// Permits for bodies that are read concurrently.
    bodies: Semaphore,
}

/// Number of bodies that are read concurrently; others wait.
const BODIES: usize = 8;

impl Shared {
    /// Rejects requests from web pages. A server with `allow_remote` accepts any host name.
    fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Stranger> {
        match self.hosts.admit(uri, headers) {
            Err(Stranger::Host) if self.settings.allow_remote => Ok(()),
            admitted => admitted,
        }
    }

    fn open(file: &Path, settings: &ReplaySettings) -> Result<Replay, CassetteError> {
        let name = file.display().to_string();
        let source = File::open(file).map_err(|error| CassetteError::io(&*name, None, error))?;
        if source.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(CassetteError::new(name, None, CassetteProblem::IsDirectory));
        }
        let mut cassette = Cassette::open(&name, source)?;
        let is_of_run = cassette.header().origin == Origin::Run;
        let flat = flat_cassette::flatten(&mut cassette)?;
        let mut options =
            Options { mode: if settings.lenient { Mode::Lenient } else { Mode::Strict }, ..Options::default() };
        if is_of_run {
            // A run has conversations instead of requests.
            options.normalize = Some(Arc::new(|request| *request = project(request)));
        }
        Replay::new(flat, options).map_err(|error| match error {
            retrace_replay::replay::ReplayError::Cassette(error) => error,
            other => CassetteError::new(name, None, CassetteProblem::Malformed(other.to_string())),
        })
    }

    fn report(&self) -> Report {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner).report()
    }

    /// Restarts the replay: all entries are unused, and earlier rejections are removed.
    fn reset(&self) -> Result<(), CassetteError> {
        let replay = Self::open(&self.file, &self.settings)?;
        *self.replay.lock().unwrap_or_else(PoisonError::into_inner) = replay;
        Ok(())
    }
}

impl ReplayServer {
    /// Reads a cassette and listens.
    ///
    /// # Errors
    /// Returns an error if the cassette cannot be read, or if the address is in use or reachable from other machines.
    pub fn start(cassette: &Path, settings: ReplaySettings) -> Result<Self, ReplayServerError> {
        if !settings.allow_remote && !settings.addr.ip().to_canonical().is_loopback() {
            return Err(ReplayServerError::NotLoopback { addr: settings.addr });
        }
        let replay = Arc::new(Mutex::new(Shared::open(cassette, &settings)?));
        let bind = |source| ReplayServerError::Listen { addr: settings.addr, source };
        let listener = TcpListener::bind(settings.addr).map_err(bind)?;
        let addr = listener.local_addr().map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ReplayServerError::System)?;
        let genai = Instrumentation::builder().with_interceptor(Calls::new(Arc::clone(&replay))).build();
        let (hosts, bodies) = (Hosts::new(addr.ip(), Vec::new()), Semaphore::new(BODIES));
        let shared = Arc::new(Shared { file: cassette.to_owned(), settings, replay, genai, hosts, bodies });
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let serve = move || {
            runtime.block_on(async {
                // This fails only without a runtime.
                if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                    connection::serve(listener, serving, stopped).await;
                }
            });
        };
        let thread =
            thread::Builder::new().name("retrace-replay".into()).spawn(serve).map_err(ReplayServerError::System)?;
        Ok(Self { addr, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the address on which the server listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the base URL for clients on this machine, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        let ip = match self.addr.ip() {
            ip if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], self.addr.port())),
            _ => self.addr,
        };
        format!("http://{ip}")
    }

    /// Returns the report so far: the first rejection, divergences, unused entries.
    #[must_use]
    pub fn report(&self) -> Report {
        self.shared.report()
    }
}

impl Drop for ReplayServer {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
