//! The thread that owns the right to write.

use std::sync::Arc;
use std::thread;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::pending::Pending;
use super::{Change, Commits, Outcome, Reader, Shared, StoreError, indexer, lock};

/// Jobs that may wait for the writer; who comes after them waits to be let in.
const QUEUE: usize = 256;
/// Most jobs that are committed together: a commit costs about as much as a hundred small changes.
const GROUP: usize = 256;
/// Statements that are kept prepared: more than there are kinds of them, those of a reader on the same connection included.
const STATEMENTS: usize = 128;

/// Hands changes to the writing thread. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    change: Change,
    answer: oneshot::Sender<Result<Outcome, StoreError>>,
    /// Room in memory that the change occupies, given back when the change is dropped.
    _room: Option<OwnedSemaphorePermit>,
}

impl Writer {
    /// Has a change made, and answers when it is committed or has failed.
    ///
    /// Whoever stops waiting after the job was handed over leaves the change to be made all the same.
    pub(crate) async fn write(
        &self,
        change: Change,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Outcome, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = Job { change, answer, _room: room };
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// The same for a thread of this process that must not keep the writer from ending.
    pub(crate) fn weak(&self) -> WeakWriter {
        WeakWriter { jobs: self.jobs.downgrade() }
    }
}

/// Hands changes to the writing thread while anybody else may.
#[derive(Clone, Debug)]
pub(crate) struct WeakWriter {
    jobs: mpsc::WeakSender<Job>,
}

impl WeakWriter {
    /// Has a change made, and blocks until it is committed or has failed.
    pub(crate) fn write(&self, change: Change) -> Result<Outcome, StoreError> {
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.upgrade().ok_or(StoreError::Closed)?;
        jobs.blocking_send(Job { change, answer, _room: None }).map_err(|_| StoreError::Closed)?;
        drop(jobs);
        answered.blocking_recv().map_err(|_| StoreError::Closed)?
    }
}

/// Starts the thread. It ends when every [`Writer`] is gone and what they handed over is done.
pub(super) fn start(
    connection: Shared,
    commits: Arc<Commits>,
    pending: Arc<Pending>,
    reader: &Reader,
) -> Result<(Writer, thread::JoinHandle<()>), std::io::Error> {
    lock(&connection).set_prepared_statement_cache_capacity(STATEMENTS);
    let (jobs, waiting) = mpsc::channel(QUEUE);
    let writer = Writer { jobs };
    let indexing = indexer::start(reader.clone(), writer.weak(), Arc::clone(&pending))?;
    let thread = thread::Builder::new().name("retrace-local-writer".into()).spawn(move || {
        run(&connection, &commits, &pending, waiting);
        pending.close();
        let _ = indexing.join();
        // The log goes into the database, so that the file alone is the whole of it. When that fails, the log stays beside
        // the database and is read at the next start.
        let _ = lock(&connection).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    })?;
    Ok((writer, thread))
}

fn run(connection: &Shared, commits: &Commits, pending: &Pending, mut waiting: mpsc::Receiver<Job>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP {
            let Ok(next) = waiting.try_recv() else { break };
            group.push(next);
        }
        let changes: Vec<&Change> = group.iter().map(|job| &job.change).collect();
        let version = commits.next_version();
        let results = commit(&mut lock(connection), &changes, version);
        // Before anybody is answered: who then searches waits for the index.
        let made = changes.iter().zip(&results).filter_map(|(change, result)| Some((*change, *result.as_ref().ok()?)));
        pending.committed(made);
        commits.add(version);
        for (job, result) in group.into_iter().zip(results) {
            // Who asked may have gone away; the change is made none the less.
            let _ = job.answer.send(result);
        }
    }
}

/// Makes all changes in one transaction; one that fails leaves no trace and does not touch the others. When the commit
/// itself fails, all of them have failed.
///
/// Rows that change are marked with `version`, which is higher than any before.
pub(super) fn commit(
    connection: &mut Connection,
    changes: &[&Change],
    version: i64,
) -> Vec<Result<Outcome, StoreError>> {
    match make_all(connection, changes, version) {
        Ok(results) => results,
        Err(error) => changes.iter().map(|_| Err(error.clone())).collect(),
    }
}

fn make_all(
    connection: &mut Connection,
    changes: &[&Change],
    version: i64,
) -> Result<Vec<Result<Outcome, StoreError>>, StoreError> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let [alone] = changes {
        // The transaction is all the protection that it needs; a part of one costs a second journal.
        let outcome = alone.make(&transaction, version)?;
        transaction.commit()?;
        return Ok(vec![Ok(outcome)]);
    }
    let mut results = Vec::with_capacity(changes.len());
    for change in changes {
        let part = transaction.savepoint()?;
        let result = change.make(&part, version);
        // A part that is not committed is rolled back when it is dropped.
        if result.is_ok() {
            part.commit()?;
        } else {
            drop(part);
        }
        // Some failures, such as a full disk, make SQLite roll everything back by itself. What was made before is then
        // gone too, and nothing more may be done outside a transaction.
        if transaction.is_autocommit() {
            return Err(result.err().unwrap_or(StoreError::RolledBack));
        }
        results.push(result);
    }
    transaction.commit()?;
    Ok(results)
}
