//! Gemini, on its own host and on Vertex: <https://ai.google.dev/api/generate-content>.
//!
//! Fields come in camel case, in snake case from some clients, and enums as names or as numbers.

use genai_redact::Place;
use serde_json::Value;

use super::{Api, Route, failure_in, filled_of, gemini_pieces, one_or_more, openai, owned, texts};
use crate::json::Json;
use crate::json::UnreadPath;
use crate::message::{Message, Part, role};
use crate::request::{Operation, RequestFacts};
use crate::response::{Kind, ResponseFacts, function_tool};
use crate::url::{Target, decoded};

/// Vectors.
const UNREAD_OF_EMBED: &[UnreadPath] = &[&["embedding", "values"], &["embeddings", "*", "values"]];

/// Alternatives to tokens.
const UNREAD: &[UnreadPath] = &[&["candidates", "*", "logprobsResult", "topCandidates"]];

#[derive(Debug)]
pub(super) struct GenerateContent;

/// Returns the model and the method of `…/models/gemini-2.5-pro:generateContent`.
fn method<'a>(target: &Target<'a>) -> Option<(&'a str, &'a str)> {
    let last = target.from_end(0);
    // A client may encode the colon as %3A.
    last.rsplit_once(':').or_else(|| last.rsplit_once("%3A")).or_else(|| last.rsplit_once("%3a"))
}

impl Api for GenerateContent {
    fn name(&self) -> &'static str {
        "gemini.generate_content"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        matches!(method(target)?.1, "generateContent" | "streamGenerateContent")
            .then(|| Route::new(Operation::GenerateContent, "gcp.gen_ai"))
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        if let Some((model, method)) = method(target) {
            facts.model = Some(decoded(model).into_owned());
            facts.stream = method == "streamGenerateContent";
        }
        // Code Assist has the request below and the model beside it, the answer below `response`.
        let inner = body.get("request");
        if let Some(model) = body.get("model").filled().filter(|_| inner.is_object()) {
            facts.model = Some(model.to_owned());
        }
        let body = if inner.is_object() { inner } else { body };
        let config = body.first(&["generationConfig", "generation_config"]);
        facts.max_tokens = config.first(&["maxOutputTokens", "max_output_tokens"]).as_i64();
        facts.choice_count = config.first(&["candidateCount", "candidate_count"]).as_i64();
        facts.temperature = config.get("temperature").as_f64();
        facts.top_p = config.first(&["topP", "top_p"]).as_f64();
        facts.top_k = config.first(&["topK", "top_k"]).as_f64();
        facts.stop_sequences = texts(config.first(&["stopSequences", "stop_sequences"]));
        facts.frequency_penalty = config.first(&["frequencyPenalty", "frequency_penalty"]).as_f64();
        facts.presence_penalty = config.first(&["presencePenalty", "presence_penalty"]).as_f64();
        facts.seed = config.get("seed").as_i64();
        facts.output_type = output_type(config);
        let system = body.first(&["systemInstruction", "system_instruction"]);
        match system.as_str() {
            Some(text) => facts.system.push(Part::Text(text.to_owned())),
            None => facts.system.extend(parts(system.get("parts"))),
        }
        facts.messages.extend(body.get("contents").as_str().map(|text| Message::text("user", text)));
        for content in one_or_more(body.get("contents")).iter().filter(|content| !content.is_null()) {
            if let Some(text) = content.as_str() {
                facts.messages.push(Message::text("user", text));
                continue;
            }
            let mut parts = parts(content.get("parts"));
            if parts.is_empty() && content.first(&["role", "parts"]).is_null() {
                parts.push(Part::other(content, "content"));
            }
            facts.messages.push(Message::of(role(content.get("role").as_str()), parts));
        }
        facts.tools = one_or_more(body.get("tools")).iter().flat_map(tools).collect();
    }

    fn unread(&self) -> &'static [UnreadPath] {
        UNREAD
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        let inner = document.get("response");
        let document = if inner.is_object() { inner } else { document };
        facts.set_id(document.first(&["responseId", "response_id"]).as_str());
        facts.set_model(document.first(&["modelVersion", "model_version"]).as_str());
        super::usage(document.first(&["usageMetadata", "usage_metadata"]), facts);
        failure_in(document, facts);
        let known =
            |candidate: &&Json<'_>| !candidate.first(&["content", "finishReason", "finish_reason", "index"]).is_null();
        for (place, candidate) in document.get("candidates").items().iter().filter(known).enumerate() {
            let index = candidate.get("index").as_u64().unwrap_or(place as u64);
            for part in one_or_more(candidate.get("content").get("parts")).iter().filter(|part| !part.is_null()) {
                answer_part(index, part, facts);
            }
            let reason = candidate.first(&["finishReason", "finish_reason"]);
            facts.choice(index).finish(finish_reason(reason));
            if index == 0 {
                let chosen = candidate.get("logprobsResult").get("chosenCandidates");
                for token in chosen.items() {
                    facts.token(token.get("tokenId").as_i64(), token.get("logProbability").as_f64());
                }
            }
        }
        let blocked = document.get("promptFeedback").first(&["blockReason", "block_reason"]);
        if let Some(reason) = blocked.filled() {
            facts.choice(0).finish(Some(reason));
        }
    }
}

