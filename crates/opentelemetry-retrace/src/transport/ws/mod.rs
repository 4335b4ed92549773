//! Connection of the live stream (PROTOCOL.md sections 4 and 7), without decisions: other modules decide
//! which frames are sent, kept and sent again.

mod close_reason;
mod connection_loop;
mod socket;
#[cfg(test)]
mod tests;
mod upgrade;
mod write_buffer;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use retrace_protocol::endpoint;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use self::connection_loop::{ConnectionLoop, authenticate};
use self::upgrade::Upgrade;
use crate::config::secret::ApiKey;
use crate::config::{BuildError, Config};
use crate::delivery::Closed;
use crate::pipeline_state::Incoming;
use crate::transport::connect::Connector;

/// Number of batches that wait for writing. It is small, because each may be as large as a body; the sender
/// reserves a place first.
const OUTGOING: usize = 8;
/// A batch is complete with the frame that brings it to this many bytes.
pub(crate) const BATCH_BYTES: usize = 16 * 1024;
/// Number of messages that wait for their reader: frames, and batches of acks.
const INCOMING: usize = 16;

/// Complete text frames that are handed over together.
pub(crate) type Batch = Vec<Bytes>;

/// Address and settings of the receiver's stream.
#[derive(Clone, Debug)]
pub(crate) struct Ws {
    connector: Connector,
    upgrade: Upgrade,
    api_key: ApiKey,
}

impl Ws {
    /// Creates it. It connects nowhere yet, and needs no runtime.
    pub(crate) fn new(config: &Config) -> Result<Self, BuildError> {
        Ok(Self {
            connector: Connector::new(config)?,
            upgrade: Upgrade::new(&config.base_url, endpoint::STREAM, &config.headers)?,
            api_key: config.api_key.clone(),
        })
    }

    /// Starts a connection on the runtime of the caller. Returns at once; events arrive by the link.
    ///
    /// A connection that `serves` allows the receiver to send commands, which may be long.
    pub(crate) fn open(&self, serves: bool) -> Link {
        let Self { connector, upgrade, api_key } = self.clone();
        let connecting = {
            let upgrade = upgrade.clone();
            async move { upgrade.connect(connector).await }
        };
        link(connecting, upgrade, api_key, serves)
    }
}

/// Creates a link over the stream that `connecting` returns.
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
                ConnectionLoop::new(&mut socket, &mut to_write, &read, &api_key).run(&closing).await
            }
        };
        // The batches left in it are not sent, and a sender that waits for a place stops waiting.
        drop(to_write);
        for last in held.into_iter().chain([Incoming::Closed(closed)]) {
            let _ = read.send(last).await;
        }
    });
    Link { outgoing, incoming, close, _task: Task(task.abort_handle()) }
}

/// Connection under way. Dropping it ends the connection, without a close frame.
///
/// A sender that waits for a place in `outgoing` should read `incoming` meanwhile: a receiver whose answers
/// are not read may stop reading itself, and the connection then counts as lost.
#[derive(Debug)]
pub(crate) struct Link {
    /// Batches, written in the order in which they are sent here.
    pub outgoing: mpsc::Sender<Batch>,
    /// Messages; the last one is [`Incoming::Closed`], unless a panic ended the connection.
    pub incoming: mpsc::Receiver<Incoming>,
    close: Arc<Notify>,
    _task: Task,
}

impl Link {
    /// Sends a close frame after everything that is in `outgoing`, which is closed from now on. Later frames
    /// of the receiver are still delivered; [`Incoming::Closed`] follows, at the latest when the receiver has
    /// taken nothing for [`connection_loop::STALL`]. Before the key is accepted the connection ends at once.
    pub(crate) fn close(&mut self) {
        self.close.notify_one();
    }
}

/// Aborts the task when dropped.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
