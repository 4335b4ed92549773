//! Size of messages in memory, which may be many times their encoded size: an empty attribute is two bytes of protobuf.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Approximate size of a span, in bytes.
pub(super) fn of_span(span: &Span) -> usize {
    let events = span.events.iter().map(|event| size_of::<Event>() + event.name.len() + of_pairs(&event.attributes));
    let links = span.links.iter().map(|link| size_of::<Link>() + link.trace_state.len() + of_pairs(&link.attributes));
    let status = span.status.as_ref().map_or(0, |status| status.message.len());
    let own = size_of::<Span>() + span.name.len() + span.trace_state.len() + status;
    own + of_pairs(&span.attributes) + events.sum::<usize>() + links.sum::<usize>()
}

/// Approximate size of a log record, in bytes.
pub(super) fn of_record(record: &LogRecord) -> usize {
    let own = size_of::<LogRecord>() + record.event_name.len() + record.severity_text.len();
    own + record.body.as_ref().map_or(0, of_value) + of_pairs(&record.attributes)
}

fn of_pairs(pairs: &[KeyValue]) -> usize {
    let of_pair = |pair: &KeyValue| size_of::<KeyValue>() + pair.key.len() + pair.value.as_ref().map_or(0, of_value);
    pairs.iter().map(of_pair).sum()
}

fn of_value(value: &AnyValue) -> usize {
    match &value.value {
        Some(Value::StringValue(text)) => text.len(),
        Some(Value::BytesValue(bytes)) => bytes.len(),
        Some(Value::ArrayValue(array)) => {
            array.values.iter().map(|value| size_of::<AnyValue>() + of_value(value)).sum()
        }
        Some(Value::KvlistValue(list)) => of_pairs(&list.values),
        _ => 0,
    }
}

/// Kinds of messages that contain other messages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Traces,
    ResourceSpans,
    ScopeSpans,
    Span,
    Logs,
    ResourceLogs,
    ScopeLogs,
    LogRecord,
    Scope,
    /// A message whose only nested messages are attributes in this field.
    Pairs(u32),
    Pair,
    Value,
    Array,
}

impl Kind {
    /// Returns the kind of message in a field, and its size in memory.
    const fn inner(self, field: u32) -> Option<(Self, usize)> {
        Some(match (self, field) {
            (Self::Traces, 1) => (Self::ResourceSpans, size_of::<ResourceSpans>()),
            (Self::Logs, 1) => (Self::ResourceLogs, size_of::<ResourceLogs>()),
            (Self::ResourceSpans | Self::ResourceLogs, 1) => (Self::Pairs(1), size_of::<Resource>()),
            (Self::ResourceSpans, 2) => (Self::ScopeSpans, size_of::<ScopeSpans>()),
            (Self::ResourceLogs, 2) => (Self::ScopeLogs, size_of::<ScopeLogs>()),
            (Self::ScopeSpans | Self::ScopeLogs, 1) => (Self::Scope, size_of::<InstrumentationScope>()),
            (Self::ScopeSpans, 2) => (Self::Span, size_of::<Span>()),
            (Self::ScopeLogs, 2) => (Self::LogRecord, size_of::<LogRecord>()),
            (Self::Span, 11) => (Self::Pairs(3), size_of::<Event>()),
            (Self::Span, 13) => (Self::Pairs(4), size_of::<Link>()),
            (Self::Span, 15) => (Self::Pairs(0), size_of::<Status>()),
            (Self::LogRecord, 5) | (Self::Pair, 2) | (Self::Array, 1) => (Self::Value, size_of::<AnyValue>()),
            (Self::Span, 9) | (Self::LogRecord, 6) | (Self::Scope, 3) => (Self::Pair, size_of::<KeyValue>()),
            (Self::Pairs(attributes), _) if attributes == field => (Self::Pair, size_of::<KeyValue>()),
            (Self::Value, 5) => (Self::Array, 0),
            (Self::Value, 6) => (Self::Pairs(1), 0),
            _ => return None,
        })
    }
}

/// Recursion limit of the decoder.
const DEEPEST: usize = 100;

/// Returns the size of a message after decoding, without its own bytes. Invalid protobuf counts up to the invalid part.
pub(super) fn of_protobuf(kind: Kind, bytes: &[u8]) -> usize {
    add(kind, bytes, DEEPEST)
}

fn add(kind: Kind, mut bytes: &[u8], deepest: usize) -> usize {
    let mut weight = 0_usize;
    while bytes.has_remaining() && deepest > 0 {
        let Ok((field, wire_type)) = decode_key(&mut bytes) else { break };
        let inner = kind.inner(field).filter(|_| wire_type == WireType::LengthDelimited);
        let Some((inner, size)) = inner else {
            if skip_field(wire_type, field, &mut bytes, DecodeContext::default()).is_err() {
                break;
            }
            continue;
        };
        let length = decode_varint(&mut bytes).ok().and_then(|length| usize::try_from(length).ok());
        let Some((message, rest)) = length.and_then(|length| bytes.split_at_checked(length)) else { break };
        weight = weight.saturating_add(size).saturating_add(add(inner, message, deepest - 1));
        bytes = rest;
    }
    weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message as _;

    fn request(spans: Vec<Span>) -> Vec<u8> {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    #[test]
    fn the_weight_is_known_before_anything_is_decoded() {
        let around = size_of::<ResourceSpans>() + size_of::<ScopeSpans>();
        let values = vec![AnyValue::default(); 3];
        let array =
            AnyValue { value: Some(Value::ArrayValue(opentelemetry_proto::tonic::common::v1::ArrayValue { values })) };
        let pair = KeyValue { value: Some(array), ..KeyValue::default() };
        let span = Span {
            attributes: vec![pair, KeyValue::default()],
            events: vec![Event { attributes: vec![KeyValue::default()], ..Event::default() }],
            links: vec![Link::default(); 2],
            ..Span::default()
        };
        let expected = size_of::<Span>()
            + 3 * size_of::<KeyValue>()
            + size_of::<Event>()
            + 2 * size_of::<Link>()
            + 4 * size_of::<AnyValue>();
        assert_eq!(of_protobuf(Kind::Traces, &request(vec![span.clone(); 5])), around + 5 * expected);
        // The pair contains its value.
        assert_eq!(of_span(&span), expected - size_of::<AnyValue>());
        assert_eq!(
            of_protobuf(Kind::Traces, &request(vec![Span::default(); 1_000])),
            around + 1_000 * size_of::<Span>()
        );
    }

    #[test]
    fn it_ends_on_anything() {
        let whole = request(vec![Span { name: "n".repeat(300), ..Span::default() }; 3]);
        for end in 0..whole.len() {
            of_protobuf(Kind::Traces, &whole[..end]);
        }
        let mut deep = Vec::new();
        for _ in 0..100_000 {
            deep = [&[0x0a][..], &prost_length(deep.len()), &deep].concat();
            if deep.len() > 4_096 {
                break;
            }
        }
        of_protobuf(Kind::Array, &deep);
        assert_eq!(of_protobuf(Kind::Traces, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), 0);
    }

    fn prost_length(length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(length as u64, &mut bytes);
        bytes
    }
}
