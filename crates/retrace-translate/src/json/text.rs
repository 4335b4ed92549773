//! JSON tokens that are texts.

use std::borrow::Cow;

use retrace_protocol::message::{Text, decode};
use serde_json::value::RawValue;

/// Returns a JSON string as an undecoded text; `None` for anything else.
pub(crate) fn text_of(raw: &RawValue) -> Option<Text<'_>> {
    raw.get().starts_with('"').then_some(Text::Token(raw))
}

/// Returns a short text: that of a JSON string, or the digits of a number; `None` if it is empty or anything else.
pub(crate) fn label_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = match raw.get().as_bytes() {
        [b'"', ..] => decode(raw),
        [b'0'..=b'9' | b'-', ..] => Cow::Borrowed(raw.get()),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}
