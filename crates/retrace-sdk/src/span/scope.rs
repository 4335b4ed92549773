//! Runs, steps and agents around futures.

use std::fmt::Display;
use std::future::Future;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::{Builder, RunBuilder, StepBuilder};
use crate::__private::{Call, Outcome, call_async, call_sync};
use crate::failure::Failure;
use crate::handle::SpanHandle;
use crate::memo::{ByMessage, BySerde, StepError, memoised, memoised_sync, memoised_with};
use crate::value::Value;

/// Body of a step: a future, or an async closure that takes the handle.
///
/// The parameter of a closure needs its type, `async |step: SpanHandle| …`, unless it is not used;
/// [`Builder::scope_with`](crate::Builder::scope_with) needs none. `M` distinguishes the two and is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a future nor an async closure that takes a `SpanHandle`",
    note = "write `.scope(async {{ … }})` or `.scope_with(async |step| {{ … }})`"
)]
pub trait ScopeBody<M> {
    /// Output of the future.
    type Output;

    /// The future to be run.
    #[doc(hidden)]
    fn into_future(self, handle: SpanHandle) -> impl Future<Output = Self::Output>;
}

/// A body that is a future.
#[derive(Debug)]
pub enum ByFuture {}

/// A body that is an async closure.
#[derive(Debug)]
pub struct ByClosure<T>(PhantomData<fn() -> T>);

impl<F: Future> ScopeBody<ByFuture> for F {
    type Output = F::Output;

    fn into_future(self, _: SpanHandle) -> impl Future<Output = F::Output> {
        self
    }
}

impl<T, F: AsyncFnOnce(SpanHandle) -> T> ScopeBody<ByClosure<T>> for F {
    type Output = T;

    async fn into_future(self, handle: SpanHandle) -> T {
        self(handle).await
    }
}

impl RunBuilder {
    /// Runs an async closure with the run current. The run starts when the future is first polled, and ends with it: a panic is
    /// recorded and goes on, and a future that is dropped before is recorded as cancelled.
    ///
    /// ```
    /// # async fn search(question: &str) -> String { question.to_owned() }
    /// # async fn example() {
    /// let answer = retrace::run("pipeline")
    ///     .scope(async |run| {
    ///         let answer = search("tides").await;
    ///         run.output(&answer);
    ///         answer
    ///     })
    ///     .await;
    /// # }
    /// ```
    ///
    /// For a future that is there already: [`Builder::instrument`].
    pub async fn scope<T, F: AsyncFnOnce(SpanHandle) -> T>(self, body: F) -> T {
        self.scope_with(body).await
    }
}

impl StepBuilder {
    /// Runs a future, or an async closure, with the step current. The step starts when the future is first polled, and ends
    /// with it: a panic is recorded and goes on, and a future that is dropped before is recorded as cancelled.
    ///
    /// ```
    /// use retrace::SpanType;
    ///
    /// # async fn search(question: &str) -> String { question.to_owned() }
    /// # async fn example() {
    /// let found = retrace::step("web_search", SpanType::ToolCall).scope(async { search("tides").await }).await;
    /// # }
    /// ```
    ///
    /// The argument of a closure needs its type here, `async |step: SpanHandle| …`; that of [`Builder::scope_with`] does not.
    pub async fn scope<M, B: ScopeBody<M>>(self, body: B) -> B::Output {
        let handle = self.begin();
        let call = Call::of(&handle);
        call_async(call, body.into_future(handle), |_, _| Outcome::unrecorded()).await
    }
}

impl StepBuilder {
    /// Runs a future as a step whose result is recorded and, in a replay, used instead of running it again. The input of the step
    /// is what a replay compares: set it with [`input`](Builder::input).
    ///
    /// Outside of a recording and a replay it is [`StepBuilder::scope`]. A step that a replay refuses ends the run: `run` returns
    /// the refusal. For a step that may fail: [`StepBuilder::try_memo`].
    ///
    /// ```
    /// use retrace::{Effects, SpanType};
    ///
    /// # async fn search(query: &str) -> Vec<String> { vec![query.to_owned()] }
    /// # async fn example() {
    /// let query = "tides";
    /// let step = retrace::step("web_search", SpanType::ToolCall).input(query).effects(Effects::None);
    /// let found: Vec<String> = step.memo(async { search(query).await }).await;
    /// # }
    /// ```
    pub async fn memo<F: Future>(self, body: F) -> F::Output
    where
        F::Output: Serialize + DeserializeOwned,
    {
        let (handle, memo) = self.begin_memo();
        let body = memoised(memo, body, BySerde);
        call_async(Call::of(&handle), body, returned).await
    }

