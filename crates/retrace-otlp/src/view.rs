//! View of an OTLP span for the translation.

use base64::Engine as _;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use retrace_translate::{Dropped, EventView, Kind, LinkView, Parent, ScopeView, SpanView, StatusView, Value};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

/// Bits of `flags`: whether the flag for a remote parent is valid, and that flag (trace.proto, `SpanFlags`).
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// A span with validated ids, and the log records that are its events.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) span: &'a Span,
    pub(super) scope: Option<&'a InstrumentationScope>,
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    pub(super) records: &'a [LogRecord],
}

impl SpanView for View<'_> {
    fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    fn parent(&self) -> Parent {
        let flags = self.span.flags;
        match <[u8; 8]>::try_from(self.span.parent_span_id.as_slice()) {
            Ok([0, 0, 0, 0, 0, 0, 0, 0]) | Err(_) => Parent::None,
            Ok(id) if flags & HAS_IS_REMOTE != 0 && flags & IS_REMOTE != 0 => Parent::Remote(id),
            // The exporter does not set the flag: the parent of a server or consumer span is remote.
            Ok(id) if flags & HAS_IS_REMOTE == 0 && matches!(self.kind(), Kind::Server | Kind::Consumer) => {
                Parent::Remote(id)
            }
            Ok(id) => Parent::Local(id),
        }
    }

    fn name(&self) -> &str {
        &self.span.name
    }

    fn kind(&self) -> Kind {
        match self.span.kind() {
            SpanKind::Unspecified | SpanKind::Internal => Kind::Internal,
            SpanKind::Server => Kind::Server,
            SpanKind::Client => Kind::Client,
            SpanKind::Producer => Kind::Producer,
            SpanKind::Consumer => Kind::Consumer,
        }
    }

    fn start_unix_nanos(&self) -> u64 {
        self.span.start_time_unix_nano
    }

    fn end_unix_nanos(&self) -> u64 {
        self.span.end_time_unix_nano
    }

    fn status(&self) -> StatusView<'_> {
        match &self.span.status {
            Some(status) if status.code() == StatusCode::Error => StatusView::Error(&status.message),
            Some(status) if status.code() == StatusCode::Ok => StatusView::Ok,
            _ => StatusView::Unset,
        }
    }

    fn attributes(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        attributes(&self.span.attributes)
    }

    fn events(&self) -> impl Iterator<Item = EventView<'_>> {
        let events = self.span.events.iter().map(|event| EventView {
            name: &event.name,
            unix_nanos: event.time_unix_nano,
            attributes: attributes(&event.attributes).collect(),
            body: None,
        });
        let records = self.records.iter().map(|record| EventView {
            name: event_name(record).unwrap_or_default(),
            unix_nanos: time(record),
            attributes: attributes(&record.attributes).collect(),
            body: record.body.as_ref().and_then(value),
        });
        events.chain(records)
    }

    fn links(&self) -> impl Iterator<Item = LinkView<'_>> {
        self.span.links.iter().filter_map(|link| {
            Some(LinkView {
                trace_id: link.trace_id.as_slice().try_into().ok()?,
                span_id: link.span_id.as_slice().try_into().ok()?,
                attributes: attributes(&link.attributes).collect(),
            })
        })
    }

    fn scope(&self) -> ScopeView<'_> {
        self.scope.map_or_else(ScopeView::default, |scope| ScopeView { name: &scope.name, version: &scope.version })
    }

    fn dropped(&self) -> Dropped {
        Dropped {
            attributes: self.span.dropped_attributes_count,
            events: self.span.dropped_events_count,
            links: self.span.dropped_links_count,
        }
    }
}

/// Returns the event name of a log record; `None` if it is not an event. Older records have the name as an attribute.
pub(super) fn event_name(record: &LogRecord) -> Option<&str> {
    let older = || record.attributes.iter().find(|attribute| attribute.key == "event.name");
    let name = match record.event_name.as_str() {
        "" => match older()?.value.as_ref()?.value.as_ref()? {
            Any::StringValue(name) => name,
            _ => return None,
        },
        name => name,
    };
    Some(name).filter(|name| !name.is_empty())
}

/// Returns the time of the event, or, if it is not set, the time of its observation.
pub(super) fn time(record: &LogRecord) -> u64 {
    if record.time_unix_nano == 0 { record.observed_time_unix_nano } else { record.time_unix_nano }
}

/// Returns the attributes for the translation, without keys that have no value.
pub(super) fn attributes(attributes: &[KeyValue]) -> impl Iterator<Item = (&str, Value<'_>)> {
    attributes.iter().filter_map(|attribute| Some((attribute.key.as_str(), value(attribute.value.as_ref()?)?)))
}

fn value(value: &AnyValue) -> Option<Value<'_>> {
    Some(match value.value.as_ref()? {
        Any::StringValue(text) => Value::from(text.as_str()),
        Any::BoolValue(value) => Value::Bool(*value),
        Any::IntValue(value) => Value::Int(*value),
        Any::DoubleValue(value) => Value::Float(*value),
        structured => Value::json(&Tree(structured)),
    })
}

/// Returns a value as JSON text; `None` for an absent value. Bytes become base64.
#[must_use]
pub fn json_text(value: &AnyValue) -> Option<String> {
    serde_json::to_string(&Tree(value.value.as_ref()?)).ok()
}

/// Returns the event name of a log record; `None` if it is not an event.
#[must_use]
pub fn log_event_name(record: &LogRecord) -> Option<&str> {
    event_name(record)
}

/// Returns the time of a log record in nanoseconds since 1970, or, if it is not set, the time of its observation.
#[must_use]
pub fn log_event_time(record: &LogRecord) -> u64 {
    time(record)
}

/// Serializes a value as JSON; bytes become base64.
struct Tree<'a>(&'a Any);

impl Serialize for Tree<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Any::StringValue(text) => serializer.serialize_str(text),
            Any::BoolValue(value) => serializer.serialize_bool(*value),
            Any::IntValue(value) => serializer.serialize_i64(*value),
            Any::DoubleValue(value) => Value::Float(*value).serialize(serializer),
            Any::BytesValue(bytes) => {
                serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(bytes))
            }
            Any::ArrayValue(list) => {
                let mut seq = serializer.serialize_seq(Some(list.values.len()))?;
                for element in &list.values {
                    seq.serialize_element(&element.value.as_ref().map(Tree))?;
                }
                seq.end()
            }
            Any::KvlistValue(list) => {
                let mut map = serializer.serialize_map(Some(list.values.len()))?;
                for entry in &list.values {
                    map.serialize_entry(&entry.key, &entry.value.as_ref().and_then(|v| v.value.as_ref()).map(Tree))?;
                }
                map.end()
            }
            // Indexes of a string table, which only profiles have.
            Any::StringValueStrindex(_) => serializer.serialize_none(),
        }
    }
}
