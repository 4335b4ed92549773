#![doc = include_str!("../README.md")]
//!
//! # Runs and steps
//! A run is an OpenTelemetry trace with what it was given and returned; a step is a span in it. [`run()`] and [`step()`] give
//! builders. A step without a run around it is a run, and a run inside of another one is a reasoning step of that one.
//!
//! | form | current | for |
//! |---|---|---|
//! | [`.in_scope(closure)`](Builder::in_scope) | while the closure runs | sync code |
//! | [`.scope(async closure)`](RunBuilder::scope), of a step [`.scope_with(async closure)`](Builder::scope_with) and [`.scope(future)`](StepBuilder::scope) | while the future is polled | async code |
//! | [`.start()`](Builder::start) | until the guard is dropped, on this thread | sync code in between |
//! | [`.open()`](Builder::open) | never | what goes from thread to thread |
//!
//! Each has one end. A panic and a future that is dropped end it as failed; an `Err` does so in
//! [`try_scope`](Builder::try_scope), [`try_in_scope`](Builder::try_in_scope) and `#[record]`, elsewhere by
//! [`fail`](SpanHandle::fail). When the guard of [`install()`] is dropped, and on Unix when the process exits with it alive, what
//! is under way ends as failed and is delivered.
//!
//! # Values
//! Input, output and metadata are any `Serialize`, by value or by reference, and are recorded as JSON of at most
//! [`VALUE_BYTES`] each. A longer one is cut and marked `truncated`. One that fails to serialize, or panics, is recorded as
//! a text that states so.
//!
//! # Sampling
//! With [`install()`] the sampler decides once for a run, before its span is made: a run that is not sampled costs less than
//! 0.1 µs, a step of it some nanoseconds. No arguments are evaluated, and nothing below it is recorded. That holds with
//! [`Failures::Off`]; by default runs that are not sampled are recorded in this process until they end, and sent if they
//! failed.
//!
//! Where the application has a sampler of its own, what describes a run is evaluated once that has decided.
//!
//! # Content
//! `RETRACE_CAPTURE_CONTENT=false` or [`Configuration::with_capture_content`] is one switch for everything recorded here and by
//! [`clients`]: without content, inputs, outputs and token ids do not reach any span. Metadata, names, tags and errors do.
//!
//! # Replay
//! [`record_cassette`] writes the model calls of [`clients`] and the results of memoised steps into a file; [`replay()`] answers a
//! later run from it, with no network. Memoised are `#[record(type = tool_call, replay)]`, [`StepBuilder::memo`] and its kin, [`now`],
//! [`random`] and [`uuid`]; other steps are executed. The state is in the OpenTelemetry `Context`, as what is current is: [`InRun`] and
//! [`spawn`] carry it along.
//!
//! A call is matched within its *lane*, the path of the named steps around it, with the first unused entry whose request states the
//! same. A strict replay refuses any other call: the client returns an error in which [`refusal`] finds the reason, later calls are
//! refused as well, and [`ReplayBuilder::run`] returns [`ReplayError::Refused`] with the [`Report`]. [`ReplayBuilder::from`] makes the
//! run live from a point on. [`test`](macro@test) makes a golden test of that.
//!
//! [`limits()`] sets ceilings, by which no model call leaves beyond a number of steps, tokens or US dollars.
//! [`Configuration::with_server_enforcement`] has the receiver decide as well, by its policies.
//!
//! # Forks that a receiver requests
//! [`serve()`] runs functions with `#[record(resumable)]` again, on the application's runtime, when a receiver requests a fork or a replay
//! of a run. It needs `RETRACE_ALLOW_REMOTE_REPLAY=true`, and `RETRACE_ALLOW_REMOTE_CASSETTE=true` for recordings that the receiver sends.
//!
//! The new run is recorded as any other: it has the name `Fork: …` or `Replay: …`, the new input, and the metadata of the official SDK
//! (`_fork_of`, `_fork_point`, …). It is recorded whatever the sample rate is. All of its spans are sent, also those before the fork
//! point that are executed again because there is no recording.
//!
//!
//! # Features
//! | feature | default | what for |
//! |---|---|---|
//! | `rustls-aws-lc-rs`, `rustls-ring` | the first | HTTPS, and whose cryptography |
//! | `prices` | yes | the cost of a model call from a bundled price table |
//! | `internal-logs` | yes | problems are logged through OpenTelemetry's internal logging |
//! | `gzip`, `metrics` | | as in `opentelemetry-retrace` |
//! | `reqwest`, `tower`, `async-openai`, `rig` | | model clients: [`clients`] |

#[doc(hidden)]
#[path = "private/mod.rs"]
pub mod __private;
mod agent;
mod carry;
pub mod clients;
mod configuration;
mod dropped_guard;
mod enforcement;
mod facts;
mod failure;
mod handle;
mod installed;
mod memo;
mod recorded;
mod replay;
mod serve;
mod span;
mod value;

pub use opentelemetry;
pub use opentelemetry_retrace::*;
pub use opentelemetry_sdk;
pub use retrace_replay as cassettes;
pub use retrace_replay::cassette::{CassetteError, Effects};
pub use retrace_replay::replay::ForkPoint;
pub use retrace_replay::report::{Report, Style};
pub use retrace_replay::{EnforcementError, Rule, Tolerance, Verdict};
pub use retrace_sdk_macros::{record, test};

pub use crate::agent::{AgentBuilder, AgentGuard, agent};
pub use crate::carry::{InContext, InRun, bind, spawn, spawn_blocking, thread};
pub use crate::configuration::guard::Guard;
pub use crate::configuration::{Configuration, configure, install, layer_on};
pub use crate::facts::METADATA_KEYS;
pub use crate::handle::{SpanHandle, current};
pub use crate::installed::SCOPE;
pub use crate::memo::StepError;
pub use crate::replay::{
    LimitsBuilder, Pace, RecordedCassette, RecordingBuilder, RefusedCall, ReplayBuilder, ReplayError, Replayed, limits,
    now, outside_replay, random, record_cassette, refusal, replay, uuid,
};
pub use crate::serve::{Resumable, ServeBuilder, ServeError, Serving, serve};
pub use crate::span::{
    Builder, OpenSpan, Run, RunBuilder, ScopeBody, SpanGuard, Step, StepBuilder, fork_point, run, step,
};
pub use crate::value::VALUE_BYTES;
