//! Upgraded connection: authentication first, then frames in both directions until the connection ends.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use retrace_protocol::{Ack, Auth, ClientFrame, ServerFrame, write};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::close_reason::complaint;
use super::socket::{PARTING, Socket, Step};
use super::{BATCH_BYTES, Batch};
use crate::config::secret::ApiKey;
use crate::delivery::{CloseReason, Closed};
use crate::pipeline_state::Incoming;
use crate::remote::Command;
use crate::transport::peer_message::peer_message;

/// Time within which the receiver must accept the API key.
pub(super) const AUTH_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes taken for writing before earlier ones are written; a pong waits for no more than these. A single
/// frame and the last batch may be longer.
pub(super) const AHEAD_BYTES: usize = 64 * 1024;
/// After this long without a byte from the receiver a ping is sent; after as long again the connection counts
/// as lost.
pub(super) const SILENCE: Duration = Duration::from_secs(15);
/// The connection counts as lost if bytes wait and none can be written for this long.
pub(super) const STALL: Duration = Duration::from_secs(30);

/// Sends the API key and waits until it is accepted.
pub(super) async fn authenticate<S>(socket: &mut Socket<S>, api_key: &ApiKey, serves: bool) -> Result<(), Closed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let not = |cause: &str| Closed::new(CloseReason::NotConnected, cause);
    let auth = Auth {
        api_key: api_key.expose().to_owned(),
        resumable: Some(serves),
        replay_generation: Some(1),
        acks: Some(true),
    };
    socket.put(&text(&ClientFrame::Auth(auth)).ok_or_else(|| not("the key cannot be written as JSON"))?);
    let answered = timeout(AUTH_TIMEOUT, async {
        loop {
            match poll_fn(|cx| socket.poll(cx, true)).await {
                Step::Read(Message::Text(text)) => return first_frame(&text, api_key),
                Step::Read(Message::Close(frame)) => {
                    return Err(Closed::by_peer(frame.as_ref(), CloseReason::NotConnected, api_key));
                }
                Step::Read(Message::Binary(_)) => return Err(not("the first frame was no auth_ok but binary")),
                Step::Read(_) | Step::Written | Step::Unwritable(_) => {}
                Step::End(error) => return Err(Closed::broken(error.as_ref(), CloseReason::NotConnected)),
            }
        }
    });
    let answer = answered.await.unwrap_or_else(|_| Err(not("the receiver did not answer to the key in time")));
    if answer.is_err() {
        socket.part().await;
    }
    answer
}

fn first_frame(text: &str, api_key: &ApiKey) -> Result<(), Closed> {
    let (what, cause) = match ServerFrame::parse(text) {
        Ok(ServerFrame::AuthOk { .. }) => return Ok(()),
        Ok(ServerFrame::Error { error, .. }) => ("an error", error),
        Ok(_) => ("another", None),
        Err(_) => ("none at all", None),
    };
    Err(Closed {
        peer_message: cause.and_then(|cause| peer_message(&cause, api_key)),
        ..Closed::new(CloseReason::NotConnected, format!("the first frame was no auth_ok but {what}"))
    })
}

fn text(frame: &ClientFrame) -> Option<Bytes> {
    write::to_string(frame).ok().map(Bytes::from)
}

/// Open connection.
#[derive(Debug)]
pub(super) struct ConnectionLoop<'a, S> {
    socket: &'a mut Socket<S>,
    outgoing: &'a mut mpsc::Receiver<Batch>,
    incoming: &'a mpsc::Sender<Incoming>,
    api_key: &'a ApiKey,
    pong: Bytes,
    /// Acks that were read and not passed on yet, and the bytes of their frames.
    acks: Vec<Ack>,
    ack_bytes: usize,
    /// Messages without a place in `incoming`. While there are any, nothing is read: the receiver is slowed
    /// down to the pace of the reader, and its silence does not count. Writing goes on, and if the slowed
    /// receiver takes nothing either, the connection ends after [`STALL`], so that no wait is endless.
    held: VecDeque<Incoming>,
    /// Time of the last ping; it is answered if a byte arrived since.
    pinged: Option<Instant>,
    closing: Closing,
}

