//! APIs whose responses can be rebuilt.

use std::fmt;

macro_rules! apis {
    ($($(#[$doc:meta])* $api:ident = $name:literal,)*) => {
        /// An API of a provider, by the format of its responses.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Api { $($(#[$doc])* $api,)* }

        impl Api {
            /// All APIs.
            pub const ALL: [Self; [$($name,)*].len()] = [$(Self::$api,)*];

            /// Returns the name, as `Api::name` of `opentelemetry-instrumentation-genai` has it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$api => $name,)* }
            }
        }
    };
}

apis! {
    /// Chat completions, of OpenAI and all that speak it: Azure, Mistral, Groq, `DeepSeek`, vLLM.
    OpenAiChat = "openai.chat",
    /// OpenAI's responses.
    OpenAiResponses = "openai.responses",
    /// Embeddings in OpenAI's format.
    OpenAiEmbeddings = "openai.embeddings",
    /// OpenAI's legacy completions, and all that speak them.
    OpenAiCompletions = "openai.completions",
    /// Anthropic's messages.
    AnthropicMessages = "anthropic.messages",
    /// Gemini's `generateContent` and `streamGenerateContent`, also on Vertex.
    GeminiGenerateContent = "gemini.generate_content",
    /// Gemini's interactions.
    GeminiInteractions = "gemini.interactions",
    /// Gemini's `embedContent` and `batchEmbedContents`.
    GeminiEmbedContent = "gemini.embed_content",
    /// Cohere's chat, version 2.
    CohereV2Chat = "cohere.v2_chat",
    /// Cohere's chat, version 1.
    CohereV1Chat = "cohere.v1_chat",
    /// Cohere's embed.
    CohereEmbed = "cohere.embed",
    /// Ollama's `/api/chat`.
    OllamaChat = "ollama.chat",
    /// Ollama's `/api/generate`.
    OllamaGenerate = "ollama.generate",
    /// Ollama's `/api/embed`.
    OllamaEmbed = "ollama.embed",
    /// `Converse` and `ConverseStream` of Amazon Bedrock.
    BedrockConverse = "bedrock.converse",
    /// `InvokeModel` and `InvokeModelWithResponseStream` of Amazon Bedrock, in the format of the model's family.
    BedrockInvoke = "bedrock.invoke",
    /// `/generate` and `/generate_stream` of Hugging Face's text-generation-inference.
    HuggingFaceTextGeneration = "huggingface.text_generation",
    /// Text generation of IBM's watsonx.
    WatsonxTextGeneration = "watsonx.text_generation",
    /// Embeddings of Vertex by `predict`.
    VertexPredict = "vertex.predict",
}

impl Api {
    /// Finds an API by its name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.name() == name)
    }

    /// Finds the API that a `POST` to this path calls. The query is not part of the path.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let mut segments = path.trim_end_matches('/').rsplit('/');
        let (last, before) = (segments.next()?, segments.next().unwrap_or_default());
        Some(match (before, last) {
            ("chat", "completions") => Self::OpenAiChat,
            (_, "completions") => Self::OpenAiCompletions,
            ("v1", "chat") => Self::CohereV1Chat,
            ("api", "generate") => Self::OllamaGenerate,
            (_, "generate" | "generate_stream") => Self::HuggingFaceTextGeneration,
            ("text", "generation" | "generation_stream") | ("generation", "text" | "text_stream") => {
                Self::WatsonxTextGeneration
            }
            (_, "invoke" | "invoke-with-response-stream") => Self::BedrockInvoke,
            (_, "responses") => Self::OpenAiResponses,
            ("v1" | "v1beta" | "v1alpha", "interactions") => Self::GeminiInteractions,
            ("v1" | "messages", "messages") => Self::AnthropicMessages,
            ("v2", "chat") => Self::CohereV2Chat,
            ("v1" | "v2", "embed") => Self::CohereEmbed,
            ("api", "chat") => Self::OllamaChat,
            ("api", "embed" | "embeddings") => Self::OllamaEmbed,
            (_, "embeddings") => Self::OpenAiEmbeddings,
            (_, "converse" | "converse-stream") => Self::BedrockConverse,
            _ => match last.rsplit_once(':')?.1 {
                "generateContent" | "streamGenerateContent" => Self::GeminiGenerateContent,
                "embedContent" | "batchEmbedContents" => Self::GeminiEmbedContent,
                "predict" => Self::VertexPredict,
                "rawPredict" | "streamRawPredict" => Self::AnthropicMessages,
                _ => return None,
            },
        })
    }

    /// Finds the API of a recorded call by its provider, its operation and OpenAI's name of the API where one is recorded.
    #[must_use]
    pub fn of_call(provider: &str, operation: &str, openai_api: Option<&str>) -> Option<Self> {
        Some(match (provider, operation) {
            ("aws.bedrock", "embeddings") => Self::BedrockInvoke,
            ("cohere", "embeddings") => Self::CohereEmbed,
            ("ollama", "embeddings") => Self::OllamaEmbed,
            ("gcp.gemini" | "gcp.vertex_ai" | "gcp.gen_ai", "embeddings") => Self::GeminiEmbedContent,
            (_, "embeddings") => Self::OpenAiEmbeddings,
            ("aws.bedrock", "text_completion") => Self::BedrockInvoke,
            ("ollama", "text_completion") => Self::OllamaGenerate,
            ("huggingface", "text_completion") => Self::HuggingFaceTextGeneration,
            ("ibm.watsonx.ai", "text_completion") => Self::WatsonxTextGeneration,
            (_, "text_completion") => Self::OpenAiCompletions,
            ("anthropic", "chat") => Self::AnthropicMessages,
            (_, "generate_content") => Self::GeminiGenerateContent,
            ("aws.bedrock", "chat") => Self::BedrockConverse,
            ("cohere", "chat") => Self::CohereV2Chat,
            (_, "chat") if openai_api == Some("responses") => Self::OpenAiResponses,
            (_, "chat") if openai_api == Some("chat_completions") => Self::OpenAiChat,
            ("ollama", "chat") => Self::OllamaChat,
            ("gcp.gemini" | "gcp.vertex_ai" | "gcp.gen_ai", "chat") => Self::GeminiGenerateContent,
            (_, "chat") => Self::OpenAiChat,
            _ => return None,
        })
    }

    /// Returns the path of the API, for `model` where the path has one.
    #[must_use]
    pub fn path(self, model: &str, streamed: bool) -> String {
        match self {
            Self::OpenAiChat => "/v1/chat/completions".to_owned(),
            Self::OpenAiResponses => "/v1/responses".to_owned(),
            Self::OpenAiEmbeddings => "/v1/embeddings".to_owned(),
            Self::AnthropicMessages => "/v1/messages".to_owned(),
            Self::GeminiGenerateContent if streamed => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
            Self::GeminiGenerateContent => format!("/v1beta/models/{model}:generateContent"),
            Self::GeminiInteractions => "/v1beta/interactions".to_owned(),
            Self::GeminiEmbedContent => format!("/v1beta/models/{model}:embedContent"),
            Self::CohereV2Chat => "/v2/chat".to_owned(),
            Self::CohereEmbed => "/v2/embed".to_owned(),
            Self::OllamaChat => "/api/chat".to_owned(),
            Self::OllamaEmbed => "/api/embed".to_owned(),
            Self::BedrockConverse if streamed => format!("/model/{model}/converse-stream"),
            Self::BedrockConverse => format!("/model/{model}/converse"),
            Self::OpenAiCompletions => "/v1/completions".to_owned(),
            Self::CohereV1Chat => "/v1/chat".to_owned(),
            Self::OllamaGenerate => "/api/generate".to_owned(),
            Self::BedrockInvoke if streamed => format!("/model/{model}/invoke-with-response-stream"),
            Self::BedrockInvoke => format!("/model/{model}/invoke"),
            Self::HuggingFaceTextGeneration if streamed => "/generate_stream".to_owned(),
            Self::HuggingFaceTextGeneration => "/generate".to_owned(),
            Self::WatsonxTextGeneration if streamed => "/ml/v1/text/generation_stream".to_owned(),
            Self::WatsonxTextGeneration => "/ml/v1/text/generation".to_owned(),
            Self::VertexPredict => format!("/v1/publishers/google/models/{model}:predict"),
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_back_to_their_api() {
        for api in Api::ALL {
            for streamed in [false, true] {
                let path = api.path("m", streamed);
                let path = path.split('?').next().unwrap_or_default();
                assert_eq!((Api::of_path(path), Api::by_name(api.name())), (Some(api), Some(api)), "{path}");
            }
        }
        assert_eq!(Api::of_path("/openai/deployments/d/chat/completions"), Some(Api::OpenAiChat));
        assert_eq!(Api::of_path("/v1beta/openai/chat/completions"), Some(Api::OpenAiChat));
        assert_eq!(Api::of_path("/"), None);
        assert_eq!(Api::of_path("/v1/files"), None);
    }
}
