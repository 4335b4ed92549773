//! Capture of values by the best means that their type has: `Serialize`, else `Debug`, else the name of the type.

use std::fmt::Debug;

use serde::Serialize;

use crate::value::Value;

/// A value to be captured. `(&&&Capture(&value)).capture()` picks the best of [`ViaSerialize`], [`ViaDebug`] and [`ViaName`].
#[derive(Debug)]
pub struct Capture<'a, T: ?Sized>(pub &'a T);

/// By `Serialize`.
pub trait ViaSerialize {
    /// Records the value.
    fn capture(&self) -> Value;
}

/// By `Debug`.
pub trait ViaDebug {
    /// Records the value.
    fn capture(&self) -> Value;
}

/// By the name of the type.
pub trait ViaName {
    /// Records the name of the type.
    fn capture(&self) -> Value;
}

impl<T: Serialize + ?Sized> ViaSerialize for &&Capture<'_, T> {
    fn capture(&self) -> Value {
        Value::serialize(self.0)
    }
}

impl<T: Debug + ?Sized> ViaDebug for &Capture<'_, T> {
    fn capture(&self) -> Value {
        Value::debug(self.0)
    }
}

impl<T: ?Sized> ViaName for Capture<'_, T> {
    fn capture(&self) -> Value {
        Value::type_name::<T>()
    }
}

/// Captures the value of an expression.
#[doc(hidden)]
#[macro_export]
macro_rules! __capture {
    ($value:expr $(,)?) => {
        match &$value {
            __value => {
                #[allow(unused_imports)]
                use $crate::__private::{ViaDebug as _, ViaName as _, ViaSerialize as _};
                #[allow(clippy::needless_borrow)]
                (&&&$crate::__private::Capture(__value)).capture()
            }
        }
    };
}
