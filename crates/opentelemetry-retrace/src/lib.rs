//! Sends the agent runs among an application's OpenTelemetry spans to Retrace.
//!
//! Retrace records runs of AI agents, model calls and tool calls and errors, so that they can be replayed, forked and
//! shared. An application that already traces its agent with OpenTelemetry, by hand or through a library that follows the
//! GenAI conventions, adds one exporter beside the one it has:
//!
//! ```no_run
//! use opentelemetry_retrace::RetraceExporter;
//! use opentelemetry_sdk::trace::SdkTracerProvider;
//!
//! let exporter = RetraceExporter::builder().build()?; // RETRACE_API_KEY from the environment
//! let provider = SdkTracerProvider::builder()
//!     // … the exporter that is there already …
//!     .with_batch_exporter(exporter)
//!     .build();
//! // … and at the end, as always:
//! provider.shutdown()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! To watch a run while it happens, [`RetraceSpanProcessor`] takes the exporter's place: it sees spans begin.
//!
//! Works with `opentelemetry` and `opentelemetry_sdk` 0.33, which this crate re-exports as [`opentelemetry`] and
//! [`opentelemetry_sdk`].
//!
//! # What is sent
//! By default the runs that contain a GenAI span: their GenAI spans and the root above them. A trace without
//! any causes no network traffic. **Inputs and outputs of models and tools are sent**, because a run is
//! replayed from them; `RETRACE_CAPTURE_CONTENT=false` keeps structure, names, tokens, cost and errors, and
//! [`Builder::with_before_send`] receives every record last. The API key is sent only in the header or the
//! frame that the protocol defines for it: encrypted, to this machine, or in clear text to a host that
//! [`Builder::with_cleartext_host`] names. It is in no log line.
//!
//! # Guarantees
//! * Spans go to one background thread with a runtime of its own. A thread of the application waits for
//!   nothing but a queue; `export` waits for delivery only where a flush could not come true otherwise (see
//!   [`RetraceExporter`]).
//! * Every span accepted is delivered, or counted as lost with a reason ([`Stats`]), logged and reported to
//!   [`Builder::with_on_error`], and its run is marked lossy.
//! * Over a WebSocket each event is kept until the receiver has confirmed it, and sent again, in order, over
//!   the next connection. A run that began over a WebSocket that is gone is completed over HTTP
//!   ([`Transport::Auto`], and every shutdown).
//! * A process that is killed loses at most its unconfirmed events. One that is stopped and resumed loses
//!   nothing: its deadlines do not advance while it is stopped.
//! * The child of a fork records runs of its own, by a worker of its own that its first span starts; the data
//!   in its parent's memory stays with the parent. It keeps the parent's sockets open, unused, for as long as
//!   it lives. With the SDK's own id generator both go on with the same ids: use [`RetraceIdGenerator`], as
//!   [`install()`] does. A fork in the moment in which the worker reads its tables, with the first spans of
//!   the process, leaves a child that sends nothing: fork before them, or after a flush.
//! * Temporary failures are retried: 408, 429, every 5xx but 501 and 505, and connections that fail, with
//!   exponential backoff, full jitter and `Retry-After`, for 15 minutes. Rejected requests are not repeated;
//!   redirects are not followed.
//! * With a spool ([`Builder::with_spool`]) runs that could not be delivered are kept on disk, **content
//!   included**, and delivered by the next start.
//! * Memory is bounded in bytes, time by timeouts, and no span and no message of a receiver makes it panic.
//! * The crate's own traffic creates no spans, whatever subscriber is installed.
//!
//! # Settings
//! Settings are made in code by [`RetraceExporter::builder`]; the others come from the environment
//! ([`VARIABLES`]), then from the defaults that each setter documents.
//!
//! A variable that cannot be read is no error. A switch that protects (`RETRACE_ENABLED`,
//! `RETRACE_CAPTURE_CONTENT`) is then off, everything else keeps its default, and a warning is logged. A key,
//! a URL, a header, a certificate, a spool or a proxy that cannot be used is an error.
//!
//! # Warnings
//! Where `tracing-opentelemetry` is used the subscriber is set up after the provider, so it does not receive
//! the lines that `build()` logs: the warnings about settings, and the notice that states where runs are sent
//! and with which content. Lines that no subscriber took are therefore logged again when the worker has work,
//! and no later than at the shutdown. A subscriber takes a line if it has the event enabled; one that filters
//! out its level, or the target `opentelemetry-retrace`, does not.
//!
//! [`RetraceExporter::warnings`], [`RetraceSpanProcessor::warnings`] and [`Guard::warnings`] return the
//! warnings about settings in any case. Those that no subscriber has taken when the pipeline is shut down, or
//! its last handle is dropped, are written to standard error, one line each that begins with
//! `opentelemetry-retrace: `. So are warnings of the running pipeline: what was lost and why, a key that the
//! receiver refuses, a receiver that cannot be reached. Of a warning that is repeated one line is written,
//! with the number of lost spans, or the latest text and the number of earlier ones; failed attempts after
//! which everything was delivered are left out. The notice follows; alone it is written only where no
//! subscriber exists. A sampler or a propagator has no worker: its warnings are logged and written by the
//! exporter or processor of the same process.
//!
//! A process that ends without a shutdown or a drop, as by [`std::process::exit`] or a signal, writes nothing
//! and loses what was not confirmed: keep the provider or the guard where its end is reached, or shut it down
//! before. (`retrace-sdk` shuts down by itself in `std::process::exit` on Unix.)
//!
//! # Across services
//! [`RetracePropagator`] carries traces from service to service, [`RetraceIdGenerator`] makes their ids, and
//! the module [`traceparent`] has functions for code that no instrumentation covers. Spans below a caller
//! that announces that it records the trace ([`RemoteRunContext`]) become part of the caller's run
//! ([`Builder::with_joined_runs`]).
//!
//! # Features
//! | feature | default | what for |
//! |---|---|---|
//! | `rustls-aws-lc-rs` | yes | HTTPS, with the cryptography of AWS-LC, the default of rustls |
//! | `rustls-ring` | | HTTPS, with the cryptography of ring; with both, AWS-LC is used |
//! | `gzip` | | bodies of requests can be compressed ([`Builder::with_compression`]) |
//! | `metrics` | | counts of spans by outcome, by OpenTelemetry's names, through the global meter at the time when an exporter or a processor is built: `otel.sdk.exporter.span.exported`, `otel.sdk.exporter.span.inflight`, of requests, and of batches of frames until they are confirmed, `otel.sdk.exporter.operation.duration`, and of a span processor `otel.sdk.processor.span.processed`, `otel.sdk.processor.span.queue.size` and `otel.sdk.processor.span.queue.capacity` |
//! | `prices` | yes | the cost of a call from a bundled price table |
//! | `internal-logs` | yes | logs through OpenTelemetry's internal logging, with `tracing`; without it warnings are only in `warnings()` and on standard error |
//!
//! A rustls provider that the application has installed for its process is used in place of the built-in one;
//! this crate installs none. The proxy of `HTTPS_PROXY` or `ALL_PROXY` is used unless `NO_PROXY` names the
//! receiver's host; the connection through it is a tunnel, and it sees neither key nor runs. Connections to
//! this machine use no proxy.
//!
//! # Limits
//! Model calls are sent when they end, not while they run, because the protocol cannot add to them the fields
//! that are known only then. A run by the exporter, or over HTTP, is sent after its root has ended, and a
//! process that is killed before loses it. Runs are kept on disk only if [`Builder::with_spool`] names a
//! directory, and then only those that a process which still runs gave up: one that is killed writes nothing.
//! A run that a receiver requests goes to the part of the application that takes its commands
//! ([`RetraceSpanProcessor::commands`]), and nothing is executed here.

