//! OTLP as JSON (OTLP specification, "JSON Protobuf Encoding"): the JSON mapping of protobuf with ids in hex and enums as
//! numbers.
//!
//! What the mapping allows and exporters do is read: a field may be missing or `null`, a number may be a text, names that
//! are not known are passed over. Elements that say nothing (a span without ids, an attribute without a key) take no place,
//! so that what is read is never many times as large as its text.

mod number;
mod value;

use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use self::number::{double, hex, text, whole};

/// A request with spans, with log records, or with both.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Request {
    #[serde(deserialize_with = "plain")]
    pub(super) resource_spans: Vec<ResourceSpans>,
    #[serde(deserialize_with = "plain")]
    pub(super) resource_logs: Vec<ResourceLogs>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ResourceSpans {
    #[serde(deserialize_with = "maybe")]
    pub(super) resource: Option<Resource>,
    #[serde(deserialize_with = "plain")]
    pub(super) scope_spans: Vec<ScopeSpans>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScopeSpans {
    #[serde(deserialize_with = "maybe")]
    pub(super) scope: Option<InstrumentationScope>,
    pub(super) spans: Elements<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ResourceLogs {
    #[serde(deserialize_with = "plain")]
    pub(super) scope_logs: Vec<ScopeLogs>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScopeLogs {
    pub(super) log_records: Elements<LogRecord>,
}

/// The elements of a list that say something, and how many do not.
#[derive(Debug)]
pub(super) struct Elements<T> {
    pub(super) those: Vec<T>,
    pub(super) left_out: u64,
}

/// A message of the protocol, read from its JSON.
trait Message: Sized {
    fn read<'de, D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error>;

    /// Whether it is worth a place in a list.
    fn says_something(&self) -> bool {
        true
    }
}

/// Reads a message where serde expects its own trait.
struct Of<T>(T);

impl<'de, T: Message> Deserialize<'de> for Of<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        T::read(reader).map(Self)
    }
}

impl<T> Default for Elements<T> {
    fn default() -> Self {
        Self { those: Vec::new(), left_out: 0 }
    }
}

impl<'de, T: Message> Deserialize<'de> for Elements<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct List<T>(Elements<T>);

        impl<'de, T: Message> Visitor<'de> for List<T> {
            type Value = Elements<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(self.0)
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Self::Value, A::Error> {
                while let Some(element) = list.next_element::<Option<Of<T>>>()? {
                    match element {
                        Some(Of(element)) if element.says_something() => self.0.those.push(element),
                        _ => self.0.left_out += 1,
                    }
                }
                Ok(self.0)
            }
        }

        reader.deserialize_any(List(Self::default()))
    }
}

fn list<'de, D: Deserializer<'de>, T: Message>(reader: D) -> Result<Vec<T>, D::Error> {
    Ok(Elements::deserialize(reader)?.those)
}

fn maybe<'de, D: Deserializer<'de>, T: Message>(reader: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Of<T>>::deserialize(reader)?.map(|Of(message)| message))
}

/// A list of what only this module knows.
fn plain<'de, D: Deserializer<'de>, T: Deserialize<'de>>(reader: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(reader)?.unwrap_or_default())
}

/// Makes a message readable by the definition that mirrors it.
macro_rules! message {
    ($message:ty, $definition:ident $(, |$each:ident| $says_something:expr)?) => {
        impl Message for $message {
            fn read<'de, D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
                $definition::deserialize(reader)
            }

            $(fn says_something(&self) -> bool {
                let $each = self;
                $says_something
            })?
        }
    };
}

message!(Resource, ResourceFields);
message!(InstrumentationScope, ScopeFields);
message!(Span, SpanFields, |span| span.trace_id.len() == 16 && span.span_id.len() == 8);
message!(Event, EventFields, |event| !event.name.is_empty());
message!(Link, LinkFields, |link| link.trace_id.len() == 16 && link.span_id.len() == 8);
message!(Status, StatusFields);
message!(LogRecord, LogRecordFields, |record| record.trace_id.len() == 16 && record.span_id.len() == 8);
message!(KeyValue, KeyValueFields, |pair| !pair.key.is_empty());

#[derive(Deserialize)]
#[serde(remote = "Resource", rename_all = "camelCase", default = "Default::default")]
struct ResourceFields {
    #[serde(deserialize_with = "list")]
    attributes: Vec<KeyValue>,
    #[serde(deserialize_with = "whole")]
    dropped_attributes_count: u32,
    #[serde(skip)]
    entity_refs: Vec<opentelemetry_proto::tonic::common::v1::EntityRef>,
}

