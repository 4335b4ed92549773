//! WebSocket after its upgrade, read and written at the same time.

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

use super::write_buffer::WriteBuffer;

/// Maximum bytes of a message of the receiver: acks and short texts.
pub(super) const MESSAGE_BYTES: usize = 1024 * 1024;
/// Maximum bytes of a message where commands are accepted: their cassettes may be long.
pub(super) const COMMAND_BYTES: usize = 32 * 1024 * 1024;
/// Size of the read buffer; a longer message gets its own.
const READ_BYTES: usize = 16 * 1024;
/// Size of the library's write buffer, which only control frames use. The data written by this crate is
/// bounded by its sender.
const CONTROL_BYTES: usize = 4 * 1024;

/// Bytes that are copied and masked at a time, while they are in the cache of the processor: a multiple of the mask.
const MASKED_BYTES: usize = 4 * 1024;

/// Timeout of the closing handshake: the receiver's answer to this client's close frame, this client's answer
/// to its own, or the rest to read of a connection that takes nothing more.
pub(super) const PARTING: Duration = Duration::from_secs(2);

/// Limits of the library's buffers.
pub(super) fn bounds(serves: bool) -> WebSocketConfig {
    let bytes = if serves { COMMAND_BYTES } else { MESSAGE_BYTES };
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(CONTROL_BYTES)
        .max_message_size(Some(bytes))
        .max_frame_size(Some(bytes))
}

/// Event of a socket.
#[derive(Debug)]
pub(super) enum Step {
    Read(Message),
    /// Reading has ended, with an error or without.
    End(Option<Error>),
    /// Everything is written.
    Written,
    /// Writing has failed; there may be more to read. Returned once.
    Unwritable(io::Error),
}

#[derive(Debug)]
pub(super) struct Socket<S> {
    ws: WebSocketStream<WriteBuffer<S>>,
    masks: fastrand::Rng,
    writable: bool,
    /// True once a close frame was received or is to be sent.
    parting: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(super) fn new(mut ws: WebSocketStream<WriteBuffer<S>>) -> Self {
        ws.get_mut().upgraded();
        Self { ws, masks: fastrand::Rng::new(), writable: true, parting: false }
    }

    pub(super) fn wire(&self) -> &WriteBuffer<S> {
        self.ws.get_ref()
    }

    pub(super) fn wire_mut(&mut self) -> &mut WriteBuffer<S> {
        self.ws.get_mut()
    }

    /// Appends a text frame to the bytes to write. This bypasses the library, because it logs the frames that
    /// it writes, the key and the content of runs included, for a `log` logger at the finest level.
    ///
    /// Masks keep a careless proxy from interpreting a frame as a request. They need not be secret here: TLS
    /// hides the frames from proxies, and without TLS they stay on this machine or go to an allowed host.
    pub(super) fn put(&mut self, text: &Bytes) {
        if !self.writable {
            return;
        }
        let mask = self.masks.u32(..).to_ne_bytes();
        let opcode = OpCode::Data(Data::Text);
        let header = FrameHeader { is_final: true, opcode, mask: Some(mask), ..FrameHeader::default() };
        let out = self.wire_mut().out();
        out.reserve(header.len(text.len() as u64) + text.len());
        // A write to memory does not fail.
        let _ = header.format(text.len() as u64, &mut (&mut *out).writer());
        for piece in text.chunks(MASKED_BYTES) {
            let start = out.len();
            out.extend_from_slice(piece);
            apply_mask(out.get_mut(start..).unwrap_or_default(), mask);
        }
    }

    /// Sends a ping.
    pub(super) fn ping(&mut self) {
        self.control(Message::Ping(Bytes::new()));
    }

    /// Sends a close frame.
    pub(super) fn close(&mut self, code: CloseCode) {
        self.parting = true;
        self.control(Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::default() })));
    }

    fn control(&mut self, message: Message) {
        // The wire accepts every write, so this fails only at the end of the connection, which reading
        // reports.
        let _ = Pin::new(&mut self.ws).start_send(message);
    }

    /// Writes and reads as much as possible now. Writing goes on while nothing can be read, and the other way
    /// round.
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

    /// Writes a last close frame, if that is possible in time.
    pub(super) async fn part(&mut self) {
        if !self.parting || !self.writable {
            return;
        }
        let out = std::future::poll_fn(|cx| {
            // Reading makes the library answer a close frame, if one has arrived.
            let _ = Pin::new(&mut self.ws).poll_next(cx);
            self.ws.get_mut().poll_drain(cx)
        });
        let _ = timeout(PARTING, out).await;
    }
}

/// Masks bytes that begin at a multiple of the mask in their frame.
fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    /// Bytes that are masked by few instructions.
    const AT_ONCE: usize = 32;
    let wide: [u8; AT_ONCE] = std::array::from_fn(|at| mask.get(at % mask.len()).copied().unwrap_or_default());
    let (pieces, rest) = bytes.as_chunks_mut::<AT_ONCE>();
    for piece in pieces {
        piece.iter_mut().zip(wide).for_each(|(byte, mask)| *byte ^= mask);
    }
    rest.iter_mut().zip(wide).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_byte_is_masked_by_its_place(bytes in prop::collection::vec(any::<u8>(), 0..150), mask: [u8; 4]) {
            let masked: Vec<u8> = bytes.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            let mut at_once = bytes;
            apply_mask(&mut at_once, mask);
            prop_assert_eq!(at_once, masked);
        }
    }

    #[test]
    fn a_piece_of_a_frame_begins_with_the_first_byte_of_the_mask() {
        assert_eq!(MASKED_BYTES % 4, 0);
    }
}
