//! Messages of a model call, in the one form in which they are written, whichever library recorded them.
//!
//! `input` of an `llm_call` is `{"messages": […]}`, oldest first, with the system instructions before all (PROTOCOL.md section
//! 14 shows the official SDK's form; this one keeps tool calls, tool results and media, which that one flattens).

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::json::serialize_verbatim;

/// The `input` of a model call.
#[derive(Clone, Debug, Serialize)]
pub struct Conversation<'a> {
    /// The messages, oldest first.
    pub messages: Vec<Message<'a>>,
}

/// One message.
#[derive(Clone, Debug, Serialize)]
pub struct Message<'a> {
    /// `system`, `user`, `assistant`, `tool`, or another role of the provider.
    pub role: Cow<'a, str>,
    /// Name of the participant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// Content; an empty text if there are only tool calls.
    pub content: Content<'a>,
    /// Tool calls of the assistant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall<'a>>,
    /// On a tool message, the id of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<Cow<'a, str>>,
    /// Reasoning of the assistant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Text<'a>>,
}

/// Content of a message: a text, or a list of parts if there is more than text.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Content<'a> {
    /// Text alone.
    Text(Text<'a>),
    /// Text and other parts, in order.
    Parts(Vec<ContentPart<'a>>),
}

/// A part of a message.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum ContentPart<'a> {
    /// A text.
    Text {
        /// `text`
        #[serde(rename = "type")]
        kind: &'static str,
        /// The text.
        text: Text<'a>,
    },
    /// An image, audio, a video or a file.
    Media(Media<'a>),
    /// A part of an unknown kind, passed on unchanged.
    Other(&'a RawValue),
}

impl<'a> ContentPart<'a> {
    /// Creates a text part.
    #[must_use]
    pub const fn text(text: Text<'a>) -> Self {
        Self::Text { kind: "text", text }
    }
}

/// An image, audio, a video or a file: by reference, or inline if it is small.
#[derive(Clone, Debug, Serialize)]
pub struct Media<'a> {
    /// `image`, `audio`, `video` or `file`.
    #[serde(rename = "type")]
    pub kind: Cow<'a, str>,
    /// MIME type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<Cow<'a, str>>,
    /// Location.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<Cow<'a, str>>,
    /// Provider's id of an uploaded file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_id: Option<Cow<'a, str>>,
    /// The content in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Cow<'a, str>>,
    /// Size in bytes of content that was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 of content that was left out, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A tool call that a model requests.
#[derive(Clone, Debug, Serialize)]
pub struct ToolCall<'a> {
    /// Provider's id of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// Name of the tool.
    pub name: Cow<'a, str>,
    /// Arguments: JSON if they are JSON, else a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Embedded<'a>>,
}

/// A text that may still be a JSON token, so that passing it on costs neither decoding nor encoding.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// A JSON string token, quotes and escapes included.
    Token(&'a RawValue),
    /// The text itself.
    Plain(Cow<'a, str>),
}

impl<'a> Text<'a> {
    /// Returns the decoded text.
    #[must_use]
    pub fn decoded(&self) -> Cow<'a, str> {
        match self {
            Self::Token(raw) => decode(raw),
            Self::Plain(text) => text.clone(),
        }
    }

    /// Returns true if the text is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Token(raw) => raw.get() == "\"\"",
            Self::Plain(text) => text.is_empty(),
        }
    }
}

/// Decodes a JSON string token; borrows it if it has no escapes.
#[must_use]
pub fn decode(raw: &RawValue) -> Cow<'_, str> {
    decode_token(raw.get())
}

fn decode_token(token: &str) -> Cow<'_, str> {
    let plain = token.strip_prefix('"').and_then(|t| t.strip_suffix('"')).filter(|t| !t.contains('\\'));
    match plain {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(serde_json::from_str(token).unwrap_or_default()),
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Token(raw) => serialize_verbatim(raw.get(), serializer),
            Self::Plain(text) => serializer.serialize_str(&crate::json::without_nul(text)),
        }
    }
}

/// A JSON value that is embedded unchanged.
#[derive(Clone, Debug)]
pub enum Embedded<'a> {
    /// Part of a larger text.
    Raw(&'a RawValue),
    /// A value that owns its text.
    Owned(crate::Json),
    /// A text.
    Text(Cow<'a, str>),
}

impl<'a> Embedded<'a> {
    /// Returns the value as [`Json`](crate::Json).
    #[must_use]
    pub fn to_json(&self) -> crate::Json {
        match self {
            Self::Raw(raw) => crate::Json::from((*raw).to_owned()),
            Self::Owned(json) => json.clone(),
            Self::Text(text) => crate::Json::text(text),
        }
    }

    /// Returns a text as it is, any other value as JSON.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Raw(raw) if raw.get().starts_with('"') => decode(raw),
            Self::Raw(raw) => Cow::Borrowed(raw.get()),
            Self::Owned(json) if json.as_str().starts_with('"') => decode_token(json.as_str()),
            Self::Owned(json) => Cow::Borrowed(json.as_str()),
            Self::Text(text) => Cow::Borrowed(text),
        }
    }
}

impl Serialize for Embedded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Raw(raw) => serialize_verbatim(raw.get(), serializer),
            Self::Owned(json) => json.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(&crate::json::without_nul(text)),
        }
    }
}

/// Returns the `output` of a call that requests only tools, in the form of the official SDKs: `[tool calls] name(args); …`
/// (PROTOCOL.md section 14).
#[must_use]
pub fn tool_calls_text(calls: &[ToolCall<'_>]) -> String {
    let mut text = String::from("[tool calls] ");
    for (i, call) in calls.iter().enumerate() {
        if i > 0 {
            text.push_str("; ");
        }
        text.push_str(&call.name);
        text.push('(');
        text.push_str(&call.arguments.as_ref().map(Embedded::to_text).unwrap_or_default());
        text.push(')');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_passed_on_and_read_alike() {
        let token: &RawValue = serde_json::from_str(r#""18.5\u00b0C \"and\" sunny""#).unwrap();
        assert_eq!(Text::Token(token).decoded(), "18.5°C \"and\" sunny");
        assert_eq!(serde_json::to_string(&Text::Token(token)).unwrap(), token.get());
        let plain: &RawValue = serde_json::from_str(r#""sunny""#).unwrap();
        assert!(matches!(decode(plain), Cow::Borrowed("sunny")));
    }

    #[test]
    fn a_turn_of_tool_calls_reads_like_the_official_sdks() {
        let arguments: &RawValue = serde_json::from_str(r#"{"order_id": "A-1"}"#).unwrap();
        let calls = [
            ToolCall { id: None, name: "lookup_order".into(), arguments: Some(Embedded::Raw(arguments)) },
            ToolCall { id: None, name: "note".into(), arguments: Some(Embedded::Text("as is".into())) },
            ToolCall { id: None, name: "now".into(), arguments: None },
        ];
        assert_eq!(tool_calls_text(&calls), r#"[tool calls] lookup_order({"order_id": "A-1"}); note(as is); now()"#);
    }

    #[test]
    fn absent_fields_of_a_message_are_not_written() {
        let message = Message {
            role: "user".into(),
            name: None,
            content: Content::Text(Text::Plain("hi\0".into())),
            tool_calls: Vec::new(),
            tool_call_id: None,
            reasoning: None,
        };
        assert_eq!(serde_json::to_string(&message).unwrap(), "{\"role\":\"user\",\"content\":\"hi\u{FFFD}\"}");
    }
}