fn output_type(config: &Json<'_>) -> Option<&'static str> {
    let modalities = config.first(&["responseModalities", "response_modalities"]).items();
    let wants =
        |name: &str| modalities.iter().any(|each| each.as_str().is_some_and(|each| each.eq_ignore_ascii_case(name)));
    if wants("audio") {
        return Some("speech");
    }
    if wants("image") {
        return Some("image");
    }
    match config.first(&["responseMimeType", "response_mime_type"]).as_str()? {
        "application/json" | "text/x.enum" => Some("json"),
        "text/plain" => Some("text"),
        _ => None,
    }
}

fn tools(tool: &Json<'_>) -> Vec<Value> {
    let declared = one_or_more(tool.first(&["functionDeclarations", "function_declarations"])).iter().map(|function| {
        let parameters = function.first(&["parameters", "parametersJsonSchema", "parameters_json_schema"]);
        let name = function.get("name").as_str().unwrap_or_default();
        function_tool(name, function.get("description").as_str(), Some(schema(parameters)))
    });
    // Clients write `"codeExecution": null` for a tool that is not requested.
    let own = tool
        .members()
        .iter()
        .filter(|(key, value)| !value.is_null() && !matches!(&**key, "functionDeclarations" | "function_declarations"));
    // The key becomes the name of the tool, so that only here it is known to hold a credential.
    let is_secret = |key: &str| matches!(Place::Body.member(key), Place::Credential | Place::Environment);
    let shown = |key: &str, value| if is_secret(key) { &Json::Null } else { value };
    declared.chain(own.map(|(key, value)| openai::named(shown(key, value), key, None))).collect()
}

/// Converts a schema whose types are in capitals, or numbers, to JSON Schema.
fn schema(json: &Json<'_>) -> Value {
    const TYPES: [&str; 8] = ["", "string", "number", "integer", "boolean", "array", "object", "null"];
    let mut value = json.to_value();
    let mut open = vec![&mut value];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    if key == "type" {
                        let name = match value {
                            Value::String(name) => TYPES.iter().find(|known| known.eq_ignore_ascii_case(name)),
                            Value::Number(number) => {
                                number.as_u64().and_then(|place| TYPES.get(usize::try_from(place).ok()?))
                            }
                            _ => None,
                        };
                        if let Some(name) = name.filter(|name| !name.is_empty()) {
                            *value = (*name).into();
                        }
                    }
                    open.push(value);
                }
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    value
}

/// Reads the parts of a content: a list or a single one.
fn parts(list: &Json<'_>) -> Vec<Part> {
    let mut parts = Vec::new();
    for json in one_or_more(list).iter().filter(|part| !part.is_null()) {
        parts.push(part(json));
        // Media of a function's result follow it.
        let response = json.first(&["functionResponse", "function_response"]);
        parts.extend(response.get("parts").items().iter().filter(|part| !part.is_null()).map(part));
    }
    parts
}

