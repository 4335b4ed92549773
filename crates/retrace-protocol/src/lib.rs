#![doc = include_str!("../README.md")]

pub mod command;
pub mod endpoint;
pub mod enforcement;
mod event;
mod frame;
pub mod golden;
mod id;
pub mod json;
pub mod limits;
pub mod message;
pub mod metadata;
pub mod parse;
pub mod read;
pub mod sampling;
mod scan;
mod signal;
mod span;
mod time;
mod trace;
pub mod write;

pub use event::{Event, EventKind};
pub use frame::{Ack, Auth, ClientFrame, Envelope, ServerFrame};
pub use id::Id;
pub use json::Json;
pub use signal::{Signal, SignalCode};
pub use span::{Span, SpanEnded, SpanType};
pub use time::Timestamp;
pub use trace::{Status, Trace, TraceEnded, TracePatch};