    /// [`StepBuilder::memo`] for a step that may fail: an `Err` is recorded as its message and, in a replay, made of it again. A
    /// refusal is an `Err` as well.
    ///
    /// # Errors
    /// Those of `body`, also recorded ones, and refusals.
    pub async fn try_memo<T, E, F>(self, body: F) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<StepError> + Display,
        F: Future<Output = Result<T, E>>,
    {
        let (handle, memo) = self.begin_memo();
        let body = memoised(memo, body, ByMessage);
        call_async(Call::of(&handle), body, |result, content| match result {
            Ok(value) => returned(value, content),
            Err(error) => Outcome::failed(Failure::message(error)),
        })
        .await
    }

    /// [`StepBuilder::memo`] for a closure that takes its arguments, so that a fork can replace them. The arguments are the input.
    pub async fn memo_with<I, F>(self, arguments: I, body: impl FnOnce(I) -> F) -> F::Output
    where
        I: Serialize + DeserializeOwned,
        F: Future,
        F::Output: Serialize + DeserializeOwned,
    {
        let (handle, memo) = self.input(&arguments).begin_memo();
        let body = memoised_with(memo, arguments, body, BySerde);
        call_async(Call::of(&handle), body, returned).await
    }

    /// [`StepBuilder::memo`] for a closure that is not `async`. A refused step unwinds to the run.
    pub fn memo_sync<T: Serialize + DeserializeOwned>(self, body: impl FnOnce() -> T) -> T {
        let (handle, memo) = self.begin_memo();
        let call = Call::of(&handle);
        call_sync(call, || memoised_sync(memo, body, &BySerde), returned)
    }
}

/// The outcome of a step that returned `value`, which is serialised where content is recorded.
fn returned<T: Serialize>(value: &T, content: bool) -> Outcome {
    if content { Outcome::returned(Value::serialize(value)) } else { Outcome::unrecorded() }
}

impl<K> Builder<K> {
    /// Runs an async closure that takes the handle, with the run or the step current.
    ///
    /// ```
    /// use retrace::SpanType;
    ///
    /// # async fn example() {
    /// let plan = retrace::step("plan", SpanType::Reasoning).scope_with(async |step| {
    ///     step.output("ask the harbour master");
    /// }).await;
    /// # }
    /// ```
    pub async fn scope_with<T, F: AsyncFnOnce(SpanHandle) -> T>(self, body: F) -> T {
        let handle = self.begin();
        let call = Call::of(&handle);
        call_async(call, async move { body(handle).await }, |_, _| Outcome::unrecorded()).await
    }

    /// Runs a future with the run or the step current.
    ///
    /// ```
    /// # async fn agent() -> u32 { 1 }
    /// # async fn example() {
    /// let answer = retrace::run("pipeline").instrument(agent()).await;
    /// # }
    /// ```
    pub async fn instrument<F: Future>(self, future: F) -> F::Output {
        let call = Call::of(&self.begin());
        call_async(call, future, |_, _| Outcome::unrecorded()).await
    }

    /// [`Builder::scope_with`] for a body that may fail: an `Err` is recorded as a failure.
    ///
    /// ```
    /// # async fn search(question: &str) -> Result<String, std::io::Error> { Ok(question.to_owned()) }
    /// # async fn example() -> Result<(), std::io::Error> {
    /// let answer = retrace::run("pipeline").try_scope(async |run| {
    ///     let answer = search("tides").await?;
    ///     run.output(&answer);
    ///     Ok::<_, std::io::Error>(answer)
    /// }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_scope<T, E: Display, F>(self, body: F) -> impl Future<Output = Result<T, E>>
    where
        F: AsyncFnOnce(SpanHandle) -> Result<T, E>,
    {
        self.scope_with(async move |handle| {
            let run = handle.clone();
            body(handle).await.inspect_err(|error| {
                run.fail(error);
            })
        })
    }
}
