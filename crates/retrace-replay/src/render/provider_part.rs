//! Parts that a run records in the form of the provider: tools that the provider ran, and media.

use serde_json::{Value, json};

use super::NotReplayable;
use super::text::object;

/// Part of a choice in the form of its provider.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ProviderPart {
    /// Call of a tool that the provider ran.
    ToolCall {
        /// Id of the call.
        id: Option<String>,
        /// Name of the tool.
        name: String,
        /// The call as the provider writes it.
        call: Value,
    },
    /// Result of a tool that the provider ran.
    ToolResult {
        /// Id of the call.
        id: Option<String>,
        /// The result as the provider writes it.
        result: Value,
    },
    /// Image, audio, video or file.
    Media {
        /// Media type.
        mime_type: Option<String>,
        /// Source of the data.
        source: MediaSource,
    },
}

/// Place of the data of media.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MediaSource {
    /// Data in base64.
    Data(String),
    /// URI.
    Uri(String),
}

impl ProviderPart {
    /// Reason of an API that has no such part.
    pub(super) fn refusal(&self) -> NotReplayable {
        NotReplayable::new(match self {
            Self::ToolCall { .. } => "the answer has a tool that the provider ran, and this format has none",
            Self::ToolResult { .. } => {
                "the answer has the result of a tool that the provider ran, which this format has not in the recorded form"
            }
            Self::Media { .. } => "the answer has media that this format does not have in the recorded form",
        })
    }

    /// Returns the document of a tool if its type ends like this.
    pub(super) fn tool_of_type(&self, of_call: &str, of_result: &str) -> Option<&Value> {
        let (document, end) = match self {
            Self::ToolCall { call, .. } => (call, of_call),
            Self::ToolResult { result, .. } => (result, of_result),
            Self::Media { .. } => return None,
        };
        document.get("type").and_then(Value::as_str).is_some_and(|kind| kind.ends_with(end)).then_some(document)
    }

    /// Writes it as a part of Gemini.
    pub(super) fn to_gemini(&self) -> Value {
        match self {
            // The type is the recorder's where the provider states none.
            Self::ToolCall { id: None, call, .. } if call.get("code").is_some() => {
                json!({ "executableCode": without_type(call) })
            }
            Self::ToolCall { call, .. } => json!({ "toolCall": without_type(call) }),
            Self::ToolResult { id: None, result } if result.get("outcome").is_some() => {
                json!({ "codeExecutionResult": without_type(result) })
            }
            Self::ToolResult { result, .. } => json!({ "toolResponse": without_type(result) }),
            Self::Media { mime_type, source } => {
                let mime_type = mime_type.as_ref().map(|mime_type| Value::from(mime_type.as_str()));
                match source {
                    MediaSource::Data(data) => {
                        json!({ "inlineData": object([("mimeType", mime_type), ("data", Some(data.as_str().into()))]) })
                    }
                    MediaSource::Uri(uri) => {
                        json!({ "fileData": object([("mimeType", mime_type), ("fileUri", Some(uri.as_str().into()))]) })
                    }
                }
            }
        }
    }

    /// Writes it as an item of OpenAI's responses, at this place of the output.
    pub(super) fn to_response_item(&self, place: usize) -> Result<Value, NotReplayable> {
        match self {
            Self::ToolCall { .. } => self.tool_of_type("_call", "").cloned().ok_or_else(|| self.refusal()),
            Self::Media { mime_type: Some(mime_type), source: MediaSource::Data(data) } => {
                let format = mime_type.strip_prefix("image/").ok_or_else(|| self.refusal())?;
                Ok(json!({ "type": "image_generation_call", "id": format!("ig_{place}"), "status": "completed",
                    "output_format": format, "result": data }))
            }
            _ => Err(self.refusal()),
        }
    }
}

fn without_type(document: &Value) -> Value {
    let mut document = document.clone();
    if let Value::Object(members) = &mut document {
        members.remove("type");
    }
    document
}
