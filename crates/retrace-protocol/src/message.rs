//! Messages of a model call, in the one form in which they are written, whichever library recorded them.
//!
//! `input` of an `llm_call` is `{"messages": […]}`, oldest first, with the system instructions before all (PROTOCOL.md section
//! 14 shows the official SDK's form; this one keeps tool calls, tool results and media, which that one flattens).

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::Error;
use serde_json::value::RawValue;

use crate::Json;
use crate::json::serialize_verbatim;
use crate::scan::escape::plain_end;
use crate::write::append_without_nul;

/// The `input` of a model call.
#[derive(Clone, Debug, Serialize)]
pub struct Conversation<'a> {
    /// The messages, oldest first.
    pub messages: Vec<Message<'a>>,
}

impl<'a> Conversation<'a> {
    /// Writes a conversation of about `bytes` bytes, whose messages `produce` passes on one by one, so that they need not be held
    /// together.
    #[must_use]
    pub fn write(bytes: usize, produce: impl FnOnce(&mut dyn FnMut(Message<'a>))) -> Json {
        Json::build(bytes, |out| {
            let mut written = Ok(());
            out.push_str("{\"messages\":[");
            let begin = out.len();
            produce(&mut |message| {
                if out.len() > begin {
                    out.push(',');
                }
                let appended = message.append(out);
                written = std::mem::replace(&mut written, Ok(())).and(appended);
            });
            out.push_str("]}");
            written
        })
    }
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// `system`, `user`, `assistant`, `tool`, or another role of the provider.
    pub role: Cow<'a, str>,
    /// Name of the participant.
    pub name: Option<Cow<'a, str>>,
    /// Content; an empty text if there are only tool calls.
    pub content: Content<'a>,
    /// Tool calls of the assistant; not written if there are none.
    pub tool_calls: Vec<ToolCall<'a>>,
    /// On a tool message, the id of the call.
    pub tool_call_id: Option<Cow<'a, str>>,
    /// Reasoning of the assistant.
    pub reasoning: Option<Text<'a>>,
}

impl Message<'_> {
    /// Appends the message as JSON. Conversations are long lists of short messages: the keys are copied with what is around them,
    /// which costs a fraction of what a serialiser takes for them.
    fn append(&self, out: &mut String) -> Result<(), Error> {
        out.push_str("{\"role\":");
        append_without_nul(out, &*self.role)?;
        if let Some(name) = &self.name {
            out.push_str(",\"name\":");
            append_without_nul(out, &**name)?;
        }
        out.push_str(",\"content\":");
        match &self.content {
            Content::Text(text) => text.append(out)?,
            parts @ Content::Parts(_) => append_without_nul(out, parts)?,
        }
        if !self.tool_calls.is_empty() {
            out.push_str(",\"tool_calls\":[");
            for (i, call) in self.tool_calls.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                call.append(out)?;
            }
            out.push(']');
        }
        if let Some(id) = &self.tool_call_id {
            out.push_str(",\"tool_call_id\":");
            append_without_nul(out, &**id)?;
        }
        if let Some(reasoning) = &self.reasoning {
            out.push_str(",\"reasoning\":");
            reasoning.append(out)?;
        }
        out.push('}');
        Ok(())
    }
}

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_appended(|text| self.append(text), serializer)
    }
}

/// Writes the JSON that `append` appends.
fn serialize_appended<S: Serializer>(
    append: impl FnOnce(&mut String) -> Result<(), Error>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut text = String::new();
    append(&mut text).map_err(serde::ser::Error::custom)?;
    serialize_verbatim(&text, serializer)
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
#[derive(Clone, Debug)]
pub struct ToolCall<'a> {
    /// Provider's id of the call.
    pub id: Option<Cow<'a, str>>,
    /// Name of the tool.
    pub name: Cow<'a, str>,
    /// Arguments: JSON if they are JSON, else a text.
    pub arguments: Option<Embedded<'a>>,
}

impl ToolCall<'_> {
    /// Appends the call as JSON, as [`Message::append`] does.
    fn append(&self, out: &mut String) -> Result<(), Error> {
        out.push('{');
        if let Some(id) = &self.id {
            out.push_str("\"id\":");
            append_without_nul(out, &**id)?;
            out.push(',');
        }
        out.push_str("\"name\":");
        append_without_nul(out, &*self.name)?;
        if let Some(arguments) = &self.arguments {
            out.push_str(",\"arguments\":");
            match arguments {
                Embedded::Raw(raw) => out.push_str(raw.get()),
                Embedded::Owned(json) => out.push_str(json.as_str()),
                text @ Embedded::Text(_) => append_without_nul(out, text)?,
            }
        }
        out.push('}');
        Ok(())
    }
}

impl Serialize for ToolCall<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_appended(|text| self.append(text), serializer)
    }
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

    /// Appends the text as JSON.
    #[inline]
    fn append(&self, out: &mut String) -> Result<(), Error> {
        match self {
            Self::Token(raw) => out.push_str(raw.get()),
            Self::Plain(text) => append_without_nul(out, &**text)?,
        }
        Ok(())
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
    let text = token.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    let plain = text.filter(|text| plain_end(text.as_bytes(), 0) == text.len());
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
    Owned(Json),
    /// A text.
    Text(Cow<'a, str>),
}

impl<'a> Embedded<'a> {
    /// Returns the value as [`Json`].
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Raw(raw) => Json::from((*raw).to_owned()),
            Self::Owned(json) => json.clone(),
            Self::Text(text) => Json::text(text),
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
    fn a_message_is_written_with_all_that_it_has() {
        let token: &RawValue = serde_json::from_str(r#""a\nb""#).unwrap();
        let call =
            |id: Option<&'static str>, arguments| ToolCall { id: id.map(Cow::from), name: "f\"".into(), arguments };
        let whole = Message {
            role: "assistant".into(),
            name: Some("n\0".into()),
            content: Content::Parts(vec![ContentPart::text(Text::Token(token)), ContentPart::Other(token)]),
            tool_calls: vec![
                call(Some("c"), Some(Embedded::Raw(token))),
                call(None, Some(Embedded::Owned(Json::text("7")))),
                call(None, Some(Embedded::Text("8\0".into()))),
                call(None, None),
            ],
            tool_call_id: Some("\t".into()),
            reasoning: Some(Text::Plain("hm".into())),
        };
        let text = [
            r#"{"role":"assistant","name":"n�","content":[{"type":"text","text":"a\nb"},"a\nb"],"#,
            r#""tool_calls":[{"id":"c","name":"f\"","arguments":"a\nb"},{"name":"f\"","arguments":"7"},"#,
            r#"{"name":"f\"","arguments":"8�"},{"name":"f\""}],"tool_call_id":"\t","reasoning":"hm"}"#,
        ];
        let text = text.concat();
        assert_eq!(serde_json::to_string(&whole).unwrap(), text);
        assert_eq!(
            serde_json::to_string(&whole.tool_calls[0]).unwrap(),
            r#"{"id":"c","name":"f\"","arguments":"a\nb"}"#
        );
        let both = Conversation { messages: vec![whole.clone(), whole] };
        let written = Conversation::write(9, |out| both.messages.iter().cloned().for_each(out));
        assert_eq!(written.as_str(), format!(r#"{{"messages":[{text},{text}]}}"#));
        assert_eq!(written, Json::from_serialize(&both));
        assert_eq!(Conversation::write(0, |_| {}).as_str(), r#"{"messages":[]}"#);
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
