//! Functions that a receiver may run again.

mod arguments;
mod call;
mod cassette;
mod function;

use std::collections::BTreeSet;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use opentelemetry_retrace::__private::Warnings;
use opentelemetry_retrace::remote::{Command, CommandsError, HEARTBEAT};
use tokio::task::{JoinError, JoinHandle};

pub use self::arguments::{ArgumentError, Arguments, Decode};
pub use self::function::{AsyncRun, BlockingRun, BySerde, Execution, Resumable, Run, resumable};
use crate::installed::Installed;

/// Serves functions: a receiver may run them again, as a fork or a replay of a run that they recorded.
///
/// Nothing is executed unless the application allows it: `RETRACE_ALLOW_REMOTE_REPLAY=true`, or
/// [`with_remote_replay`](crate::Configuration::with_remote_replay). Recorded responses that the receiver sends are used with
/// `RETRACE_ALLOW_REMOTE_CASSETTE=true` or [`with_remote_cassette`](crate::Configuration::with_remote_cassette) only. The transport
/// is `auto` or `ws`; the connection is kept while there is nothing to send.
///
/// ```no_run
/// #[retrace::record(resumable)]
/// async fn research(topic: &str) -> Result<String, std::io::Error> {
///     Ok(topic.to_uppercase())
/// }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let _retrace = retrace::install()?;
/// let _serving = retrace::serve([retrace::resumable!(research)]).spawn(); // until it is dropped
/// println!("{}", research("tides").await?);
/// # Ok(())
/// # }
/// ```
///
/// What is returned is awaited, or spawned on the Tokio runtime that is current. Functions run where it is polled, one at a time; one
/// that is not `async` runs on Tokio's threads for blocking work. Further requests wait, 16 at most: what does not fit is not
/// executed, and reported as a signal of `on_error`.
///
/// The receiver claims are made by the lease that a request names: one that a newer replay supersedes is not run, and one that is
/// superseded while it runs is dropped, and its run ends as failed, `cancelled`. A function that is not `async` cannot be dropped; its
/// run ends, and the next request waits for its return.
///
/// # Arguments
/// A text as new input replaces the first argument, an object sets arguments by name; names that the function does not have are
/// ignored with a warning. All others are those of the recorded run. A new input of which the function takes nothing ends the new run
/// as failed, and so do an argument that cannot be read and a request of a function that is not served.
///
/// # Recordings
/// With a recording of the receiver, what comes before the fork point is answered from it. A call there that differs from the recorded
/// one, such as by a new input, is refused: fork at it or before it, or in the mode `lenient`, which answers it all the same. A recording
/// without requests, of a run without content, is matched by the order of the calls: there no call differs. A change of the call at the
/// fork point that was not applied ends the new run as failed.
#[must_use = "nothing is served until it is awaited or spawned"]
pub fn serve(functions: impl IntoIterator<Item = Resumable>) -> ServeBuilder {
    ServeBuilder { functions: functions.into_iter().collect(), allowed: BTreeSet::new(), heartbeat: HEARTBEAT }
}

/// Describes what is served; made by [`serve`].
#[must_use = "nothing is served until it is awaited or spawned"]
pub struct ServeBuilder {
    functions: Vec<Resumable>,
    allowed: BTreeSet<String>,
    heartbeat: Duration,
}

/// Reason why functions are not served, or no longer.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServeError {
    /// No requests come.
    Commands(CommandsError),
    /// Two functions record runs of this name.
    SameName(&'static str),
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl fmt::Debug for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commands(error) => error.fmt(f),
            Self::SameName(name) => {
                write!(f, "no function is served: two of them record runs named {name:?}; give one another name")
            }
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Commands(error) => Some(error),
            Self::SameName(_) => None,
        }
    }
}

impl ServeBuilder {
    /// Lets a step with effects on the world run after a fork point with other arguments than recorded. Without it the fork is
    /// refused there.
    pub fn allow_external(mut self, name: impl Into<String>) -> Self {
        self.allowed.insert(name.into());
        self
    }

    /// Sets the time between two claims of a fork that runs; for tests of receivers. Default: 300 seconds.
    #[doc(hidden)]
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }

    /// Serves on the Tokio runtime that is current, until the handle is dropped.
    ///
    /// # Panics
    /// Outside of a Tokio runtime, as `tokio::spawn` does.
    pub fn spawn(self) -> Serving {
        Serving { task: tokio::spawn(self.into_future()) }
    }

    async fn run(self) -> Result<(), ServeError> {
        let mut warnings = Warnings::default();
        let ended = self.serve(&mut warnings).await;
        if let Err(error) = &ended {
            warnings.warn("serve", &error.to_string());
        }
        ended
    }

    async fn serve(self, warnings: &mut Warnings) -> Result<(), ServeError> {
        let mut names = BTreeSet::new();
        if let Some(twice) = self.functions.iter().find(|function| !names.insert(function.name)) {
            return Err(ServeError::SameName(twice.name));
        }
        let commands = match Installed::current().processor() {
            Some(processor) => processor.commands(),
            None => Err(CommandsError::Disabled),
        };
        let mut commands = commands.map_err(ServeError::Commands)?;
        loop {
            let command = match commands.next().await {
                Ok(command) => command,
                Err(CommandsError::ShutDown) => return Ok(()),
                Err(error) => return Err(ServeError::Commands(error)),
            };
            match command {
                Command::Resume(resume) => call::resume(&self, &commands, *resume, warnings).await,
                Command::Replay(replay) => call::replay(&self, &commands, *replay, warnings).await,
                _ => warnings.warn("serve", "the receiver requests something that this version does not know"),
            }
        }
    }

    /// Returns the function that records runs of a name, or the reason why there is none.
    fn function(&self, name: &str, warnings: &mut Warnings) -> Result<&Resumable, String> {
        self.functions.iter().find(|function| function.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.functions.iter().map(|function| function.name).collect();
            let name = arguments::shown(name);
            let reason = format!("the receiver requests a run of {name}, which is not served; served are {names:?}");
            warnings.warn("serve", &reason);
            reason
        })
    }
}

impl IntoFuture for ServeBuilder {
    type Output = Result<(), ServeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<(), ServeError>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for ServeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeBuilder")
            .field("functions", &self.functions)
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

/// Functions that are served on a Tokio runtime. Dropping it stops that: a function that runs is dropped, and its run ends as
/// failed, `cancelled`.
///
/// Awaiting it gives the reason for which serving ended: `Ok` when recording was shut down.
#[derive(Debug)]
#[must_use = "when it is dropped, nothing is served any more"]
pub struct Serving {
    task: JoinHandle<Result<(), ServeError>>,
}

impl Serving {
    /// Stops serving, as a drop does.
    pub fn stop(self) {}
}

impl Future for Serving {
    type Output = Result<(), ServeError>;

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Self::Output> {
        // A runtime that ends takes the task with it.
        let ended = |ended: Result<_, JoinError>| ended.unwrap_or(Ok(()));
        Pin::new(&mut self.task).poll(task).map(ended)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}
