//! Runs futures and closures in a session.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use opentelemetry::Context;
use pin_project_lite::pin_project;

use super::position::{self, Position};
use super::session::Session;

/// Payload of the panic that ends a run at a refused step that is not `async` and has no error to return.
#[derive(Debug)]
pub(crate) struct Aborted;

/// The context of a session; the session can be found by calls without a context until this is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    session: Arc<Session>,
    cx: Context,
}

impl Entered {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        position::register(&session);
        let current = Context::current();
        let limits = current.get::<Position>().and_then(|position| position.limits.clone());
        let position = Position { session: Some(Arc::clone(&session)), limits, lane: session.root() };
        Self { cx: current.with_value(position), session }
    }

    /// Calls a closure. `None` if a refused step ended it.
    pub(crate) fn call<T>(&self, body: impl FnOnce() -> T) -> Option<T> {
        let _current = self.cx.clone().attach();
        unless_aborted(body)
    }

    /// Polls a future. Its output is `None` if a refused step ended it.
    pub(crate) fn poll<F: Future>(self, future: F) -> impl Future<Output = Option<F::Output>> {
        InSession { future: Some(future), entered: self }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        position::unregister(&self.session);
    }
}

fn unless_aborted<T>(body: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => Some(value),
        Err(payload) if payload.is::<Aborted>() => None,
        Err(payload) => resume_unwind(payload),
    }
}

pin_project! {
    struct InSession<F> {
        // `None` once it is done, or dropped with its context.
        #[pin]
        future: Option<F>,
        entered: Entered,
    }

    impl<F> PinnedDrop for InSession<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _current = this.entered.cx.clone().attach();
            this.future.set(None);
        }
    }
}

impl<F: Future> Future for InSession<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let _current = this.entered.cx.clone().attach();
        let polled = match unless_aborted(|| future.poll(task)) {
            Some(Poll::Ready(value)) => Some(Some(value)),
            Some(Poll::Pending) if !this.entered.session.poll_aborted(task.waker()) => None,
            Some(Poll::Pending) | None => Some(None),
        };
        match polled {
            Some(done) => {
                this.future.set(None);
                Poll::Ready(done)
            }
            None => Poll::Pending,
        }
    }
}
