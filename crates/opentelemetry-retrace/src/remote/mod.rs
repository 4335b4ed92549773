//! Commands by which a receiver runs a function of the application again: `resume` and `replay` frames, and the leases of forks
//! (PROTOCOL.md section 19).
//!
//! The worker owns the socket and makes the requests. The application takes commands from a bounded queue, on a runtime of its
//! own.

mod control;
mod lease;
mod queue;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use retrace_protocol::command::{Replay, Resume};
use tokio::sync::{mpsc, oneshot};

pub(crate) use self::control::{Control, Registrar};
pub(crate) use self::lease::Claimed;
pub use self::lease::{Claim, Lease};
pub(crate) use self::queue::Refusal;
use self::queue::{Queued, Seats};

/// Time between two claims of a fork that runs (PROTOCOL.md section 11).
pub const HEARTBEAT: Duration = Duration::from_secs(300);

/// Request of the receiver to run a function again.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Run from a fork point.
    Resume(Box<Resume>),
    /// Run with its model calls answered from a recording.
    Replay(Box<Replay>),
}

/// Reason why an application gets no commands.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandsError {
    /// Recording is switched off.
    #[error("no function is served: recording is switched off (RETRACE_ENABLED)")]
    Disabled,
    /// The application did not allow commands.
    #[error(
        "no function is served: set RETRACE_ALLOW_REMOTE_REPLAY=true, or with_remote_replay(true), to let the receiver run functions again"
    )]
    NotAllowed,
    /// The transport has no connection on which commands arrive.
    #[error(
        "no function is served: the transport `http` has no connection for commands; set RETRACE_TRANSPORT to `auto` or `ws`"
    )]
    NoConnection,
    /// Another part of the application is subscribed to the commands.
    #[error("no function is served: another call of `serve` takes the commands of this pipeline")]
    AlreadyServed,
    /// The pipeline is shut down.
    #[error("no function is served: the pipeline is shut down")]
    ShutDown,
    /// The receiver rejects the API key.
    #[error("functions are no longer served: the receiver takes no connection with this key; check RETRACE_API_KEY")]
    Unauthorized,
    /// The receiver sent `halt`.
    #[error("functions are no longer served: the receiver sent `halt`")]
    Halted,
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl fmt::Debug for CommandsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Subscription to the commands of a receiver; made by
/// [`RetraceSpanProcessor::commands`](crate::RetraceSpanProcessor::commands).
///
/// While it lives, a connection to the receiver is kept, also when there is nothing to send, and its `auth` frame has
/// `resumable: true`. Dropping it ends that.
pub struct Commands {
    commands: mpsc::Receiver<Queued>,
    requests: mpsc::Sender<Request>,
    registrar: Arc<Registrar>,
    allows_cassettes: bool,
}

impl Commands {
    /// Waits for the next command. Runs on any executor.
    ///
    /// # Errors
    /// No command follows: the pipeline is shut down, the receiver sent `halt`, or it rejects the API key.
    pub async fn next(&mut self) -> Result<Command, CommandsError> {
        match self.commands.recv().await {
            Some(queued) => Ok(queued.into_command()),
            None => Err(self.registrar.end().unwrap_or(CommandsError::ShutDown)),
        }
    }

    /// Returns true if cassettes that the receiver sends may be used. `RETRACE_ALLOW_REMOTE_CASSETTE`.
    #[must_use]
    pub fn allows_cassettes(&self) -> bool {
        self.allows_cassettes
    }

    /// Claims a fork, and claims it again in each interval while the lease is kept. The interval of the protocol is
    /// [`HEARTBEAT`]. Only a receiver that answers 409 denies it.
    pub async fn claim(&self, fork_id: &str, execution_id: &str, interval: Duration) -> Claim {
        let (reply, claimed) = oneshot::channel();
        let (fork_id, execution_id) = (fork_id.to_owned(), execution_id.to_owned());
        let request = Request::Claim { fork_id, execution_id, interval, reply };
        match self.requests.send(request).await {
            Ok(()) => claimed.await.unwrap_or(Claim::ShutDown),
            Err(_) => Claim::ShutDown,
        }
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        self.registrar.leave();
    }
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands").field("allows_cassettes", &self.allows_cassettes).finish_non_exhaustive()
    }
}

/// Request of the application to the worker.
pub(crate) enum Request {
    /// Sends commands into this queue from now on.
    Subscribe(mpsc::Sender<Queued>),
    /// Claims a fork.
    Claim { fork_id: String, execution_id: String, interval: Duration, reply: oneshot::Sender<Claim> },
}

/// Creates both ends between the application and a worker.
pub(crate) fn channel(settings: RemoteSettings) -> (Handle, Control) {
    let (requests, wanted) = mpsc::channel(REQUESTS);
    let registrar = Arc::<Registrar>::default();
    let control = Control::new(wanted, Arc::clone(&registrar), settings);
    (Handle { requests, registrar, settings }, control)
}

/// Maximum number of requests that wait for the worker.
const REQUESTS: usize = 16;

/// Permissions and transport for commands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RemoteSettings {
    pub allows_replay: bool,
    pub allows_cassettes: bool,
    /// True if the transport has a connection on which commands arrive.
    pub has_connection: bool,
}

/// The application's end of the requests.
#[derive(Debug)]
pub(crate) struct Handle {
    requests: mpsc::Sender<Request>,
    registrar: Arc<Registrar>,
    settings: RemoteSettings,
}

impl Handle {
    pub(crate) fn subscribe(&self) -> Result<Commands, CommandsError> {
        if !self.settings.allows_replay {
            return Err(CommandsError::NotAllowed);
        }
        if !self.settings.has_connection {
            return Err(CommandsError::NoConnection);
        }
        if !self.registrar.enter() {
            return Err(CommandsError::AlreadyServed);
        }
        let (queue, commands) = mpsc::channel(Seats::COUNT);
        let subscribed = Commands {
            commands,
            requests: self.requests.clone(),
            registrar: Arc::clone(&self.registrar),
            allows_cassettes: self.settings.allows_cassettes,
        };
        match self.requests.try_send(Request::Subscribe(queue)) {
            Ok(()) => Ok(subscribed),
            Err(_) => Err(CommandsError::ShutDown),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subscribe(_) => "Subscribe",
            Self::Claim { .. } => "Claim",
        })
    }
}
