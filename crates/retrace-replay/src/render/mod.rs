//! Responses of providers rebuilt from what a run records of them: the inverse of the provider parsers of
//! `opentelemetry-instrumentation-genai`.
//!
//! [`render`] writes an [`Answer`] in the format of an [`Api`], whole or streamed. A parser reads the same answer from it. What
//! no run records is left out or has a neutral value, and [`Rendered::notes`] names it: the time of creation, the texts of
//! tokens, signatures of reasoning. An answer that cannot be written exactly is refused with [`NotReplayable`].
//!
//! ```
//! use retrace_replay::render::{Answer, Api, Choice, ChoicePart, render};
//!
//! let choice = Choice { parts: vec![ChoicePart::Text("High tide at six.".into())], finish_reason: Some("stop".into()) };
//! let answer = Answer { model: Some("gpt-4o-mini".into()), choices: vec![choice], ..Answer::default() };
//! let rendered = render(Api::OpenAiChat, &answer, false)?;
//! let body: serde_json::Value = serde_json::from_slice(&rendered.response.body())?;
//! assert_eq!(body["choices"][0]["message"]["content"], "High tide at six.");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod anthropic;
mod api;
mod attributes;
mod bedrock;
mod bedrock_invoke;
mod cohere;
mod cohere_v1;
mod embeddings;
mod failure;
#[cfg(feature = "bedrock")]
mod frames;
mod gemini;
mod gemini_interactions;
mod ollama;
mod openai_chat;
mod openai_responses;
mod projection;
mod provider_part;
mod stored;
mod text;
mod text_generation;

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

pub use answer::{Answer, Choice, ChoicePart, Failure, Usage};
pub use api::Api;
pub use failure::{error_body, render_failure};
pub use projection::project;
pub use provider_part::{MediaSource, ProviderPart};
pub use stored::{Fidelity, StoredEntry, entries};

use crate::{Chunk, Response};

/// A rebuilt response.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The response. Its times are 0, since a run does not record those of chunks.
    pub response: Response,
    /// What the provider's response had that no run records, in words for people.
    pub notes: Vec<&'static str>,
}

/// Reason for which a call cannot be replayed.
#[derive(Clone, PartialEq, Eq)]
pub struct NotReplayable(pub Cow<'static, str>);

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl fmt::Debug for NotReplayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for NotReplayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotReplayable {}

impl NotReplayable {
    fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

/// The documents of a response and how they follow each other.
struct Documents {
    content_type: &'static str,
    /// Each document as a chunk.
    chunks: Vec<Vec<u8>>,
}

impl Documents {
    fn whole(document: &Value) -> Self {
        Self { content_type: "application/json", chunks: vec![document.to_string().into_bytes()] }
    }

    /// Server-sent events. An event whose document has a `type` is named after it if `named` is set.
    fn events(documents: &[Value], named: bool) -> Self {
        let event = |document: &Value| match document.get("type").and_then(Value::as_str).filter(|_| named) {
            Some(name) => format!("event: {name}\ndata: {document}\n\n").into_bytes(),
            None => format!("data: {document}\n\n").into_bytes(),
        };
        Self { content_type: "text/event-stream", chunks: documents.iter().map(event).collect() }
    }

    fn lines(documents: &[Value]) -> Self {
        let line = |document: &Value| format!("{document}\n").into_bytes();
        Self { content_type: "application/x-ndjson", chunks: documents.iter().map(line).collect() }
    }

    fn done(mut self) -> Self {
        self.chunks.push(b"data: [DONE]\n\n".to_vec());
        self
    }

    /// The documents by themselves.
    fn documents(&self) -> Vec<Value> {
        let document = |chunk: &Vec<u8>| {
            let text = std::str::from_utf8(chunk).ok()?;
            let text = text.split_once("data: ").map_or(text, |(_, data)| data);
            serde_json::from_str(text.trim_end()).ok()
        };
        self.chunks.iter().filter_map(document).collect()
    }

    fn into_response(self, status: u16) -> Response {
        Response {
            status,
            headers: vec![("content-type".to_owned(), self.content_type.to_owned())],
            chunks: self.chunks.into_iter().map(|bytes| Chunk { ms: 0, bytes }).collect(),
            ..Response::default()
        }
    }
}

/// Writes an answer as the response of an API, as a stream of one event for each piece of text if `streamed` is set.
///
/// Costs one pass over the answer. The response is some times as long as the texts of the answer.
///
/// # Errors
/// [`NotReplayable`] where the format cannot hold the answer, or needs something that the answer does not have.
pub fn render(api: Api, answer: &Answer, streamed: bool) -> Result<Rendered, NotReplayable> {
    let documents = match api {
        Api::OpenAiChat => openai_chat::render(answer, streamed),
        Api::OpenAiResponses => openai_responses::render(answer, streamed),
        Api::AnthropicMessages => anthropic::render(answer, streamed),
        Api::GeminiGenerateContent => gemini::render(answer, streamed),
        Api::GeminiInteractions => gemini_interactions::render(answer, streamed),
        Api::CohereV2Chat => cohere::render(answer, streamed),
        Api::OllamaChat => ollama::render(answer, streamed),
        Api::BedrockConverse => bedrock::render(answer, streamed),
        Api::OpenAiCompletions => text_generation::completions(answer, streamed),
        Api::OllamaGenerate => text_generation::ollama_generate(answer, streamed),
        Api::HuggingFaceTextGeneration => text_generation::hugging_face(answer, streamed),
        Api::WatsonxTextGeneration => text_generation::watsonx(answer, streamed),
        Api::CohereV1Chat => cohere_v1::render(answer, streamed),
        Api::BedrockInvoke if !answer.embeddings.is_empty() => embeddings::render(api, answer),
        Api::BedrockInvoke => bedrock_invoke::render(answer, streamed),
        Api::OpenAiEmbeddings | Api::GeminiEmbedContent | Api::CohereEmbed | Api::OllamaEmbed | Api::VertexPredict => {
            embeddings::render(api, answer)
        }
    }?;
    Ok(Rendered { response: documents.into_response(200), notes: answer.notes(api) })
}
