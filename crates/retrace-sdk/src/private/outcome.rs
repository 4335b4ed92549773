//! What a recorded function returned, recognised by the type of the value.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::ops::Deref;

use crate::failure::Failure;
use crate::value::Value;

/// How a call ended.
#[derive(Debug)]
pub struct Outcome(pub(crate) Ended);

#[derive(Debug)]
pub(crate) enum Ended {
    /// With a value, or with one that is not recorded.
    Returned(Option<Value>),
    Failed(Failure),
}

impl Outcome {
    /// It returned this value.
    #[must_use]
    pub fn returned(value: Value) -> Self {
        Self(Ended::Returned(Some(value)))
    }

    /// It returned a value that is not recorded.
    #[must_use]
    pub fn unrecorded() -> Self {
        Self(Ended::Returned(None))
    }

    /// It returned `None`.
    #[must_use]
    pub fn nothing() -> Self {
        Self::returned(Value::null())
    }

    /// It failed.
    #[must_use]
    pub fn failed(failure: Failure) -> Self {
        Self(Ended::Failed(failure))
    }
}

/// A returned value, seen as what it is.
#[derive(Debug)]
pub enum Shape<'a, T: ?Sized, E: ?Sized> {
    /// A value: of a `Result` the `Ok`, of an `Option` the `Some`.
    Value(&'a T),
    /// The `None` of an `Option`.
    Nothing,
    /// The `Err` of a `Result`.
    Failed(&'a E),
}

/// A returned value. Its `shape()` recognises `Result` and `Option`; that of any other type is the one of [`AnyReturned`].
#[derive(Debug)]
pub struct Returned<'a, T: ?Sized>(AnyReturned<'a, T>);

/// A returned value of any type.
#[derive(Debug)]
pub struct AnyReturned<'a, T: ?Sized>(&'a T);

impl<'a, T: ?Sized> Returned<'a, T> {
    /// Wraps a value.
    pub fn of(value: &'a T) -> Self {
        Self(AnyReturned(value))
    }
}

impl<'a, T, E> Returned<'a, Result<T, E>> {
    /// The value, seen as what it is.
    #[must_use]
    pub fn shape(&self) -> Shape<'a, T, E> {
        match self.0.0 {
            Ok(value) => Shape::Value(value),
            Err(error) => Shape::Failed(error),
        }
    }
}

impl<'a, T> Returned<'a, Option<T>> {
    /// The value, seen as what it is.
    #[must_use]
    pub fn shape(&self) -> Shape<'a, T, Plain> {
        match self.0.0 {
            Some(value) => Shape::Value(value),
            None => Shape::Nothing,
        }
    }
}

impl<'a, T: ?Sized> AnyReturned<'a, T> {
    /// The value, seen as what it is.
    #[must_use]
    pub fn shape(&self) -> Shape<'a, T, Plain> {
        Shape::Value(self.0)
    }
}

impl<'a, T: ?Sized> Deref for Returned<'a, T> {
    type Target = AnyReturned<'a, T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Error of a type that has none.
#[derive(Debug)]
pub enum Plain {}

impl Display for Plain {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

/// An error value. Its `failure()` is the best description that its type has: that of a boxed error, else that of the first
/// of the wrappers below it whose bound holds.
#[derive(Debug)]
pub struct ErrorOf<'a, E: ?Sized>(ViaError<'a, E>);

impl<'a, E: ?Sized> ErrorOf<'a, E> {
    /// Wraps an error.
    pub fn of(error: &'a E) -> Self {
        Self(ViaError(ViaDisplay(ViaDebugError(ViaNameError(error)))))
    }

    fn error(&self) -> &'a E {
        self.0.0.0.0.0
    }
}

/// An error value that is described by `Error` or else.
#[derive(Debug)]
pub struct ViaError<'a, E: ?Sized>(ViaDisplay<'a, E>);

/// An error value that is described by `Display` or else.
#[derive(Debug)]
pub struct ViaDisplay<'a, E: ?Sized>(ViaDebugError<'a, E>);

