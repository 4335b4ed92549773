//! The wire format of Retrace as plain data.
//!
//! Everything that a client of Retrace sends and everything it must understand, as serde types: [`Trace`] and [`Span`],
//! the four [`Event`]s, [`ClientFrame`] and [`ServerFrame`], the bodies of the HTTP calls, and the [`sampling`] hash. This
//! is the one place where a field name of the wire is written; sender and receiver share it.
//! [`mod@write`] puts them into JSON as `serde_json` does, and faster.
//!
//! No I/O, no clock, no async, no OpenTelemetry. Section numbers in this documentation are those of `docs/PROTOCOL.md`, the
//! description of the official SDK's traffic that this crate follows.
//!
//! ```
//! use retrace_protocol::{ClientFrame, Event, Id, Span, SpanType, Timestamp};
//!
//! let trace = Id::from("0af76519-16cd-43dd-8448-eb211c80319c");
//! let span = Id::from_otel_span(trace.to_otel_trace().unwrap(), [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
//! let started = Timestamp::from("2026-11-22T11:05:48.254518Z");
//! let span = Span::new(span, trace, SpanType::ToolCall, "get_weather", started);
//!
//! let frame = ClientFrame::Event { event: Event::SpanStarted(Box::new(span)), seq: Some(1) };
//! let text = serde_json::to_string(&frame)?;
//! assert_eq!(ClientFrame::parse(&text)?, frame);
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! # What this does not do
//! It does not check more of what it reads than types can: whether ids are UUIDs, times are times and a trace has all
//! that a receiver needs is asked with methods. It keeps values of any size; limits are the business of those who hold
//! buffers.

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
pub mod read;
pub mod sampling;
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
