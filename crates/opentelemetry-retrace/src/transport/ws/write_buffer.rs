//! Connection with writes that never wait: bytes to write are kept here, and drained beside the reading.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Maximum number of pongs that wait to be written. One answers all pings before it, so further ones are left
/// out.
const PONGS: usize = 16;
/// First byte of a WebSocket pong.
const PONG: u8 = 0x8a;
/// Buffer capacity that is kept for later frames; a larger one, as after a large frame, is released.
const ROOM: usize = 256 * 1024;

/// Stream below the WebSocket. Until the upgrade, writes go straight to it.
#[derive(Debug)]
pub(super) struct WriteBuffer<S> {
    stream: S,
    upgraded: bool,
    out: BytesMut,
    /// True if nothing that was written is left in the stream's own buffers.
    flushed: bool,
    /// Number of bytes written so far, and the ends of the waiting pongs in that count.
    written: u64,
    pongs: VecDeque<u64>,
    /// Time at which bytes were last received.
    heard: Instant,
    /// Time at which bytes were last written, or began to wait for that.
    moved: Instant,
}

impl<S> WriteBuffer<S> {
    pub(super) fn new(stream: S) -> Self {
        let now = Instant::now();
        Self {
            stream,
            upgraded: false,
            out: BytesMut::new(),
            flushed: true,
            written: 0,
            pongs: VecDeque::new(),
            heard: now,
            moved: now,
        }
    }

    /// Keeps bytes from now on until [`WriteBuffer::poll_drain`].
    pub(super) fn upgraded(&mut self) {
        self.upgraded = true;
    }

    /// Number of bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Returns true if everything is written.
    pub(super) fn is_idle(&self) -> bool {
        self.out.is_empty() && self.flushed
    }

    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    pub(super) fn moved(&self) -> Instant {
        self.moved
    }

    /// Returns the buffer for bytes to write.
    pub(super) fn out(&mut self) -> &mut BytesMut {
        if self.is_idle() {
            self.moved = Instant::now();
        }
        self.flushed = false;
        &mut self.out
    }

    /// Returns true if another pong may be added, and counts it as added.
    pub(super) fn takes_pong(&mut self) -> bool {
        while self.pongs.front().is_some_and(|end| *end <= self.written) {
            self.pongs.pop_front();
        }
        let takes = self.pongs.len() < PONGS;
        if takes {
            self.pongs.push_back(self.written + self.out.len() as u64 + 1);
        }
        takes
    }
}

impl<S: AsyncWrite + Unpin> WriteBuffer<S> {
    /// Writes as much as possible now; ready when everything is written.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written);
            self.written += written as u64;
            self.moved = Instant::now();
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.flushed = true;
        if self.out.capacity() > ROOM {
            self.out = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteBuffer<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.heard = Instant::now();
        }
        Poll::Ready(Ok(()))
    }
}

/// Writes of the library itself: the upgrade, then whole control frames, one at a time.
impl<S: AsyncWrite + Unpin> AsyncWrite for WriteBuffer<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if !self.upgraded {
            return match ready!(Pin::new(&mut self.stream).poll_write(cx, buf)) {
                // The library treats this as impossible and panics.
                Ok(0) if !buf.is_empty() => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => Poll::Ready(written),
            };
        }
        if buf.first() != Some(&PONG) || self.takes_pong() {
            self.out().extend_from_slice(buf);
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.upgraded { Poll::Ready(Ok(())) } else { Pin::new(&mut self.stream).poll_flush(cx) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
