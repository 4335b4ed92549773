//! Sends GenAI spans to Retrace.
mod config;
mod engine;
mod exporter;
mod inbox;
mod log;
mod outbox;
mod redact;
mod secret;
mod stats;
#[cfg(test)]
mod testing;
mod transport;
mod view;
mod waiter;

pub use config::{BuildError, Transport, UnknownTransport, VARIABLES, Variable};
pub use exporter::{RetraceExporter, RetraceExporterBuilder};
pub use redact::Record;
pub use retrace_protocol::{Signal, SignalCode};
pub use retrace_translate::SpanSelection;
pub use secret::ApiKey;
pub use stats::{LossReason, Lost, Stats};
