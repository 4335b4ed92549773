//! A run that is not sampled evaluates nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "recorded/counting.rs"]
mod counting;

use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, trace::SpanContext};
use retrace::Failures;
use retrace_local::{Server, TraceQuery};

use crate::counting::{call_all, evaluations};

#[test]
fn nothing_is_evaluated_when_nothing_is_sampled() {
    let server = Server::start().unwrap();
    let retrace = retrace::configure()
        .with_api_key("rt_local")
        .with_base_url(server.url())
        .with_sample_rate(0.0)
        .with_failures(Failures::Off)
        .install()
        .unwrap();
    call_all();
    assert_eq!(evaluations(), 0);

    // Below a span that was not sampled, whoever made it.
    let tracer = retrace.provider().unwrap().tracer("application");
    let span = Context::current_with_span(tracer.start("not sampled"));
    assert!(!span.span().is_recording());
    let guard = span.attach();
    call_all();
    drop(guard);
    assert_eq!(evaluations(), 0);

    // Below a remote parent that was not sampled.
    let guard = Context::new().with_remote_span_context(SpanContext::empty_context()).attach();
    call_all();
    drop(guard);
    assert_eq!(evaluations(), 0);

    drop(retrace);
    assert_eq!(server.traces(&TraceQuery::new()).unwrap().total, 0);

    // The same functions are recorded by the next pipeline, so it was not they.
    let retrace = retrace::configure().with_api_key("rt_local").with_base_url(server.url()).install().unwrap();
    call_all();
    assert!(evaluations() > 20);
    drop(retrace);
    assert!(server.traces(&TraceQuery::new()).unwrap().total > 5);
}
