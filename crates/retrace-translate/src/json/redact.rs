//! Removal of credentials from JSON and from texts that may be JSON.

use std::borrow::Cow;

use genai_redact::Place;
use retrace_protocol::Json;
use serde_json::value::RawValue;

/// Removes credentials from JSON. Costs one scan if there are none.
pub(crate) fn redacted(json: Json, place: Place) -> Json {
    if place == Place::Verbatim {
        return json;
    }
    let Some(text) = genai_redact::json(json.as_str(), place) else { return json };
    // What had a credential is never kept as it was. The text need not be strict: a conversation is deeper than its messages.
    RawValue::from_string(text).map_or_else(|_| Json::null(), Json::from)
}

/// Removes credentials from a text that may be a request or a response, whole or truncated. Any other text is not changed.
pub(crate) fn redacted_text(text: &str) -> Cow<'_, str> {
    Place::Recorded.text(text).map_or(Cow::Borrowed(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_beside_values_of_any_depth_is_removed() {
        for depth in 1..80 {
            let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let part = format!(r#"{{"type":"new","api_key":"canary","x":{deep}}}"#);
            let text = format!(r#"{{"messages":[{{"role":"system","content":[{part}]}}]}}"#);
            let json = redacted(Json::from(RawValue::from_string(text).unwrap()), Place::Conversation);
            assert!(!json.as_str().contains("canary") && json.as_str().contains(&deep), "{json:?}");
        }
    }
}