fn part(part: &Json<'_>) -> Part {
    if let Some(text) = part.as_str() {
        return Part::Text(text.to_owned());
    }
    let thought = part.get("thought").as_bool() == Some(true);
    if let Some(text) = part.get("text").as_str() {
        return if thought { Part::Reasoning(text.to_owned()) } else { Part::Text(text.to_owned()) };
    }
    let call = part.first(&["functionCall", "function_call"]);
    if call.is_object() {
        return Part::ToolCall {
            id: owned(call.get("id")),
            name: owned(call.get("name")).unwrap_or_default(),
            arguments: openai::arguments(call.get("args")),
        };
    }
    let response = part.first(&["functionResponse", "function_response"]);
    if response.is_object() {
        let id = filled_of(response, &["id", "name"]).map(ToOwned::to_owned);
        return Part::ToolResponse { id, response: response.get("response").to_value() };
    }
    let data = part.first(&["inlineData", "inline_data"]);
    if data.is_object() {
        let mime = data.first(&["mimeType", "mime_type"]).as_str();
        return Part::blob(mime, None, data.get("data").as_str().unwrap_or_default());
    }
    let file = part.first(&["fileData", "file_data"]);
    if file.is_object() {
        let mime_type = owned(file.first(&["mimeType", "mime_type"]));
        let modality = crate::message::modality_of(mime_type.as_deref(), None);
        let uri = owned(file.first(&["fileUri", "file_uri"])).unwrap_or_default();
        return Part::Uri { modality, mime_type, uri };
    }
    let call = part.first(&["toolCall", "tool_call"]);
    if call.is_object() {
        let name = filled_of(call, &["toolType", "tool_type", "name"]).unwrap_or("tool").to_owned();
        return Part::ServerToolCall { id: owned(call.get("id")), name, call: call.to_value() };
    }
    let response = part.first(&["toolResponse", "tool_response"]);
    if response.is_object() {
        return Part::ServerToolResponse { id: owned(response.get("id")), response: response.to_value() };
    }
    let code = part.first(&["executableCode", "executable_code"]);
    if code.is_object() {
        return Part::ServerToolCall { id: None, name: "code_execution".to_owned(), call: code.to_value() };
    }
    let result = part.first(&["codeExecutionResult", "code_execution_result"]);
    if result.is_object() {
        return Part::ServerToolResponse { id: None, response: result.to_value() };
    }
    Part::other(part, "other")
}

fn answer_part(index: u64, json: &Json<'_>, facts: &mut ResponseFacts) {
    let mut answer = facts.choice(index);
    let call = json.first(&["functionCall", "function_call"]);
    if call.is_object() && json.get("text").is_null() {
        return gemini_pieces::call(call, &mut answer);
    }
    match part(json) {
        Part::Text(text) => answer.append(Kind::Text, &text),
        Part::Reasoning(text) => answer.append(Kind::Reasoning, &text),
        // A signature alone is no content.
        Part::Other(Value::Object(members))
            if members
                .keys()
                .all(|key| matches!(&**key, "type" | "thought" | "thoughtSignature" | "thought_signature")) => {}
        part => answer.push(part),
    }
}

/// Returns the name of a finish reason, also for the number that some clients request.
fn finish_reason<'a>(reason: &'a Json<'_>) -> Option<&'a str> {
    const NAMES: [&str; 17] = [
        "FINISH_REASON_UNSPECIFIED",
        "STOP",
        "MAX_TOKENS",
        "SAFETY",
        "RECITATION",
        "OTHER",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MALFORMED_FUNCTION_CALL",
        "MODEL_ARMOR",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_OTHER",
        "UNEXPECTED_TOOL_CALL",
        "NO_IMAGE",
    ];
    let named = || NAMES.get(usize::try_from(reason.as_u64()?).ok()?).copied();
    reason.as_str().or_else(named).filter(|name| *name != "FINISH_REASON_UNSPECIFIED")
}

/// Embeddings of one content or several.
#[derive(Debug)]
pub(super) struct Embed;

impl Api for Embed {
    fn name(&self) -> &'static str {
        "gemini.embed_content"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        matches!(method(target)?.1, "embedContent" | "batchEmbedContents")
            .then(|| Route::new(Operation::Embeddings, "gcp.gen_ai"))
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        facts.model = method(target).map(|(model, _)| decoded(model).into_owned());
        let batch = body.get("requests").items();
        let requests = if batch.is_empty() { std::slice::from_ref(body) } else { batch };
        for request in requests {
            facts.dimensions = request.first(&["outputDimensionality", "output_dimensionality"]).as_i64();
            facts.messages.push(Message::of("user", parts(request.get("content").get("parts"))));
        }
    }

    fn unread(&self) -> &'static [UnreadPath] {
        UNREAD_OF_EMBED
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        super::usage(document.first(&["usageMetadata", "usage_metadata"]), facts);
        failure_in(document, facts);
        let first = document.get("embeddings").items().first().unwrap_or(document.get("embedding"));
        facts.dimensions = super::openai_embeddings::dimensions(first.get("values"));
    }
}
