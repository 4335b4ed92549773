//! Spans for tests.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// Creates a span of trace 7; a parent of 0 makes it a root.
pub(crate) fn span_data(id: u64, parent: u64, name: &'static str) -> SpanData {
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(7_u128),
            SpanId::from(id),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        ),
        parent_span_id: SpanId::from(parent),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: Cow::Borrowed(name),
        start_time: UNIX_EPOCH + Duration::from_secs(id),
        end_time: UNIX_EPOCH + Duration::from_secs(id + 1),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::default(),
    }
}

/// Creates such a span as a model call.
pub(crate) fn chat(id: u64, parent: u64) -> SpanData {
    let mut span = span_data(id, parent, "chat");
    span.attributes = vec![KeyValue::new("gen_ai.operation.name", "chat")];
    span
}

/// Moves the span into another trace.
pub(crate) fn in_trace(mut span: SpanData, trace: u128) -> SpanData {
    let context = &span.span_context;
    span.span_context =
        SpanContext::new(TraceId::from(trace), context.span_id(), context.trace_flags(), false, TraceState::default());
    span
}
