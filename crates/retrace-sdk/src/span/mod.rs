//! Runs and steps that are recorded by hand: builders, guards, and scopes around futures and closures.

mod builder;
mod guard;
mod scope;

pub use self::builder::{Builder, Run, RunBuilder, Step, StepBuilder, fork_point, run, step};
pub use self::guard::{OpenSpan, SpanGuard};
pub use self::scope::ScopeBody;
