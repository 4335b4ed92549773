//! Request body in pieces, which are handed over without a copy.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

/// Bytes to send, of known length. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    pieces: VecDeque<Bytes>,
    length: u64,
}

impl Body {
    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.length += piece.len() as u64;
            self.pieces.push_back(piece);
        }
    }

    #[cfg(any(test, feature = "gzip"))]
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter()
    }

    /// Joins the pieces; a single one is not copied.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        match self.pieces.len() {
            0 | 1 => self.pieces.pop_front().unwrap_or_default(),
            _ => {
                let mut bytes = BytesMut::with_capacity(usize::try_from(self.length).unwrap_or_default());
                self.pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
                bytes.freeze()
            }
        }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Number of pieces.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.pieces.len()
    }

    #[cfg(test)]
    pub(crate) fn to_text(&self) -> String {
        String::from_utf8(self.pieces().flatten().copied().collect()).unwrap()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.length -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;

    #[test]
    fn the_length_is_known_at_every_moment() {
        let mut body = Body::default();
        body.push(Bytes::from_static(b"ab"));
        body.push(Bytes::new());
        body.push(Bytes::from_static(b"c"));
        assert_eq!((body.length(), body.to_text().as_str()), (3, "abc"));
        assert_eq!(body.clone().into_bytes(), "abc");
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut body).poll_frame(&mut context).is_ready());
        assert_eq!(body.size_hint().exact(), Some(1));
        assert!(Pin::new(&mut body).poll_frame(&mut context).is_ready());
        assert!(body.is_end_stream());
    }
}
