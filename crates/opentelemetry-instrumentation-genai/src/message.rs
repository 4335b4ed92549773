//! Messages in the form of the conventions: a role and parts.
//!
//! The form is that of the JSON schemas beside the GenAI conventions (`gen-ai-input-messages.json` and others).

use genai_redact::Place;
use serde_json::{Map, Value, json};

use crate::json::Json;
use crate::json::bytes_cut;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Role by its name in the conventions, if they have one: `system`, `user`, `assistant`, `tool`.
    pub role: String,
    /// Parts of the message.
    pub parts: Vec<Part>,
    /// Name of the participant.
    pub name: Option<String>,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Part {
    /// Text.
    Text(String),
    /// Reasoning of the model, as far as the provider returns it.
    Reasoning(String),
    /// Explanation of a refusal.
    Refusal(String),
    /// A tool call that the model requests.
    ToolCall {
        /// Id of the call.
        id: Option<String>,
        /// Name of the tool.
        name: String,
        /// Arguments: JSON, possibly truncated.
        arguments: String,
    },
    /// Result of a tool.
    ToolResponse {
        /// Id of the call.
        id: Option<String>,
        /// The result.
        response: Value,
    },
    /// A tool that the provider ran itself.
    ServerToolCall {
        /// Id of the call.
        id: Option<String>,
        /// Name of the tool.
        name: String,
        /// The call in the form of the provider.
        call: Value,
    },
    /// Result of a tool that the provider ran.
    ServerToolResponse {
        /// Id of the call.
        id: Option<String>,
        /// The result in the form of the provider.
        response: Value,
    },
    /// Data in the message itself.
    Blob {
        /// `image`, `audio`, `video`, or the first part of the media type.
        modality: String,
        /// The media type.
        mime_type: Option<String>,
        /// The data in base64.
        content: String,
    },
    /// Data at a URI.
    Uri {
        /// As for a blob.
        modality: String,
        /// The media type.
        mime_type: Option<String>,
        /// The URI.
        uri: String,
    },
    /// A file that the provider stores.
    File {
        /// As for a blob.
        modality: String,
        /// The media type.
        mime_type: Option<String>,
        /// Id of the file.
        file_id: String,
    },
    /// A part without a form in the conventions: an object with a `type`.
    Other(Value),
}

impl Message {
    /// Creates a message with one text.
    pub fn text(role: impl Into<String>, text: impl Into<String>) -> Self {
        Self::of(role, vec![Part::Text(text.into())])
    }

    /// Creates a message with these parts.
    pub fn of(role: impl Into<String>, parts: Vec<Part>) -> Self {
        Self { role: role.into(), parts, name: None }
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut message = Map::new();
        message.insert("role".to_owned(), self.role.clone().into());
        message.insert("parts".to_owned(), self.parts.iter().map(Part::to_value).collect());
        if let Some(name) = &self.name {
            message.insert("name".to_owned(), name.clone().into());
        }
        Value::Object(message)
    }
}

