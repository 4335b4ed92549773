//! W3C Trace Context, and what a process announces of a run that it records: values, without a propagator.

pub(crate) mod context;
pub(crate) mod run;
pub(crate) mod traceparent;
pub(crate) mod tracestate;

pub use self::run::RemoteRunContext;
pub use self::traceparent::{InvalidTraceparent, Traceparent};
