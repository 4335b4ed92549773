//! OTLP as JSON (OTLP specification, "JSON Protobuf Encoding"): the JSON mapping of protobuf with ids in hex and enums as
//! numbers.
//!
//! Deviations that the mapping allows or exporters produce are accepted: a field may be missing or `null`, a number may
//! be a string, an enum may be a name, field names may be those of the definition (`trace_id`), an id may be base64,
//! and unknown names are ignored. A record that cannot be decoded does not affect the other records of its request.
//! Empty elements (a span without ids, an attribute without a key) are skipped, so that the size in memory is never
//! many times the size of the text.

mod elements;
mod number;
mod value;

use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde::{Deserialize, Deserializer};

pub(crate) use self::elements::Elements;
pub use self::elements::Unreadable;
use self::elements::{Shared, list};
use self::number::{double, hex, named, text, whole};

/// A request with spans, with log records, or with both.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Request {
    #[serde(alias = "resource_spans")]
    pub(super) resource_spans: Elements<ResourceSpans>,
    #[serde(alias = "resource_logs")]
    pub(super) resource_logs: Elements<ResourceLogs>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ResourceSpans {
    pub(super) resource: Shared<Resource>,
    #[serde(alias = "scope_spans")]
    pub(super) scope_spans: Elements<ScopeSpans>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScopeSpans {
    pub(super) scope: Shared<InstrumentationScope>,
    pub(super) spans: Elements<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ResourceLogs {
    pub(super) resource: Shared<Resource>,
    #[serde(alias = "scope_logs")]
    pub(super) scope_logs: Elements<ScopeLogs>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScopeLogs {
    #[serde(alias = "log_records")]
    pub(super) log_records: Elements<LogRecord>,
}

/// An element of a list that no request surrounds: spans and log records of one resource, or a request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Listed {
    resource: Shared<Resource>,
    #[serde(alias = "scope_spans")]
    scope_spans: Elements<ScopeSpans>,
    #[serde(alias = "scope_logs")]
    scope_logs: Elements<ScopeLogs>,
    #[serde(alias = "resource_spans")]
    resource_spans: Elements<ResourceSpans>,
    #[serde(alias = "resource_logs")]
    resource_logs: Elements<ResourceLogs>,
}

impl From<Elements<Listed>> for Request {
    fn from(list: Elements<Listed>) -> Self {
        let mut request = Self::default();
        request.resource_spans.unreadable = list.unreadable;
        for listed in list.those {
            request.resource_spans.append(listed.resource_spans);
            request.resource_logs.append(listed.resource_logs);
            let (resource, scope_spans, scope_logs) = (listed.resource, listed.scope_spans, listed.scope_logs);
            if scope_logs.has_something() {
                request.resource_logs.those.push(ResourceLogs { resource: resource.clone(), scope_logs });
            }
            if scope_spans.has_something() {
                request.resource_spans.those.push(ResourceSpans { resource, scope_spans });
            }
        }
        request
    }
}

/// A message of the protocol that is decoded from JSON.
trait Message: Sized {
    fn read<'de, D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error>;

    /// True if the message is a record: an error in it does not fail the list that contains it.
    const IS_RECORD: bool = false;

    /// Returns true if the message is not empty, and is kept in a list.
    fn says_something(&self) -> bool {
        true
    }
}

/// Wrapper that implements serde's trait for a message.
struct Of<T>(T);

impl<'de, T: Message> Deserialize<'de> for Of<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        T::read(reader).map(Self)
    }
}

fn maybe<'de, D: Deserializer<'de>, T: Message>(reader: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Of<T>>::deserialize(reader)?.map(|Of(message)| message))
}

/// Implements `Message` with the definition that mirrors the message.
macro_rules! message {
    (@ $message:ty, $definition:ident, $(const $is_record:ident: bool = $value:literal;)? $(, |$each:ident| $says_something:expr)?) => {
        impl Message for $message {
            $(const $is_record: bool = $value;)?

            fn read<'de, D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
                $definition::deserialize(reader)
            }

            $(fn says_something(&self) -> bool {
                let $each = self;
                $says_something
            })?
        }
    };
    (record $message:ty, $definition:ident, |$each:ident| $says_something:expr) => {
        message!(@ $message, $definition, const IS_RECORD: bool = true;, |$each| $says_something);
    };
    ($message:ty, $definition:ident $(, |$each:ident| $says_something:expr)?) => {
        message!(@ $message, $definition, $(, |$each| $says_something)?);
    };
}

message!(record ResourceSpans, ResourceSpans, |of_resource| of_resource.scope_spans.has_something());
message!(record ScopeSpans, ScopeSpans, |of_scope| of_scope.spans.has_something());
message!(record Listed, Listed, |listed| listed.scope_spans.has_something()
    || listed.scope_logs.has_something()
    || listed.resource_spans.has_something()
    || listed.resource_logs.has_something());
