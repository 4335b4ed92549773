//! Recorded values: bounded JSON text.

use std::any::type_name;
use std::borrow::Cow;
use std::fmt::{self, Debug, Write as _};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde_json::Value as Json;

/// Most bytes of one recorded value. A longer value is cut there and marked `truncated`.
pub const VALUE_BYTES: usize = 1024 * 1024;

/// Shown in place of a value whose `Serialize` or `Debug` panics.
const PANICKED: &str = "[unreadable: formatting panicked]";

/// A value as it is recorded: JSON text, or plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    text: String,
    is_json: bool,
    is_cut: bool,
}

impl Value {
    /// Serializes a value. One that fails to serialize is recorded as a text that states the reason.
    pub fn serialize<T: Serialize + ?Sized>(value: &T) -> Self {
        guarded(|| {
            let mut writer = Bounded::new(VALUE_BYTES);
            match serde_json::to_writer(&mut writer, value) {
                Ok(()) => Self::json(writer),
                Err(_) if writer.is_full => Self::json(writer),
                Err(error) => Self::text(format_args!("[unreadable {}: {error}]", type_name::<T>())),
            }
        })
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
        let mut writer = Bounded::new(VALUE_BYTES);
        // Fails only when the bound is reached, or when the value itself refuses: what was written until then is kept.
        let _ = writer.write_fmt(text);
        let is_cut = writer.is_full;
        Self { text: writer.into_text(), is_json: false, is_cut }
    }

    /// JSON `null`.
    pub fn null() -> Self {
        Self { text: "null".to_owned(), is_json: true, is_cut: false }
    }

    /// Stands for a value whose capture panicked.
    pub(crate) fn unreadable() -> Self {
        Self::text(format_args!("{PANICKED}"))
    }

    /// The value as plain text: a string without its quotes.
    pub(crate) fn into_plain(self) -> String {
        match self.is_json {
            true => serde_json::from_str(&self.text).unwrap_or(self.text),
            false => self.text,
        }
    }

    fn json(writer: Bounded) -> Self {
        let is_cut = writer.is_full;
        Self { text: writer.into_text(), is_json: true, is_cut }
    }

    /// Returns true if the value was longer than its bound.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The text of an attribute that is read back as this value: plain text as it is unless it reads as JSON, anything else
    /// as JSON.
    pub(crate) fn into_attribute(self) -> String {
        if self.is_json {
            if self.is_cut || !self.text.starts_with('"') {
                return self.text;
            }
            return match serde_json::from_str::<String>(&self.text) {
                Ok(plain) if !reads_as_json(&plain) => plain,
                _ => self.text,
            };
        }
        if reads_as_json(&self.text) { quoted(&self.text) } else { self.text }
    }

    /// The value as a JSON tree; a cut one as its text.
    pub(crate) fn into_json(self) -> Json {
        match self.is_json {
            true => serde_json::from_str(&self.text).unwrap_or(Json::String(self.text)),
            false => Json::String(self.text),
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
        Self { text, is_json: true, is_cut: false }
    }

    /// JSON text that was cut at its bound.
    pub(crate) fn cut_json_text(text: String) -> Self {
        Self { text, is_json: true, is_cut: true }
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

/// A writer that takes so many bytes and no more.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    is_full: bool,
}

impl Bounded {
    fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, is_full: false }
    }

    fn push(&mut self, bytes: &[u8]) -> bool {
        let room = self.limit - self.bytes.len();
        self.is_full |= bytes.len() > room;
        self.bytes.extend(bytes.iter().take(room));
        !self.is_full
    }

    fn into_text(self) -> String {
        match String::from_utf8(self.bytes) {
            Ok(text) => text,
            // The bound may lie within a character.
            Err(error) => {
                let whole = error.utf8_error().valid_up_to();
                let mut bytes = error.into_bytes();
                bytes.truncate(whole);
                String::from_utf8(bytes).unwrap_or_default()
            }
        }
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.push(bytes) {
            true => Ok(bytes.len()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.push(text.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }
}
