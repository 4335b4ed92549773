//! Records runs of AI agents for Retrace.

#[doc(hidden)]
#[path = "private/mod.rs"]
pub mod __private;
mod agent;
mod attributes;
mod decision;
mod facts;
mod failure;
mod input;
mod installed;
mod items;
mod recorded;
mod value;

pub use opentelemetry_retrace::SpanType;
pub use retrace_sdk_macros::record;

pub use crate::facts::METADATA_KEYS;
pub use crate::value::VALUE_BYTES;
