//! One call, and a guard. Alone in its process, as the provider and the propagator are global.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use integration_tests::wait::HANG;
use opentelemetry::trace::{TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_retrace::{Installer, RetraceSpanProcessor};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SimpleSpanProcessor};
use retrace_local::{Server, TraceQuery};
use retrace_protocol::{Status, Trace};

fn installer(server: &Server) -> Installer {
    let retrace = RetraceSpanProcessor::builder().with_api_key("rt_local").with_base_url(server.url());
    Installer::new().with_processor(retrace.with_flush_timeout(HANG))
}

fn last(server: &Server) -> Trace {
    let page = server.traces(&TraceQuery::new()).unwrap();
    server.trace(page.traces[0].id.as_ref().unwrap()).unwrap().unwrap()
}

/// The steps share the process, and follow each other.
#[test]
fn one_call_sets_everything_up_and_its_guard_flushes() {
    let server = Server::start().unwrap();
    let (memory, inner) = (InMemorySpanExporter::default(), InMemorySpanExporter::default());
    let other = memory.clone();
    let guard = installer(&server)
        .with_span_processor(SimpleSpanProcessor::new(inner.clone()))
        .with_provider(|provider| provider.with_simple_exporter(other))
        .install()
        .unwrap();
    let attributes = || [KeyValue::new("gen_ai.operation.name", "invoke_agent")];
    let tracer = global::tracer("application");
    let span = tracer.span_builder("agent").with_attributes(attributes()).start(&tracer);
    let context = Context::new().with_span(span);
    let id = context.span().span_context().clone();
    let mut headers = std::collections::HashMap::new();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut headers));
    assert!(headers["traceparent"].contains(&id.trace_id().to_string()), "{headers:?}");
    assert!(headers["tracestate"].starts_with("retrace=1;p:"), "the next service is told: {headers:?}");
    let mut by_hand = axum::http::HeaderMap::new();
    let attached = context.clone().attach();
    opentelemetry_retrace::traceparent::inject_traceparent(&mut by_hand);
    drop(attached);
    assert_eq!(by_hand["tracestate"], headers["tracestate"].as_str());
    context.span().end();
    assert_eq!(memory.get_finished_spans().unwrap().len(), 1, "beside another exporter");
    assert_eq!(inner.get_finished_spans().unwrap().len(), 1, "around another processor");
    drop(guard);
    let run = last(&server);
    assert_eq!((run.status, run.name.as_deref()), (Some(Status::Completed), Some("agent")));
    assert!(run.id.unwrap().is_rfc4122() && run.spans.unwrap()[0].id.is_rfc4122());

    // A panic on the way out of main.
    let guard = installer(&server).install().unwrap();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _guard = guard;
        let tracer = global::tracer("application");
        let span = tracer.span_builder("doomed").with_attributes(attributes()).start(&tracer);
        let _context = Context::new().with_span(span).attach();
        panic!("as intended");
    }));
    assert!(unwound.is_err());
    let run = last(&server);
    assert_eq!((run.status, run.name.as_deref()), (Some(Status::Failed), Some("doomed")));

    // Switched off, without anything else that would want spans.
    let off = Installer::new().with_processor(RetraceSpanProcessor::builder().with_enabled(false)).install().unwrap();
    assert!(off.provider().is_none());
    off.shutdown().unwrap();
    // With another backend that does.
    let inner = InMemorySpanExporter::default();
    let off = Installer::new()
        .with_processor(RetraceSpanProcessor::builder().with_enabled(false))
        .with_span_processor(SimpleSpanProcessor::new(inner.clone()))
        .install()
        .unwrap();
    global::tracer("application").in_span("step", |_| {});
    assert_eq!(inner.get_finished_spans().unwrap().len(), 1);
    off.shutdown().unwrap();
    // A setting that is wrong sets up nothing.
    assert!(
        installer(&server)
            .with_sampler(opentelemetry_retrace::RetraceSampler::builder().with_sample_rate(2.0))
            .install()
            .is_err()
    );
}
