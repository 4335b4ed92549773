//! Records runs of AI agents for Retrace.

#[doc(hidden)]
#[path = "private/mod.rs"]
pub mod __private;
mod agent;
mod attributes;
mod builder;
mod carry;
pub mod clients;
mod configuration;
mod decision;
mod facts;
mod exit;
mod failure;
mod guard;
mod handle;
mod input;
mod install;
mod installed;
mod items;
mod open;
mod recorded;
mod scope;
mod setters;
mod value;

pub use opentelemetry;
pub use opentelemetry_retrace::*;
pub use opentelemetry_sdk;
pub use retrace_sdk_macros::record;

pub use crate::agent::{AgentBuilder, AgentGuard, agent};
pub use crate::builder::{Builder, Run, RunBuilder, Step, StepBuilder, fork_point, run, step};
pub use crate::carry::{InContext, InRun, bind, spawn, spawn_blocking, thread};
pub use crate::configuration::{Configuration, configure, install, layer_on};
pub use crate::facts::METADATA_KEYS;
pub use crate::guard::{OpenSpan, SpanGuard};
pub use crate::handle::{SpanHandle, current};
pub use crate::install::Guard;
pub use crate::installed::SCOPE;
pub use crate::scope::ScopeBody;
pub use crate::value::VALUE_BYTES;
