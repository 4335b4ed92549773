//! The connection of the live stream (PROTOCOL.md sections 4 and 7), without its decisions: what is sent, kept and sent
//! again is decided elsewhere.

use retrace_protocol::{ServerFrame, endpoint};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::config::{BuildError, Config};
use crate::transport::connect::Connector;

/// Frames that wait to be written. Few, because each may be as large as a body; the sender reserves a place first.
const OUTGOING: usize = 8;
/// Frames that wait to be read.
const INCOMING: usize = 16;

/// How to reach the receiver's stream.
#[derive(Clone, Debug)]
pub(crate) struct Ws {
    connector: Connector,
    url: String,
}

impl Ws {
    /// Decides on the way. Nothing is connected yet, and no runtime is needed.
    pub(crate) fn new(config: &Config) -> Result<Self, BuildError> {
        Ok(Self { connector: Connector::new(config)?, url: config.base_url.join(endpoint::STREAM) })
    }

    /// Starts a connection on the runtime of the caller. Returns at once; what happens comes out of the link.
    pub(crate) fn open(&self) -> Link {
        let (outgoing, _to_write) = mpsc::channel(OUTGOING);
        let (read, incoming) = mpsc::channel(INCOMING);
        let (close, _closing) = oneshot::channel();
        let cause = format!("connections to {} are not made yet", self.url);
        let task = tokio::spawn(async move {
            let closed = Closed { reason: CloseReason::NotConnected, cause, words: None };
            let _ = read.send(Incoming::Closed(closed)).await;
        });
        Link { outgoing, incoming, close: Some(close), _task: Task(task.abort_handle()) }
    }
}

/// A connection under way. Dropping it ends the connection, without a close frame.
///
/// Who waits for a place in `outgoing` must read `incoming` meanwhile: a receiver whose answers nobody reads stops reading.
#[derive(Debug)]
pub(crate) struct Link {
    /// Each a text frame, complete.
    pub outgoing: mpsc::Sender<Utf8Bytes>,
    pub incoming: mpsc::Receiver<Incoming>,
    close: Option<oneshot::Sender<()>>,
    _task: Task,
}

impl Link {
    /// Sends a close frame after everything that was put into `outgoing` so far; [`Incoming::Closed`] follows.
    pub(crate) fn close(&mut self) {
        if let Some(close) = self.close.take() {
            let _ = close.send(());
        }
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
    /// A frame other than `auth_ok` and `ping`.
    Frame(ServerFrame),
    /// Something that is no frame, in our words.
    Odd(String),
    /// It is over; nothing follows.
    Closed(Closed),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub reason: CloseReason,
    /// In our words.
    pub cause: String,
    /// In the receiver's, without the key and not many.
    pub words: Option<String>,
}

/// What the end of a connection means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The key was rejected. Final.
    Unauthorized,
    /// The receiver has no stream, or none for us. Final.
    NoStream,
    /// No connection came about in time, or the key was not taken in time.
    NotConnected,
    /// An open connection was lost: closed by the receiver, reset, silent or stuck for too long.
    Lost,
    /// We closed it.
    Ended,
}