/// State of the closing handshake.
#[derive(Debug)]
enum Closing {
    Open,
    /// The waiting frames are to be written, then the close frame.
    Wanted,
    /// The close frame is among the bytes to be written.
    Cause,
    /// Writing has failed; the rest is read until `until`.
    Broken {
        cause: String,
        until: Instant,
    },
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> ConnectionLoop<'a, S> {
    pub(super) fn new(
        socket: &'a mut Socket<S>,
        outgoing: &'a mut mpsc::Receiver<Batch>,
        incoming: &'a mpsc::Sender<Incoming>,
        api_key: &'a ApiKey,
    ) -> Self {
        let pong = text(&ClientFrame::Pong).unwrap_or_default();
        Self {
            socket,
            outgoing,
            incoming,
            api_key,
            pong,
            acks: Vec::new(),
            ack_bytes: 0,
            held: VecDeque::new(),
            pinged: None,
            closing: Closing::Open,
        }
    }

    /// Runs until the connection ends; returns the messages still held and how the connection ended.
    pub(super) async fn run(mut self, close: &Notify) -> (VecDeque<Incoming>, Closed) {
        let closed = loop {
            self.feed();
            if let Some(closed) = self.overdue() {
                break closed;
            }
            let read = self.held.is_empty();
            let room = self.takes_more() && !self.outgoing.is_closed();
            let wake = self.wake();
            tokio::select! {
                biased;
                () = close.notified(), if matches!(self.closing, Closing::Open) => {
                    self.outgoing.close();
                    self.closing = Closing::Wanted;
                }
                step = poll_fn(|cx| self.socket.poll(cx, read)) => {
                    if let Some(closed) = self.steps(step).await {
                        break closed;
                    }
                }
                place = self.incoming.reserve(), if !read => match (place, self.held.pop_front()) {
                    (Ok(place), Some(held)) => place.send(held),
                    _ => break Closed::ended(),
                },
                Some(batch) = self.outgoing.recv(), if room => batch.iter().for_each(|frame| self.socket.put(frame)),
                () = sleep_until(wake) => if let Some(closed) = self.silent() {
                    break closed;
                }
            }
        };
        self.socket.part().await;
        (self.held, closed)
    }

    fn takes_more(&self) -> bool {
        matches!(self.closing, Closing::Open | Closing::Wanted) && self.socket.wire().waiting() < AHEAD_BYTES
    }

    /// Takes the batches that are available without waiting.
    fn feed(&mut self) {
        while self.takes_more() {
            match (self.outgoing.try_recv(), &self.closing) {
                (Ok(batch), _) => batch.iter().for_each(|frame| self.socket.put(frame)),
                (Err(_), Closing::Wanted) => {
                    self.socket.close(CloseCode::Normal);
                    self.closing = Closing::Cause;
                }
                (Err(_), _) => return,
            }
        }
    }

    /// Handles a step and the steps that are available without waiting: a turn of the loop costs more than a
    /// small frame.
    async fn steps(&mut self, first: Step) -> Option<Closed> {
        let mut next = Some(first);
        while let Some(step) = next {
            if let Some(closed) = self.step(step) {
                // Acks that arrive before the end count.
                return self.give_acks().or(Some(closed));
            }
            if !self.held.is_empty() {
                break;
            }
            next = poll_fn(|cx| match self.socket.poll(cx, true) {
                Poll::Ready(step) => Poll::Ready(Some(step)),
                Poll::Pending => Poll::Ready(None),
            })
            .await;
        }
        self.give_acks()
    }

    fn step(&mut self, step: Step) -> Option<Closed> {
        match step {
            Step::Read(message) => self.message(message),
            Step::Written => None,
            Step::Unwritable(error) => {
                let (cause, until) = (format!("the connection broke: {error}"), Instant::now() + PARTING);
                self.closing = Closing::Broken { cause, until };
                None
            }
            Step::End(error) => {
                if let Some(code) = error.as_ref().and_then(complaint) {
                    self.socket.close(code);
                }
                Some(self.end(error.as_ref()))
            }
        }
    }

    fn end(&self, error: Option<&Error>) -> Closed {
        match &self.closing {
            Closing::Open | Closing::Wanted => Closed::broken(error, CloseReason::Lost),
            Closing::Cause => Closed::ended(),
            Closing::Broken { cause, .. } => Closed::new(CloseReason::Lost, cause.as_str()),
        }
    }

