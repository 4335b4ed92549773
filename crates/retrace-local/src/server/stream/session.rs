//! One WebSocket session: authenticates the first frame, then reads and answers frames until one side closes.
//!
//! Two halves run concurrently. The reading half parses and checks frames and puts events into a queue that is bounded
//! in bytes: when the queue is full, reading stops and the client's writes wait. The writing half takes all queued
//! events, commits them together, and only then sends the acks, while the next events are stored; it also sends the
//! pings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use retrace_protocol::limits::{AUTH_TIMEOUT, PING_INTERVAL};
use retrace_protocol::{Ack, Auth, Event, Id, ServerFrame, Status, write};
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};

use super::agents::{Agent, Agents};
use super::live::{ChangeNotifier, Live};
use super::preauth_limit::PreauthLimit;
use crate::ingest::{self, BadFrame, Frame, Numbered};
use crate::server::auth::ApiKey;
use crate::server::http::{App, stops};
use crate::store::{Answer, Change, ForkChange, StoreError, Writer};

/// Bytes that a client may send before authentication.
const BEFORE_AUTH_BYTES: usize = 16 * 1024;
/// Bytes of one connection that may wait to be stored; a larger frame waits alone.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Unit of the semaphore that bounds the queue, in bytes.
const UNIT_BYTES: usize = 1024;
/// Frames of one connection that may wait, and that one commit may contain.
const QUEUE_FRAMES: usize = 1024;
/// Frames up to this size are parsed on the runtime's thread; larger ones on a blocking thread.
const SMALL_BYTES: usize = 64 * 1024;
/// Size of the socket's read buffer, in bytes.
const READ_BYTES: usize = 16 * 1024;
/// Time that a client has to complete the closing handshake.
const FAREWELL: Duration = Duration::from_secs(1);

/// State of the server that a session uses.
#[derive(Debug)]
pub(super) struct Session {
    writer: Writer,
    live: Arc<Live>,
    agents: Arc<Agents>,
    key: Option<ApiKey>,
    /// Largest frame, in bytes.
    limit: usize,
    closing: watch::Receiver<bool>,
    from_browser: bool,
}

/// Close frame with which the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    code: u16,
    reason: &'static str,
    /// True if the data that follows cannot be decoded.
    broken: bool,
}

impl End {
    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason, broken: false }
    }

    const fn broken(code: u16, reason: &'static str) -> Self {
        Self { code, reason, broken: true }
    }
}

const STOPPING: End = End::new(1001, "the receiver is stopping");
const NOT_TEXT: End = End::new(1003, "frames must be text");
const NOT_STORED: End = End::new(1011, "what was sent could not be stored: send it again");
const LATE_AUTH: End = End::new(4001, "no `auth` frame came within 5 s");
const NO_AUTH: End = End::new(4001, "the first frame must be `auth`");
const WRONG_KEY: End = End::new(4001, "the API key is not the one that this receiver was started with");
const NO_PONG: End = End::new(4002, "no `pong` came within 30 s of a `ping`");
const ORIGIN: End = End::new(4003, "pages of browsers may not connect: send no `Origin`");

/// Reason recorded for the failed executions of an agent whose connection has closed.
const AGENT_LOST: &str = "the connection of the agent closed before its run had ended: it goes on if the agent comes back, else start the fork again";

/// Items that the reading half passes to the writing half.
#[derive(Debug)]
enum Incoming {
    Event(Numbered, OwnedSemaphorePermit),
    Refused(BadFrame),
}

/// Flags that the two halves share.
#[derive(Debug, Default)]
struct Signs {
    /// A `pong` arrived since the last ping.
    pong: AtomicBool,
    /// Reading has stalled because the queue was full: a `pong` may wait behind unread data.
    stalled: AtomicBool,
}

type Socket<S> = WebSocketStream<PreauthLimit<S>>;

impl Session {
    pub(super) fn new(app: &App, from_browser: bool) -> Self {
        Self {
            writer: app.writer.clone(),
            live: Arc::clone(&app.live),
            agents: Arc::clone(&app.agents),
            key: app.key.clone(),
            limit: app.bodies.limit(),
            closing: app.closing.subscribe(),
            from_browser,
        }
    }

