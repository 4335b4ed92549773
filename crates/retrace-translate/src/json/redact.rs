//! Removal of credentials from JSON and from texts that may be JSON.

use std::borrow::Cow;

use genai_redact::Place;
use retrace_protocol::Json;

/// Removes credentials from JSON. Costs one scan if there are none.
pub(crate) fn redacted(json: Json, place: Place) -> Json {
    if place == Place::Verbatim {
        return json;
    }
    genai_redact::json(json.as_str(), place).and_then(|text| Json::parse_strict(&text)).unwrap_or(json)
}

/// Removes credentials from a text that may be a request or a response, whole or truncated. Any other text is not changed.
pub(crate) fn redacted_text(text: &str) -> Cow<'_, str> {
    Place::Recorded.text(text).map_or(Cow::Borrowed(text), Cow::Owned)
}