mod config;
mod delivery;
mod exporter;
mod fork;
mod id_generator;
mod install;
mod log;
#[cfg_attr(not(feature = "metrics"), path = "metrics/noop.rs")]
mod metrics;
mod pipeline_state;
mod processor;
mod propagator;
mod recording;
pub mod remote;
mod sampler;
mod sampling;
mod span;
mod stats;
#[cfg(test)]
mod testing;
mod trace_context;
mod transport;
mod worker;

pub use opentelemetry;
pub use opentelemetry_http;
pub use opentelemetry_sdk;
pub use retrace_protocol::{Id, Json, Signal, SignalCode, Span, SpanType, Status, Timestamp, Trace};
pub use retrace_translate::{Kind, Parent, SpanFacts, SpanPolicy, SpanSelection, Value, attributes};

/// Interface of the crate `retrace-sdk`; not part of the public API.
#[doc(hidden)]
pub mod __private {
    pub use crate::log::Warnings;
    pub use crate::log::startup_log::{warn_at_once, warn_of_setting};
    pub use crate::processor::held_start::HeldStart;
    pub use crate::sampler::head_sampling::{AgentScope, AlwaysSampled, Head, HeadSampler, Unsampled};
    pub use crate::span::not_sent::{NOT_SENT, watch_not_sent};
    pub use crate::transport::requests::Requests;
    pub use http::{Method, StatusCode};
}

pub use crate::config::secret::ApiKey;
pub use crate::config::{BuildError, Compression, Transport, UnknownTransport, VARIABLES, Variable};
pub use crate::exporter::{RetraceExporter, RetraceExporterBuilder};
pub use crate::id_generator::{RetraceIdGenerator, RetraceIdGeneratorBuilder};
pub use crate::install::{Guard, Installer, install};
pub use crate::processor::wrapping_processor::Around;
pub use crate::processor::{RetraceSpanProcessor, RetraceSpanProcessorBuilder};
pub use crate::propagator::{RetracePropagator, RetracePropagatorBuilder, traceparent};
pub use crate::recording::redact::Record;
pub use crate::sampler::{RetraceSampler, RetraceSamplerBuilder};
pub use crate::sampling::Failures;
pub use crate::sampling::sample_key::RootSpan;
pub use crate::stats::settlement::{Outcome, Settlement};
pub use crate::stats::{LossReason, Lost, Stats};
pub use crate::trace_context::RemoteRunContext;
pub use crate::worker::builder::Builder;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
