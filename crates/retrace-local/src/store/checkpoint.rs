//! The thread that moves the write-ahead log into the database.
//!
//! SQLite moves the log within the commit that makes it too long, and that commit waits for the disk. This thread moves it
//! beside the commits until little is left. Commits wait for that rest only; then the log begins anew.

use std::ffi::c_int;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::schema::{LOG_PAGES, OpenError};
use super::{Shared, lock};

/// Size of the log at which a commit moves it, in pages: the bound of the log where this thread is too slow, unless a reader holds
/// the log.
const MAX_LOG_PAGES: u32 = 4 * LOG_PAGES;
/// Number of pages for which commits wait, unless a reader that held the log ends meanwhile.
const REST_PAGES: u32 = 256;

/// The running thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Checkpointer {
    log: Arc<Log>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread for the connection that writes. `own` is another connection to the same file.
    pub(super) fn start(to_write: &Shared, own: Connection) -> Result<Self, OpenError> {
        let log = Arc::new(Log::default());
        let committed = Arc::clone(&log);
        let after_commit = move |wal: &mut Wal, pages: c_int| {
            let pages = u32::try_from(pages).unwrap_or_default();
            if pages >= MAX_LOG_PAGES {
                // If it fails, the log is read where it is, and the next commit tries again.
                let _ = wal.checkpoint();
            }
            committed.grow_to(pages);
            Ok(())
        };
        lock(to_write).wal_hook(Some(after_commit))?;
        let (to_write, moved) = (Arc::clone(to_write), Arc::clone(&log));
        let thread = thread::Builder::new()
            .name("retrace-local-checkpoint".into())
            .spawn(move || run(&moved, &to_write, &own))
            .map_err(OpenError::Io)?;
        Ok(Self { log, thread: Some(thread) })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.log.close();
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

fn run(log: &Log, to_write: &Shared, own: &Connection) {
    while log.wait() {
        let mut before = u32::MAX;
        // Each pass leaves what is committed during it.
        while let Some(Sizes { left, .. }) = checkpoint(own)
            && left > REST_PAGES
            && left < before
        {
            before = left;
        }
        let connection = lock(to_write);
        log.moved(checkpoint(own));
        drop(connection);
    }
}

/// Result of a checkpoint, in pages.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    log: u32,
    /// Part of the log that is not moved, because a reader or a commit prevents it.
    left: u32,
}

/// Moves the log as far as possible without waiting for others.
fn checkpoint(connection: &Connection) -> Option<Sizes> {
    let sizes = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)));
    let (log, moved): (i64, i64) = sizes.ok()?;
    Some(Sizes { log: u32::try_from(log).ok()?, left: u32::try_from(log - moved).ok()? })
}

/// The size of the log after the latest commit.
#[derive(Debug)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Debug)]
struct LogState {
    pages: u32,
    /// Size at which the log is moved.
    limit: u32,
    closed: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { state: Mutex::new(LogState { pages: 0, limit: LOG_PAGES, closed: false }), changed: Condvar::new() }
    }
}

impl Log {
    fn grow_to(&self, pages: u32) {
        let mut state = lock(&self.state);
        if pages < state.pages {
            // A commit has moved the log, and it began anew.
            state.limit = LOG_PAGES;
        }
        state.pages = pages;
        if state.is_long() {
            self.changed.notify_one();
        }
    }

    /// Sets what a checkpoint without commits beside it has left; `None` if it has failed.
    fn moved(&self, sizes: Option<Sizes>) {
        let mut state = lock(&self.state);
        // A log of which a part is left grows on before another attempt.
        state.pages = sizes.map_or(state.pages, |sizes| if sizes.left == 0 { 0 } else { sizes.log });
        state.limit = state.pages.saturating_add(LOG_PAGES);
    }

    /// Waits until the log is long; returns false once it is closed.
    fn wait(&self) -> bool {
        let is_waiting = |state: &mut LogState| !state.closed && !state.is_long();
        let state = self.changed.wait_while(lock(&self.state), is_waiting).unwrap_or_else(PoisonError::into_inner);
        !state.closed
    }

    fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_one();
    }
}

impl LogState {
    fn is_long(&self) -> bool {
        self.pages >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{schema, shared};
    use crate::testing::HANG;

    fn sizes(connection: &Connection) -> (u32, u32) {
        connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| Ok((row.get(1)?, row.get(2)?))).unwrap()
    }

    fn commit(to_write: &Shared, pages: u32) {
        let insert = "INSERT OR REPLACE INTO golden VALUES (?1 || hex(zeroblob(?2)))";
        // Two digits for each byte.
        lock(to_write).execute(insert, (pages, pages * 2048)).unwrap();
    }

    #[test]
    fn the_log_begins_anew_once_it_is_long() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs.db");
        let to_write = shared(schema::open_file(&path, false).unwrap());
        let checkpointer = Checkpointer::start(&to_write, schema::open_checkpointer(&path).unwrap()).unwrap();
        let other = schema::open_reader(&path).unwrap();
        commit(&to_write, 100);
        let (log, moved) = sizes(&other);
        assert!((100..200).contains(&log) && moved == 0, "{log} {moved}");
        for round in 1..=3 {
            commit(&to_write, LOG_PAGES + round);
            let deadline = std::time::Instant::now() + HANG;
            while sizes(&other).0 != sizes(&other).1 {
                assert!(std::time::Instant::now() < deadline, "the log is not moved");
                thread::yield_now();
            }
            commit(&to_write, round);
            assert!(sizes(&other).0 < 100, "{:?}", sizes(&other));
        }
        drop(checkpointer);
    }

    #[test]
    fn a_log_that_a_reader_holds_is_bounded_in_attempts() {
        let log = Log::default();
        log.grow_to(LOG_PAGES - 1);
        assert!(!lock(&log.state).is_long());
        log.grow_to(LOG_PAGES);
        assert!(log.wait());
        log.moved(Some(Sizes { log: LOG_PAGES + 9, left: 1 }));
        log.grow_to(LOG_PAGES + 10);
        assert!(!lock(&log.state).is_long(), "a reader prevents it");
        log.grow_to(2 * LOG_PAGES + 9);
        assert!(log.wait());
        log.moved(Some(Sizes { log: 2 * LOG_PAGES + 9, left: 0 }));
        assert!(!lock(&log.state).is_long());
        log.grow_to(LOG_PAGES);
        assert!(log.wait());
        log.moved(Some(Sizes { log: 3 * LOG_PAGES, left: 1 }));
        log.grow_to(3 * LOG_PAGES + 9);
        log.grow_to(5);
        log.grow_to(LOG_PAGES);
        assert!(lock(&log.state).is_long(), "the log began anew in between");
        log.close();
        assert!(!log.wait());
    }
}
