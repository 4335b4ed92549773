//! A future that leaves its call open for what it gives.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use opentelemetry::Context;
use pin_project_lite::pin_project;

use super::call::Call;
use crate::failure::Failure;

/// The future of a call, with the span current while it is polled. Gives the call with its value. Dropped before it is done
/// the call is cancelled.
pub fn call_until<F: Future>(call: Call, body: F) -> impl Future<Output = (Call, F::Output)> {
    CallUntil { call: Some(call), body: Some(body) }
}

pin_project! {
    struct CallUntil<F> {
        // `None` once it is done.
        call: Option<Call>,
        // `None` once it is done, or dropped with its context.
        #[pin]
        body: Option<F>,
    }

    impl<F> PinnedDrop for CallUntil<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _current = this.call.as_ref().and_then(Call::context).map(Context::attach);
            this.body.set(None);
        }
    }
}

impl<F: Future> Future for CallUntil<F> {
    type Output = (Call, F::Output);

    fn poll(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<(Call, F::Output)> {
        let mut this = self.project();
        #[expect(clippy::panic, reason = "a future that is done must not be polled, as for any async function")]
        let (Some(body), Some(call)) = (this.body.as_mut().as_pin_mut(), this.call.take()) else {
            panic!("`async fn` resumed after completion")
        };
        let _current = call.context().map(Context::attach);
        match catch_unwind(AssertUnwindSafe(|| body.poll(task))) {
            Ok(Poll::Pending) => {
                *this.call = Some(call);
                Poll::Pending
            }
            Ok(Poll::Ready(value)) => {
                this.body.set(None);
                Poll::Ready((call, value))
            }
            Err(payload) => {
                if let Some(running) = call.running() {
                    running.recorded.fail(Failure::panicked(&*payload));
                    this.body.set(None);
                    running.recorded.end();
                }
                resume_unwind(payload)
            }
        }
    }
}
