//! Credentials, removed from a span's record before anything else sees it.

use std::borrow::Cow;

use genai_redact::{MARKER, Place};
use retrace_protocol::Json;

use crate::reading::Draft;

impl Draft {
    /// Replaces credentials in all that is not input or output: those are redacted where they are read, since only there it
    /// is known what is a conversation, a request or the arguments of a tool.
    pub(crate) fn redact(&mut self) {
        let Self { span, metadata, trace_name, stated_trace_name, tags, user_metadata, .. } = self;
        label(&mut span.name);
        [trace_name, stated_trace_name, &mut metadata.otel.name].into_iter().flatten().for_each(label);
        for text in [&mut span.error, &mut metadata.otel.status_description].into_iter().flatten() {
            error(text);
        }
        for (json, place) in [
            (&mut metadata.attributes, Place::Attributes),
            (&mut metadata.provider_tools, Place::Body),
            (&mut metadata.tool_schemas, Place::Names),
            (&mut metadata.tool_descriptions, Place::Label),
            (tags, Place::Label),
        ] {
            *json = json.take().map(|json| redacted(json, place));
        }
        for event in &mut metadata.events {
            error(&mut event.name);
            event.attributes = event.attributes.take().map(|json| redacted(json, Place::Attributes));
        }
        for link in &mut metadata.otel.links {
            link.attributes = link.attributes.take().map(|json| redacted(json, Place::Attributes));
        }
        for (key, value) in user_metadata.iter_mut() {
            match Place::of_attribute(key) {
                Place::Credential if value.is_string() || value.is_number() => *value = MARKER.into(),
                place => genai_redact::value(value, place),
            }
        }
    }
}

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

fn label(text: &mut String) {
    if let Some(redacted) = Place::Label.text(text) {
        *text = redacted;
    }
}

fn error(text: &mut String) {
    if let Some(redacted) = Place::Error.text(text) {
        *text = redacted;
    }
}

#[cfg(test)]
mod tests;