message!(record ResourceLogs, ResourceLogs, |of_resource| of_resource.scope_logs.has_something());
message!(record ScopeLogs, ScopeLogs, |of_scope| of_scope.log_records.has_something());
message!(Resource, ResourceFields);
message!(InstrumentationScope, ScopeFields);
message!(record Span, SpanFields, |span| span.trace_id.len() == 16 && span.span_id.len() == 8);
message!(Event, EventFields, |event| !event.name.is_empty());
message!(Link, LinkFields, |link| link.trace_id.len() == 16 && link.span_id.len() == 8);
message!(Status, StatusFields);
message!(record LogRecord, LogRecordFields, |record| record.trace_id.len() == 16 && record.span_id.len() == 8);
message!(KeyValue, KeyValueFields, |pair| !pair.key.is_empty());

#[derive(Deserialize)]
#[serde(remote = "Resource", rename_all = "camelCase", default = "Default::default")]
struct ResourceFields {
    #[serde(deserialize_with = "list")]
    attributes: Vec<KeyValue>,
    #[serde(deserialize_with = "whole", alias = "dropped_attributes_count")]
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
    #[serde(deserialize_with = "whole", alias = "dropped_attributes_count")]
    dropped_attributes_count: u32,
}

#[derive(Deserialize)]
#[serde(remote = "Span", rename_all = "camelCase", default = "Default::default")]
struct SpanFields {
    #[serde(deserialize_with = "hex", alias = "trace_id")]
    trace_id: Vec<u8>,
    #[serde(deserialize_with = "hex", alias = "span_id")]
    span_id: Vec<u8>,
    #[serde(deserialize_with = "text", alias = "trace_state")]
    trace_state: String,
    #[serde(deserialize_with = "hex", alias = "parent_span_id")]
    parent_span_id: Vec<u8>,
    #[serde(deserialize_with = "whole")]
    flags: u32,
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(deserialize_with = "named::<_, SpanKind>")]
    kind: i32,
    #[serde(deserialize_with = "whole", alias = "start_time_unix_nano")]
    start_time_unix_nano: u64,
    #[serde(deserialize_with = "whole", alias = "end_time_unix_nano")]
    end_time_unix_nano: u64,
    #[serde(deserialize_with = "list")]
    attributes: Vec<KeyValue>,
    #[serde(deserialize_with = "whole", alias = "dropped_attributes_count")]
    dropped_attributes_count: u32,
    #[serde(deserialize_with = "list")]
    events: Vec<Event>,
    #[serde(deserialize_with = "whole", alias = "dropped_events_count")]
    dropped_events_count: u32,
    #[serde(deserialize_with = "list")]
    links: Vec<Link>,
    #[serde(deserialize_with = "whole", alias = "dropped_links_count")]
    dropped_links_count: u32,
    #[serde(deserialize_with = "maybe")]
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(remote = "Event", rename_all = "camelCase", default = "Default::default")]
struct EventFields {
    #[serde(deserialize_with = "whole", alias = "time_unix_nano")]
    time_unix_nano: u64,
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(deserialize_with = "list")]
    attributes: Vec<KeyValue>,
    #[serde(deserialize_with = "whole", alias = "dropped_attributes_count")]
    dropped_attributes_count: u32,
}

#[derive(Deserialize)]
#[serde(remote = "Link", rename_all = "camelCase", default = "Default::default")]
struct LinkFields {
    #[serde(deserialize_with = "hex", alias = "trace_id")]
    trace_id: Vec<u8>,
    #[serde(deserialize_with = "hex", alias = "span_id")]
    span_id: Vec<u8>,
    #[serde(deserialize_with = "text", alias = "trace_state")]
    trace_state: String,
    #[serde(deserialize_with = "list")]
    attributes: Vec<KeyValue>,
    #[serde(deserialize_with = "whole", alias = "dropped_attributes_count")]
    dropped_attributes_count: u32,
    #[serde(deserialize_with = "whole")]
    flags: u32,
}

#[derive(Deserialize)]
#[serde(remote = "Status", rename_all = "camelCase", default = "Default::default")]
struct StatusFields {
    #[serde(deserialize_with = "text")]
    message: String,
    #[serde(deserialize_with = "named::<_, StatusCode>")]
    code: i32,
}

#[derive(Deserialize)]
#[serde(remote = "LogRecord", rename_all = "camelCase", default = "Default::default")]
struct LogRecordFields {
    #[serde(deserialize_with = "whole", alias = "time_unix_nano")]
    time_unix_nano: u64,
    #[serde(deserialize_with = "whole", alias = "observed_time_unix_nano")]
    observed_time_unix_nano: u64,
    #[serde(deserialize_with = "named::<_, SeverityNumber>", alias = "severity_number")]
    severity_number: i32,
    #[serde(deserialize_with = "text", alias = "severity_text")]
    severity_text: String,
    #[serde(deserialize_with = "maybe")]
    body: Option<opentelemetry_proto::tonic::common::v1::AnyValue>,
    #[serde(deserialize_with = "list")]
    attributes: Vec<KeyValue>,
    #[serde(deserialize_with = "whole", alias = "dropped_attributes_count")]
    dropped_attributes_count: u32,
    #[serde(deserialize_with = "whole")]
    flags: u32,
    #[serde(deserialize_with = "hex", alias = "trace_id")]
    trace_id: Vec<u8>,
    #[serde(deserialize_with = "hex", alias = "span_id")]
    span_id: Vec<u8>,
    #[serde(deserialize_with = "text", alias = "event_name")]
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
