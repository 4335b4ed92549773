//! Code of edition 2021, under strict lints and in awkward places, that is recorded. `.ci/run stranger` checks it with clippy.

#![deny(warnings, clippy::pedantic)]
// They are about these functions, with or without the attribute.
#![allow(clippy::missing_errors_doc, clippy::missing_panics_doc, clippy::must_use_candidate)]

pub mod attributes;
pub mod bare;
pub mod functions;
pub mod shadowed;

/// A crate that has its own copy of the SDK re-exports it, and its users name it with `crate = path`.
pub mod vendored {
    pub use ::retrace::*;
}
