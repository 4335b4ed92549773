//! A connection whose writing waits for nobody: what is to be written is kept here, and drained beside the reading.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Most pongs that wait to be written. One answers all pings before it, so those beyond are left out.
const PONGS: usize = 16;
/// The first byte of a pong of the WebSocket's own.
const PONG: u8 = 0x8a;
/// Room that is kept for what comes next; more, as after a large frame, is given back.
const ROOM: usize = 256 * 1024;

/// The stream below the WebSocket. Until the upgrade it is written through to.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    upgraded: bool,
    out: BytesMut,
    /// Nothing that was written is left in the stream's own buffers.
    flushed: bool,
    /// Bytes written, ever, and up to which of them there is a pong.
    written: u64,
    pongs: VecDeque<u64>,
    /// When something was last received.
    heard: Instant,
    /// When something was last written, or began to wait for that.
    moved: Instant,
}

impl<S> Wire<S> {
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

    /// From now on, what is written is kept until [`Wire::poll_drain`].
    pub(super) fn upgraded(&mut self) {
        self.upgraded = true;
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Whether all is written.
    pub(super) fn is_idle(&self) -> bool {
        self.out.is_empty() && self.flushed
    }

    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    pub(super) fn moved(&self) -> Instant {
        self.moved
    }

    /// Where to put what is to be written.
    pub(super) fn out(&mut self) -> &mut BytesMut {
        if self.is_idle() {
            self.moved = Instant::now();
        }
        self.flushed = false;
        &mut self.out
    }

    /// Whether another pong may be put; true is for one that is put next.
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

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Writes as much as goes now; ready when all is written.
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

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.heard = Instant::now();
        }
        Poll::Ready(Ok(()))
    }
}

/// What the WebSocket writes by itself: the upgrade, then whole control frames, one at a time.
impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if !self.upgraded {
            return match ready!(Pin::new(&mut self.stream).poll_write(cx, buf)) {
                // The library takes it for impossible and panics.
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
