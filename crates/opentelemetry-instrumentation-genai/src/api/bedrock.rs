//! Amazon Bedrock's runtime:
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock_Runtime.html>.
//!
//! The model is in the URL; the kind of an error and the counts of some families are only in headers. Streams are frames of
//! `application/vnd.amazon.eventstream`; [`super::bedrock_stream`] reads their events.

use http::HeaderMap;
use serde_json::Value;

use super::{
    Api, Route, anthropic, bedrock_embeddings, bedrock_stream, cohere, count, openai, openai_chat, owned, texts,
};
use crate::json::Json;
use crate::json::UnreadPath;
use crate::message::{Message, Part, role};
use crate::request::{Operation, RequestFacts};
use crate::response::{Kind, ResponseFacts, Usage, function_tool};
use crate::url::Target;

/// Vectors of Titan, Cohere and Nova, and alternatives to tokens.
const UNREAD_OF_INVOKE: &[UnreadPath] = &[
    &["embedding"],
    &["embeddingsByType", "float"],
    &["embeddingsByType", "binary"],
    &["embeddings", "*"],
    &["embeddings", "float", "*"],
    &["embeddings", "int8", "*"],
    &["embeddings", "uint8", "*"],
    &["embeddings", "binary", "*"],
    &["embeddings", "ubinary", "*"],
    &["embeddings", "base64", "*"],
    &["embeddings", "*", "embedding"],
    &["choices", "*", "logprobs", "content", "*", "bytes"],
    &["choices", "*", "logprobs", "content", "*", "top_logprobs"],
];

const PROVIDER: &str = "aws.bedrock";

fn here(target: &Target<'_>, names: [&str; 2]) -> bool {
    names.contains(&target.from_end(0)) && target.after("model").is_some()
}

fn headers(headers: &HeaderMap, facts: &mut ResponseFacts) {
    facts.usage.merge(Usage {
        input: count(headers, "x-amzn-bedrock-input-token-count"),
        output: count(headers, "x-amzn-bedrock-output-token-count"),
        cache_read: count(headers, "x-amzn-bedrock-cache-read-input-token-count"),
        cache_creation: count(headers, "x-amzn-bedrock-cache-write-input-token-count"),
        ..Usage::default()
    });
    let kind = headers.get("x-amzn-errortype").and_then(|kind| kind.to_str().ok());
    if let Some(kind) = kind.and_then(|kind| kind.split(':').next()) {
        facts.fail(None, Some(kind), None);
    }
}

