//! Error of a span, as one line.

use std::borrow::Cow;

use retrace_protocol::Status;
use retrace_protocol::json::without_nul;
use retrace_protocol::limits::ERROR_CHARS;

use crate::fields::{Field, Fields};
use crate::span_reader::leftover_attributes::is_tracing_event;
use crate::view::{EventView, SpanView, StatusView};

/// Name of the event in which the conventions record an exception.
const EXCEPTION: &str = "exception";
/// Name of the event that records why an operation of a GenAI client failed.
const OPERATION_EXCEPTION: &str = "gen_ai.client.operation.exception";
const EXCEPTION_TYPE: &str = "exception.type";
const EXCEPTION_MESSAGE: &str = "exception.message";
/// Value of `error.type` for an error without a known type.
pub(crate) const UNNAMED: &str = "_OTHER";

/// Explicit outcome of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Completed,
    Failed,
}

impl Ending {
    /// Reads a status of the protocol.
    pub(crate) fn from_wire(status: &str) -> Option<Self> {
        match Status::from_wire(status)? {
            Status::Completed => Some(Self::Completed),
            Status::Failed => Some(Self::Failed),
            Status::Running => None,
        }
    }
}

/// Returns true if an event records an exception.
pub(crate) fn is_exception(event: &str) -> bool {
    matches!(event, EXCEPTION | OPERATION_EXCEPTION)
}

/// Returns `Type: message` for a span whose status is an error or that states an error type, with at most [`ERROR_CHARS`]
/// characters.
///
/// The last exception event takes precedence, then `error.type` and the description of the status. An exception event on a span
/// that did not fail is no error, unless it records why an operation failed.
pub(crate) fn failure<V: SpanView>(span: &V, fields: &Fields<'_>) -> Option<String> {
    let ending = fields.text(Field::Status).and_then(Ending::from_wire);
    let error = fields.label(Field::StatedError).filter(|error| !error.is_empty());
    if ending == Some(Ending::Completed) {
        return None;
    }
    if let Some(error) = error {
        return Some(compose(fields.label(Field::ErrorType).filter(|kind| kind != UNNAMED).as_deref(), Some(&error)));
    }
    let stated = fields.label(Field::ErrorType);
    let is_level = fields.text(Field::Level).is_some_and(|level| level.eq_ignore_ascii_case("error"));
    let message = fields.text(Field::StatusMessage).unwrap_or_default();
    let description = match span.status() {
        StatusView::Error("") => message,
        StatusView::Error(description) => description,
        StatusView::Unset if span.events().any(|event| event.name == OPERATION_EXCEPTION) => message,
        StatusView::Unset | StatusView::Ok if stated.is_none() && !is_level && ending.is_none() => return None,
        StatusView::Ok | StatusView::Unset => message,
    };
    let exception = span.events().filter(|event| is_exception(event.name)).last();
    let logged = || if exception.is_none() && description.is_empty() { logged_error(span) } else { None };
    let of = |key| exception.as_ref().and_then(|event| attribute(event, key));
    let kind = of(EXCEPTION_TYPE).map(Cow::Owned).or(stated.filter(|kind| kind != UNNAMED));
    let message = of(EXCEPTION_MESSAGE).or_else(|| Some(description.to_owned())).filter(|text| !text.is_empty());
    let message = message.or_else(logged);
    Some(compose(kind.as_deref(), message.as_deref()))
}

/// Returns the error that the application logged last on the span, by `tracing::error!` or `#[instrument(err)]`: its field
/// `error`, else its message.
fn logged_error<V: SpanView>(span: &V) -> Option<String> {
    let is_error = |event: &EventView<'_>| {
        is_tracing_event(event) && attribute(event, "level").is_some_and(|level| level.eq_ignore_ascii_case("error"))
    };
    let event = span.events().filter(is_error).last()?;
    let stated = ["error", "err", "exception.message"].iter().find_map(|key| attribute(&event, key));
    stated.or_else(|| Some(event.name.to_owned())).filter(|text| !text.is_empty())
}

fn attribute(event: &EventView<'_>, key: &str) -> Option<String> {
    let (_, value) = event.attributes.iter().rev().find(|(name, _)| *name == key)?;
    value.to_label().map(Cow::into_owned)
}

/// Joins the type and the message of an error, without credentials.
///
/// A type such as `invalid_api_key` names no credential that follows it: the first word of a sentence stays.
pub(crate) fn compose(kind: Option<&str>, message: Option<&str>) -> String {
    let text = match (kind, message) {
        (Some(kind), Some(message)) => {
            // Some libraries already put the type before the message.
            let rest = message.strip_prefix(kind);
            let (joint, prose) = match rest {
                Some(rest) => rest.strip_prefix(": ").map_or((rest, ""), |rest| (": ", rest)),
                None => (": ", message),
            };
            if begins_sentence(prose) {
                format!("{}{joint}{}", genai_redact::error(kind), genai_redact::error(prose))
            } else {
                genai_redact::error(&format!("{kind}{joint}{prose}")).into_owned()
            }
        }
        (Some(text), None) | (None, Some(text)) => genai_redact::error(text).into_owned(),
        (None, None) => "Error".to_owned(),
    };
    cut(&without_nul(&text), ERROR_CHARS).to_owned()
}

/// Returns true if a text begins as a sentence does: with a short word of letters, the first one a capital, that others follow. A
/// passphrase may be a word too.
fn begins_sentence(text: &str) -> bool {
    const LONGEST_WORD: usize = 12;
    let word = text.split(char::is_whitespace).next().unwrap_or_default();
    word.len() < text.len()
        && word.chars().count() <= LONGEST_WORD
        && word.starts_with(char::is_uppercase)
        && word.chars().skip(1).all(|c| c.is_lowercase() || matches!(c, '\'' | '’'))
}

/// Returns the first `chars` characters.
pub(crate) fn cut(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_and_message_make_one_line() {
        for (kind, message, line) in [
            (Some("E"), Some("no"), "E: no"),
            (Some("E"), Some("E: no"), "E: no"),
            (Some("E"), None, "E"),
            (None, Some("no"), "no"),
            (None, None, "Error"),
        ] {
            assert_eq!(compose(kind, message), line);
        }
        assert_eq!(compose(Some("E"), Some("Eager: no")), "Eager: no");
        let long = compose(Some("E"), Some(&"é".repeat(3_000)));
        assert_eq!(long.chars().count(), ERROR_CHARS);
    }

    #[test]
    fn the_word_after_a_code_stays_and_a_key_does_not() {
        let code = "invalid_api_key";
        for (message, line) in [
            ("Incorrect API key provided: sk-abc123def456", "Incorrect API key provided: [redacted]"),
            ("Incorrect API key provided: [redacted]", "Incorrect API key provided: [redacted]"),
            ("You didn't provide an API key.", "You didn't provide an API key."),
            ("sk-abc123def456", "[redacted]"),
            ("t0ken is not valid", "[redacted] is not valid"),
            ("swordfish is not valid", "[redacted] is not valid"),
            ("SECRET is not valid", "[redacted] is not valid"),
            ("Antidisestablishment is not valid", "[redacted] is not valid"),
            ("password", "[redacted]"),
        ] {
            let expected = format!("{code}: {line}");
            assert_eq!(compose(Some(code), Some(message)), expected);
            assert_eq!(compose(Some(code), Some(&format!("{code}: {message}"))), expected);
        }
        assert_eq!(compose(None, Some("api_key: t0ken is not valid")), "api_key: [redacted] is not valid");
    }
}
