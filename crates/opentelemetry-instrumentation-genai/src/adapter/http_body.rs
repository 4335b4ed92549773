//! A response body that is read on its way to the caller, who sees the same frames, errors and timing.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http_body::{Body, Frame, SizeHint};
use bytes::{Buf, Bytes};
use pin_project_lite::pin_project;

use crate::call::Call;
use crate::interceptor::Playback;

pin_project! {
    /// A body whose call ends when the body ends, fails or is dropped. It is the body of a response, or one that an interceptor
    /// provides.
    #[derive(Debug)]
    pub struct InstrumentedBody<B>
    where
        B: Body,
    {
        #[pin]
        source: Source<B>,
        call: Option<Call>,
        name: fn(&B::Error) -> &str,
    }
}

pin_project! {
    #[project = SourceProjection]
    enum Source<B> {
        Received { #[pin] inner: B },
        Recorded { playback: Playback },
    }
}

impl<B> fmt::Debug for Source<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Received { .. } => formatter.write_str("Received"),
            Self::Recorded { playback } => playback.fmt(formatter),
        }
    }
}

impl<B: Body> Source<B> {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Received { inner } => inner.is_end_stream(),
            Self::Recorded { playback } => playback.is_finished(),
        }
    }
}

impl<B: Body> InstrumentedBody<B> {
    /// Reads `inner` for `call`; without a call it is passed through. An error of the body is named by its type.
    pub fn new(inner: B, call: Option<Call>) -> Self {
        Self::with_error_names(inner, call, |_| std::any::type_name::<B::Error>())
    }

    /// Reads `inner` for `call`; `name` returns the name of an error, of low cardinality.
    pub fn with_error_names(inner: B, call: Option<Call>, name: fn(&B::Error) -> &str) -> Self {
        Self::of(Source::Received { inner }, call, name)
    }

    /// Delivers a recorded body. `B::Error` cannot be created here, so that a truncated body ends early.
    #[cfg(feature = "tower")]
    pub(crate) fn recorded(playback: Playback, call: Option<Call>) -> Self {
        Self::of(Source::Recorded { playback }, call, |_| "")
    }

    fn of(source: Source<B>, call: Option<Call>, name: fn(&B::Error) -> &str) -> Self {
        let mut body = Self { source, call, name };
        if body.source.is_end_stream() {
            body.call.take().into_iter().for_each(Call::end); // nobody may ever poll it
        }
        body
    }
}

impl<B: Body> Body for InstrumentedBody<B>
where
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let polled = match this.source.as_mut().project() {
            SourceProjection::Recorded { playback } => match ready!(playback.poll_chunk(context)) {
                Some(Ok(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes.into())))),
                Some(Err(error)) => {
                    this.call.take().into_iter().for_each(|call| call.fail(error.name()));
                    Poll::Ready(None)
                }
                None => Poll::Ready(None),
            },
            SourceProjection::Received { inner } => match this.call {
                // Spans of the inner body are children of the call.
                Some(call) if call.is_recording() => {
                    let _current = call.context().clone().attach();
                    inner.poll_frame(context)
                }
                _ => inner.poll_frame(context),
            },
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(call), Some(data)) = (this.call.as_mut(), frame.data_ref()) {
                    // Most buffers are contiguous; of a chained one only the first part is read.
                    call.chunk(data.chunk());
                }
                if this.source.is_end_stream() {
                    this.call.take().into_iter().for_each(Call::end);
                }
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(call) = this.call.take() {
                    call.fail((this.name)(error));
                }
            }
            Poll::Ready(None) => this.call.take().into_iter().for_each(Call::end),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Received { inner } => inner.size_hint(),
            Source::Recorded { playback } => SizeHint::with_exact(playback.remaining()),
        }
    }
}
