//! A request body that is read before it is sent.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::interceptor::UnreadReason;

/// Maximum number of bytes of a request body that are read before it is sent.
pub(crate) const MAX_REQUEST: usize = 32 * 1024 * 1024;

/// A request body that may have been read ahead: the frames that were read, then the rest.
#[cfg_attr(not(feature = "tower"), allow(unreachable_pub))]
pub struct RequestBody<B: Body> {
    seen: VecDeque<Frame<Bytes>>,
    length: usize,
    /// Error of the body while it was read ahead. It is returned when the body is sent.
    failed: Option<B::Error>,
    inner: Option<B>,
    ended: bool,
}

impl<B: Body> fmt::Debug for RequestBody<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RequestBody").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl<B: Body<Data = Bytes> + Unpin> RequestBody<B> {
    pub(crate) fn new(inner: B) -> Self {
        Self { seen: VecDeque::new(), length: 0, failed: None, inner: Some(inner), ended: false }
    }

    /// Takes the frames that are available without waiting. Bytes are shared, not copied.
    #[cfg(feature = "tower")]
    pub(crate) fn look_ahead(&mut self) {
        let Some(inner) = &mut self.inner else { return };
        if inner.size_hint().exact().is_none_or(|size| size > MAX_REQUEST as u64) {
            return; // a body that does not know its length is one that waits
        }
        let _ = self.poll_ahead(&mut Context::from_waker(std::task::Waker::noop()));
    }

    /// Reads the body to its end, or to the limit. The frames that were read are sent first.
    #[cfg(feature = "_reqwest")]
    pub(crate) async fn read_ahead(&mut self) {
        std::future::poll_fn(|context| self.poll_ahead(context)).await;
    }

    fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(()) };
        while self.length < MAX_REQUEST {
            if inner.is_end_stream() {
                self.ended = true;
                break;
            }
            match ready!(Pin::new(&mut *inner).poll_frame(context)) {
                Some(Ok(frame)) => {
                    self.length += frame.data_ref().map_or(0, Bytes::len);
                    self.seen.push_back(frame);
                }
                None => {
                    self.ended = true;
                    break;
                }
                Some(Err(error)) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        Poll::Ready(())
    }

    /// Returns the reason for which [`whole`](Self::whole) returns `None`.
    pub(crate) fn unread(&self) -> UnreadReason {
        let long = || self.size_hint().lower() >= MAX_REQUEST as u64;
        if self.length >= MAX_REQUEST || long() { UnreadReason::TooLong(MAX_REQUEST) } else { UnreadReason::Streaming }
    }

    /// Returns the whole body if it was read to its end.
    pub(crate) fn whole(&self) -> Option<Bytes> {
        if !self.ended {
            return None;
        }
        let mut data = self.seen.iter().filter_map(|frame| frame.data_ref());
        let first = data.next().cloned().unwrap_or_default();
        let rest: Vec<&Bytes> = data.collect();
        if rest.is_empty() {
            return Some(first);
        }
        let mut joined = first.to_vec();
        rest.into_iter().for_each(|bytes| joined.extend_from_slice(bytes));
        Some(joined.into())
    }

    #[cfg(feature = "tower")]
    pub(crate) fn replace(&mut self, bytes: Bytes) {
        self.length = bytes.len();
        self.seen = VecDeque::from([Frame::data(bytes)]);
        (self.inner, self.ended) = (None, true);
    }
}

/// The error of a body is not pinned: it is passed on by value.
impl<B: Body + Unpin> Unpin for RequestBody<B> {}

impl<B: Body<Data = Bytes> + Unpin> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(frame) = self.seen.pop_front() {
            self.length -= frame.data_ref().map_or(0, Bytes::len);
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        // A stream that has ended may panic when it is polled again.
        if self.ended {
            return Poll::Ready(None);
        }
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.seen.is_empty()
            && self.failed.is_none()
            && (self.ended || self.inner.as_ref().is_none_or(Body::is_end_stream))
    }

    fn size_hint(&self) -> SizeHint {
        let seen = self.length as u64;
        let rest = self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(seen));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(seen));
        }
        hint
    }
}
