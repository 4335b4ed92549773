//! The connection of the live stream (PROTOCOL.md sections 4 and 7), without its decisions: what is sent, kept and sent
//! again is decided elsewhere.

mod closed;
mod pump;
mod socket;
#[cfg(test)]
mod tests;
mod upgrade;
mod wire;

use std::collections::VecDeque;
use std::sync::Arc;

use retrace_protocol::{Ack, ServerFrame, endpoint};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio_tungstenite::tungstenite::Utf8Bytes;

pub(crate) use self::closed::CloseReason;
pub(crate) use self::closed::Closed;
use self::pump::{Pump, authenticate};
use self::upgrade::Upgrade;
use crate::config::{BuildError, Config};
use crate::remote::Command;
use crate::secret::ApiKey;
use crate::transport::connect::Connector;

/// Batches that wait to be taken for writing. Few, because each may be as large as a body; the sender reserves a place first.
const OUTGOING: usize = 8;
/// A batch is complete with the frame that brings it to so many bytes.
pub(crate) const BATCH_BYTES: usize = 16 * 1024;
/// What waits for its reader: frames, and batches of acks.
const INCOMING: usize = 16;

/// Text frames, each complete, that are handed over together.
pub(crate) type Batch = Vec<Utf8Bytes>;

/// How to reach the receiver's stream.
#[derive(Clone, Debug)]
pub(crate) struct Ws {
    connector: Connector,
    upgrade: Upgrade,
    api_key: ApiKey,
}

impl Ws {
    /// Decides on the way. Nothing is connected yet, and no runtime is needed.
    pub(crate) fn new(config: &Config) -> Result<Self, BuildError> {
        Ok(Self {
            connector: Connector::new(config)?,
            upgrade: Upgrade::new(&config.base_url, endpoint::STREAM, &config.headers)?,
            api_key: config.api_key.clone(),
        })
    }

    /// Starts a connection on the runtime of the caller. Returns at once; what happens comes out of the link.
    ///
    /// A connection that `serves` lets the receiver send commands, which may be long.
    pub(crate) fn open(&self, serves: bool) -> Link {
        let Self { connector, upgrade, api_key } = self.clone();
        let connecting = {
            let upgrade = upgrade.clone();
            async move { upgrade.connect(connector).await }
        };
        link(connecting, upgrade, api_key, serves)
    }
}

/// A link over the stream that `connecting` gives.
fn link<S>(
    connecting: impl Future<Output = Result<S, Closed>> + Send + 'static,
    upgrade: Upgrade,
    api_key: ApiKey,
    serves: bool,
) -> Link
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (outgoing, mut to_write) = mpsc::channel(OUTGOING);
    let (read, incoming) = mpsc::channel(INCOMING);
    let close = Arc::new(Notify::new());
    let closing = Arc::clone(&close);
    let task = tokio::spawn(async move {
        let opening = async {
            let mut socket = upgrade.ask(connecting.await?, &api_key, serves).await?;
            authenticate(&mut socket, &api_key, serves).await?;
            Ok(socket)
        };
        let opened = tokio::select! {
            biased;
            () = closing.notified() => Err(Closed::ended()),
            opened = opening => opened,
        };
        let (held, closed) = match opened {
            Err(closed) => (VecDeque::new(), closed),
            Ok(mut socket) => {
                let _ = read.send(Incoming::Open).await;
                Pump::new(&mut socket, &mut to_write, &read, &api_key).run(&closing).await
            }
        };
        // What is left in it was not sent, and whoever waits for a place need wait no more.
        drop(to_write);
        for last in held.into_iter().chain([Incoming::Closed(closed)]) {
            let _ = read.send(last).await;
        }
    });
    Link { outgoing, incoming, close, _task: Task(task.abort_handle()) }
}

/// A connection under way. Dropping it ends the connection, without a close frame.
///
/// Who waits for a place in `outgoing` should read `incoming` meanwhile: a receiver whose answers nobody reads may stop
/// reading itself, and is given up for it.
#[derive(Debug)]
pub(crate) struct Link {
    /// Written in the order in which they are put in.
    pub outgoing: mpsc::Sender<Batch>,
    /// Ends with [`Incoming::Closed`], unless a panic ended the connection.
    pub incoming: mpsc::Receiver<Incoming>,
    close: Arc<Notify>,
    _task: Task,
}

impl Link {
    /// Sends a close frame after everything that was put into `outgoing` so far, which takes nothing more from now on.
    /// What the receiver still says is still given; [`Incoming::Closed`] follows, at the latest when the receiver has taken
    /// nothing for [`pump::STALL`]. Before the key was taken the connection ends at once.
    pub(crate) fn close(&mut self) {
        self.close.notify_one();
    }
}

/// Ends the task when dropped.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What comes out of a connection.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The key was taken.
    Open,
    /// Acks that came together, in their order.
    Acks(Vec<Ack>),
    /// A frame other than `auth_ok`, `ping` and `ack`.
    Frame(ServerFrame),
    /// A command, and the bytes of its frame.
    Command(Command, usize),
    /// Something that is no frame, in our words.
    Odd(String),
    /// It is over; nothing follows.
    Closed(Closed),
}
