//! Functions for `traceparent` that users of Retrace's other SDKs know, for code that no instrumentation
//! covers.
//!
//! A client that passes the current trace on, and a service that continues it:
//!
//! ```
//! use http::HeaderMap;
//! use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
//! use opentelemetry_retrace::traceparent::{extract_traceparent, inject_traceparent};
//! use opentelemetry_sdk::trace::SdkTracerProvider;
//!
//! let tracer = SdkTracerProvider::builder().build().tracer("client");
//! let mut headers = HeaderMap::new();
//! let trace = tracer.in_span("call", |cx| {
//!     inject_traceparent(&mut headers);
//!     cx.span().span_context().trace_id()
//! });
//!
//! let tracer = SdkTracerProvider::builder().build().tracer("service");
//! let span = tracer.start_with_context("handle", &extract_traceparent(&headers));
//! # use opentelemetry::trace::Span as _;
//! assert_eq!(span.span_context().trace_id(), trace);
//! ```
//!
//! | Python | here |
//! | `parse_traceparent(header)` | [`parse_traceparent`]; by the rules of the W3C, which differ from Python's |
//! | `parse_traceparent(header)` | [`parse_traceparent`]; by the rules of the W3C, where Python's takes more and less |
//! | `get_traceparent()` | [`get_traceparent`] |
//! | `inject_traceparent(headers)` | [`inject_traceparent`]; `tracestate` too |
//! | `set_trace_context(trace, span)` | [`set_trace_context`] |
//! | `clear_trace_context(token)` | drop the guard of [`set_trace_context`] |
//! | none | [`format_traceparent`], [`extract_traceparent`] |
//!
//! The same with settings of your own: [`RetracePropagator::inject_headers`] and
//! [`RetracePropagator::extract_headers`].

use http::HeaderMap;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry::{Context, ContextGuard};

use crate::propagator::RetracePropagator;
pub use crate::trace_context::{InvalidTraceparent, Traceparent};

/// Reads a `traceparent` by the rules of W3C Trace Context level 2; `None` when it is not valid.
///
/// ```
/// use opentelemetry_retrace::traceparent::parse_traceparent;
///
/// let parent = parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
/// assert!(parent.is_some_and(|parent| parent.is_sampled()));
/// assert!(parse_traceparent("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01").is_none());
/// ```
#[must_use]
pub fn parse_traceparent(header: &str) -> Option<Traceparent> {
    header.parse().ok()
}

/// Formats the `traceparent` of a span; `None` when its context is not valid.
///
/// ```
/// use opentelemetry::trace::SpanContext;
/// use opentelemetry_retrace::traceparent::format_traceparent;
///
/// assert_eq!(format_traceparent(&SpanContext::NONE), None);
/// ```
#[must_use]
pub fn format_traceparent(span: &SpanContext) -> Option<String> {
    Traceparent::of(span).map(|parent| parent.to_string())
}

/// Returns the `traceparent` of the current `Context`; `None` when it has no valid span.
#[must_use]
pub fn get_traceparent() -> Option<String> {
    Context::map_current(|cx| RetracePropagator::installed().traceparent(cx)).map(|parent| parent.to_string())
}

/// Writes the current `Context` into the headers of a request, `tracestate` included. Without a valid span
/// the headers stay unchanged. After [`Installer`](crate::Installer) it announces runs that are sent, as the global
/// propagator does.
pub fn inject_traceparent(headers: &mut HeaderMap) {
    RetracePropagator::installed().inject_headers(headers);
}

/// Reads the headers of a request into a `Context` made from the current one; returns the current one if they
/// hold no valid `traceparent`.
#[must_use]
pub fn extract_traceparent(headers: &HeaderMap) -> Context {
    RetracePropagator::installed().extract_headers(headers)
}

/// Makes a trace of Retrace the current one, until the guard is dropped. Spans started meanwhile belong to
/// it, and outgoing calls carry it. Returns `None` and changes nothing when the ids are no UUIDs.
///
/// ```
/// use opentelemetry_retrace::traceparent::{get_traceparent, set_trace_context};
///
/// let trace = "e8b6c1d2-4b92-4859-9cc2-a7225b67e364";
/// let guard = set_trace_context(trace, trace).expect("a UUID");
/// assert_eq!(get_traceparent().as_deref(), Some("00-e8b6c1d24b9248599cc2a7225b67e364-e8b6c1d24b924859-01"));
/// drop(guard);
/// assert_eq!(get_traceparent(), None);
/// ```
#[must_use = "the trace is the current one until the guard is dropped"]
pub fn set_trace_context(trace_id: &str, span_id: &str) -> Option<ContextGuard> {
    let parent = Traceparent::from_retrace(trace_id, span_id)?;
    Some(Context::current().with_remote_span_context(parent.to_span_context()).attach())
}
