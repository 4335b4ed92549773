//! Facts of a request.

use serde_json::Value;

use crate::message::{Message, Part};

/// Operation of a call, by its name in the conventions (`gen_ai.operation.name`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// A conversation.
    Chat,
    /// Completion of a text.
    TextCompletion,
    /// Gemini's name for its calls.
    GenerateContent,
    /// Embedding of texts.
    Embeddings,
    /// Ordering of documents by relevance. The conventions have no name for it.
    Rerank,
    /// Any other operation.
    Other(&'static str),
}

impl Operation {
    /// Returns the value of `gen_ai.operation.name`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::TextCompletion => "text_completion",
            Self::GenerateContent => "generate_content",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Other(name) => name,
        }
    }
}

/// Facts of a request: everything that is known when the call begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestFacts {
    /// Operation, if only the body identifies it; otherwise the route does.
    pub operation: Option<Operation>,
    /// `gen_ai.request.model`
    pub model: Option<String>,
    /// `gen_ai.request.stream`: set only if true.
    pub stream: bool,
    /// `gen_ai.request.max_tokens`
    pub max_tokens: Option<i64>,
    /// `gen_ai.request.choice.count`: set on spans unless it is 1.
    pub choice_count: Option<i64>,
    /// `gen_ai.request.temperature`
    pub temperature: Option<f64>,
    /// `gen_ai.request.top_p`
    pub top_p: Option<f64>,
    /// `gen_ai.request.top_k`
    pub top_k: Option<f64>,
    /// `gen_ai.request.stop_sequences`
    pub stop_sequences: Vec<String>,
    /// `gen_ai.request.frequency_penalty`
    pub frequency_penalty: Option<f64>,
    /// `gen_ai.request.presence_penalty`
    pub presence_penalty: Option<f64>,
    /// `gen_ai.request.seed`
    pub seed: Option<i64>,
    /// `gen_ai.request.encoding_formats`
    pub encoding_formats: Vec<String>,
    /// `gen_ai.embeddings.dimension.count`, as requested.
    pub dimensions: Option<i64>,
    /// `gen_ai.output.type`: `text`, `json`, `image` or `speech`, if requested.
    pub output_type: Option<&'static str>,
    /// `gen_ai.conversation.id`
    pub conversation_id: Option<String>,
    /// `openai.request.service_tier`, unless it is `auto`.
    pub service_tier: Option<String>,
    /// `openai.api.type`
    pub openai_api: Option<&'static str>,
    /// `gen_ai.system_instructions`
    pub system: Vec<Part>,
    /// `gen_ai.input.messages`
    pub messages: Vec<Message>,
    /// `gen_ai.tool.definitions`: each an object with `type` and `name`.
    pub tools: Vec<Value>,
}
