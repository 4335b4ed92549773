//! Values that count how often they are read.

use std::cell::Cell;
use std::fmt;
use std::future::ready;

use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use serde::{Serialize, Serializer};

thread_local! {
    static READ: Cell<usize> = const { Cell::new(0) };
}

/// Counts an evaluation on this thread.
pub(crate) fn evaluated<T>(value: T) -> T {
    READ.with(|read| read.set(read.get() + 1));
    value
}

/// Returns the number of evaluations on this thread since the last call.
pub(crate) fn evaluations() -> usize {
    READ.with(|read| read.replace(0))
}

/// Read by `Serialize`.
#[derive(Clone, Copy)]
pub(crate) struct Serialised;

impl Serialize for Serialised {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(evaluated(1))
    }
}

/// Read by `Debug`, and by `Display` as an error.
#[derive(Clone, Copy)]
pub(crate) struct Formatted;

impl fmt::Debug for Formatted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(evaluated("formatted"))
    }
}

impl fmt::Display for Formatted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(evaluated("formatted"))
    }
}

impl std::error::Error for Formatted {}

#[retrace::record(name = "counting", session = evaluated("s"), user = evaluated("u"), metadata(key = evaluated(1)))]
fn sync(first: Serialised, second: Formatted) -> Serialised {
    let _ = second;
    first
}

#[retrace::record(name = "counting", input = evaluated(1), output = |out| evaluated(out))]
fn expressions() -> u8 {
    1
}

#[retrace::record(name = "counting")]
async fn fails_later(first: Serialised, second: Formatted) -> Result<(), Formatted> {
    let _ = first;
    ready(()).await;
    Err(second)
}

#[retrace::record(name = "counting")]
fn future(first: Serialised) -> impl Future<Output = Serialised> {
    ready(first)
}

#[retrace::record(name = "counting", stream)]
fn streams(first: Serialised) -> impl Stream<Item = Serialised> {
    stream::iter([first, first])
}

#[retrace::record(name = "counting")]
async fn panics(first: Serialised) {
    let _ = first;
    panic!("as it should")
}

#[retrace::record(name = "counting", type = tool_call)]
fn steps(first: Serialised) -> Serialised {
    sync(first, Formatted)
}

/// Calls functions of every kind with values that count how often they are read.
pub(crate) fn call_all() {
    sync(Serialised, Formatted);
    expressions();
    assert!(fails_later(Serialised, Formatted).now_or_never().unwrap().is_err());
    future(Serialised).now_or_never().unwrap();
    assert_eq!(streams(Serialised).count().now_or_never(), Some(2));
    drop(fails_later(Serialised, Formatted));
    drop(streams(Serialised));
    steps(Serialised);
    let unwound = std::panic::catch_unwind(|| panics(Serialised).now_or_never());
    assert_eq!(unwound.unwrap_err().downcast_ref::<&str>(), Some(&"as it should"));
}
