//! Attribute macros of [`retrace-sdk`](https://docs.rs/retrace-sdk), which re-exports them: write `#[retrace::record]`.
//!
//! The macros read the signature of a function and keep its body as it is, so that a mistake in the body is reported
//! where it stands. Their expansion calls `retrace::__private` and contains no unsafe code.

#![forbid(unsafe_code)]

mod arguments;
mod async_tail;
mod describe;
mod errors;
mod expand;
mod function;
mod golden_test;
mod nearest;
mod parameters;
mod resumable;
mod return_type;
mod values;

/// Records every call of a function as a run or as a step of the run around it.
///
/// ```rust,ignore
/// #[retrace::record(name = "research-agent")]
/// async fn research(topic: &str) -> Result<String, Error> { answer(topic).await }
///
/// #[retrace::record(type = tool_call, skip(client))]
/// async fn search(client: &Client, query: &str) -> Result<Vec<Page>, Error> { client.search(query).await }
/// ```
///
/// The attribute applies to functions, methods, associated functions and trait methods with a body: sync, `async`,
/// returning `impl Future` or a boxed future (so below `#[async_trait]` as well), and, with `stream`, returning a stream.
/// A `const fn` is refused.
///
/// # Arguments
///
/// | argument | meaning | default |
/// |---|---|---|
/// | `name = "…"` | name of the run or step; any constant of type `&'static str` | the function's name |
/// | `type = …` | `run`, `llm_call`, `tool_call`, `tool_result`, `reasoning`, `action`, `error` or `fork_point`, also as a string | a run where no recorded span is current, else `reasoning` |
/// | `input = expr` | recorded as input instead of the arguments | all arguments by name, without `self` |
/// | `skip(a, b)`, `skip_all` | arguments that are not recorded | none |
/// | `output = \|out\| expr` | recorded as output, computed from a reference to the returned value; a function's path does as well. `out` is the value of `Ok` where the function returns a `Result` | the value; of a `Result` the `Ok` |
/// | `skip_output` | the output is not recorded | no |
/// | `session = expr`, `user = expr` | session and user of the run | none |
/// | `tags("a", "b")` | tags of the run, constants | none |
/// | `metadata(key = expr, "other.key" = expr)` | metadata | none |
/// | `agent = "id"`, `role = "…"` | the agent scope around the call | none |
/// | `resumable` | a fork can run the function again: `retrace::resumable!(f)` names it. Beside a function that is no method the attribute writes a hidden type of the same name, which Rust does not permit inside of an `impl` block: an associated function without `self` cannot be resumable (the compiler's error is `enum is not supported in traits or impls`). Make a function beside the block resumable that calls it | no |
/// | `replay` | on a `tool_call`: a replay uses the recorded result instead of executing the function. The input is what it compares. A fork can replace the result, but not the arguments, which takes a step with `memo_with`. The result needs `Serialize` and `Deserialize`; the error of a `Result` may have `From<retrace::StepError>` and `Display` instead | no |
/// | `effects = none \| idempotent \| external` | whether the function may run again after a fork | `external` |
/// | `stream` | the returned stream is recorded to its end, and its items are the output; `output` applies to each item | no |
/// | `crate = path` | path of the crate `retrace` | `::retrace` |
///
/// # Values
///
/// A value is recorded by `Serialize`, else by `Debug`, else as the name of its type. No bound is required. Expressions
/// and arguments are evaluated only for calls that are recorded. Expressions of the attribute see the arguments and
/// `self` as they are when the call begins, and leave them to the body: several arguments are `input = (&a, &b)`.
///
/// # When a call begins and ends
///
/// The call of an `async fn`, and of a function whose body is a single `async` block or `Box::pin(async …)`, begins when
/// its future is first polled. Other functions that return a future or a stream begin when they are called. A call ends
/// when the function returns, its future completes or its stream ends. `Err` and a panic end it as failed. A future that
/// is dropped before its end is recorded as `cancelled`, a stream that is dropped before its end as partial.
///
/// A future or stream that is returned by name, such as `-> MyFuture`, is recorded as a value. Return `impl Future`, a
/// boxed future or a type alias of one to record its end.
///
/// # Limits
///
/// The body runs in a closure or an `async` block: `Location::caller()` in a `#[track_caller]` function returns a
/// location in the function, not its caller.
#[proc_macro_attribute]
pub fn record(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand::record(arguments.into(), item.into()).into()
}

/// Makes a golden test of a function: its model calls and `replay` steps are answered from a cassette, with no network.
///
/// ```rust,ignore
/// #[retrace::test(cassette = "golden/research.jsonl", tolerance(default = exact, "chat*" = shape))]
/// async fn research_is_stable() {
///     assert!(research("tides").await.unwrap().contains("neap"));
/// }
/// ```
///
/// The test fails if a call differs from the recorded one beyond the tolerance, if a call is not recorded, or if a recorded call
/// is not made. It prints the first divergence, expected and got side by side, and how to accept the change.
///
/// An `async` function runs on a Tokio runtime of its thread. Tests run in parallel.
///
/// | argument | meaning | default |
/// |---|---|---|
/// | `cassette = "…"` | file, relative to the crate; any constant of type `&'static str` | needed |
/// | `tolerance(…)` | rules by the name of the call, in which `*` stands for any text, and `default`: `exact`, `shape`, or a function `fn(&Value, &Value, &Diff) -> bool` of the recorded and the live request and their differences | `exact` |
/// | `crate = path` | path of the crate `retrace` | `::retrace` |
///
/// `RETRACE_CASSETTE` selects what is done: `replay`, the default; `record`, all calls go out and the cassette is written anew;
/// `update`, only calls that changed go out. The last two are refused where `CI` is set.
#[proc_macro_attribute]
pub fn test(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    golden_test::expand(arguments.into(), item.into()).into()
}