impl Part {
    /// Creates a part for media at a URL; a `data:` URL becomes a blob.
    #[must_use]
    pub fn media_at(url: &str, modality: &str) -> Self {
        let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(','));
        match inline {
            Some((head, content)) => {
                let mime = head.split(';').next().filter(|mime| !mime.is_empty());
                Self::blob(mime, Some(modality), content)
            }
            None => Self::Uri { modality: modality.to_owned(), mime_type: None, uri: url.to_owned() },
        }
    }

    /// Creates a part with data in base64.
    #[must_use]
    pub fn blob(mime_type: Option<&str>, modality: Option<&str>, content: &str) -> Self {
        Self::Blob {
            modality: modality_of(mime_type, modality),
            mime_type: mime_type.map(ToOwned::to_owned),
            content: content.to_owned(),
        }
    }

    /// Creates a part in the form of the provider; adds `type` if it has none.
    #[must_use]
    pub fn other(json: &Json<'_>, kind: &str) -> Self {
        let mut value = json.to_value();
        if let Value::Object(members) = &mut value {
            members.retain(|_, value| !value.is_null());
            if !members.get("type").is_some_and(Value::is_string) {
                members.insert("type".to_owned(), kind.into());
            }
            Self::Other(value)
        } else {
            Self::Other(json!({ "type": kind, "content": value }))
        }
    }

    /// Removes credentials from everything that is no text of the conversation: URLs of media, and members of parts in the form
    /// of the provider. Arguments and results of tools stay.
    pub(crate) fn redact(&mut self) {
        match self {
            Self::Uri { uri, .. } => {
                if let Some(redacted) = Place::Url.text(uri) {
                    *uri = redacted;
                }
            }
            Self::Other(value)
            | Self::ServerToolCall { call: value, .. }
            | Self::ServerToolResponse { response: value, .. } => genai_redact::value(value, Place::Content),
            _ => {}
        }
    }

    /// Approximate size of its text in bytes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Text(text) | Self::Reasoning(text) | Self::Refusal(text) => text.len(),
            Self::ToolCall { name, arguments, .. } => name.len() + arguments.len(),
            Self::ToolResponse { response, .. } | Self::ServerToolResponse { response, .. } => weight(response),
            Self::ServerToolCall { call, .. } => weight(call),
            Self::Blob { content, .. } => content.len(),
            Self::Uri { uri, .. } => uri.len(),
            Self::File { file_id, .. } => file_id.len(),
            Self::Other(value) => weight(value),
        }
    }

    pub(crate) fn to_value(&self) -> Value {
        let typed = |kind: &str, id: &Option<String>, rest: Value| {
            let mut members = Map::new();
            members.insert("type".to_owned(), kind.into());
            if let Some(id) = id {
                members.insert("id".to_owned(), id.clone().into());
            }
            if let Value::Object(rest) = rest {
                members.extend(rest);
            }
            Value::Object(members)
        };
        match self {
            Self::Text(text) => json!({ "type": "text", "content": text }),
            Self::Reasoning(text) => json!({ "type": "reasoning", "content": text }),
            Self::Refusal(text) => json!({ "type": "refusal", "content": text }),
            Self::ToolCall { id, name, arguments } => match parsed(arguments) {
                Some(arguments) => typed("tool_call", id, json!({ "name": name, "arguments": arguments })),
                None => typed("tool_call", id, json!({ "name": name })),
            },
            Self::ToolResponse { id, response } => typed("tool_call_response", id, json!({ "response": response })),
            Self::ServerToolCall { id, name, call } => {
                typed("server_tool_call", id, json!({ "name": name, "server_tool_call": with_type(call, name) }))
            }
            Self::ServerToolResponse { id, response } => typed(
                "server_tool_call_response",
                id,
                json!({ "server_tool_call_response": with_type(response, "result") }),
            ),
            // Truncated base64 is useless.
            Self::Blob { modality, mime_type, content } => match bytes_cut(content) {
                Some((kept, cut)) => {
                    let characters = (kept.len() as u64).saturating_add(cut);
                    media(
                        "blob",
                        modality,
                        mime_type,
                        json!({ "content": "", "omitted_base64_characters": characters }),
                    )
                }
                None => media("blob", modality, mime_type, json!({ "content": content })),
            },
            Self::Uri { modality, mime_type, uri } => media("uri", modality, mime_type, json!({ "uri": uri })),
            Self::File { modality, mime_type, file_id } => {
                media("file", modality, mime_type, json!({ "file_id": file_id }))
            }
            Self::Other(value) => with_type(value, "other"),
        }
    }
}

/// Parses arguments that are JSON; returns `None` for empty ones.
fn parsed(arguments: &str) -> Option<Value> {
    if arguments.trim().is_empty() {
        return None;
    }
    Some(serde_json::from_str(arguments).unwrap_or_else(|_| arguments.into()))
}

fn with_type(value: &Value, kind: &str) -> Value {
    match value {
        Value::Object(members) if members.get("type").is_some_and(Value::is_string) => value.clone(),
        Value::Object(members) => {
            let mut members = members.clone();
            members.insert("type".to_owned(), kind.into());
            Value::Object(members)
        }
        other => json!({ "type": kind, "content": other }),
    }
}

fn media(kind: &str, modality: &str, mime_type: &Option<String>, rest: Value) -> Value {
    let mut members = Map::new();
    members.insert("type".to_owned(), kind.into());
    members.insert("modality".to_owned(), modality.into());
    if let Some(mime_type) = mime_type {
        members.insert("mime_type".to_owned(), mime_type.clone().into());
    }
    if let Value::Object(rest) = rest {
        members.extend(rest);
    }
    Value::Object(members)
}

/// Returns `image`, `audio` or `video`, else the first part of the media type.
pub(crate) fn modality_of(mime_type: Option<&str>, stated: Option<&str>) -> String {
    let kind = mime_type.and_then(|mime| mime.split('/').next()).filter(|kind| !kind.is_empty());
    match (kind, stated) {
        (Some(kind @ ("image" | "audio" | "video")), _) => kind.to_owned(),
        (_, Some(stated)) => stated.to_owned(),
        (Some(kind), None) => kind.to_owned(),
        (None, None) => "file".to_owned(),
    }
}

fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| weight(item) + 1).sum(),
        Value::Object(members) => members.iter().map(|(key, value)| key.len() + weight(value) + 4).sum(),
    }
}

/// Returns the name of a role in the conventions.
pub(crate) fn role(provider: Option<&str>) -> &str {
    const ROLES: [(&str, &str); 8] = [
        ("user", "user"),
        ("assistant", "assistant"),
        ("model", "assistant"),
        ("chatbot", "assistant"),
        ("system", "system"),
        ("developer", "system"),
        ("tool", "tool"),
        ("function", "tool"),
    ];
    let Some(provider) = provider else { return "user" };
    ROLES.iter().find(|(name, _)| name.eq_ignore_ascii_case(provider)).map_or(provider, |(_, role)| *role)
}
