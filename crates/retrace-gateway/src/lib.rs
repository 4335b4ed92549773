//! From OTLP or Kafka to Retrace: the spans of a fleet, in any language, become runs.
//!
//! A gateway receives OTLP over HTTP and gRPC, or reads it from Kafka, and delivers through the exporter of
//! `opentelemetry-retrace`: its translation, its recorder, its delivery. It keeps nothing of its own; queues, balancing and
//! durability are the Collector's and Kafka's. `docs/FLEETS.md` has pictures and configurations, the command
//! `retrace-gateway --check` explains a configuration.
//!
//! ```
//! use std::time::Duration;
//! use retrace_gateway::{Config, Gateway};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let text = r#"
//!     otlp = { http = "127.0.0.1:0", grpc = "" }
//!     admin = { listen = "" }
//!     retrace = { base_url = "http://127.0.0.1:3001" }
//! "#;
//! let variables = |name: &str| (name == "RETRACE_API_KEY").then(|| "rt_local".to_owned());
//! let gateway = Gateway::start(Config::parse("example.toml", text, &[], &variables)?).await?;
//! println!("OTEL_EXPORTER_OTLP_ENDPOINT=http://{}", gateway.http_addr().ok_or("no address")?);
//! gateway.stop(Duration::from_secs(10)).await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//! * A trace is delivered whole: it waits until no span of it has come for a while. Spans that come later than that become a
//!   run that continues it.
//! * Memory is bounded. Beyond the bound OTLP is answered 429 or `RESOURCE_EXHAUSTED`, with the delay of a repetition, and
//!   partitions of Kafka are paused.
//! * Of Kafka an offset is committed only if everything before it is delivered, or lost and counted with its reason. What
//!   came over OTLP is in memory until it is delivered: a gateway that is killed loses it, unless a queue before it sends
//!   again.
//! * Neither content nor keys are in the log.

mod admin;
mod config;
#[cfg(feature = "kafka")]
mod kafka;
mod metrics;
#[cfg_attr(not(feature = "kafka"), allow(dead_code))]
mod offsets;
#[cfg_attr(not(feature = "kafka"), allow(dead_code))]
mod pipeline;
mod receiver;
mod room;
mod server;
mod shared;
mod span_data;
#[cfg_attr(not(feature = "kafka"), allow(dead_code))]
mod tenants;
#[cfg_attr(not(feature = "kafka"), allow(dead_code))]
mod ticket;

pub use config::{
    Config, ConfigError, Encoding, Kafka, Otlp, Retrace, Secret, Signal, Tenant, Tenants, Traces, settings,
};
pub use metrics::Totals;
pub use server::{Gateway, StartError};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
