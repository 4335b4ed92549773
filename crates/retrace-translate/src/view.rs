//! Interface through which spans are read.
//!
//! The translation never names an SDK type: it reads spans through [`SpanView`]. A span of the OpenTelemetry SDK and the same
//! span received over OTLP have the same translation because both are read through this trait.

use std::borrow::Cow;

use retrace_protocol::json::{is_strict, without_refused_escapes};
use retrace_protocol::write;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// An ended span as the translation reads it.
pub trait SpanView {
    /// Returns the trace id.
    fn trace_id(&self) -> [u8; 16];
    /// Returns the span id.
    fn span_id(&self) -> [u8; 8];
    /// Returns the parent span.
    fn parent(&self) -> Parent;
    /// Returns the name.
    fn name(&self) -> &str;
    /// Returns the span kind.
    fn kind(&self) -> Kind;
    /// Returns the start time in nanoseconds since 1970 UTC.
    fn start_unix_nanos(&self) -> u64;
    /// Returns the end time in nanoseconds since 1970 UTC.
    fn end_unix_nanos(&self) -> u64;
    /// Returns the status.
    fn status(&self) -> StatusView<'_>;
    /// Returns the attributes, in order. A key may occur twice; the later value holds.
    fn attributes(&self) -> impl Iterator<Item = (&str, Value<'_>)>;
    /// Returns the events, in order.
    fn events(&self) -> impl Iterator<Item = EventView<'_>>;
    /// Returns the links, in order.
    fn links(&self) -> impl Iterator<Item = LinkView<'_>>;
    /// Returns the instrumentation scope.
    fn scope(&self) -> ScopeView<'_>;
    /// Returns how many attributes, events and links limits have dropped.
    fn dropped(&self) -> Dropped;
    /// Returns the run of the calling process, for a span with a remote parent. The default implementation returns `None`.
    fn caller(&self) -> Option<Caller> {
        None
    }
}

/// A calling process that records the trace in Retrace, so that the spans it leads to belong to its run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Span of the caller that becomes the parent; the remote parent if absent.
    pub span_id: Option<[u8; 8]>,
    /// Session of the run.
    pub session_id: Option<String>,
    /// Agent that made the call.
    pub agent_id: Option<String>,
}

/// Parent of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// The span is the root of its trace.
    None,
    /// A span of this process, or one whose process is unknown.
    Local([u8; 8]),
    /// A span of another process.
    Remote([u8; 8]),
}

impl Parent {
    /// Returns true if a span with this parent is a local root: the first of its trace in this process.
    #[must_use]
    pub const fn is_local_root(self) -> bool {
        matches!(self, Self::None | Self::Remote(_))
    }
}

/// Span kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Work within the process; also the meaning of an unset kind.
    #[default]
    Internal,
    /// A request to another process whose response is awaited.
    Client,
    /// A request from another process.
    Server,
    /// A message to another process.
    Producer,
    /// A message from another process.
    Consumer,
}

impl Kind {
    /// Returns the name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Client => "client",
            Self::Server => "server",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// Span status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusView<'a> {
    /// No status was set.
    Unset,
    /// Success was declared.
    Ok,
    /// An error, with a description that may be empty.
    Error(&'a str),
}

/// An event of a span, or a log record of it.
#[derive(Clone, Debug)]
pub struct EventView<'a> {
    /// Name of the event.
    pub name: &'a str,
    /// Time of the event in nanoseconds since 1970 UTC.
    pub unix_nanos: u64,
    /// Attributes, in order.
    pub attributes: Vec<(&'a str, Value<'a>)>,
    /// Body of a log record; `None` for a span event.
    pub body: Option<Value<'a>>,
}

/// A link of a span.
#[derive(Clone, Debug)]
pub struct LinkView<'a> {
    /// Trace of the linked span.
    pub trace_id: [u8; 16],
    /// Id of the linked span.
    pub span_id: [u8; 8],
    /// Attributes, in order.
    pub attributes: Vec<(&'a str, Value<'a>)>,
}

/// Instrumentation scope of a span.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScopeView<'a> {
    /// Name; may be empty.
    pub name: &'a str,
    /// Version; may be empty.
    pub version: &'a str,
}

