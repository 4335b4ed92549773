//! Interface of the macros of `retrace-sdk-macros`. Not part of the public API.

mod call;
mod capture;
mod outcome;
mod returned;
mod stream;
mod until;

pub use futures_core::Stream;
pub use std::future::Future;

pub use self::call::{Call, Details, begin, call_async, call_entered, call_sync, replay_async, replay_sync};
pub use self::capture::{Capture, ViaDebug, ViaName};
pub use self::outcome::{
    AnyReturned, ErrorOf, Outcome, Plain, Returned, Shape, ViaDebugError, ViaDisplay, ViaError, ViaNameError,
};
pub use self::returned::{Futures, Holders, Probe, RecordableStream, Streams, probe};
pub use self::stream::{Recording, call_stream};
pub use self::until::call_until;
pub use crate::memo::{ByMessage, BySerde, Codec, CodecBySerde, CodecOf, Recordable};
pub use crate::replay::golden::{GoldenTest, block_on, run as golden, run_sync as golden_sync};
pub use crate::serve::{
    ArgumentError, Arguments, AsyncRun, BlockingRun, BySerde as BySerdeArguments, Decode, Execution, Run, resumable,
};
pub use crate::value::Value;
pub use crate::{
    __capture as capture, __failed as failed, __future as future, __outcome as outcome, __stream as stream, SpanType,
};

/// Static description of a recorded function.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Name of the run or the step.
    pub name: &'static str,
    /// The kind of span that it becomes.
    pub kind: FunctionKind,
    /// A fork may run it again.
    pub resumable: bool,
    /// Its recorded result is used in a replay.
    pub replay: bool,
    /// Its effects, which decide if it may run again after a fork.
    pub effects: Effects,
    /// Labels of the run.
    pub tags: &'static [&'static str],
    /// The agent scope around it.
    pub agent: Option<Agent>,
    /// `module_path!()`
    pub module: &'static str,
    /// `file!()`
    pub file: &'static str,
    /// `line!()`
    pub line: u32,
}

/// The kind of span that a function becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    /// A run where no recorded span is current, else a reasoning step.
    Auto,
    /// A run; inside of another one a reasoning step.
    Run,
    /// A step of this type.
    Step(SpanType),
}

/// Effects of a function on the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effects {
    /// None.
    None,
    /// Running it again changes nothing.
    Idempotent,
    /// Running it again does it again.
    #[default]
    External,
}

impl From<Effects> for retrace_replay::cassette::Effects {
    fn from(effects: Effects) -> Self {
        match effects {
            Effects::None => Self::None,
            Effects::Idempotent => Self::Idempotent,
            Effects::External => Self::External,
        }
    }
}

/// An agent scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its id.
    pub id: &'static str,
    /// Its role.
    pub role: Option<&'static str>,
}
