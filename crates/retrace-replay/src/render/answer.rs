//! Answers of models, whichever provider gave them.

use serde_json::Value;

use super::Api;
use super::{NotReplayable, ProviderPart};

/// Response to a model call, as far as a run records it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Id of the response.
    pub id: Option<String>,
    /// Model that answered.
    pub model: Option<String>,
    /// Choices in the order of their numbers. A call without several has one.
    pub choices: Vec<Choice>,
    /// Token counts.
    pub usage: Usage,
    /// Service tier, in OpenAI's words.
    pub service_tier: Option<String>,
    /// Fingerprint of the system, in OpenAI's words.
    pub system_fingerprint: Option<String>,
    /// Conversation that the provider keeps.
    pub conversation_id: Option<String>,
    /// Log-probabilities of the tokens of the first choice.
    pub logprobs: Vec<f64>,
    /// Ids of these tokens.
    pub token_ids: Vec<i64>,
    /// Vectors, of a call for embeddings.
    pub embeddings: Vec<Vec<f64>>,
    /// Time of the call in seconds since the epoch, for formats that state one.
    pub created: u64,
    /// The provider puts reasoning into the list of contents, as Mistral does; else it has a member of its own.
    pub reasoning_in_content: bool,
}

/// One choice of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Parts in order.
    pub parts: Vec<ChoicePart>,
    /// Reason of the end, in the provider's words.
    pub finish_reason: Option<String>,
}

/// Part of a choice.
#[derive(Clone, Debug, PartialEq)]
pub enum ChoicePart {
    /// Text.
    Text(String),
    /// Reasoning, as far as the provider shows it.
    Reasoning(String),
    /// Refusal of the model.
    Refusal(String),
    /// Call of a tool.
    ToolCall {
        /// Id of the call.
        id: Option<String>,
        /// Name of the tool.
        name: String,
        /// Arguments: JSON, or a text where the model wrote no JSON. `None` where it wrote nothing.
        arguments: Option<Value>,
    },
    /// Part in the form of the provider.
    Provider(ProviderPart),
}

/// Token counts as the GenAI conventions have them: the input with what was cached, the output with reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the request.
    pub input: Option<u64>,
    /// Tokens of the response.
    pub output: Option<u64>,
    /// Tokens of the request that were read from a cache.
    pub cache_read: Option<u64>,
    /// Tokens of the request that were written to a cache.
    pub cache_creation: Option<u64>,
    /// Tokens of the response that are reasoning.
    pub reasoning: Option<u64>,
}

/// A response of failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// HTTP status.
    pub status: u16,
    /// Code or type of the error.
    pub kind: String,
    /// Message for people.
    pub message: String,
}

impl Usage {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Tokens of the request that were neither read from a cache nor written to one.
    pub(super) fn uncached_input(&self) -> Option<u64> {
        let cached = self.cache_read.unwrap_or(0).saturating_add(self.cache_creation.unwrap_or(0));
        self.input.map(|input| input.saturating_sub(cached))
    }

    pub(super) fn total(&self) -> Option<u64> {
        Some(self.input?.saturating_add(self.output?))
    }
}

impl Answer {
    /// The only choice, for formats that have no other.
    pub(super) fn only_choice(&self) -> Result<&Choice, NotReplayable> {
        match self.choices.as_slice() {
            [only] => Ok(only),
            [] => Err(NotReplayable::new("no answer is recorded: content capture was off, or the call did not end")),
            _ => Err(NotReplayable::new("several choices are recorded, and this API answers with one")),
        }
    }

    pub(super) fn has_reasoning(&self) -> bool {
        self.choices.iter().flat_map(|choice| &choice.parts).any(|part| matches!(part, ChoicePart::Reasoning(_)))
    }

    pub(super) fn has_calls(&self) -> bool {
        self.choices.iter().flat_map(|choice| &choice.parts).any(|part| matches!(part, ChoicePart::ToolCall { .. }))
    }

    /// What the format has and no run records.
    pub(super) fn notes(&self, api: Api) -> Vec<&'static str> {
        let mut notes = Vec::new();
        let mut note = |holds: bool, note| notes.extend(holds.then_some(note));
        note(!self.logprobs.is_empty() || !self.token_ids.is_empty(), "the texts of tokens and their alternatives");
        match api {
            Api::AnthropicMessages | Api::BedrockConverse | Api::GeminiGenerateContent => {
                note(self.has_reasoning(), "the signature of the reasoning");
            }
            Api::OpenAiResponses => note(true, "the ids of output items"),
            _ => {}
        }
        notes
    }
}
