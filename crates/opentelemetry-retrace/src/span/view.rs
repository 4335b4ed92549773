//! View of a span of the OpenTelemetry SDK for the translation.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value as OtelValue};
use opentelemetry_sdk::trace::SpanData;
use retrace_translate::{
    Caller, Dropped, EventView, Kind, LinkView, Parent, Resource, ScopeView, SpanView, StatusView, Value,
};
use serde::{Serialize, Serializer};

use crate::trace_context::RemoteRunContext;

/// Span of the SDK.
#[derive(Debug)]
pub(crate) struct SdkSpan<'a>(pub &'a SpanData);

impl SpanView for SdkSpan<'_> {
    fn trace_id(&self) -> [u8; 16] {
        self.0.span_context.trace_id().to_bytes()
    }

    fn span_id(&self) -> [u8; 8] {
        self.0.span_context.span_id().to_bytes()
    }

    fn parent(&self) -> Parent {
        match self.0.parent_span_id {
            SpanId::INVALID => Parent::None,
            id if self.0.parent_span_is_remote => Parent::Remote(id.to_bytes()),
            id => Parent::Local(id.to_bytes()),
        }
    }

    fn name(&self) -> &str {
        &self.0.name
    }

    fn kind(&self) -> Kind {
        match self.0.span_kind {
            SpanKind::Internal => Kind::Internal,
            SpanKind::Client => Kind::Client,
            SpanKind::Server => Kind::Server,
            SpanKind::Producer => Kind::Producer,
            SpanKind::Consumer => Kind::Consumer,
        }
    }

    fn start_unix_nanos(&self) -> u64 {
        unix_nanos(self.0.start_time)
    }

    fn end_unix_nanos(&self) -> u64 {
        unix_nanos(self.0.end_time)
    }

    fn status(&self) -> StatusView<'_> {
        match &self.0.status {
            Status::Unset => StatusView::Unset,
            Status::Ok => StatusView::Ok,
            Status::Error { description } => StatusView::Error(description),
        }
    }

    fn attributes(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        attributes(&self.0.attributes)
    }

    fn events(&self) -> impl Iterator<Item = EventView<'_>> {
        self.0.events.iter().map(|event| EventView {
            name: &event.name,
            unix_nanos: unix_nanos(event.timestamp),
            attributes: attributes(&event.attributes).collect(),
            body: None,
        })
    }

    fn links(&self) -> impl Iterator<Item = LinkView<'_>> {
        self.0.links.iter().map(|link| LinkView {
            trace_id: link.span_context.trace_id().to_bytes(),
            span_id: link.span_context.span_id().to_bytes(),
            attributes: attributes(&link.attributes).collect(),
        })
    }

    fn scope(&self) -> ScopeView<'_> {
        let scope = &self.0.instrumentation_scope;
        ScopeView { name: scope.name(), version: scope.version().unwrap_or_default() }
    }

    fn caller(&self) -> Option<Caller> {
        let run = RemoteRunContext::in_state(self.0.span_context.trace_state())?;
        Some(Caller {
            span_id: run.span_id().map(SpanId::to_bytes),
            session_id: run.session_id().map(str::to_owned),
            agent_id: run.agent_id().map(str::to_owned),
        })
    }

    fn dropped(&self) -> Dropped {
        Dropped {
            attributes: self.0.dropped_attributes_count,
            events: self.0.events.dropped_count,
            links: self.0.links.dropped_count,
        }
    }
}

/// Converts the SDK's resource into the fields of a run.
pub(crate) fn resource(resource: &opentelemetry_sdk::Resource) -> Resource {
    Resource::from_attributes(resource.iter().map(|(key, value)| (key.as_str(), self::value(value))))
}

/// Bytes of heap memory of a span, with the span itself.
///
/// Each length that the application controls counts with its capacity, and each text as if it were neither
/// shared nor static. The overhead of the allocator is not counted.
pub(crate) fn weight(span: &SpanData) -> usize {
    let events = span.events.events.capacity() * size_of::<Event>()
        + span.events.iter().map(|event| event.name.len() + weight_of(&event.attributes)).sum::<usize>();
    let of_link = |link: &Link| trace_state(&link.span_context) + weight_of(&link.attributes);
    let links = span.links.links.capacity() * size_of::<Link>() + span.links.iter().map(of_link).sum::<usize>();
    let status = if let Status::Error { description } = &span.status { description.len() } else { 0 };
    size_of::<SpanData>()
        + span.name.len()
        + status
        + weight_of(&span.attributes)
        + events
        + links
        + scope(&span.instrumentation_scope)
        + trace_state(&span.span_context)
}

