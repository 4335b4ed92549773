//! The database: one thread that writes, and connections for reads.
//!
//! [`Writer`] sends the data of clients to a dedicated thread, which commits all waiting jobs together; each is
//! answered after its commit. [`Reader`] reads in the caller's thread. A file has separate connections for the two, and
//! several for reads, so that neither a long write nor a long read blocks other reads; a database in memory has one,
//! which they share.

mod checkpoint;
mod coalesce;
mod count_once;
mod event;
mod find;
mod fork;
mod index;
mod indexer;
mod job;
mod key_set;
mod numbers;
mod otlp;
mod pending;
mod prune;
mod read;
mod schema;
mod selection;
mod sessions;
mod totals;
mod usage;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use tokio::sync::watch;

pub(crate) use fork::ForkChange;
pub(crate) use job::{Change, Outcome};
pub(crate) use otlp::OtlpRun;
pub(crate) use prune::Prune;
pub(crate) use read::ended_trace;
pub(crate) use schema::OpenError;
pub(crate) use writer::{Answer, WeakWriter, Writer};

use checkpoint::Checkpointer;
use pending::Pending;

use crate::query::TraceQuery;

/// Error of a read or a change.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the database failed: {0}")]
    Database(Arc<rusqlite::Error>),
    #[error("a stored record cannot be read back: {0}")]
    Damaged(Arc<serde_json::Error>),
    #[error("the database gave up what was written together with this")]
    RolledBack,
    #[error("the receiver is stopping")]
    Closed,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged(Arc::new(error))
    }
}

/// Connections for reads of a file: this number of reads run side by side, others wait.
const READERS: usize = 4;

type Shared = Arc<Mutex<Connection>>;

/// Reads committed data. Cheap to clone; each call runs in the calling thread.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    first: Shared,
    others: Arc<[Shared]>,
    /// Number of reads that found no idle connection: they take turns at waiting for each.
    waits: Arc<AtomicUsize>,
    commits: Arc<Commits>,
    pending: Arc<Pending>,
}

impl Reader {
    /// Runs `read` on a connection that sees only what is committed, and sees it unchanged until `read` returns.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let connection = self.connection();
        let snapshot = connection.unchecked_transaction()?;
        let found = read(&snapshot)?;
        snapshot.finish()?;
        Ok(found)
    }

    /// Returns an idle connection, or waits for one.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        let idle =
            std::iter::once(&self.first).chain(&*self.others).find_map(|connection| match connection.try_lock() {
                Ok(connection) => Some(connection),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            });
        idle.unwrap_or_else(|| {
            let turn = self.waits.fetch_add(1, Ordering::Relaxed);
            lock(self.others.get(turn % (self.others.len() + 1)).unwrap_or(&self.first))
        })
    }

    /// Waits until the index covers everything that is committed now; returns false if it does not within `limit`.
    pub(crate) fn wait_for_index(&self, limit: Duration) -> bool {
        self.pending.wait(limit)
    }

    /// Returns a receiver that is notified of each further commit.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.commits.news.subscribe()
    }

    /// Repeats `read` after every commit until it finds something or `deadline` has passed.
    pub(crate) fn wait_until<T>(
        &self,
        deadline: Instant,
        mut read: impl FnMut(&Connection) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        loop {
            // Taken before the read, so that a commit during the read is not missed.
            let seen = self.commits.last();
            let found = self.read(&mut read)?;
            if found.is_some() || !self.commits.wait_past(seen, deadline) {
                return Ok(found);
            }
        }
    }
}

/// Numbers commits and wakes threads that wait for the next.
#[derive(Debug)]
struct Commits {
    last: Mutex<i64>,
    next: Condvar,
    /// The same notification for async tasks.
    news: watch::Sender<()>,
}

impl Default for Commits {
    fn default() -> Self {
        Self { last: Mutex::default(), next: Condvar::new(), news: watch::Sender::default() }
    }
}

impl Commits {
    fn last(&self) -> i64 {
        *lock(&self.last)
    }

    /// Returns the version of the next commit: microseconds since 1970, or the last version plus one. Versions thus
    /// also increase from one process to the next.
    fn next_version(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        i64::try_from(now).unwrap_or(i64::MAX - 1).max(self.last() + 1)
    }

