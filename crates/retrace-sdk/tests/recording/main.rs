//! Runs and steps, recorded in every way there is and read back from a receiver.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, unreachable_pub, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod carry;
mod content;
mod endings;
mod exits;
mod live;
mod pipelines;
mod sampling;
mod tracing_spans;
mod tree;

/// A future that is pending the first time it is polled.
async fn pause() {
    let mut is_ready = false;
    std::future::poll_fn(|task| {
        if std::mem::replace(&mut is_ready, true) {
            return std::task::Poll::Ready(());
        }
        task.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// Runs a future to its end.
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Polls a future once, and drops it.
fn poll_once<F: Future>(future: F) {
    use futures_util::FutureExt as _;
    assert!(future.now_or_never().is_none(), "it was to be dropped before its end");
}
