//! A response body that is read along: the caller sees the same frames, errors and timing.

use std::pin::Pin;
use std::task::{Context, Poll};

use ::http_body::{Body, Frame, SizeHint};
use bytes::Buf;
use pin_project_lite::pin_project;

use crate::call::Call;

pin_project! {
    /// A body whose call ends when the body ends, fails or is dropped.
    #[derive(Debug)]
    pub struct InstrumentedBody<B>
    where
        B: Body,
    {
        #[pin]
        inner: B,
        call: Option<Call>,
        name: fn(&B::Error) -> &'static str,
    }
}

impl<B: Body> InstrumentedBody<B> {
    /// Reads `inner` along for `call`; without one it is passed through. An error of the body is named by its type.
    pub fn new(inner: B, call: Option<Call>) -> Self {
        Self::with_error_names(inner, call, |_| std::any::type_name::<B::Error>())
    }

    /// The same, with names of few values for errors.
    pub fn with_error_names(inner: B, call: Option<Call>, name: fn(&B::Error) -> &'static str) -> Self {
        let mut body = Self { inner, call, name };
        if body.inner.is_end_stream() {
            body.call.take().into_iter().for_each(Call::end); // nobody may ever poll it
        }
        body
    }
}

impl<B: Body> Body for InstrumentedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let mut inner = this.inner;
        let polled = match this.call {
            // What the body does below counts as the call's doing.
            Some(call) if call.is_recording() => {
                let _current = call.context().clone().attach();
                inner.as_mut().poll_frame(context)
            }
            _ => inner.as_mut().poll_frame(context),
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(call), Some(data)) = (this.call.as_mut(), frame.data_ref()) {
                    // Bytes stand in one piece; of a chain only the first can be seen without taking it apart.
                    call.chunk(data.chunk());
                }
                if inner.is_end_stream() {
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
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
