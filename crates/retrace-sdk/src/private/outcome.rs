//! The outcome of a recorded function, recognised by the type of the value.

use std::error::Error;
use std::fmt::{Debug, Display};

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

/// A returned value. `(&&Returned(&value)).shape()` recognises `Result` and `Option`.
#[derive(Debug)]
pub struct Returned<'a, T: ?Sized>(pub &'a T);

/// Recognises a `Result` or an `Option`.
pub trait ViaShape<'a> {
    /// Type of the value that it holds.
    type Value: ?Sized + 'a;
    /// Its error.
    type Error: ?Sized + 'a;
    /// The value, seen as what it is.
    fn shape(&self) -> Shape<'a, Self::Value, Self::Error>;
}

impl<'a, T, E> ViaShape<'a> for &Returned<'a, Result<T, E>> {
    type Value = T;
    type Error = E;
    fn shape(&self) -> Shape<'a, T, E> {
        match self.0 {
            Ok(value) => Shape::Value(value),
            Err(error) => Shape::Failed(error),
        }
    }
}

impl<'a, T> ViaShape<'a> for &Returned<'a, Option<T>> {
    type Value = T;
    type Error = Plain;
    fn shape(&self) -> Shape<'a, T, Plain> {
        match self.0 {
            Some(value) => Shape::Value(value),
            None => Shape::Nothing,
        }
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

/// Takes any other type as it is.
pub trait ViaPlain<'a> {
    /// The type itself.
    type Value: ?Sized + 'a;
    /// The value, seen as what it is.
    fn shape(&self) -> Shape<'a, Self::Value, Plain>;
}

impl<'a, T: ?Sized> ViaPlain<'a> for Returned<'a, T> {
    type Value = T;
    fn shape(&self) -> Shape<'a, T, Plain> {
        Shape::Value(self.0)
    }
}

/// An error value. `(&&&&&ErrorOf(&error)).failure()` picks the best description that its type has.
#[derive(Debug)]
pub struct ErrorOf<'a, E: ?Sized>(pub &'a E);

/// By the boxed error.
pub trait ViaDynError {
    /// Describes the error.
    fn failure(&self) -> Failure;
}

/// By `Error`.
pub trait ViaError {
    /// Describes the error.
    fn failure(&self) -> Failure;
}

/// By `Display`.
pub trait ViaDisplay {
    /// Describes the error.
    fn failure(&self) -> Failure;
}

/// By `Debug`.
pub trait ViaDebugError {
    /// Describes the error.
    fn failure(&self) -> Failure;
}

/// By the name of the type.
pub trait ViaNameError {
    /// Describes the error.
    fn failure(&self) -> Failure;
}

impl ViaDynError for &&&&ErrorOf<'_, Box<dyn Error>> {
    fn failure(&self) -> Failure {
        Failure::dynamic(&**self.0)
    }
}

impl ViaDynError for &&&&ErrorOf<'_, Box<dyn Error + Send>> {
    fn failure(&self) -> Failure {
        Failure::dynamic(&**self.0)
    }
}

impl ViaDynError for &&&&ErrorOf<'_, Box<dyn Error + Send + Sync>> {
    fn failure(&self) -> Failure {
        Failure::dynamic(&**self.0)
    }
}

impl<E: Error + ?Sized> ViaError for &&&ErrorOf<'_, E> {
    fn failure(&self) -> Failure {
        Failure::error(self.0)
    }
}

impl<E: Display + ?Sized> ViaDisplay for &&ErrorOf<'_, E> {
    fn failure(&self) -> Failure {
        Failure::message(self.0)
    }
}

impl<E: Debug + ?Sized> ViaDebugError for &ErrorOf<'_, E> {
    fn failure(&self) -> Failure {
        Failure::debug(self.0)
    }
}

impl<E: ?Sized> ViaNameError for ErrorOf<'_, E> {
    fn failure(&self) -> Failure {
        Failure::type_name::<E>()
    }
}

/// The outcome of a call from a reference to the value that it returned: `outcome!(value)`, `outcome!(value, |out| expr)`
/// with the `Ok` of a `Result` or the value as `out`, `outcome!(value, skip)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __outcome {
    ($value:expr $(,)?) => {
        $crate::__outcome!(@ $value, __out => $crate::__private::Outcome::returned($crate::__capture!(*__out)))
    };
    ($value:expr, skip $(,)?) => {
        $crate::__outcome!(@ $value, __out => {
            let _ = __out;
            $crate::__private::Outcome::unrecorded()
        })
    };
    ($value:expr, |$out:pat_param| $output:expr $(,)?) => {
        $crate::__outcome!(@ $value, __out => {
            let $out = __out;
            $crate::__private::Outcome::returned($crate::__capture!($output))
        })
    };
    (@ $value:expr, $out:ident => $returned:expr) => {
        match $value {
            __value => {
                #[allow(unused_imports)]
                use $crate::__private::{ViaPlain as _, ViaShape as _};
                #[allow(clippy::needless_borrow)]
                match (&&$crate::__private::Returned(__value)).shape() {
                    $crate::__private::Shape::Value($out) => $returned,
                    $crate::__private::Shape::Nothing => {
                        $crate::__private::Outcome::returned($crate::__private::Value::null())
                    }
                    $crate::__private::Shape::Failed(__error) => $crate::__failed!(__error),
                }
            }
        }
    };
}

/// The outcome of a call from a reference to its error.
#[doc(hidden)]
#[macro_export]
macro_rules! __failed {
    ($error:expr) => {
        match $error {
            __error => {
                #[allow(unused_imports)]
                use $crate::__private::{
                    ViaDebugError as _, ViaDisplay as _, ViaDynError as _, ViaError as _, ViaNameError as _,
                };
                #[allow(clippy::needless_borrow)]
                $crate::__private::Outcome::failed((&&&&&$crate::__private::ErrorOf(__error)).failure())
            }
        }
    };
}
