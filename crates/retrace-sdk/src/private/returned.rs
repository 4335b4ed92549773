//! Calls whose function returns a future or a stream: the call goes on until that ends.
//!
//! A boxed future or stream is boxed again, so that the type of what is returned stays; any other becomes the type of the
//! recorded one. Which of both it is, the type of the value decides: `way()` is an inherent method of the probe of a boxed
//! type, and of what the probe derefs to for any other type.

use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;

use futures_core::Stream;

use super::call::{Call, call_async};
use super::outcome::{Outcome, Plain};
use super::stream::{Recording, call_stream};

/// Finds out how a value of a type is recorded.
#[derive(Debug)]
pub struct Probe<K, T>(Fallback<K, T>);

/// A value of a type that no probe knows.
#[derive(Debug)]
pub struct Fallback<K, T>(Other<K, T>);

/// A value that is not of the kind it should be.
#[derive(Debug)]
pub struct Other<K, T>(PhantomData<fn() -> (K, T)>);

impl<K, T> Deref for Fallback<K, T> {
    type Target = Other<K, T>;

    fn deref(&self) -> &Other<K, T> {
        &self.0
    }
}

impl<K, T> Deref for Probe<K, T> {
    type Target = Fallback<K, T>;

    fn deref(&self) -> &Fallback<K, T> {
        &self.0
    }
}

/// Returns the probe of a value.
pub fn probe<K, T>(_: &T) -> Probe<K, T> {
    Probe(Fallback(Other(PhantomData)))
}

/// Values that are futures.
#[derive(Debug)]
pub enum Futures {}

/// Values that are streams.
#[derive(Debug)]
pub enum Streams {}

/// Values that are streams, or hold one.
#[derive(Debug)]
pub enum Holders {}

/// A future or a stream that is not boxed.
#[derive(Clone, Copy, Debug)]
pub struct Unboxed;

/// A stream, where a function may return one.
#[diagnostic::on_unimplemented(
    message = "`#[record(stream)]` needs a function that returns a stream, and `{Self}` is none",
    label = "not a stream"
)]
pub trait RecordableStream {
    /// Items of the stream.
    type Item;
    /// The recorded stream.
    type Recorded<O>;

    /// Records the stream.
    fn recorded<O: FnMut(&Self::Item, bool) -> Outcome>(self, call: Call, item: O) -> Self::Recorded<O>;
}

// Without the attribute the error would be that there is no `Stream`, and lists some.
#[diagnostic::do_not_recommend]
impl<S: Stream> RecordableStream for S {
    type Item = S::Item;
    type Recorded<O> = Recording<S, O>;

    fn recorded<O: FnMut(&S::Item, bool) -> Outcome>(self, call: Call, item: O) -> Recording<S, O> {
        call_stream(call, self, item)
    }
}

impl<T> Fallback<Futures, T> {
    /// The way in which the future is recorded.
    #[must_use]
    pub fn way(&self) -> Unboxed {
        Unboxed
    }
}

impl<T: Stream> Fallback<Streams, T> {
    /// The way in which the stream is recorded.
    #[must_use]
    pub fn way(&self) -> Unboxed {
        Unboxed
    }
}

impl<T> Other<Streams, T> {
    /// The way of a value that is no stream.
    #[must_use]
    pub fn way(&self) -> NoStream {
        NoStream
    }
}

/// A value where a stream should be. Its type never has the bound, so that this is the one error that the compiler shows.
#[derive(Clone, Copy, Debug)]
pub struct NoStream;

impl NoStream {
    /// Returns the value.
    pub fn stream<S: RecordableStream>(self, _: Call, value: S, _: impl FnMut(&Plain, bool) -> Outcome) -> S {
        value
    }
}

impl Unboxed {
    /// Records a future.
    pub fn future<T>(
        self,
        call: Call,
        future: impl Future<Output = T>,
        outcome: impl FnOnce(&T, bool) -> Outcome,
    ) -> impl Future<Output = T> {
        call_async(call, future, outcome)
    }

    /// Records a stream.
    pub fn stream<S: RecordableStream, O: FnMut(&S::Item, bool) -> Outcome>(
        self,
        call: Call,
        stream: S,
        item: O,
    ) -> S::Recorded<O> {
        stream.recorded(call, item)
    }
}

/// Ways of boxed futures.
macro_rules! boxed_futures {
    ($($way:ident: $of:ty, $pinned:path, $boxed:path, ($($bound:tt)*);)*) => { $(
        /// A boxed future.
        #[derive(Clone, Copy, Debug)]
        pub struct $way;

        impl<'a, T> Probe<Futures, $of> {
            /// The way in which the future is recorded.
            #[must_use]
            pub fn way(&self) -> $way {
                $way
            }
        }

        impl $way {
            /// Records a future.
            pub fn future<'a, T: 'a>(
                self,
                call: Call,
                future: $of,
                outcome: impl FnOnce(&T, bool) -> Outcome $($bound)* + 'a,
            ) -> $of {
                $boxed(call_async(call, $pinned(future), outcome))
            }
        }
    )* };
}

