//! Kafka as a source: a consumer group whose offsets are committed up to what is settled.

mod client_config;
mod consumer;
mod context;
mod dead_letter;
mod error_log;
mod reader;

pub(crate) use self::consumer::Consumer;
