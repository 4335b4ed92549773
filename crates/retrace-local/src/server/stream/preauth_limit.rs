//! A stream with a limit of read bytes before authentication.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Fails a read after more than a number of bytes before [`PreauthLimit::lift`].
#[derive(Debug)]
pub(super) struct PreauthLimit<S> {
    stream: S,
    /// Remaining bytes; `None` if there is no limit any more.
    left: Option<usize>,
}

impl<S> PreauthLimit<S> {
    pub(super) fn new(stream: S, bytes: usize) -> Self {
        Self { stream, left: Some(bytes) }
    }

    /// Removes the limit.
    pub(super) fn lift(&mut self) {
        self.left = None;
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left == Some(0)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PreauthLimit<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(left) = self.left else { return Pin::new(&mut self.stream).poll_read(context, buffer) };
        if left == 0 {
            return Poll::Ready(Err(io::Error::other("the client sent too much before it was authenticated")));
        }
        let mut part = buffer.take(left);
        let read = Pin::new(&mut self.stream).poll_read(context, &mut part);
        let (initialized, filled) = (part.initialized().len(), part.filled().len());
        // The part is the start of the buffer's unfilled bytes, so its initialized bytes are initialized here too.
        buffer.initialize_unfilled_to(initialized);
        buffer.advance(filled);
        self.left = Some(left - filled);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PreauthLimit<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
