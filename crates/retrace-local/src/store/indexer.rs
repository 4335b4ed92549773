//! The thread that updates the index.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::index::{IndexedRun, outdated};
use super::pending::{Pending, Work};
use super::{Change, Reader, StoreError, WeakWriter};

/// Largest number of runs that one commit indexes.
const BATCH: usize = 32;
/// Time after which no further run is added to a commit, because received data waits meanwhile.
const BATCH_TIME: Duration = Duration::from_millis(4);

/// Starts the thread. It ends when `pending` is closed.
pub(super) fn start(reader: Reader, writer: WeakWriter, pending: Arc<Pending>) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("retrace-local-index".into()).spawn(move || run(&reader, &writer, &pending))
}

fn run(reader: &Reader, writer: &WeakWriter, pending: &Pending) {
    loop {
        match pending.next(BATCH) {
            Work::Done => return,
            // If the database cannot be read now, the comparison is repeated at the next start.
            Work::Compare(after) => match reader.read(|database| outdated(database, after)) {
                Ok((ids, go_on)) => pending.compared(&ids, go_on),
                Err(_) => pending.compared(&[], None),
            },
            Work::Runs(ids) => {
                let mut rest = ids.as_slice();
                while !rest.is_empty() {
                    let began = Instant::now();
                    let (runs, count) = read(reader, rest, began);
                    // A run that cannot be indexed does not block the others; the next comparison finds it.
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

/// Reads the first of these runs, and returns the number of ids that it processed.
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
