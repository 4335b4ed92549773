//! Runs across tasks, threads and streams.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::thread;

use futures_core::Stream;
use opentelemetry::Context;
use pin_project_lite::pin_project;

pin_project! {
    /// A future or a stream that is polled, and dropped, in a context.
    #[derive(Debug)]
    #[must_use = "futures and streams do nothing unless polled"]
    pub struct InContext<T> {
        // `None` once it is done, or dropped with its context.
        #[pin]
        inner: Option<T>,
        cx: Context,
    }

    impl<T> PinnedDrop for InContext<T> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.inner.is_some() {
                let _current = this.cx.clone().attach();
                this.inner.set(None);
            }
        }
    }
}

impl<T> InContext<T> {
    pub(crate) fn new(inner: T, cx: Context) -> Self {
        Self { inner: Some(inner), cx }
    }
}

impl<F: Future> Future for InContext<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        #[expect(clippy::panic, reason = "a future that is done must not be polled, as for any async function")]
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { panic!("`async fn` resumed after completion") };
        let _current = this.cx.clone().attach();
        let polled = inner.poll(task);
        if polled.is_ready() {
            this.inner.set(None);
        }
        polled
    }
}

impl<S: Stream> Stream for InContext<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let _current = this.cx.clone().attach();
        let polled = inner.poll_next(task);
        if matches!(polled, Poll::Ready(None)) {
            this.inner.set(None);
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.as_ref().map_or((0, Some(0)), Stream::size_hint)
    }
}

/// Takes what is current along into tasks, threads and streams.
///
/// ```
/// use retrace::InRun as _;
///
/// # async fn work() {}
/// # async fn example() {
/// tokio::spawn(work().in_run()).await.unwrap();
/// # }
/// ```
pub trait InRun: Sized {
    /// Polls this with the run, the step and the agent current that are current now.
    fn in_run(self) -> InContext<Self> {
        InContext::new(self, Context::current())
    }
}

impl<T> InRun for T {}

/// Spawns a task on the Tokio runtime, in the run, the step and the agent that are current.
///
/// # Panics
/// Outside of a Tokio runtime, as `tokio::spawn` does.
pub fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future.in_run())
}

/// Runs a blocking function on Tokio's threads for such, in the run, the step and the agent that are current.
///
/// # Panics
/// Outside of a Tokio runtime, as `tokio::task::spawn_blocking` does.
pub fn spawn_blocking<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::task::spawn_blocking(bind(body))
}

/// Starts a thread, in the run, the step and the agent that are current.
///
/// ```
/// let run = retrace::run("pipeline").start();
/// let found = retrace::thread(|| {
///     retrace::current().metadata("thread", "worker");
///     2
/// });
/// # assert_eq!(found.join().unwrap(), 2);
/// ```
pub fn thread<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::spawn(bind(body))
}

/// Binds a closure to the run, the step and the agent that are current: for thread pools such as rayon's.
///
/// ```
/// let run = retrace::run("pipeline").start();
/// let job = retrace::bind(|| retrace::current().is_recorded());
/// let is_recorded = std::thread::scope(|scope| scope.spawn(job).join().unwrap());
/// # assert!(!is_recorded, "nothing is installed");
/// ```
pub fn bind<T>(body: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let cx = Context::current();
    move || {
        let _current = cx.attach();
        body()
    }
}