    /// Runs the session until one side ends it.
    pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(mut self, stream: S) {
        let settings = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(READ_BYTES)
            .max_message_size(Some(self.limit))
            .max_frame_size(Some(self.limit));
        let stream = PreauthLimit::new(stream, BEFORE_AUTH_BYTES);
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(settings)).await;
        let auth = match self.admit(&mut socket).await {
            Ok(auth) => auth,
            Err(end) => return farewell(socket, end).await,
        };
        socket.get_mut().lift();
        let (mut sink, mut stream) = socket.split();
        let end = self.serve(&auth, &mut sink, &mut stream).await;
        if let Ok(socket) = sink.reunite(stream) {
            farewell(socket, end).await;
        }
    }

    /// Waits for the first frame and answers it; `Ok` holds the `auth` frame. Nothing is sent before.
    async fn admit<S: AsyncRead + AsyncWrite + Unpin>(&mut self, socket: &mut Socket<S>) -> Result<Auth, Option<End>> {
        if self.from_browser {
            return Err(Some(ORIGIN));
        }
        let first = tokio::select! {
            () = stops(&mut self.closing) => return Err(Some(STOPPING)),
            first = timeout(AUTH_TIMEOUT, first_frame(socket)) => first.map_err(|_| Some(LATE_AUTH))?,
        };
        let text = match first {
            Ok(text) => text,
            Err(_) if socket.get_ref().is_spent() => return Err(Some(End { broken: true, ..NO_AUTH })),
            Err(end) => return Err(end),
        };
        let Ok(Frame::Auth(auth)) = ingest::frame(&text) else { return Err(Some(NO_AUTH)) };
        if self.key.as_ref().is_some_and(|key| key.admit_text(&auth.api_key).is_err()) {
            return Err(Some(WRONG_KEY));
        }
        let welcome = ServerFrame::AuthOk { other: Map::new() };
        socket.send(message_of(&welcome)).await.map_err(|_| None)?;
        Ok(auth)
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        auth: &Auth,
        sink: &mut SplitSink<Socket<S>, Message>,
        stream: &mut SplitStream<Socket<S>>,
    ) -> Option<End> {
        let signs = Signs::default();
        let (queue, waiting) = mpsc::channel(QUEUE_FRAMES);
        let mut closing = self.closing.clone();
        let reading = async {
            tokio::select! {
                () = stops(&mut closing) => Some(STOPPING),
                end = read(stream, queue, &signs) => end,
            }
        };
        let notifier = self.live.notifier();
        let acks = auth.acks == Some(true);
        let (agent, commands) = match auth.resumable {
            Some(true) => {
                let has_leases = auth.replay_generation.is_some_and(|generation| generation >= 1);
                let (agent, commands) = self.agents.join(has_leases);
                (Some(agent), commands)
            }
            // This channel has no sender.
            _ => (None, mpsc::channel(1).1),
        };
        let end = {
            let (writer, agent) = (&self.writer, agent.as_ref());
            let telling =
                WritingHalf { writer, acks, notifier, agent, signs: &signs, sink, mute: false }.run(waiting, commands);
            tokio::pin!(reading, telling);
            tokio::select! {
                // Events that were read are stored, even if no client waits for their acks.
                end = &mut reading => telling.await.or(end),
                end = &mut telling => end,
            }
        };
        let executions = agent.map(Agent::leave).unwrap_or_default();
        if !executions.is_empty() {
            let lost = ForkChange::Lost { executions, reason: AGENT_LOST };
            // If the database fails, the executions stay in progress until their leases expire.
            let _ = self.writer.write(Change::Fork(Box::new(lost)), None).await;
        }
        end
    }
}

/// Returns the text of the first frame.
async fn first_frame<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut Socket<S>,
) -> Result<tokio_tungstenite::tungstenite::Utf8Bytes, Option<End>> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Binary(_))) => return Err(Some(NO_AUTH)),
            Some(Ok(Message::Close(_))) | None => return Err(None),
            Some(Err(error)) => return Err(end_of(&error)),
        }
    }
}