fn scope(scope: &InstrumentationScope) -> usize {
    let texts = [Some(scope.name()), scope.version(), scope.schema_url()];
    texts.into_iter().flatten().map(str::len).sum::<usize>()
        + scope.attributes().map(|pair| size_of::<KeyValue>() + pair_weight(pair)).sum::<usize>()
}

/// Bytes of attributes, with the spare capacity.
pub(crate) fn weight_of(attributes: &Vec<KeyValue>) -> usize {
    attributes.capacity() * size_of::<KeyValue>() + attributes.iter().map(pair_weight).sum::<usize>()
}

fn pair_weight(pair: &KeyValue) -> usize {
    pair.key.as_str().len() + value_weight(&pair.value)
}

fn value_weight(value: &OtelValue) -> usize {
    match value {
        OtelValue::String(text) => text.as_str().len(),
        OtelValue::Array(Array::String(texts)) => {
            texts.capacity() * size_of::<StringValue>() + texts.iter().map(|text| text.as_str().len()).sum::<usize>()
        }
        OtelValue::Array(Array::Bool(list)) => list.capacity(),
        OtelValue::Array(Array::I64(list)) => list.capacity() * size_of::<i64>(),
        OtelValue::Array(Array::F64(list)) => list.capacity() * size_of::<f64>(),
        _ => 0,
    }
}

/// Bytes of the entries of the trace state.
pub(crate) fn trace_state(context: &SpanContext) -> usize {
    let entry = |(key, value): (&str, &str)| size_of::<(String, String)>() + key.len() + value.len();
    context.trace_state().into_iter().map(entry).sum()
}

/// Nanoseconds since 1970. An earlier time is a clock error and becomes 1970.
fn unix_nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn attributes(pairs: &[KeyValue]) -> impl Iterator<Item = (&str, Value<'_>)> {
    pairs.iter().map(|pair| (pair.key.as_str(), value(&pair.value)))
}

#[inline]
pub(crate) fn value(value: &OtelValue) -> Value<'_> {
    match value {
        OtelValue::Bool(value) => Value::Bool(*value),
        OtelValue::I64(value) => Value::Int(*value),
        OtelValue::F64(value) => Value::Float(*value),
        OtelValue::String(text) => Value::from(text.as_str()),
        other => structured(other),
    }
}

fn structured(value: &OtelValue) -> Value<'_> {
    match value {
        OtelValue::Array(Array::Bool(list)) => Value::json(list),
        OtelValue::Array(Array::I64(list)) => Value::json(list),
        // JSON lacks some of the numbers in a list; each is converted by itself.
        OtelValue::Array(Array::F64(list)) => Value::json(&List(|| list.iter().map(|number| Value::Float(*number)))),
        OtelValue::Array(Array::String(list)) => Value::json(&List(|| list.iter().map(StringValue::as_str))),
        // Kinds that OpenTelemetry may add.
        other => Value::Str(Cow::Owned(other.to_string())),
    }
}

/// Serializes an iterator as a list.
struct List<F>(F);

impl<F: Fn() -> I, I: Iterator<Item: Serialize>> Serialize for List<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_kind() {
        for (otel, expected) in [
            (OtelValue::from(true), Value::Bool(true)),
            (OtelValue::from(7), Value::Int(7)),
            (OtelValue::from(0.5), Value::Float(0.5)),
            (OtelValue::from("a"), Value::from("a")),
            (OtelValue::Array(vec![1_i64, 2].into()), Value::Json("[1,2]".into())),
            (OtelValue::Array(vec![true].into()), Value::Json("[true]".into())),
            (OtelValue::Array(Array::F64(vec![0.5, f64::NAN])), Value::Json(r#"[0.5,"NaN"]"#.into())),
            (OtelValue::Array(Array::String(vec!["a\"".into()])), Value::Json(r#"["a\""]"#.into())),
        ] {
            assert_eq!(value(&otel), expected);
        }
    }

    #[test]
    fn times_off_the_scale_are_held_at_its_ends() {
        use std::time::Duration;
        assert_eq!(unix_nanos(UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert_eq!(unix_nanos(UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) * 100)), u64::MAX);
    }
}