    fn message(&mut self, message: Message) -> Option<Closed> {
        match message {
            Message::Text(text) => match ServerFrame::parse(&text) {
                Ok(ServerFrame::AuthOk { .. }) => None,
                Ok(ServerFrame::Ping { .. }) => {
                    if self.socket.wire_mut().takes_pong() {
                        self.socket.put(&self.pong);
                    }
                    None
                }
                Ok(ServerFrame::Ack(ack)) => {
                    self.acks.push(ack);
                    self.ack_bytes += text.len();
                    if self.ack_bytes < BATCH_BYTES { None } else { self.give_acks() }
                }
                Ok(ServerFrame::Resume { data, .. }) => self.give(Incoming::Command(Command::Resume(data), text.len())),
                Ok(ServerFrame::Replay { data, .. }) => self.give(Incoming::Command(Command::Replay(data), text.len())),
                Ok(frame) => self.give(Incoming::Frame(frame)),
                Err(_) => self.give(Incoming::Odd(format!("a text of {} bytes that is no frame", text.len()))),
            },
            Message::Binary(data) => self.give(Incoming::Odd(format!("a binary message of {} bytes", data.len()))),
            Message::Close(frame) => {
                let lost = Closed::by_peer(frame.as_ref(), CloseReason::Lost, self.api_key);
                let answers = matches!(self.closing, Closing::Cause) && lost.reason == CloseReason::Lost;
                Some(if answers { Closed::ended() } else { lost })
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => None,
        }
    }

    fn give(&mut self, incoming: Incoming) -> Option<Closed> {
        self.give_acks().or_else(|| self.pass(incoming))
    }

    fn give_acks(&mut self) -> Option<Closed> {
        self.ack_bytes = 0;
        let acks = std::mem::take(&mut self.acks);
        if acks.is_empty() { None } else { self.pass(Incoming::Acks(acks)) }
    }

    fn pass(&mut self, incoming: Incoming) -> Option<Closed> {
        if !self.held.is_empty() {
            self.held.push_back(incoming);
            return None;
        }
        match self.incoming.try_send(incoming) {
            Ok(()) => None,
            Err(TrySendError::Full(incoming)) => {
                self.held.push_back(incoming);
                None
            }
            Err(TrySendError::Closed(_)) => Some(Closed::ended()),
        }
    }

    /// Returns the time at which a timeout is due.
    fn wake(&self) -> Instant {
        let wire = self.socket.wire();
        let written = match &self.closing {
            Closing::Broken { until, .. } => Some(*until),
            Closing::Cause if wire.is_idle() => Some(wire.moved() + PARTING),
            _ if wire.is_idle() => None,
            _ => Some(wire.moved() + STALL),
        };
        let heard = self.held.is_empty().then(|| self.unanswered().unwrap_or(wire.heard()) + SILENCE);
        match (written, heard) {
            (Some(written), Some(heard)) => written.min(heard),
            (Some(at), None) | (None, Some(at)) => at,
            // Only the reader of `incoming` can end this wait.
            (None, None) => Instant::now() + STALL,
        }
    }

    /// Returns how the connection ends if a write takes too long.
    fn overdue(&self) -> Option<Closed> {
        let (wire, now) = (self.socket.wire(), Instant::now());
        match &self.closing {
            Closing::Broken { until, .. } => (now >= *until).then(|| self.end(None)),
            Closing::Cause if wire.is_idle() => (now >= wire.moved() + PARTING).then(Closed::ended),
            _ if wire.is_idle() || now < wire.moved() + STALL => None,
            _ => {
                let cause = format!("the receiver took nothing for {} s", STALL.as_secs());
                Some(Closed::new(CloseReason::Lost, cause))
            }
        }
    }

    /// Returns the time of a ping that is not answered yet.
    fn unanswered(&self) -> Option<Instant> {
        self.pinged.filter(|pinged| *pinged > self.socket.wire().heard())
    }

    /// Handles a period of silence: sends a ping, or ends the connection if one is not answered.
    fn silent(&mut self) -> Option<Closed> {
        let now = Instant::now();
        let since = self.unanswered().unwrap_or(self.socket.wire().heard());
        if !self.held.is_empty() || now < since + SILENCE {
            return None;
        }
        if self.unanswered().is_some() {
            let cause = format!("the receiver was silent for {} s", (SILENCE * 2).as_secs());
            return Some(Closed::new(CloseReason::Lost, cause));
        }
        self.pinged = Some(now);
        self.socket.ping();
        None
    }
}
