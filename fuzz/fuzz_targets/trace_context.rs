//! `traceparent` and `tracestate`, as they come in headers.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_retrace::traceparent::{format_traceparent, parse_traceparent};
use opentelemetry_retrace::{RemoteRunContext, RetracePropagator};

fuzz_target!(|data: &[u8]| {
    // Lines: the first is a traceparent, the others are tracestates.
    let mut headers = HeaderMap::new();
    for (at, line) in data.split(|byte| *byte == b'\n').enumerate() {
        let Ok(value) = HeaderValue::from_bytes(line) else { continue };
        headers.append(if at == 0 { "traceparent" } else { "tracestate" }, value);
    }
    if let Some(parent) = headers.get("traceparent").and_then(|value| value.to_str().ok()) {
        let _ = parse_traceparent(parent);
    }
    let propagator = RetracePropagator::default();
    let context = propagator.extract_headers(&headers);
    let span = context.span().span_context().clone();
    let _ = RemoteRunContext::received(&context).map(|run| (run.span_id(), run.session_id().map(str::len)));
    if !span.is_valid() {
        return;
    }
    let mut sent = HeaderMap::new();
    propagator.inject_headers_of(&context, &mut sent);
    let written = format_traceparent(&span).expect("a valid one can be written");
    let read = parse_traceparent(&written).expect("and read");
    assert_eq!((read.trace_id(), read.parent_id()), (span.trace_id(), span.span_id()));
    // What is sent on says the same once more.
    let again = propagator.extract_headers(&sent);
    let again = again.span().span_context().clone();
    assert_eq!((again.trace_id(), again.span_id()), (span.trace_id(), span.span_id()));
    let mut once_more = HeaderMap::new();
    propagator.inject_headers_of(&propagator.extract_headers(&sent), &mut once_more);
    assert_eq!(sent, once_more);
});