/// Reads an error: its message; its kind is in a header.
fn refused(document: &Json<'_>, facts: &mut ResponseFacts) {
    let message = document.first(&["message", "Message"]).filled().map(ToOwned::to_owned);
    match &mut facts.failure {
        Some(failure) => failure.message = failure.message.take().or(message),
        None => {
            if let Some(message) = message {
                facts.fail(None, document.get("__type").as_str(), Some(&message));
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Converse;

impl Api for Converse {
    fn name(&self) -> &'static str {
        "bedrock.converse"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        here(target, ["converse", "converse-stream"]).then(|| Route::new(Operation::Chat, PROVIDER))
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        facts.model = target.after("model").map(Into::into);
        facts.stream = target.from_end(0) == "converse-stream";
        configuration(body.get("inferenceConfig"), facts);
        let more = body.get("additionalModelRequestFields");
        // Claude has it at the top, Nova in `inferenceConfig`.
        let nested = more.get("inferenceConfig").first(&["topK", "top_k"]);
        let top_k = more.first(&["top_k", "topK"]).as_f64().or_else(|| nested.as_f64());
        facts.top_k = top_k.or(facts.top_k);
        conversation(body, facts);
        facts.tools = tools(body);
    }

    fn headers(&self, head: &HeaderMap, facts: &mut ResponseFacts) {
        headers(head, facts);
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        if !bedrock_stream::event(document, facts) {
            converse(document, facts);
        }
    }
}

/// Returns true for messages in the manner of Converse: blocks whose key is their type.
fn is_converse(body: &Json<'_>) -> bool {
    let blocks = || body.get("messages").items().iter().flat_map(|message| message.get("content").items());
    blocks().any(Json::is_object) && blocks().all(|block| block.get("type").is_null())
}

/// Reads parameters by the names of Converse and Nova.
fn configuration(config: &Json<'_>, facts: &mut RequestFacts) {
    facts.max_tokens = config.first(&["maxTokens", "max_new_tokens", "max_tokens"]).as_i64();
    facts.temperature = config.get("temperature").as_f64();
    facts.top_p = config.first(&["topP", "top_p"]).as_f64();
    facts.top_k = config.first(&["topK", "top_k"]).as_f64();
    facts.stop_sequences = texts(config.first(&["stopSequences", "stop_sequences"]));
}

fn conversation(body: &Json<'_>, facts: &mut RequestFacts) {
    let present = |block: &&Json<'_>| !block.is_null();
    let system = body.get("system");
    facts.system.extend(system.filled().map(|text| Part::Text(text.to_owned())));
    facts.system.extend(system.items().iter().filter(present).map(|json| block(json, false)));
    for message in body.get("messages").items().iter().filter(present) {
        let role = role(message.get("role").as_str());
        let content = message.get("content");
        let mut parts: Vec<Part> = content.filled().map(|text| Part::Text(text.to_owned())).into_iter().collect();
        parts.extend(content.items().iter().filter(present).map(|json| block(json, role == "assistant")));
        if parts.is_empty() && message.first(&["role", "content"]).is_null() {
            parts.push(Part::other(message, "message"));
        }
        facts.messages.push(Message::of(role, parts));
    }
}

fn tools(body: &Json<'_>) -> Vec<Value> {
    body.get("toolConfig").get("tools").items().iter().filter(|tool| !tool.is_null()).map(tool).collect()
}

fn tool(tool: &Json<'_>) -> Value {
    let spec = tool.get("toolSpec");
    match spec.get("name").as_str() {
        Some(name) => {
            let schema = spec.get("inputSchema").get("json").to_value();
            function_tool(name, spec.get("description").as_str(), Some(schema))
        }
        None => {
            let kind = tool.members().first().map_or("tool", |(key, _)| key);
            openai::named(tool, kind, tool.get("systemTool").get("name").as_str())
        }
    }
}

/// Reads a block of content. A tool result in a message of the model is that of a tool which the provider ran.
fn block(block: &Json<'_>, by_model: bool) -> Part {
    if let Some(text) = block.get("text").as_str().or(block.as_str()) {
        return Part::Text(text.to_owned());
    }
    let call = block.get("toolUse");
    if call.is_object() {
        return tool_use(call);
    }
    let result = block.get("toolResult");
    if result.is_object() {
        return tool_result(result, by_model);
    }
    // Text under a guardrail, and text with its citations.
    if let Some(text) = block.get("guardContent").get("text").get("text").as_str() {
        return Part::Text(text.to_owned());
    }
    let cited = openai::joined(block.get("citationsContent").get("content"));
    if !cited.is_empty() {
        return Part::Text(cited);
    }
    let reasoning = block.get("reasoningContent").get("reasoningText").get("text");
    if let Some(text) = reasoning.as_str() {
        return Part::Reasoning(text.to_owned());
    }
    if let Some(media) = media(block) {
        return media;
    }
    Part::other(block, block.members().first().map_or("other", |(key, _)| key))
}

/// Reads media in the block itself or in S3.
pub(super) fn media(block: &Json<'_>) -> Option<Part> {
    for kind in ["image", "video", "audio", "document"] {
        let media = block.get(kind);
        if let Some(data) = media.get("source").get("bytes").as_str() {
            let mime = media.get("format").as_str().map(|format| format!("{kind}/{format}"));
            return Some(Part::blob(mime.as_deref().filter(|_| kind != "document"), Some(kind), data));
        }
        if let Some(uri) = media.get("source").get("s3Location").get("uri").as_str() {
            return Some(Part::Uri { modality: kind.to_owned(), mime_type: None, uri: uri.to_owned() });
        }
    }
    None
}

/// Reads a call of a tool, the caller's or one that the provider runs.
pub(super) fn tool_use(call: &Json<'_>) -> Part {
    let (id, name) = (owned(call.get("toolUseId")), owned(call.get("name")).unwrap_or_default());
    if call.get("type").as_str() == Some("server_tool_use") {
        return Part::ServerToolCall { id, name, call: call.to_value() };
    }
    Part::ToolCall { id, name, arguments: openai::arguments(call.get("input")) }
}

/// Reads the result of a tool: texts as one text, a single JSON value as itself, anything else as a list.
pub(super) fn tool_result(result: &Json<'_>, by_model: bool) -> Part {
    let id = owned(result.get("toolUseId"));
    if by_model || result.get("type").filled().is_some_and(|kind| kind != "tool_result") {
        return Part::ServerToolResponse { id, response: result.to_value() };
    }
    let response = match result.get("content").items() {
        [one] if !one.get("json").is_null() => one.get("json").to_value(),
        _ => openai::result(result.get("content")),
    };
    Part::ToolResponse { id, response }
}

/// Reads a response of Converse, which Nova uses too.
fn converse(document: &Json<'_>, facts: &mut ResponseFacts) {
    let content = document.get("output").get("message").get("content");
    for part in content.items().iter().filter(|part| !part.is_null()) {
        let mut answer = facts.choice(0);
        match block(part, true) {
            Part::ToolCall { id, name, arguments } => {
                let key = answer.next_key();
                answer.tool_call(key, id.as_deref(), Some(&name), Some(&arguments));
            }
            Part::Text(text) => {
                let key = answer.next_key();
                answer.text(key, Kind::Text, &text);
            }
            part => answer.push(part),
        }
    }
    facts.choice(0).finish(document.get("stopReason").as_str());
    super::usage(document.get("usage"), facts);
    refused(document, facts);
}

#[derive(Debug)]
pub(super) struct Invoke;

impl Api for Invoke {
    fn name(&self) -> &'static str {
        "bedrock.invoke"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        here(target, ["invoke", "invoke-with-response-stream"]).then(|| Route::new(Operation::TextCompletion, PROVIDER))
    }

    /// Reads the body of the model's own API, which its keys identify.
    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        let has = |key: &str| !body.get(key).is_null();
        let model = target.after("model").map(String::from);
        // The name of an inference profile is an ARN, so that the body counts as well.
        let embeds = model.as_deref().is_some_and(|model| model.contains("embed"))
            || has("singleEmbeddingParams")
            || has("segmentedEmbeddingParams")
            || has("texts") && has("input_type");
        if embeds {
            facts.operation = Some(Operation::Embeddings);
            bedrock_embeddings::request(body, facts);
        } else if has("anthropic_version") {
            facts.operation = Some(Operation::Chat);
            anthropic::request(body, facts);
            facts.messages.extend(body.get("prompt").filled().map(|text| Message::text("user", text)));
        } else if has("inferenceConfig") || body.get("schemaVersion").as_str().is_some() || is_converse(body) {
            facts.operation = Some(Operation::Chat);
            configuration(body.get("inferenceConfig"), facts);
            conversation(body, facts);
            facts.tools = tools(body);
        } else if has("message") {
            facts.operation = Some(Operation::Chat);
            cohere::request(body, facts);
        } else if body.get("messages").is_array() {
            facts.operation = Some(Operation::Chat);
            openai_chat::request(target, body, facts);
            facts.openai_api = None;
        } else {
            let config = body.get("textGenerationConfig");
            let config = if config.is_object() { config } else { body };
            facts.max_tokens = config
                .first(&["max_gen_len", "maxTokenCount", "max_tokens_to_sample", "max_tokens", "maxTokens"])
                .as_i64();
            facts.temperature = config.get("temperature").as_f64();
            facts.top_p = config.first(&["top_p", "topP", "p"]).as_f64();
            facts.top_k = config.first(&["top_k", "topK", "k"]).as_f64();
            facts.stop_sequences = texts(config.first(&["stop", "stopSequences", "stop_sequences"]));
            let images = body.get("textToImageParams");
            if images.is_object() {
                facts.operation = Some(Operation::GenerateContent);
                facts.output_type = Some("image");
            }
            let prompt = body.first(&["prompt", "inputText"]);
            let prompt = if prompt.is_null() { images.get("text") } else { prompt };
            facts.messages = super::openai_embeddings::inputs(prompt);
        }
        facts.model = model;
        facts.stream = target.from_end(0) == "invoke-with-response-stream";
    }

    fn headers(&self, head: &HeaderMap, facts: &mut ResponseFacts) {
        headers(head, facts);
    }

    fn unread(&self) -> &'static [UnreadPath] {
        UNREAD_OF_INVOKE
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        let has = |key: &str| !document.get(key).is_null();
        let text = |json: &Json<'_>| json.as_str().unwrap_or_default().to_owned();
        if bedrock_stream::event(document, facts) {
            // Nova
        } else if document.get("type").as_str().is_some() || has("stop_sequence") {
            anthropic::response(document, facts);
        } else if document.get("output").is_object() {
            converse(document, facts);
        } else if document.get("choices").is_array() {
            openai_chat::response(document, facts);
            // DeepSeek, whose choices are texts.
            for (place, choice) in document.get("choices").items().iter().enumerate() {
                if let Some(text) = choice.get("text").as_str() {
                    let mut answer = facts.choice(choice.get("index").as_u64().unwrap_or(place as u64));
                    answer.append(Kind::Text, text);
                    answer.finish(choice.first(&["stop_reason", "finish_reason"]).as_str());
                }
            }
        } else if has("generation") {
            facts.choice(0).append(Kind::Text, &text(document.get("generation"))); // Llama
            facts.choice(0).finish(document.get("stop_reason").as_str());
            super::usage(document, facts);
        } else if has("results") || has("outputs") {
            let answers = document.first(&["results", "outputs"]).items(); // Titan, Mistral
            for (index, answer) in answers.iter().enumerate() {
                facts.choice(index as u64).append(Kind::Text, &text(answer.first(&["outputText", "text"])));
                facts.choice(index as u64).finish(answer.first(&["completionReason", "stop_reason"]).as_str());
            }
            let output: Option<u64> =
                answers.iter().filter_map(|answer| answer.get("tokenCount").as_u64()).reduce(u64::saturating_add);
            facts.usage.merge(Usage { output, ..Usage::default() });
            super::usage(document, facts);
        } else if has("completions") || has("generations") {
            // Jurassic, and Cohere's Command before its chat
            facts.set_id(document.get("id").as_str());
            for (index, answer) in document.first(&["completions", "generations"]).items().iter().enumerate() {
                let block = answer.get("data").get("text");
                let block = if block.is_null() { answer.get("text") } else { block };
                facts.choice(index as u64).append(Kind::Text, &text(block));
                let reason = answer.first(&["finishReason", "finish_reason"]);
                facts.choice(index as u64).finish(reason.as_str().or(reason.get("reason").as_str()));
            }
        } else if has("images") {
            facts.open_ended = true;
            for (index, image) in document.get("images").items().iter().enumerate() {
                let image = image.filled().map(|data| Part::blob(Some("image/png"), Some("image"), data));
                image.into_iter().for_each(|image| facts.choice(index as u64).push(image));
            }
            super::failure_in(document, facts);
        } else if has("completion") {
            facts.choice(0).append(Kind::Text, &text(document.get("completion"))); // Claude before messages
            facts.choice(0).finish(document.get("stop_reason").as_str());
        } else if has("outputText") || has("is_finished") && !has("event_type") {
            // Streams of Titan, and of Cohere's Command
            let mut answer = facts.choice(document.get("index").as_u64().unwrap_or(0));
            answer.append(Kind::Text, &text(document.first(&["outputText", "text"])));
            answer.finish(document.first(&["completionReason", "finish_reason"]).as_str());
            super::usage(document, facts);
        } else if has("generation_id") || has("event_type") {
            cohere::response(document, facts);
        } else if has("embedding") || has("embeddings") || has("embeddingsByType") {
            bedrock_embeddings::response(document, facts);
        } else {
            refused(document, facts);
        }
        bedrock_stream::metrics(document.get("amazon-bedrock-invocationMetrics"), facts);
    }
}
