//! Recorded values: bounded JSON text.

pub(crate) mod input;
pub(crate) mod items;
mod scratch;

use std::any::type_name;
use std::borrow::Cow;
use std::fmt::{self, Debug, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use opentelemetry::StringValue;
use serde::Serialize;
use serde_json::Value as Json;

use self::scratch::Scratch;

/// Most bytes of one recorded value. A longer value is cut there and marked `truncated`.
pub const VALUE_BYTES: usize = 1024 * 1024;

/// Shown in place of a value whose `Serialize` or `Debug` panics.
const PANICKED: &str = "[unreadable: formatting panicked]";

/// A value as it is recorded: JSON text, or plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    text: Cow<'static, str>,
    is_json: bool,
    is_cut: bool,
}

impl Value {
    /// Serializes a value. One that fails to serialize is recorded as a text that states the reason.
    pub fn serialize<T: Serialize + ?Sized>(value: &T) -> Self {
        let mut text = Scratch::new();
        match Written::by(&mut text, VALUE_BYTES, value) {
            Written::Whole => Self::json(text),
            Written::Cut => Self { is_cut: true, ..Self::json(text) },
            Written::Instead(value) => value,
        }
    }

    /// Formats a value with `Debug`.
    pub fn debug<T: Debug + ?Sized>(value: &T) -> Self {
        guarded(|| Self::text(format_args!("{value:?}")))
    }

    /// Records the name of a type whose values cannot be read.
    pub fn type_name<T: ?Sized>() -> Self {
        Self::text(format_args!("[{}]", type_name::<T>()))
    }

    /// Records the text that `text` writes.
    pub fn text(text: fmt::Arguments<'_>) -> Self {
        let mut scratch = Scratch::new();
        let mut writer = scratch.bounded(VALUE_BYTES);
        // Fails only when the bound is reached, or when the value itself refuses: what was written until then is kept.
        let _ = writer.write_fmt(text);
        let is_cut = writer.is_full();
        Self { text: scratch.into_text().into(), is_json: false, is_cut }
    }

    /// JSON `null`.
    pub fn null() -> Self {
        Self { text: Cow::Borrowed("null"), is_json: true, is_cut: false }
    }

    /// Stands for a value whose capture panicked.
    pub(crate) fn unreadable() -> Self {
        Self::text(format_args!("{PANICKED}"))
    }

    /// The value as plain text: a string without its quotes.
    pub(crate) fn into_plain(self) -> String {
        match self.is_json.then(|| serde_json::from_str(&self.text)) {
            Some(Ok(plain)) => plain,
            _ => self.text.into_owned(),
        }
    }

    /// JSON text that is whole. The commonest texts are not allocated.
    fn json(text: Scratch) -> Self {
        let text = match text.as_bytes() {
            b"null" => Cow::Borrowed("null"),
            b"true" => Cow::Borrowed("true"),
            b"false" => Cow::Borrowed("false"),
            _ => Cow::Owned(text.into_text()),
        };
        Self { text, is_json: true, is_cut: false }
    }

    /// Returns true if the value was longer than its bound.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The text of an attribute that is read back as this value: plain text as it is unless it reads as JSON, anything else
    /// as JSON.
    pub(crate) fn into_attribute(self) -> StringValue {
        let text = self.text;
        if self.is_json {
            if self.is_cut || !text.starts_with('"') {
                return text.into();
            }
            return match unquoted(&text) {
                Some(plain) if !reads_as_json(&plain) => plain.into_owned().into(),
                _ => text.into(),
            };
        }
        if reads_as_json(&text) { quoted(&text).into() } else { text.into() }
    }

    /// The value as a JSON tree; a cut one as its text.
    pub(crate) fn into_json(self) -> Json {
        match self.is_json.then(|| serde_json::from_str(&self.text)) {
            Some(Ok(json)) => json,
            _ => Json::String(self.text.into_owned()),
        }
    }

    /// JSON text that stands inside of other JSON.
    pub(crate) fn as_json_text(&self) -> Cow<'_, str> {
        match self.is_json && !self.is_cut {
            true => Cow::Borrowed(&self.text),
            false => Cow::Owned(quoted(&self.text)),
        }
    }

    /// Bytes of the text.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// JSON text that is whole.
    pub(crate) fn from_json_text(text: String) -> Self {
        Self { text: text.into(), is_json: true, is_cut: false }
    }

    /// JSON text that was cut at its bound.
    pub(crate) fn cut_json_text(text: String) -> Self {
        Self { text: text.into(), is_json: true, is_cut: true }
    }

    /// Returns true for JSON `null`.
    pub(crate) fn is_null(&self) -> bool {
        self.is_json && self.text == "null"
    }

    /// Returns true for a JSON object.
    pub(crate) fn is_object(&self) -> bool {
        self.is_json && self.text.starts_with('{')
    }
}

/// Result of writing a value as JSON.
pub(crate) enum Written {
    Whole,
    /// The value is longer than there was room for.
    Cut,
    /// The value cannot be serialized: this stands for it. A part of it may have been written.
    Instead(Value),
}

impl Written {
    /// Writes a value as JSON at the end of a text that is at most `limit` bytes long then.
    pub(crate) fn by<T: Serialize + ?Sized>(text: &mut Scratch, limit: usize, value: &T) -> Self {
        let mut writer = text.bounded(limit);
        let result = catch_unwind(AssertUnwindSafe(|| serde_json::to_writer(&mut writer, value)));
        let is_full = writer.is_full();
        Self::of(result, is_full, type_name::<T>)
    }

    fn of(result: thread::Result<serde_json::Result<()>>, is_full: bool, type_name: fn() -> &'static str) -> Self {
        match result {
            Ok(Ok(())) => Self::Whole,
            Ok(Err(_)) if is_full => Self::Cut,
            Ok(Err(error)) => {
                Self::Instead(guarded(|| Value::text(format_args!("[unreadable {}: {error}]", type_name()))))
            }
            Err(_) => Self::Instead(Value::unreadable()),
        }
    }
}

/// The text of a JSON string; `None` for what is no JSON string.
fn unquoted(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    // A quote in it has an escape before it.
    if inner.contains('\\') { serde_json::from_str(json).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

pub(crate) fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

/// Returns true if a reader would take the text for something else than text.
fn reads_as_json(text: &str) -> bool {
    match text.trim_start().bytes().next() {
        Some(b'{' | b'[' | b'"') => true,
        // An attribute without text states nothing.
        None => text.is_empty(),
        Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
        _ => false,
    }
}

/// Runs code of the application; a panic gives the marker for unreadable values.
fn guarded(capture: impl FnOnce() -> Value) -> Value {
    catch_unwind(AssertUnwindSafe(capture)).unwrap_or_else(|_| Value::unreadable())
}
