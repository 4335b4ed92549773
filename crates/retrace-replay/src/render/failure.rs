//! Errors in the shape of each provider.

use serde_json::{Value, json};

use super::{Api, Documents, Failure, Rendered};

/// Writes an error as the body of a response of this API.
#[must_use]
pub fn error_body(api: Option<Api>, failure: &Failure) -> Value {
    let Failure { status, kind, message } = failure;
    match api {
        Some(Api::AnthropicMessages) => {
            json!({ "type": "error", "error": { "type": kind, "message": message } })
        }
        Some(Api::GeminiGenerateContent | Api::GeminiInteractions | Api::GeminiEmbedContent | Api::VertexPredict) => {
            json!({ "error": { "code": status, "message": message, "status": kind } })
        }
        Some(Api::OllamaChat | Api::OllamaGenerate | Api::OllamaEmbed) => json!({ "error": message }),
        Some(Api::HuggingFaceTextGeneration) => json!({ "error": message, "error_type": kind }),
        Some(Api::WatsonxTextGeneration) => json!({ "errors": [{ "code": kind, "message": message }] }),
        Some(Api::CohereV2Chat | Api::CohereV1Chat | Api::CohereEmbed | Api::BedrockConverse | Api::BedrockInvoke) => {
            json!({ "message": message })
        }
        _ => json!({ "error": { "message": message, "type": kind, "param": null, "code": kind } }),
    }
}

/// Writes a response of failure of this API.
#[must_use]
pub fn render_failure(api: Api, failure: &Failure) -> Rendered {
    let mut response = Documents::whole(&error_body(Some(api), failure)).into_response(failure.status);
    if matches!(api, Api::BedrockConverse | Api::BedrockInvoke) {
        // Bedrock names the type of an error in a header only.
        response.headers.push(("x-amzn-errortype".to_owned(), failure.kind.clone()));
    }
    Rendered { response, notes: vec!["members of the error beside its type and message"] }
}