/// Number of items that limits dropped from a span before it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Dropped attributes.
    pub attributes: u32,
    /// Dropped events.
    pub events: u32,
    /// Dropped links.
    pub links: u32,
}

impl Dropped {
    /// Returns true if nothing was dropped.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.attributes == 0 && self.events == 0 && self.links == 0
    }
}

/// Value of an attribute.
///
/// Lists and maps are JSON text: [`Value::json`] writes it from any value that serde can write.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text.
    Str(Cow<'a, str>),
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Any other number; may be infinite or NaN.
    Float(f64),
    /// A list, a map or bytes, as JSON text.
    Json(Cow<'a, str>),
}

/// Initial capacity of a structured value in bytes; most are short lists.
const SMALL: usize = 64;

impl<'a> Value<'a> {
    /// Creates a structured value.
    #[must_use]
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Self {
        let mut text = String::with_capacity(SMALL);
        match write::append_without_nul(&mut text, value) {
            Ok(()) => Self::Json(Cow::Owned(text)),
            Err(_) => Self::Json(Cow::Borrowed("null")),
        }
    }

    /// Returns the text if the value is a text and not empty.
    #[must_use]
    #[inline]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Str(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Returns a text, or the text form of a number or boolean; `None` for an empty text and for structured values.
    #[must_use]
    pub fn to_label(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Str(text) if text.is_empty() => None,
            Self::Str(text) => Some(Cow::Borrowed(text)),
            Self::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            Self::Int(value) => Some(Cow::Owned(value.to_string())),
            Self::Float(value) => Some(Cow::Owned(value.to_string())),
            Self::Json(_) => None,
        }
    }

    /// Returns a non-negative integer, also if it was recorded as a text or as a float.
    #[must_use]
    pub fn to_count(&self) -> Option<u64> {
        /// Largest float below which every integer is exact.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self {
            Self::Int(value) => u64::try_from(*value).ok(),
            Self::Float(value) if value.fract() == 0.0 && (0.0..=EXACT).contains(value) => {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // whole, in range: checked above
                Some(*value as u64)
            }
            Self::Str(text) => {
                let text = text.trim();
                text.parse().ok().or_else(|| Value::Float(text.parse().ok()?).to_count())
            }
            _ => None,
        }
    }

    /// Returns a finite number, also if it was recorded as a text.
    #[must_use]
    pub fn to_number(&self) -> Option<f64> {
        let number = match self {
            #[allow(clippy::cast_precision_loss)] // a setting of 2^53 and more has no meaning
            Self::Int(value) => *value as f64,
            Self::Float(value) => *value,
            Self::Str(text) => text.trim().parse().ok()?,
            _ => return None,
        };
        number.is_finite().then_some(number)
    }

    /// Returns a boolean, also if it was recorded as a text.
    #[must_use]
    pub fn to_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Str(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Self::Str(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// Returns the text that may hold JSON: a structured value, or a text that is not empty.
    #[must_use]
    #[inline]
    pub fn as_json_text(&self) -> Option<&str> {
        match self {
            Self::Json(text) => Some(text),
            Self::Str(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// In a text that is JSON, replaces the escapes that a strict reader refuses by that of U+FFFD. Other text is not changed.
    #[must_use]
    #[inline]
    pub(crate) fn readable(self) -> Self {
        let first = self.as_json_text().and_then(|text| text.as_bytes().first());
        if matches!(first, Some(b'{' | b'[' | b'"')) { self.repaired() } else { self }
    }

    fn repaired(self) -> Self {
        let repaired = self.as_json_text().and_then(|text| {
            let Cow::Owned(repaired) = without_refused_escapes(text) else { return None };
            serde_json::from_str::<&RawValue>(&repaired).is_ok().then_some(repaired)
        });
        match (self, repaired) {
            (Self::Str(_), Some(repaired)) => Self::Str(Cow::Owned(repaired)),
            (Self::Json(_), Some(repaired)) => Self::Json(Cow::Owned(repaired)),
            (value, _) => value,
        }
    }

    /// Unwraps an object or a list that is quoted as a JSON string. Other values are not changed.
    #[must_use]
    #[inline]
    pub(crate) fn unwrapped(self) -> Self {
        match self.as_json_text().filter(|text| text.as_bytes().first() == Some(&b'"')).and_then(structured_within) {
            Some(inner) => Self::Str(Cow::Owned(inner)),
            None => self,
        }
    }

    /// Replaces a text that is a JSON string by the text in it. Other values are not changed.
    #[must_use]
    pub(crate) fn unquoted(self) -> Self {
        let text = match &self {
            Self::Str(text) if text.starts_with('"') => serde_json::from_str::<String>(text).ok(),
            _ => None,
        };
        text.map_or(self, |text| Self::Str(Cow::Owned(text)))
    }

    /// Returns the value without borrows.
    #[must_use]
    pub(crate) fn into_owned(self) -> Value<'static> {
        match self {
            Self::Str(text) => Value::Str(Cow::Owned(text.into_owned())),
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Float(value) => Value::Float(value),
            Self::Json(text) => Value::Json(Cow::Owned(text.into_owned())),
        }
    }

    /// Returns the approximate size of the value in bytes, on which memory limits are based.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Str(text) | Self::Json(text) => text.len(),
            Self::Bool(_) | Self::Int(_) | Self::Float(_) => size_of::<i64>(),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Str(Cow::Borrowed(text))
    }
}

/// Writes a text as a string and structure as structure, the form in which values of unknown meaning are kept. U+0000 is
/// handled by the writer: see [`Json::from_serialize`](retrace_protocol::Json::from_serialize).
impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Str(text) => serializer.serialize_str(text),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) if value.is_finite() => serializer.serialize_f64(*value),
            // JSON has no form for it; a text keeps more than `null` does.
            Self::Float(value) => serializer.collect_str(value),
            Self::Json(text) => match serde_json::from_str::<&RawValue>(&without_refused_escapes(text)) {
                Ok(raw) if is_strict(raw.get()) => raw.serialize(serializer),
                _ => serializer.serialize_str(text),
            },
        }
    }
}

