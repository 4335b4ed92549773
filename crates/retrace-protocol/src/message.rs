//! The one shape in which the messages of a model call are written, whichever library recorded them.
//!
//! `input` of an `llm_call` is `{"messages": […]}`, oldest first, the system's instructions before all (PROTOCOL.md
//! section 14 shows the official SDK's; this keeps tool calls, tool answers and media, which that one flattens).

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
    /// `system`, `user`, `assistant`, `tool`, or what else a provider calls it.
    pub role: Cow<'a, str>,
    /// Which of several participants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// What is said; an empty text when there is nothing but tool calls.
    pub content: Content<'a>,
    /// What the assistant asks tools to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall<'a>>,
    /// Which call a tool's message answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<Cow<'a, str>>,
    /// What the assistant thought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Text<'a>>,
}

/// What a message says: a text, or a list of parts when there is more than text.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Content<'a> {
    /// Text alone.
    Text(Text<'a>),
    /// Text and other things, in order.
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
    /// An image, a sound, a video or a file.
    Media(Media<'a>),
    /// A part of a kind that is passed on as it came.
    Other(&'a RawValue),
}

impl<'a> ContentPart<'a> {
    /// A text part.
    #[must_use]
    pub const fn text(text: Text<'a>) -> Self {
        Self::Text { kind: "text", text }
    }
}

/// An image, a sound, a video or a file, by reference, or inline while it is small.
#[derive(Clone, Debug, Serialize)]
pub struct Media<'a> {
    /// `image`, `audio`, `video` or `file`.
    #[serde(rename = "type")]
    pub kind: Cow<'a, str>,
    /// Its MIME type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<Cow<'a, str>>,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<Cow<'a, str>>,
    /// The provider's id of an uploaded file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_id: Option<Cow<'a, str>>,
    /// The content in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Cow<'a, str>>,
    /// Bytes of the content that was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 of the content that was left out, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A call of a tool that a model asks for.
#[derive(Clone, Debug, Serialize)]
pub struct ToolCall<'a> {
    /// The provider's id of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// The tool.
    pub name: Cow<'a, str>,
    /// What to give it: JSON where it is JSON, else a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Embedded<'a>>,
}

/// A text that may still be in its JSON form, so that passing it on costs neither decoding nor encoding.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// A JSON string token, quotes and escapes included.
    Token(&'a RawValue),
    /// The text itself.
    Plain(Cow<'a, str>),
}

impl<'a> Text<'a> {
    /// The text itself.
    #[must_use]
    pub fn decoded(&self) -> Cow<'a, str> {
        match self {
            Self::Token(raw) => decode(raw),
            Self::Plain(text) => text.clone(),
        }
    }

    /// Whether the text is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Token(raw) => raw.get() == "\"\"",
            Self::Plain(text) => text.is_empty(),
        }
    }
}

/// The text of a JSON string token: borrowed when it has no escapes.
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

/// A JSON value that is embedded as it came, from wherever it was found.
#[derive(Clone, Debug)]
pub enum Embedded<'a> {
    /// Part of a larger text.
    Raw(&'a RawValue),
    /// A value of its own.
    Owned(crate::Json),
    /// A text.
    Text(Cow<'a, str>),
}

impl<'a> Embedded<'a> {
    /// The value as it is carried on.
    #[must_use]
    pub fn to_json(&self) -> crate::Json {
        match self {
            Self::Raw(raw) => crate::Json::from((*raw).to_owned()),
            Self::Owned(json) => json.clone(),
            Self::Text(text) => crate::Json::text(text),
        }
    }

    /// The value in words: a text as it is, anything else as JSON.
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

/// The `output` of a call that asks only for tools, in the words of the official SDKs: `[tool calls] name(args); …`
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
    fn a_message_says_no_more_than_it_has() {
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