#[derive(Deserialize)]
#[serde(remote = "InstrumentationScope", rename_all = "camelCase", default = "Default::default")]
struct ScopeFields {
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(deserialize_with = "text")]
    version: String,
    #[serde(deserialize_with = "list")]
    attributes: Vec<KeyValue>,
    #[serde(deserialize_with = "whole")]
    dropped_attributes_count: u32,
}

#[derive(Deserialize)]
#[serde(remote = "Span", rename_all = "camelCase", default = "Default::default")]
struct SpanFields {
    #[serde(deserialize_with = "hex")]
    trace_id: Vec<u8>,
    #[serde(deserialize_with = "hex")]
    span_id: Vec<u8>,
    #[serde(deserialize_with = "text")]
    trace_state: String,
    #[serde(deserialize_with = "hex")]
    parent_span_id: Vec<u8>,
    #[serde(deserialize_with = "whole")]
    flags: u32,
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(deserialize_with = "whole")]
    kind: i32,
    #[serde(deserialize_with = "whole")]
    start_time_unix_nano: u64,
    #[serde(deserialize_with = "whole")]
    end_time_unix_nano: u64,
    #[serde(deserialize_with = "list")]
    attributes: Vec<KeyValue>,
    #[serde(deserialize_with = "whole")]
    dropped_attributes_count: u32,
    #[serde(deserialize_with = "list")]
    events: Vec<Event>,
    #[serde(deserialize_with = "whole")]
    dropped_events_count: u32,
    #[serde(deserialize_with = "list")]
    links: Vec<Link>,
    #[serde(deserialize_with = "whole")]
    dropped_links_count: u32,
    #[serde(deserialize_with = "maybe")]
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(remote = "Event", rename_all = "camelCase", default = "Default::default")]
struct EventFields {
    #[serde(deserialize_with = "whole")]
    time_unix_nano: u64,
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(deserialize_with = "list")]
    attributes: Vec<KeyValue>,
    #[serde(deserialize_with = "whole")]
    dropped_attributes_count: u32,
}

#[derive(Deserialize)]
#[serde(remote = "Link", rename_all = "camelCase", default = "Default::default")]
struct LinkFields {
    #[serde(deserialize_with = "hex")]
    trace_id: Vec<u8>,
    #[serde(deserialize_with = "hex")]
    span_id: Vec<u8>,
    #[serde(deserialize_with = "text")]
    trace_state: String,
    #[serde(deserialize_with = "list")]
    attributes: Vec<KeyValue>,
    #[serde(deserialize_with = "whole")]
    dropped_attributes_count: u32,
    #[serde(deserialize_with = "whole")]
    flags: u32,
}

#[derive(Deserialize)]
#[serde(remote = "Status", rename_all = "camelCase", default = "Default::default")]
struct StatusFields {
    #[serde(deserialize_with = "text")]
    message: String,
    #[serde(deserialize_with = "whole")]
    code: i32,
}

#[derive(Deserialize)]
#[serde(remote = "LogRecord", rename_all = "camelCase", default = "Default::default")]
struct LogRecordFields {
    #[serde(deserialize_with = "whole")]
    time_unix_nano: u64,
    #[serde(deserialize_with = "whole")]
    observed_time_unix_nano: u64,
    #[serde(deserialize_with = "whole")]
    severity_number: i32,
    #[serde(deserialize_with = "text")]
    severity_text: String,
    #[serde(deserialize_with = "maybe")]
    body: Option<opentelemetry_proto::tonic::common::v1::AnyValue>,
    #[serde(deserialize_with = "list")]
    attributes: Vec<KeyValue>,
    #[serde(deserialize_with = "whole")]
    dropped_attributes_count: u32,
    #[serde(deserialize_with = "whole")]
    flags: u32,
    #[serde(deserialize_with = "hex")]
    trace_id: Vec<u8>,
    #[serde(deserialize_with = "hex")]
    span_id: Vec<u8>,
    #[serde(deserialize_with = "text")]
    event_name: String,
}

#[derive(Deserialize)]
#[serde(remote = "KeyValue", rename_all = "camelCase", default = "Default::default")]
struct KeyValueFields {
    #[serde(deserialize_with = "text")]
    key: String,
    #[serde(deserialize_with = "maybe")]
    value: Option<opentelemetry_proto::tonic::common::v1::AnyValue>,
    #[serde(skip)]
    key_strindex: i32,
}

#[cfg(test)]
mod tests;