/// The reading half: runs until the client closes the connection or sends an invalid frame.
async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut SplitStream<Socket<S>>,
    queue: mpsc::Sender<Incoming>,
    signs: &Signs,
) -> Option<End> {
    let units = QUEUE_BYTES / UNIT_BYTES;
    let room = Arc::new(Semaphore::new(units));
    loop {
        let text = match stream.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(_))) => return Some(NOT_TEXT),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => continue,
            Some(Err(error)) => return end_of(&error),
            None => return None,
        };
        let bytes = text.len();
        let frame = if bytes <= SMALL_BYTES {
            ingest::frame(&text)
        } else {
            tokio::task::spawn_blocking(move || ingest::frame(&text)).await.ok()?
        };
        let handed_on = match frame {
            Ok(Frame::Event(event)) => {
                let taken = u32::try_from((bytes / UNIT_BYTES + 1).min(units)).unwrap_or(u32::MAX);
                if room.available_permits() < taken as usize || queue.capacity() == 0 {
                    signs.stalled.store(true, Ordering::Relaxed);
                }
                let permit = Arc::clone(&room).acquire_many_owned(taken).await.ok()?;
                queue.send(Incoming::Event(event, permit)).await
            }
            Err(bad) => queue.send(Incoming::Refused(bad)).await,
            Ok(Frame::Pong) => {
                signs.pong.store(true, Ordering::Relaxed);
                Ok(())
            }
            // A repeated `auth` frame and frames of unknown types are ignored.
            Ok(Frame::Auth(_) | Frame::Unknown) => Ok(()),
        };
        handed_on.ok()?;
    }
}

/// Frames that are handled together.
struct Group {
    /// Result of the commit of the events; `None` without events.
    stored: Option<Answer>,
    /// Answers to send after the commit.
    replies: Vec<Reply>,
    /// Runs that have ended with the commit.
    ended: Vec<Id>,
}

/// The answer to a frame.
enum Reply {
    Ack(Id, Option<u64>),
    Refused(BadFrame),
}

impl Reply {
    fn into_message(self) -> Message {
        match self {
            Self::Ack(id, seq) => Message::text(Ack::text(&id, seq)),
            Self::Refused(BadFrame { reason, seq }) => {
                let other = seq.map(|seq| ("seq".to_owned(), Value::from(seq))).into_iter().collect();
                message_of(&ServerFrame::Error { error: Some(reason), other })
            }
        }
    }
}

/// Waits until the events of the group are stored, and takes the group. Waits forever without a group.
async fn next_stored(storing: &mut Option<Group>) -> (Result<(), StoreError>, Group) {
    let result = match storing.as_mut().and_then(|group| group.stored.as_mut()) {
        Some(stored) => stored.wait().await.map(drop),
        None => Ok(()),
    };
    match storing.take() {
        Some(group) => (result, group),
        None => std::future::pending().await,
    }
}

