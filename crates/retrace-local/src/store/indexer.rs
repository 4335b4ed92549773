//! The thread that keeps the index up with what is stored.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::index::{IndexedRun, outdated};
use super::pending::{Pending, Work};
use super::{Change, Reader, StoreError, WeakWriter};

/// Most runs that are indexed by one commit.
const BATCH: usize = 32;
/// No further run is read for a commit after this time: what is received meanwhile waits.
const BATCH_TIME: Duration = Duration::from_millis(4);

/// Starts the thread. It ends when `pending` is closed.
pub(super) fn start(reader: Reader, writer: WeakWriter, pending: Arc<Pending>) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("retrace-local-index".into()).spawn(move || run(&reader, &writer, &pending))
}

fn run(reader: &Reader, writer: &WeakWriter, pending: &Pending) {
    loop {
        match pending.next(BATCH) {
            Work::Done => return,
            // A database that cannot be read now is compared again with the next start.
            Work::Compare(after) => match reader.read(|database| outdated(database, after)) {
                Ok((ids, go_on)) => pending.compared(&ids, go_on),
                Err(_) => pending.compared(&[], None),
            },
            Work::Runs(ids) => {
                let mut rest = ids.as_slice();
                while !rest.is_empty() {
                    let began = Instant::now();
                    let (runs, count) = read(reader, rest, began);
                    // A run that cannot be indexed is found by the next comparison; the others are not held up by it.
                    if !runs.is_empty() && matches!(writer.write(Change::Index(runs)), Err(StoreError::Closed)) {
                        return;
                    }
                    pending.indexed(count, began.elapsed());
                    rest = rest.get(count..).unwrap_or_default();
                }
            }
        }
    }
}

/// Reads the first of these runs, and returns how many of them were looked at.
fn read(reader: &Reader, ids: &[retrace_protocol::Id], began: Instant) -> (Vec<IndexedRun>, usize) {
    let (mut runs, mut count) = (Vec::new(), 0);
    for id in ids {
        count += 1;
        runs.extend(reader.read(|database| IndexedRun::read(database, id)).ok().flatten());
        if began.elapsed() >= BATCH_TIME {
            break;
        }
    }
    (runs, count)
}
