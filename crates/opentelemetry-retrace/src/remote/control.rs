//! The worker's end: it passes commands on and claims forks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::lease::{self, Claimed};
use super::queue::{Queued, Seats};
use super::{Command, CommandsError, Refusal, RemoteSettings, Request};

/// Allows one subscriber to the commands at a time.
#[derive(Debug, Default)]
pub(crate) struct Registrar {
    is_taken: AtomicBool,
    end: Mutex<Option<CommandsError>>,
}

impl Registrar {
    /// Returns false if the commands have a subscriber already.
    pub(crate) fn enter(&self) -> bool {
        !self.is_taken.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn leave(&self) {
        self.is_taken.store(false, Ordering::Release);
    }

    /// Returns the reason why no command follows.
    pub(crate) fn end(&self) -> Option<CommandsError> {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes commands on, and claims forks.
#[derive(Debug)]
pub(crate) struct Control {
    /// `None` once all senders of requests are gone.
    requests: Option<mpsc::Receiver<Request>>,
    subscriber: Option<mpsc::Sender<Queued>>,
    registrar: Arc<Registrar>,
    settings: RemoteSettings,
    seats: Seats,
}

impl Control {
    pub(super) fn new(requests: mpsc::Receiver<Request>, registrar: Arc<Registrar>, settings: RemoteSettings) -> Self {
        Self { requests: Some(requests), subscriber: None, registrar, settings, seats: Seats::default() }
    }

    /// Returns true if the commands have a subscriber.
    pub(crate) fn is_serving(&self) -> bool {
        self.subscriber.is_some()
    }

    /// Waits until the application sends a request or the subscriber leaves, and handles it.
    /// `claim` makes the request that claims an execution of a fork.
    pub(crate) async fn work<F>(&mut self, claim: impl Fn(String, String) -> F + Clone + Send + Sync + 'static)
    where
        F: Future<Output = Claimed> + Send + 'static,
    {
        let left = async {
            match &self.subscriber {
                Some(subscriber) => subscriber.closed().await,
                None => std::future::pending().await,
            }
        };
        let wanted = async {
            match &mut self.requests {
                Some(requests) => requests.recv().await,
                None => std::future::pending().await,
            }
        };
        let request = tokio::select! {
            request = wanted => request,
            () = left => {
                self.subscriber = None;
                return;
            }
        };
        match request {
            None => self.requests = None,
            Some(Request::Subscribe(queue)) => self.subscriber = Some(queue),
            Some(Request::Claim { fork_id, execution_id, interval, reply }) => {
                tokio::spawn(lease::hold(move || claim(fork_id.clone(), execution_id.clone()), interval, reply));
            }
        }
    }

    /// Passes a command on; `bytes` is the length of its frame.
    pub(crate) fn command(&self, command: Command, bytes: usize) -> Result<(), Refusal> {
        if !self.settings.allows_replay {
            return Err(Refusal::NotAllowed);
        }
        let Some(subscriber) = &self.subscriber else { return Err(Refusal::NotServed) };
        let seat = self.seats.take(bytes).ok_or(Refusal::Full)?;
        subscriber.try_send(Queued { command, _seat: seat }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refusal::Full,
            mpsc::error::TrySendError::Closed(_) => Refusal::NotServed,
        })
    }

    /// Ends serving for good. Commands that wait are still read.
    pub(crate) fn end(&mut self, reason: CommandsError) {
        self.registrar.end.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.subscriber = None;
    }
}
