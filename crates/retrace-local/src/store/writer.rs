//! The thread that writes to the database.

use std::sync::Arc;
use std::thread;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::checkpoint::Checkpointer;
use super::pending::Pending;
use super::{Change, Commits, Outcome, Reader, Shared, StoreError, indexer, lock};

/// Capacity of the queue of jobs; further senders wait.
const QUEUE: usize = 256;
/// Largest number of jobs in one commit: a commit costs about as much as a hundred small changes.
const GROUP: usize = 256;

/// Sends changes to the writing thread. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    change: Change,
    answer: oneshot::Sender<Result<Outcome, StoreError>>,
    /// Permit for the memory of the change, released when the change is dropped.
    _room: Option<OwnedSemaphorePermit>,
}

/// The result of a queued change, which arrives after the commit.
#[derive(Debug)]
pub(crate) struct Answer(oneshot::Receiver<Result<Outcome, StoreError>>);

impl Answer {
    /// Waits for the result, which is returned once. May be cancelled and called again.
    pub(crate) async fn wait(&mut self) -> Result<Outcome, StoreError> {
        (&mut self.0).await.map_err(|_| StoreError::Closed)?
    }
}

impl Writer {
    /// Makes a change, and returns its result after the commit.
    ///
    /// A queued change is made even if the caller stops waiting.
    pub(crate) async fn write(
        &self,
        change: Change,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Outcome, StoreError> {
        self.queue(change, room).await?.wait().await
    }

    /// Queues a change, which is made whether its result is awaited or not.
    pub(crate) async fn queue(&self, change: Change, room: Option<OwnedSemaphorePermit>) -> Result<Answer, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = Job { change, answer, _room: room };
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        Ok(Answer(answered))
    }

    /// Returns a handle that does not keep the writing thread alive.
    pub(crate) fn weak(&self) -> WeakWriter {
        WeakWriter { jobs: self.jobs.downgrade() }
    }
}

/// Sends changes to the writing thread while a [`Writer`] exists.
#[derive(Clone, Debug)]
pub(crate) struct WeakWriter {
    jobs: mpsc::WeakSender<Job>,
}

impl WeakWriter {
    /// Makes a change, and blocks until it is committed or has failed.
    pub(crate) fn write(&self, change: Change) -> Result<Outcome, StoreError> {
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.upgrade().ok_or(StoreError::Closed)?;
        jobs.blocking_send(Job { change, answer, _room: None }).map_err(|_| StoreError::Closed)?;
        drop(jobs);
        answered.blocking_recv().map_err(|_| StoreError::Closed)?
    }
}

/// Starts the thread. It ends when all [`Writer`]s are dropped and their changes are done.
pub(super) fn start(
    connection: Shared,
    commits: Arc<Commits>,
    pending: Arc<Pending>,
    reader: &Reader,
    checkpointer: Option<Checkpointer>,
) -> Result<(Writer, thread::JoinHandle<()>), std::io::Error> {
    let (jobs, waiting) = mpsc::channel(QUEUE);
    let writer = Writer { jobs };
    let indexing = indexer::start(reader.clone(), writer.weak(), Arc::clone(&pending))?;
    let thread = thread::Builder::new().name("retrace-local-writer".into()).spawn(move || {
        run(&connection, &commits, &pending, waiting);
        pending.close();
        let _ = indexing.join();
        drop(checkpointer);
        // The checkpoint moves the log into the database, so that the file is complete. If that fails, the log stays
        // beside the database and is read at the next start.
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
        // Precedes the answers, so that a client that searches after its answer waits for the index.
        let made = changes.iter().zip(&results).filter_map(|(change, result)| Some((*change, *result.as_ref().ok()?)));
        pending.committed(made);
        commits.add(version);
        for (job, result) in group.into_iter().zip(results) {
            // The caller may have stopped waiting; the change is made in any case.
            let _ = job.answer.send(result);
        }
    }
}

/// Makes all changes in one transaction; a change that fails is rolled back and does not affect the others. If the
/// commit itself fails, all changes fail.
///
/// Changed rows get `version`, which is higher than any before.
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
        // The transaction isolates a single change; a savepoint would cost a second journal.
        let outcome = alone.make(&transaction, version)?;
        transaction.commit()?;
        return Ok(vec![Ok(outcome)]);
    }
    let mut results = Vec::with_capacity(changes.len());
    for change in changes {
        let part = transaction.savepoint()?;
        let result = change.make(&part, version);
        // A savepoint that is not committed is rolled back when it is dropped.
        if result.is_ok() {
            part.commit()?;
        } else {
            drop(part);
        }
        // Some errors, such as a full disk, make SQLite roll back the whole transaction. All earlier changes are then
        // lost too, and no further change may run outside a transaction.
        if transaction.is_autocommit() {
            return Err(result.err().unwrap_or(StoreError::RolledBack));
        }
        results.push(result);
    }
    transaction.commit()?;
    Ok(results)
}
