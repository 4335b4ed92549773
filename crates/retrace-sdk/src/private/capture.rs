//! Capture of values by the best means that their type has: `Serialize`, else `Debug`, else the name of the type.
//!
//! Each means is an inherent `capture()` of a wrapper that derefs to the wrapper of the next one: the compiler takes the first
//! whose bound holds.

use std::fmt::Debug;
use std::ops::Deref;

use serde::Serialize;

use super::call::Details;
use crate::value::Value;

/// A value to be captured, by `Serialize` or else.
#[derive(Debug)]
pub struct Capture<'a, T: ?Sized>(ViaDebug<'a, T>);

/// A value to be captured by `Debug` or else.
#[derive(Debug)]
pub struct ViaDebug<'a, T: ?Sized>(ViaName<'a, T>);

/// A value to be captured as the name of its type.
#[derive(Debug)]
pub struct ViaName<'a, T: ?Sized>(&'a T);

impl<'a, T: ?Sized> Capture<'a, T> {
    /// Wraps a value.
    pub fn of(value: &'a T) -> Self {
        Self(ViaDebug(ViaName(value)))
    }
}

impl<T: Serialize + ?Sized> Capture<'_, T> {
    /// Records the value.
    #[must_use]
    pub fn capture(&self) -> Value {
        Value::serialize(self.0.0.0)
    }

    /// Records the value as an argument of a call.
    pub fn argument(&self, details: &mut Details, name: &'static str) {
        details.arguments().serialize(name, self.0.0.0);
    }
}

impl<T: Debug + ?Sized> ViaDebug<'_, T> {
    /// Records the value.
    #[must_use]
    pub fn capture(&self) -> Value {
        Value::debug(self.0.0)
    }

    /// Records the value as an argument of a call.
    pub fn argument(&self, details: &mut Details, name: &'static str) {
        details.arguments().push(name, &self.capture());
    }
}

impl<T: ?Sized> ViaName<'_, T> {
    /// Records the name of the type.
    #[must_use]
    pub fn capture(&self) -> Value {
        Value::type_name::<T>()
    }

    /// Records the name of the type as an argument of a call.
    pub fn argument(&self, details: &mut Details, name: &'static str) {
        details.arguments().push(name, &self.capture());
    }
}

impl<'a, T: ?Sized> Deref for Capture<'a, T> {
    type Target = ViaDebug<'a, T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'a, T: ?Sized> Deref for ViaDebug<'a, T> {
    type Target = ViaName<'a, T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Captures the value of an expression.
#[doc(hidden)]
#[macro_export]
macro_rules! __capture {
    ($value:expr $(,)?) => {
        $crate::__private::Capture::of(&$value).capture()
    };
}