    fn add(&self, version: i64) {
        *lock(&self.last) = version;
        self.next.notify_all();
        self.news.send_replace(());
    }

    /// Waits for a commit after the version `seen`; returns false if `deadline` passes before one.
    fn wait_past(&self, seen: i64, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let last = lock(&self.last);
        let (last, _) =
            self.next.wait_timeout_while(last, left, |last| *last == seen).unwrap_or_else(PoisonError::into_inner);
        *last != seen
    }
}

/// Locks a mutex. A poisoned lock guards a connection whose transaction was rolled back, which is still valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An open database.
pub(crate) struct Opened {
    pub(crate) writer: Writer,
    pub(crate) reader: Reader,
    /// The writing thread ends, and the database is closed cleanly, when all [`Writer`]s are dropped.
    pub(crate) thread: thread::JoinHandle<()>,
    /// Reason for which the database is read-only: a newer version has written it.
    pub(crate) read_only: Option<String>,
}

/// Opens a database like [`open`]; opens one that a newer version has written read-only, if its runs can be read.
pub(crate) fn open_any(path: Option<&Path>, gives_back: bool) -> Result<Opened, OpenError> {
    let error = match open(path, gives_back) {
        Ok((writer, reader, thread)) => return Ok(Opened { writer, reader, thread, read_only: None }),
        Err(error) => error,
    };
    let (OpenError::Newer { found, known }, Some(path)) = (&error, path) else { return Err(error) };
    let read_only = format!(
        "a newer retrace-local has written the database (schema {found}, this one knows {known}): its runs can be read, and \
         nothing is written. Use that version, or another file, to record runs"
    );
    let to_write = shared(schema::open_unchanged(path)?);
    let (first, others) = several(|| schema::open_unchanged(path))?;
    let (writer, reader, thread) = start(to_write, first, others, None)?;
    match reader.page(&TraceQuery::new().with_limit(1)) {
        Ok(_) => Ok(Opened { writer, reader, thread, read_only: Some(read_only) }),
        Err(_) => Err(error),
    }
}

/// Opens a database, in memory if no path is given, and starts its writer.
///
/// With `gives_back`, the space of removed data can be returned to the system ([`Change::GiveBack`]), at some cost to
/// each write. The thread ends, and the database is closed cleanly, when all [`Writer`]s are dropped.
pub(crate) fn open(
    path: Option<&Path>,
    gives_back: bool,
) -> Result<(Writer, Reader, thread::JoinHandle<()>), OpenError> {
    match path {
        Some(path) => {
            let to_write = shared(schema::open_file(path, gives_back)?);
            let (first, others) = several(|| schema::open_reader(path))?;
            let checkpointer = Checkpointer::start(&to_write, schema::open_checkpointer(path)?)?;
            start(to_write, first, others, Some(checkpointer))
        }
        None => {
            let only = shared(schema::open_memory(gives_back)?);
            start(Arc::clone(&only), only, Vec::new(), None)
        }
    }
}

fn start(
    to_write: Shared,
    first: Shared,
    others: Vec<Shared>,
    checkpointer: Option<Checkpointer>,
) -> Result<(Writer, Reader, thread::JoinHandle<()>), OpenError> {
    let commits = Arc::new(Commits::default());
    let pending = Arc::new(Pending::new());
    let (others, waits) = (others.into(), Arc::default());
    let reader = Reader { first, others, waits, commits: Arc::clone(&commits), pending: Arc::clone(&pending) };
    let (writer, thread) = writer::start(to_write, commits, pending, &reader, checkpointer).map_err(OpenError::Io)?;
    Ok((writer, reader, thread))
}

/// Opens the connections for reads: the first, and the others.
fn several(open: impl Fn() -> Result<Connection, OpenError>) -> Result<(Shared, Vec<Shared>), OpenError> {
    let others = (1..READERS).map(|_| open().map(shared)).collect::<Result<_, _>>()?;
    Ok((open().map(shared)?, others))
}

fn shared(connection: Connection) -> Shared {
    Arc::new(Mutex::new(connection))
}

#[cfg(test)]
mod tests;