/// The object or list in a JSON string, however often it was quoted; `None` for anything else.
fn structured_within(text: &str) -> Option<String> {
    /// JSON strings that stand in each other, at most.
    const STRINGS: usize = 3;
    if !["\"{", "\"[", "\"\\"].iter().any(|begin| text.starts_with(begin)) {
        return None;
    }
    let mut inner: String = serde_json::from_str(text).ok()?;
    for _ in 1..STRINGS {
        if !inner.starts_with('"') {
            break;
        }
        inner = serde_json::from_str(&inner).ok()?;
    }
    (inner.starts_with(['{', '[']) && serde_json::from_str::<&RawValue>(&inner).is_ok()).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_every_form_they_are_recorded_in() {
        for (value, count, number) in [
            (Value::Int(7), Some(7), Some(7.0)),
            (Value::Int(-7), None, Some(-7.0)),
            (Value::Float(7.0), Some(7), Some(7.0)),
            (Value::Float(7.5), None, Some(7.5)),
            (Value::Float(f64::NAN), None, None),
            (Value::Float(1e300), None, Some(1e300)),
            (Value::from(" 1165 "), Some(1165), Some(1165.0)),
            (Value::from("0.25"), None, Some(0.25)),
            (Value::from("inf"), None, None),
            (Value::from("many"), None, None),
            (Value::Bool(true), None, None),
        ] {
            assert_eq!((value.to_count(), value.to_number()), (count, number), "{value:?}");
        }
    }

    #[test]
    fn values_are_written_as_what_they_are() {
        let json = |value: &Value<'_>| retrace_protocol::Json::from_serialize(value).as_str().to_owned();
        assert_eq!(json(&Value::Json(r#"["a",{"b":1}]"#.into())), r#"["a",{"b":1}]"#);
        assert_eq!(json(&Value::Json(r#"["\ud800"]"#.into())), r#"["\ufffd"]"#);
        assert_eq!(json(&Value::Json("[1e999]".into())), r#""[1e999]""#);
        assert_eq!(json(&Value::Float(f64::INFINITY)), r#""inf""#);
        assert_eq!(json(&Value::from("a\0")), "\"a\u{FFFD}\"");
        assert_eq!(json(&Value::Int(-1)), "-1");
    }
}