/// The writing half: stores events and sends frames.
struct WritingHalf<'a, S> {
    writer: &'a Writer,
    acks: bool,
    notifier: ChangeNotifier,
    agent: Option<&'a Agent>,
    signs: &'a Signs,
    sink: &'a mut SplitSink<Socket<S>, Message>,
    /// True if sending has failed: nothing more is sent.
    mute: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WritingHalf<'_, S> {
    /// Runs until the queue is closed and empty, or the connection has to end.
    async fn run(
        mut self,
        mut waiting: mpsc::Receiver<Incoming>,
        mut commands: mpsc::Receiver<ServerFrame>,
    ) -> Option<End> {
        let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        // After a long commit the next ping is due at once, but not all those that were missed.
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pinged = false;
        let mut incoming = Vec::new();
        let mut storing: Option<Group> = None;
        loop {
            tokio::select! {
                biased;
                _ = pings.tick(), if storing.is_none() => {
                    if let Some(end) = self.ping(&mut pinged).await {
                        return Some(end);
                    }
                }
                Some(command) = commands.recv() => self.send([message_of(&command)]).await,
                (stored, group) = next_stored(&mut storing) => {
                    if stored.is_err() {
                        return Some(NOT_STORED);
                    }
                    for run in &group.ended {
                        self.notifier.ends(run);
                    }
                    // The writer stores the next group while the acks of this one are sent.
                    while incoming.len() < QUEUE_FRAMES && let Ok(next) = waiting.try_recv() {
                        incoming.push(next);
                    }
                    let next = match incoming.is_empty() {
                        true => Ok(None),
                        false => self.store(incoming.drain(..)).await.map(Some),
                    };
                    self.send(group.replies.into_iter().map(Reply::into_message)).await;
                    match next {
                        Ok(next) => storing = next,
                        Err(end) => return Some(end),
                    }
                    // Not during a commit: while nothing is stored, a `pong` may wait behind unread data.
                    if pings.tick().now_or_never().is_some()
                        && let Some(end) = self.ping(&mut pinged).await
                    {
                        return Some(end);
                    }
                }
                taken = waiting.recv_many(&mut incoming, QUEUE_FRAMES), if storing.is_none() => {
                    if taken == 0 {
                        return None;
                    }
                    match self.store(incoming.drain(..)).await {
                        Ok(group) => storing = Some(group),
                        Err(end) => return Some(end),
                    }
                }
            }
            if self.mute {
                // Frames that are already queued are still stored, and no more are accepted.
                waiting.close();
                commands.close();
            }
        }
    }

    /// Sends a ping, unless the client has not answered the one before.
    async fn ping(&mut self, pinged: &mut bool) -> Option<End> {
        if self.signs.stalled.swap(false, Ordering::Relaxed) {
            return None;
        }
        if *pinged && !self.signs.pong.load(Ordering::Relaxed) {
            return Some(NO_PONG);
        }
        self.signs.pong.store(false, Ordering::Relaxed);
        *pinged = true;
        self.send([message_of(&ServerFrame::Ping { other: Map::new() })]).await;
        None
    }

    /// Begins to store all events of a group in one commit.
    async fn store(&mut self, incoming: impl Iterator<Item = Incoming>) -> Result<Group, End> {
        let mut events = Vec::new();
        let mut replies = Vec::new();
        let mut ended = Vec::new();
        let mut room: Option<OwnedSemaphorePermit> = None;
        for incoming in incoming {
            match incoming {
                Incoming::Event(numbered, permit) => {
                    match &mut room {
                        Some(room) => room.merge(permit),
                        None => room = Some(permit),
                    }
                    if let Some(run) = numbered.event.trace_id() {
                        self.notifier.changed(run);
                    }
                    match &numbered.event {
                        Event::TraceStarted(run) => {
                            if let Some(agent) = self.agent {
                                agent.records(run);
                            }
                        }
                        Event::TraceEnded(end) if end.status != Some(Status::Running) => ended.push(end.id.clone()),
                        _ => {}
                    }
                    if let Some(id) = numbered.event.id().filter(|_| self.acks) {
                        replies.push(Reply::Ack(id.clone(), numbered.seq));
                    }
                    events.push(numbered);
                }
                Incoming::Refused(bad) => replies.push(Reply::Refused(bad)),
            }
        }
        let stored = if events.is_empty() {
            None
        } else {
            Some(self.writer.queue(Change::Events(events), room).await.map_err(|_| NOT_STORED)?)
        };
        Ok(Group { stored, replies, ended })
    }

    /// Sends frames; gives up on a client that does not accept them within [`PING_INTERVAL`].
    async fn send(&mut self, messages: impl IntoIterator<Item = Message>) {
        if self.mute {
            return;
        }
        let sent = timeout(PING_INTERVAL, async {
            for message in messages {
                self.sink.feed(message).await?;
            }
            self.sink.flush().await
        });
        self.mute = !matches!(sent.await, Ok(Ok(())));
    }
}

fn message_of(frame: &ServerFrame) -> Message {
    // Serialization of our own frames does not fail; an empty text would be ignored by clients.
    Message::text(write::to_string(frame).unwrap_or_default())
}

/// Returns the close frame for a failed connection; `None` if the client is gone.
fn end_of(error: &Error) -> Option<End> {
    match error {
        Error::Capacity(_) => Some(End::broken(1009, "the frame is larger than this receiver takes")),
        Error::Utf8(_) => Some(End::broken(1007, "the frame is not UTF-8")),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(End::broken(1002, "this is not the WebSocket protocol")),
        _ => None,
    }
}

/// Sends the close frame with its reason, and waits up to [`FAREWELL`] for the client to receive it.
async fn farewell<S: AsyncRead + AsyncWrite + Unpin>(mut socket: Socket<S>, end: Option<End>) {
    let Some(End { code, reason, broken }) = end else { return };
    let _ = timeout(FAREWELL, async {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        let _ = socket.close(Some(frame)).await;
        if !broken {
            while let Some(Ok(_)) = socket.next().await {}
            return;
        }
        // A client whose connection is reset while it sends does not see the reason: its remaining data is read and
        // discarded.
        let stream = socket.get_mut();
        stream.lift();
        let _ = stream.shutdown().await;
        let mut rest = [0; 4096];
        while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    })
    .await;
}

#[cfg(test)]
mod tests;
