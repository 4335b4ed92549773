//! Reads OpenTelemetry's protocol (OTLP), and holds traces until they are translated.
//!
//! [`OtlpRequest`] is what a request contains that belongs to runs: spans, and the log records that are events of a span.
//! A record that cannot be decoded does not affect the other records of its request. [`HeldTraces`] collects the spans of
//! each trace, from any number of services and requests, until they are due. [`translate`](fn@translate) converts OTLP data into runs at
//! once.
//!
//! With the feature `server`, the module `server` has the endpoints of OTLP over HTTP and, with `grpc`, over gRPC: limits
//! of size, time and memory, compression, partial success, and the errors of the OTLP specification.

mod held;
mod json;
mod json_body;
mod protobuf;
mod request;
#[cfg(feature = "server")]
pub mod server;
mod trace;
mod translate;
mod view;
mod weight;

pub use self::held::{Due, Emission, EmissionPart, EmissionResult, HeldLimits, HeldTraces, Release};
pub use self::json::Unreadable;
pub use self::json_body::json_body;
pub use self::request::{NoProtobuf, OtlpError, OtlpRequest};
pub use self::trace::{OtlpEvent, OtlpResource, OtlpSpan, OtlpTrace};
pub use self::translate::{Translated, translate};
pub use self::view::{json_text, log_event_name, log_event_time};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
