//! A WebSocket after its upgrade, read and written at the same time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BufMut as _;
use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, FrameHeader, Utf8Bytes};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error};

use super::wire::Wire;

/// Most bytes of a message of the receiver's. They are acks and short texts.
pub(super) const MESSAGE_BYTES: usize = 1024 * 1024;
/// The same where commands are taken: their cassettes may be long.
pub(super) const COMMAND_BYTES: usize = 32 * 1024 * 1024;
/// Room for reading; a longer message gets its own.
const READ_BYTES: usize = 16 * 1024;
/// Of the library's own buffer, where only control frames pass through. What is written by us is bounded by its writer.
const CONTROL_BYTES: usize = 4 * 1024;

/// How long the end may take once it is decided: the receiver's answer to our close frame, ours to its own, or what is left
/// to read of a connection that takes nothing more.
pub(super) const PARTING: Duration = Duration::from_secs(2);

/// The bounds of what the library keeps.
pub(super) fn bounds(serves: bool) -> WebSocketConfig {
    let bytes = if serves { COMMAND_BYTES } else { MESSAGE_BYTES };
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(CONTROL_BYTES)
        .max_message_size(Some(bytes))
        .max_frame_size(Some(bytes))
}

/// What happened on a socket.
#[derive(Debug)]
pub(super) enum Step {
    Read(Message),
    /// Nothing more can be read.
    End(Option<Error>),
    /// All is written.
    Written,
    /// Nothing more can be written; there may be more to read. Said once.
    Unwritable(io::Error),
}

#[derive(Debug)]
pub(super) struct Socket<S> {
    ws: WebSocketStream<Wire<S>>,
    masks: fastrand::Rng,
    writable: bool,
    /// A close frame came or is to go.
    parting: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(super) fn new(mut ws: WebSocketStream<Wire<S>>) -> Self {
        ws.get_mut().upgraded();
        Self { ws, masks: fastrand::Rng::new(), writable: true, parting: false }
    }

    pub(super) fn wire(&self) -> &Wire<S> {
        self.ws.get_ref()
    }

    pub(super) fn wire_mut(&mut self) -> &mut Wire<S> {
        self.ws.get_mut()
    }

    /// Puts a text frame behind what waits. The library is passed by, because it logs what it writes, the key and the
    /// content of runs included, for whoever listens to `log` at the finest level.
    ///
    /// Masks keep a careless proxy from taking a frame for a request. They need not be secret here: no proxy sees into TLS,
    /// and without TLS nothing leaves this machine.
    pub(super) fn put(&mut self, text: &Utf8Bytes) {
        if !self.writable {
            return;
        }
        let mask = self.masks.u32(..).to_ne_bytes();
        let opcode = OpCode::Data(Data::Text);
        let header = FrameHeader { is_final: true, opcode, mask: Some(mask), ..FrameHeader::default() };
        let out = self.wire_mut().out();
        out.reserve(header.len(text.len() as u64) + text.len());
        // Memory takes all that is written to it.
        let _ = header.format(text.len() as u64, &mut (&mut *out).writer());
        let start = out.len();
        out.extend_from_slice(text.as_bytes());
        for piece in out.get_mut(start..).unwrap_or_default().chunks_mut(mask.len()) {
            piece.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        }
    }

    /// Asks whether the other side is there.
    pub(super) fn ping(&mut self) {
        self.control(Message::Ping(Bytes::new()));
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, code: CloseCode) {
        self.parting = true;
        self.control(Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::default() })));
    }

    fn control(&mut self, message: Message) {
        // The wire takes everything, so that what can fail is only that the connection is at its end, which reading tells.
        let _ = Pin::new(&mut self.ws).start_send(message);
    }

    /// Writes and reads what goes now. Writing goes on while nothing is to be read, and the other way round.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<Step> {
        let mut written = false;
        if self.writable && !self.wire().is_idle() {
            match self.wire_mut().poll_drain(cx) {
                Poll::Ready(Ok(())) => written = true,
                Poll::Ready(Err(error)) => {
                    self.writable = false;
                    return Poll::Ready(Step::Unwritable(error));
                }
                Poll::Pending => {}
            }
        }
        if read {
            match Pin::new(&mut self.ws).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => {
                    self.parting |= matches!(message, Message::Close(_));
                    return Poll::Ready(Step::Read(message));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Step::End(Some(error))),
                Poll::Ready(None) => return Poll::Ready(Step::End(None)),
                Poll::Pending => {}
            }
        }
        if written { Poll::Ready(Step::Written) } else { Poll::Pending }
    }

    /// Lets a last close frame out, if it goes in time.
    pub(super) async fn part(&mut self) {
        if !self.parting || !self.writable {
            return;
        }
        let out = std::future::poll_fn(|cx| {
            // Reading makes the library answer a close frame, if that is what came.
            let _ = Pin::new(&mut self.ws).poll_next(cx);
            self.ws.get_mut().poll_drain(cx)
        });
        let _ = timeout(PARTING, out).await;
    }
}
