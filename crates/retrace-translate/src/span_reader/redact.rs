//! Removal of credentials from a translated span.

use genai_redact::{MARKER, Place};

use crate::json::redacted;
use crate::span_reader::SpanBuilder;

impl SpanBuilder {
    /// Redacts everything but input, output, attributes and the error. Those are redacted where they are read: only there it is
    /// known whether an input is a conversation, a request or the arguments of a tool, and which part of an error is a code.
    pub(crate) fn redact(&mut self) {
        let Self { span, metadata, trace_name, stated_trace_name, tags, user_metadata, .. } = self;
        label(&mut span.name);
        [trace_name, stated_trace_name, &mut metadata.otel.name].into_iter().flatten().for_each(label);
        metadata.otel.status_description.iter_mut().for_each(error);
        for (json, place) in [
            (&mut metadata.provider_tools, Place::Body),
            (&mut metadata.tool_schemas, Place::Names),
            (&mut metadata.tool_descriptions, Place::Label),
            (tags, Place::Label),
        ] {
            *json = json.take().map(|json| redacted(json, place));
        }
        for event in &mut metadata.events {
            error(&mut event.name);
        }
        for (key, value) in user_metadata.iter_mut() {
            match Place::of_attribute(key) {
                Place::Credential if value.is_string() || value.is_number() => *value = MARKER.into(),
                place => genai_redact::value(value, place),
            }
        }
    }
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
