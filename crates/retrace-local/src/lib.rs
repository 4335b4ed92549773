//! A local Retrace.

#[cfg(test)]
mod arbitrary;
mod ingest;
mod query;
mod server;
mod store;

pub use query::TraceQuery;
pub use server::{ReadError, Server, ServerBuilder, StartError};
