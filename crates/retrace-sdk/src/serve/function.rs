//! Functions that can be run again, and their executions.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

use tokio::runtime::Handle;

use super::{ArgumentError, Arguments};

/// A function that can be run again; made by [`resumable!`](crate::resumable!).
pub struct Resumable {
    pub(crate) name: &'static str,
    pub(crate) parameters: &'static [&'static str],
    run: Box<dyn Fn(Arguments) -> Execution + Send + Sync>,
}

impl Resumable {
    /// Name of the runs that the function records.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn execution(&self, arguments: Arguments) -> Execution {
        (self.run)(arguments)
    }
}

impl fmt::Debug for Resumable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumable")
            .field("name", &self.name)
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// Makes one of what `#[record(resumable)]` writes beside a function.
#[must_use]
pub fn resumable(
    name: &'static str,
    parameters: &'static [&'static str],
    run: impl Fn(Arguments) -> Execution + Send + Sync + 'static,
) -> Resumable {
    Resumable { name, parameters, run: Box::new(run) }
}

/// Reads arguments by `serde`.
#[derive(Debug)]
pub enum BySerde {}

/// One execution of a function.
pub enum Execution {
    /// Of an `async` function.
    Async(Pin<Box<dyn Future<Output = Result<(), ArgumentError>> + Send>>),
    /// Of another function.
    Blocking(Box<dyn FnOnce() -> Result<(), ArgumentError> + Send>),
}

impl fmt::Debug for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_blocking() { "Blocking" } else { "Async" })
    }
}

/// An execution that was made by the expansion of `#[record(resumable)]`.
pub trait Run {
    /// Makes it one of any function.
    fn into_execution(self) -> Execution;
}

/// Future of an `async` function.
#[derive(Debug)]
pub struct AsyncRun<F>(pub F);

/// Call of a function that is not `async`.
#[derive(Debug)]
pub struct BlockingRun<F>(pub F);

impl<F: Future<Output = Result<(), ArgumentError>> + Send + 'static> Run for AsyncRun<F> {
    fn into_execution(self) -> Execution {
        Execution::Async(Box::pin(self.0))
    }
}

impl<F: FnOnce() -> Result<(), ArgumentError> + Send + 'static> Run for BlockingRun<F> {
    fn into_execution(self) -> Execution {
        Execution::Blocking(Box::new(self.0))
    }
}

impl Execution {
    /// Returns true if it cannot be dropped while it runs.
    pub(crate) fn is_blocking(&self) -> bool {
        matches!(self, Self::Blocking(_))
    }

    /// Runs it in the context that is current: an `async` function here, another one on a thread of Tokio's where there is one.
    /// A panic goes on.
    pub(crate) async fn run(self) -> Result<(), ArgumentError> {
        match self {
            Self::Async(future) => future.await,
            Self::Blocking(body) if Handle::try_current().is_ok() => match crate::spawn_blocking(body).await {
                Ok(returned) => returned,
                Err(error) => match error.try_into_panic() {
                    Ok(payload) => std::panic::resume_unwind(payload),
                    // The runtime ends.
                    Err(_) => Ok(()),
                },
            },
            Self::Blocking(body) => body(),
        }
    }
}

/// Polls a future, and returns `None` if it panics. The panic is in the record of the run.
pub(crate) async fn unless_panicked<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    let mut future = future;
    std::future::poll_fn(move |task| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(task))) {
        Ok(polled) => polled.map(Some),
        Err(_) => std::task::Poll::Ready(None),
    })
    .await
}

/// Passes on the items beside a resumable function. Inside of an `impl` block, where they cannot stand, the compiler's error names this
/// macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __associated_functions_cannot_be_resumable {
    ($($items:tt)*) => { $($items)* };
}

/// A function that [`serve`](crate::serve()) can run again: `resumable!(research)`, or with a path, `resumable!(agents::research)`.
///
/// The function needs `#[retrace::record(resumable)]`. It takes its arguments by value or by reference; each has a type that is
/// `Deserialize`. It has no type parameters, and takes no `self`. A future that it returns is `Send`.
#[macro_export]
macro_rules! resumable {
    ($($function:ident)::+ $(,)?) => {{
        // The name is that of the error about any other function.
        use $($function)::+ as function_without_record_resumable;
        type Function = function_without_record_resumable;
        $crate::__private::resumable(Function::__NAME, Function::__PARAMETERS, |arguments| {
            let run = Function::__run::<$crate::__private::BySerdeArguments>(arguments);
            $crate::__private::Run::into_execution(run)
        })
    }};
}