/// An error value that is described by `Debug` or else.
#[derive(Debug)]
pub struct ViaDebugError<'a, E: ?Sized>(ViaNameError<'a, E>);

/// An error value that is described by the name of its type.
#[derive(Debug)]
pub struct ViaNameError<'a, E: ?Sized>(&'a E);

macro_rules! boxed_errors {
    ($($of:ty;)*) => { $(
        impl ErrorOf<'_, $of> {
            /// Describes the error.
            #[must_use]
            pub fn failure(&self) -> Failure {
                Failure::dynamic(&**self.error())
            }
        }
    )* };
}

boxed_errors! {
    Box<dyn Error>;
    Box<dyn Error + Send>;
    Box<dyn Error + Send + Sync>;
}

impl<E: Error + ?Sized> ViaError<'_, E> {
    /// Describes the error.
    #[must_use]
    pub fn failure(&self) -> Failure {
        Failure::error(self.0.0.0.0)
    }
}

impl<E: Display + ?Sized> ViaDisplay<'_, E> {
    /// Describes the error.
    #[must_use]
    pub fn failure(&self) -> Failure {
        Failure::message(self.0.0.0)
    }
}

impl<E: Debug + ?Sized> ViaDebugError<'_, E> {
    /// Describes the error.
    #[must_use]
    pub fn failure(&self) -> Failure {
        Failure::debug(self.0.0)
    }
}

impl<E: ?Sized> ViaNameError<'_, E> {
    /// Describes the error.
    #[must_use]
    pub fn failure(&self) -> Failure {
        Failure::type_name::<E>()
    }
}

macro_rules! falls_back {
    ($($from:ident => $to:ident;)*) => { $(
        impl<'a, E: ?Sized> Deref for $from<'a, E> {
            type Target = $to<'a, E>;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
    )* };
}

falls_back! {
    ErrorOf => ViaError;
    ViaError => ViaDisplay;
    ViaDisplay => ViaDebugError;
    ViaDebugError => ViaNameError;
}

/// The outcome of a call from a reference to the value that it returned, which is captured where `content` is true:
/// `outcome!(value, content)`, `outcome!(value, content, |out| expr)` with the `Ok` of a `Result` or the value as `out`,
/// `outcome!(value, content, skip)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __outcome {
    ($value:expr, $content:expr $(,)?) => {
        match $crate::__private::Returned::of($value).shape() {
            $crate::__private::Shape::Value(__out) if $content => {
                $crate::__private::Outcome::returned($crate::__private::Capture::of(__out).capture())
            }
            $crate::__private::Shape::Nothing if $content => $crate::__private::Outcome::nothing(),
            $crate::__private::Shape::Failed(__error) => $crate::__failed!(__error),
            _ => $crate::__private::Outcome::unrecorded(),
        }
    };
    ($value:expr, $content:expr, skip $(,)?) => {
        match $crate::__private::Returned::of($value).shape() {
            $crate::__private::Shape::Failed(__error) => $crate::__failed!(__error),
            _ => $crate::__private::Outcome::unrecorded(),
        }
    };
    ($value:expr, $content:expr, |$out:pat_param| $output:expr $(,)?) => {
        match $crate::__private::Returned::of($value).shape() {
            $crate::__private::Shape::Value($out) if $content => {
                $crate::__private::Outcome::returned($crate::__capture!($output))
            }
            $crate::__private::Shape::Nothing if $content => $crate::__private::Outcome::nothing(),
            $crate::__private::Shape::Failed(__error) => $crate::__failed!(__error),
            _ => $crate::__private::Outcome::unrecorded(),
        }
    };
}

/// The outcome of a call from a reference to its error.
#[doc(hidden)]
#[macro_export]
macro_rules! __failed {
    ($error:expr) => {
        $crate::__private::Outcome::failed($crate::__private::ErrorOf::of($error).failure())
    };
}