boxed_futures! {
    Local: Pin<Box<dyn Future<Output = T> + 'a>>, std::convert::identity, Box::pin, ();
    Sending: Pin<Box<dyn Future<Output = T> + Send + 'a>>, std::convert::identity, Box::pin, (+ Send);
    Sharing: Pin<Box<dyn Future<Output = T> + Send + Sync + 'a>>, std::convert::identity, Box::pin, (+ Send + Sync);
    LocalBox: Box<dyn Future<Output = T> + 'a>, Box::into_pin, Box::new, ();
    SendingBox: Box<dyn Future<Output = T> + Send + 'a>, Box::into_pin, Box::new, (+ Send);
    UnpinBox: Box<dyn Future<Output = T> + Unpin + 'a>, Box::into_pin, Box::new, (+ Unpin);
    SendingUnpinBox: Box<dyn Future<Output = T> + Send + Unpin + 'a>, Box::into_pin, Box::new, (+ Send + Unpin);
}

/// Ways of boxed streams.
macro_rules! boxed_streams {
    ($($way:ident: $of:ty, ($($bound:tt)*);)*) => { $(
        /// A boxed stream.
        #[derive(Clone, Copy, Debug)]
        pub struct $way;

        impl<'a, T> Probe<Streams, $of> {
            /// The way in which the stream is recorded.
            #[must_use]
            pub fn way(&self) -> $way {
                $way
            }
        }

        impl $way {
            /// Records a stream.
            pub fn stream<'a, T: 'a>(
                self,
                call: Call,
                stream: $of,
                item: impl FnMut(&T, bool) -> Outcome $($bound)* + 'a,
            ) -> $of {
                Box::pin(call_stream(call, stream, item))
            }
        }
    )* };
}

boxed_streams! {
    LocalStream: Pin<Box<dyn Stream<Item = T> + 'a>>, ();
    SendingStream: Pin<Box<dyn Stream<Item = T> + Send + 'a>>, (+ Send);
    SharingStream: Pin<Box<dyn Stream<Item = T> + Send + Sync + 'a>>, (+ Send + Sync);
}

/// A stream by itself.
#[derive(Clone, Copy, Debug)]
pub struct Bare;

/// A stream, or an error.
#[derive(Clone, Copy, Debug)]
pub struct Fallible;

/// A stream, or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Optional;

impl<T> Fallback<Holders, T> {
    /// How the value holds a stream.
    #[must_use]
    pub fn way(&self) -> Bare {
        Bare
    }
}

impl<T, E> Probe<Holders, Result<T, E>> {
    /// How the value holds a stream.
    #[must_use]
    pub fn way(&self) -> Fallible {
        Fallible
    }
}

impl<T> Probe<Holders, Option<T>> {
    /// How the value holds a stream.
    #[must_use]
    pub fn way(&self) -> Optional {
        Optional
    }
}

impl Bare {
    /// Records the stream.
    pub fn each<T, R>(
        self,
        call: Call,
        value: T,
        stream: impl FnOnce(Call, T) -> R,
        _: impl FnOnce(&Plain) -> Outcome,
    ) -> R {
        stream(call, value)
    }
}

impl Fallible {
    /// Records the stream, or the error as that of the call.
    ///
    /// # Errors
    /// That of the value.
    pub fn each<T, E, R>(
        self,
        call: Call,
        value: Result<T, E>,
        stream: impl FnOnce(Call, T) -> R,
        failed: impl FnOnce(&E) -> Outcome,
    ) -> Result<R, E> {
        match value {
            Ok(value) => Ok(stream(call, value)),
            Err(error) => {
                call.finish(|| failed(&error));
                Err(error)
            }
        }
    }
}

impl Optional {
    /// Records the stream, or that there is none.
    pub fn each<T, R>(
        self,
        call: Call,
        value: Option<T>,
        stream: impl FnOnce(Call, T) -> R,
        _: impl FnOnce(&Plain) -> Outcome,
    ) -> Option<R> {
        if value.is_none() {
            call.finish(|| Outcome::returned(super::Value::null()));
            return None;
        }
        value.map(|value| stream(call, value))
    }
}

/// The future of a call that goes on: `future!(call, future, Output, |value, content| outcome)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __future {
    ($call:expr, $future:expr, $output:ty, $outcome:expr) => {
        match $future {
            __future => {
                let __way = $crate::__private::probe::<$crate::__private::Futures, _>(&__future).way();
                __way.future::<$output>($call, __future, $outcome)
            }
        }
    };
}

/// The stream of a call that goes on: `stream!(call, stream, |item, content| outcome)`. The stream may be in a `Result` or an `Option`.
#[doc(hidden)]
#[macro_export]
macro_rules! __stream {
    ($call:expr, $value:expr, $item:expr) => {
        match $value {
            __value => {
                let __way = $crate::__private::probe::<$crate::__private::Holders, _>(&__value).way();
                __way.each(
                    $call,
                    __value,
                    |__call, __stream| {
                        let __way = $crate::__private::probe::<$crate::__private::Streams, _>(&__stream).way();
                        __way.stream(__call, __stream, $item)
                    },
                    |__error| $crate::__private::failed!(__error),
                )
            }
        }
    };
}
