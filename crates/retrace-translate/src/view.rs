//! How a span is read, whoever holds it.
//!
//! The translation never names an SDK type: it reads spans through [`SpanView`]. A span of the OpenTelemetry SDK and the
//! same span received over OTLP give the same result because both are read through this.

use std::borrow::Cow;

use retrace_protocol::json::{is_strict, without_refused_escapes};
use retrace_protocol::write;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A span that has ended, as the translation sees it.
pub trait SpanView {
    /// The trace it belongs to.
    fn trace_id(&self) -> [u8; 16];
    /// Its own id.
    fn span_id(&self) -> [u8; 8];
    /// The span around it.
    fn parent(&self) -> Parent;
    /// Its name.
    fn name(&self) -> &str;
    /// Its kind.
    fn kind(&self) -> Kind;
    /// When it began, in nanoseconds since 1970 UTC.
    fn start_unix_nanos(&self) -> u64;
    /// When it ended, in nanoseconds since 1970 UTC.
    fn end_unix_nanos(&self) -> u64;
    /// How it went.
    fn status(&self) -> StatusView<'_>;
    /// Its attributes, in order. A key may come twice; the later one holds.
    fn attributes(&self) -> impl Iterator<Item = (&str, Value<'_>)>;
    /// Its events, in order.
    fn events(&self) -> impl Iterator<Item = EventView<'_>>;
    /// The spans it points to, in order.
    fn links(&self) -> impl Iterator<Item = LinkView<'_>>;
    /// What made it.
    fn scope(&self) -> ScopeView<'_>;
    /// Attributes, events and links that were dropped before it came here.
    fn dropped(&self) -> Dropped;
    /// What the process that called this one says of the run that it records; asked of spans with a remote parent. None
    /// by default.
    fn caller(&self) -> Option<Caller> {
        None
    }
}

/// A caller that records the trace in Retrace, so that the spans it leads to belong to its run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Its span under which they stand; without one it is the remote parent.
    pub span_id: Option<[u8; 8]>,
    /// The session of the run.
    pub session_id: Option<String>,
    /// The agent that called.
    pub agent_id: Option<String>,
}

/// The span around a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// There is none.
    None,
    /// A span of this process, or one of which nobody said otherwise.
    Local([u8; 8]),
    /// A span of another process.
    Remote([u8; 8]),
}

impl Parent {
    /// Whether a span with this parent is a local root: the first of its trace in this process.
    #[must_use]
    pub const fn is_local_root(self) -> bool {
        matches!(self, Self::None | Self::Remote(_))
    }
}

/// The kind of a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Within the process; also what an unset kind means.
    #[default]
    Internal,
    /// Asks another process and waits.
    Client,
    /// Answers another process.
    Server,
    /// Hands over to another process.
    Producer,
    /// Takes over from another process.
    Consumer,
}

impl Kind {
    /// The name in lower case.
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

/// The status of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusView<'a> {
    /// Nobody said.
    Unset,
    /// Declared good.
    Ok,
    /// Failed, with a description that may be empty.
    Error(&'a str),
}

/// An event of a span, or a log record tied to it.
#[derive(Clone, Debug)]
pub struct EventView<'a> {
    /// Its name.
    pub name: &'a str,
    /// When it happened, in nanoseconds since 1970 UTC.
    pub unix_nanos: u64,
    /// Its attributes, in order.
    pub attributes: Vec<(&'a str, Value<'a>)>,
    /// What a log record says beside its attributes; span events have none.
    pub body: Option<Value<'a>>,
}

/// A link of a span.
#[derive(Clone, Debug)]
pub struct LinkView<'a> {
    /// The trace it points into.
    pub trace_id: [u8; 16],
    /// The span it points to.
    pub span_id: [u8; 8],
    /// Its attributes, in order.
    pub attributes: Vec<(&'a str, Value<'a>)>,
}

/// The instrumentation scope of a span.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScopeView<'a> {
    /// Its name; may be empty.
    pub name: &'a str,
    /// Its version; may be empty.
    pub version: &'a str,
}

/// How much was dropped from a span by limits before it came here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Attributes.
    pub attributes: u32,
    /// Events.
    pub events: u32,
    /// Links.
    pub links: u32,
}

impl Dropped {
    /// Whether nothing was.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.attributes == 0 && self.events == 0 && self.links == 0
    }
}

/// The value of an attribute.
///
/// Lists and maps come as JSON text: [`Value::json`] writes it from anything that serde can.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text.
    Str(Cow<'a, str>),
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number; may be no finite one.
    Float(f64),
    /// A list, a map or bytes, as JSON text.
    Json(Cow<'a, str>),
}

/// Bytes that a structured value takes as JSON at first; most are short lists.
const SMALL: usize = 64;

impl<'a> Value<'a> {
    /// A structured value.
    #[must_use]
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Self {
        let mut text = String::with_capacity(SMALL);
        match write::append_without_nul(&mut text, value) {
            Ok(()) => Self::Json(Cow::Owned(text)),
            Err(_) => Self::Json(Cow::Borrowed("null")),
        }
    }

    /// The text, when it is a text that is not empty.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Str(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// A text, or the text form of a number or truth value; `None` for an empty text and for structured values.
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

    /// A whole number from 0 up, also when it was recorded as a text or as a float.
    #[must_use]
    pub fn to_count(&self) -> Option<u64> {
        /// The largest float below which every whole number has its own.
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

    /// A finite number, also when it was recorded as a text.
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

    /// A truth value, also when it was recorded as a text.
    #[must_use]
    pub fn to_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Str(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Self::Str(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// The text that may hold JSON: a structured value, or a text.
    #[must_use]
    pub fn as_json_text(&self) -> Option<&str> {
        match self {
            Self::Json(text) => Some(text),
            Self::Str(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The value without what costs JSON its meaning. An object or a list that was quoted as a JSON string is itself; in a text that is JSON, escapes that a strict reader refuses become
    /// that of U+FFFD. Text that is no JSON stays as it is.
    #[must_use]
    pub(crate) fn readable(self) -> Self {
        let mended = self.as_json_text().filter(|text| text.starts_with(['{', '[', '"'])).and_then(|text| {
            let Cow::Owned(mended) = without_refused_escapes(text) else { return None };
            serde_json::from_str::<&RawValue>(&mended).is_ok().then_some(mended)
        });
        let value = match (self, mended) {
            (Self::Str(_), Some(mended)) => Self::Str(Cow::Owned(mended)),
            (Self::Json(_), Some(mended)) => Self::Json(Cow::Owned(mended)),
            (value, _) => value,
        };
        match value.as_json_text().and_then(structured_within) {
            Some(inner) => Self::Str(Cow::Owned(inner)),
            None => value,
        }
    }

    /// The text in a value that is a JSON string; any other value as it is.
    #[must_use]
    pub(crate) fn unquoted(self) -> Self {
        let text = match &self {
            Self::Str(text) if text.starts_with('"') => serde_json::from_str::<String>(text).ok(),
            _ => None,
        };
        text.map_or(self, |text| Self::Str(Cow::Owned(text)))
    }

    /// The value with a copy of what it borrows.
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

    /// Bytes that the value takes, roughly: the basis of bounds.
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

/// Writes the value as it is kept when nothing is known about its meaning: text as text, structure as structure. Of U+0000
/// who writes takes care: see [`Json::from_serialize`](retrace_protocol::Json::from_serialize).
impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Str(text) => serializer.serialize_str(text),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) if value.is_finite() => serializer.serialize_f64(*value),
            // JSON has no form for it; a text says more than null does.
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
