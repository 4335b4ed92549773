//! Removal of credentials from JSON and from texts that may be JSON.

use std::borrow::Cow;

use genai_redact::Place;
use retrace_protocol::Json;

/// The JSON without its credentials; as it is where it has none. Costs one pass that looks.
pub(crate) fn redacted(json: Json, place: Place) -> Json {
    if place == Place::Verbatim {
        return json;
    }
    genai_redact::json(json.as_str(), place).and_then(|text| Json::parse_strict(&text)).unwrap_or(json)
}

/// A text that may be a request or an answer, whole or cut, without its credentials; any other text as it is.
pub(crate) fn redacted_text(text: &str) -> Cow<'_, str> {
    Place::Recorded.text(text).map_or(Cow::Borrowed(text), Cow::Owned)
}
