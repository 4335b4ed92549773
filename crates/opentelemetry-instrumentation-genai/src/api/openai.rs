//! Common parts of the APIs modelled on OpenAI's.

use serde_json::{Map, Value};

use super::{chat_calls, filled_of, owned, reasoning, texts};
use crate::json::Json;
use crate::message::{Message, Part, role};
use crate::request::RequestFacts;
use crate::response::{ResponseFacts, Usage, function_tool};
use crate::url::Target;

/// Reads the parameters with common names. Null and absent are equal.
pub(super) fn parameters(target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
    // Azure has the deployment in the URL and ignores the model in the body. watsonx has `model_id`.
    let model = owned(body.first(&["model", "model_id"]));
    facts.model = model.or_else(|| target.after("deployments").map(Into::into));
    facts.stream = body.get("stream").as_bool() == Some(true);
    facts.max_tokens = body.first(&["max_completion_tokens", "max_tokens", "max_output_tokens"]).as_i64();
    facts.choice_count = body.get("n").as_i64();
    facts.temperature = body.get("temperature").as_f64();
    facts.top_p = body.get("top_p").as_f64();
    facts.top_k = body.get("top_k").as_f64();
    facts.stop_sequences = texts(body.get("stop"));
    facts.frequency_penalty = body.get("frequency_penalty").as_f64();
    facts.presence_penalty = body.get("presence_penalty").as_f64();
    facts.seed = body.first(&["seed", "random_seed"]).as_i64();
    facts.service_tier = owned(body.get("service_tier")).filter(|tier| tier != "auto");
}

/// Reads the content of a message: a text or parts.
pub(super) fn content(json: &Json<'_>, parts: &mut Vec<Part>) {
    if let Some(text) = json.as_str() {
        parts.push(Part::Text(text.to_owned()));
    }
    parts.extend(json.items().iter().filter(|part| !part.is_null()).map(content_part));
}

fn content_part(part: &Json<'_>) -> Part {
    let text = |json: &Json<'_>| json.as_str().unwrap_or_default().to_owned();
    if let Some(text) = part.as_str() {
        return Part::Text(text.to_owned());
    }
    match part.get("type").as_str() {
        Some("text" | "input_text" | "output_text") => Part::Text(text(part.get("text"))),
        // Bedrock's manner, in which the key is the type.
        None if part.get("text").as_str().is_some() => Part::Text(text(part.get("text"))),
        Some("refusal") => Part::Refusal(text(part.get("refusal"))),
        // Databricks'.
        Some("reasoning") if !reasoning::of_part(part).is_empty() => {
            Part::Reasoning(reasoning::of_part(part).into_owned())
        }
        Some("thinking") => match part.get("thinking") {
            inner @ Json::Array(_) => Part::Reasoning(joined(inner)), // Mistral's
            inner => Part::Reasoning(text(inner)),
        },
        Some(kind @ ("image_url" | "input_image" | "video_url" | "audio_url" | "document_url")) => {
            let place = part.first(&["image_url", "video_url", "audio_url", "document_url"]);
            let modality = match kind {
                "video_url" => "video",
                "audio_url" => "audio",
                "document_url" => "document",
                _ => "image",
            };
            match (place.get("url").as_str().or(place.as_str()), part.get("file_id").as_str()) {
                (Some(url), _) => Part::media_at(url, modality),
                (None, Some(id)) => file(id, modality),
                (None, None) => Part::other(part, kind),
            }
        }
        // Mistral has the data itself in place of the object.
        Some("input_audio") if part.get("input_audio").as_str().is_some() => {
            let data = text(part.get("input_audio"));
            match data.contains(':') {
                true => Part::media_at(&data, "audio"),
                false => Part::blob(None, Some("audio"), &data),
            }
        }
        Some("input_audio") => {
            let audio = part.get("input_audio");
            let mime = audio.get("format").as_str().map(|format| format!("audio/{format}"));
            Part::blob(mime.as_deref(), Some("audio"), audio.get("data").as_str().unwrap_or_default())
        }
        Some(kind @ ("file" | "input_file")) => {
            let inner = if part.get("file").is_object() { part.get("file") } else { part };
            match (inner.get("file_id").as_str(), inner.get("file_data").as_str(), inner.get("file_url").as_str()) {
                (Some(id), _, _) => file(id, "file"),
                (None, Some(data), _) => Part::media_at(data, "file"),
                (None, None, Some(url)) => Part::media_at(url, "file"),
                _ => Part::other(part, kind),
            }
        }
        kind => Part::other(part, kind.unwrap_or("other")),
    }
}

fn file(id: &str, modality: &str) -> Part {
    Part::File { modality: modality.to_owned(), mime_type: None, file_id: id.to_owned() }
}

/// Joins the texts of a list of parts.
pub(super) fn joined(parts: &Json<'_>) -> String {
    parts.items().iter().filter_map(|part| part.as_str().or(part.get("text").as_str())).collect()
}

/// Returns the result of a tool: a text if all of it is text, else the list of its parts.
pub(super) fn result(json: &Json<'_>) -> Value {
    let mut parts = json.items().iter().filter(|part| !part.is_null()).peekable();
    if parts.peek().is_some() && parts.all(|part| part.get("text").as_str().is_some()) {
        return joined(json).into();
    }
    json.to_value()
}

/// Reads the messages of a conversation. One of an unknown kind is kept unchanged; null is skipped.
pub(super) fn messages(list: &Json<'_>) -> Vec<Message> {
    let known = |each: &Json<'_>| match each.as_str() {
        Some(text) => Message::text("user", text),
        None if each.is_object() => message(each),
        None => Message::of("user", vec![Part::other(each, "message")]),
    };
    list.items().iter().filter(|each| !each.is_null()).map(known).collect()
}

/// Reads a message of the conversation in the form of the chat API.
pub(super) fn message(message: &Json<'_>) -> Message {
    let stated = message.get("role").as_str();
    let mut parts = Vec::new();
    if let Some(reasoning) = reasoning::of(message) {
        parts.push(Part::Reasoning(reasoning.into_owned()));
    }
    for tool in message.get("executed_tools").items().iter().filter(|tool| tool.is_object()) {
        let (call, response) = executed_tool(tool);
        parts.push(call);
        parts.extend(response);
    }
    if role(stated) == "tool" {
        let id = owned(message.first(&["tool_call_id", "name"]));
        parts.push(Part::ToolResponse { id, response: result(message.get("content")) });
    } else {
        content(message.get("content"), &mut parts);
    }
    if let Some(refusal) = message.get("refusal").filled() {
        parts.push(Part::Refusal(refusal.to_owned()));
    }
    parts.extend(message.get("tool_calls").items().iter().filter(|call| call.is_object()).map(|call| {
        let function = chat_calls::function(call);
        if function.is_null() {
            return Part::other(call, "tool_call");
        }
        Part::ToolCall {
            id: owned(call.get("id")),
            name: owned(function.get("name")).unwrap_or_default(),
            arguments: arguments(function.first(&["arguments", "input"])),
        }
    }));
    let call = message.get("function_call");
    if filled_of(call, &["name", "arguments"]).is_some() {
        let name = owned(call.get("name")).unwrap_or_default();
        parts.push(Part::ToolCall { id: None, name, arguments: arguments(call.get("arguments")) });
    }
    if parts.is_empty() && message.first(&["role", "content"]).is_null() {
        parts.push(Part::other(message, "message"));
    }
    Message { name: owned(message.get("name")), ..Message::of(role(stated), parts) }
}

/// Reads a tool that the provider ran, in Groq's form, with its result if there is one.
pub(super) fn executed_tool(tool: &Json<'_>) -> (Part, Option<Part>) {
    const CALL: [&str; 5] = ["type", "name", "id", "index", "arguments"];
    let of = |wanted: bool| -> Map<String, Value> {
        let members = tool.members().iter().filter(|(_, value)| !value.is_null());
        let members = members.filter(|(name, _)| CALL.contains(&&**name) == wanted);
        members.map(|(name, value)| (name.to_string(), value.to_value())).collect()
    };
    let id = owned(tool.get("id"));
    let name = filled_of(tool, &["name", "type"]).unwrap_or("tool").to_owned();
    let response = Some(of(false)).filter(|members| !members.is_empty());
    let response =
        response.map(|members| Part::ServerToolResponse { id: id.clone(), response: Value::Object(members) });
    (Part::ServerToolCall { id, name, call: Value::Object(of(true)) }, response)
}

/// Returns the arguments of a tool as JSON.
pub(super) fn arguments(json: &Json<'_>) -> String {
    match json {
        Json::Null => String::new(),
        Json::Text(text) => text.to_string(),
        other => other.to_value().to_string(),
    }
}

/// Reads definitions of tools: functions, or tools of the provider.
pub(super) fn tools(list: &Json<'_>) -> Vec<Value> {
    super::one_or_more(list)
        .iter()
        .filter(|tool| !tool.is_null())
        .map(|tool| {
            let inner = match tool.first(&["function", "custom"]) {
                inner @ Json::Object(_) => inner,
                _ => tool,
            };
            match (tool.get("type").as_str(), inner.get("name").as_str()) {
                (Some("function") | None, Some(name)) => {
                    let parameters = inner.first(&["parameters", "parameter_definitions"]).to_value();
                    function_tool(name, inner.get("description").as_str(), Some(parameters))
                }
                (kind, name) => named(tool, kind.unwrap_or("tool"), name),
            }
        })
        .collect()
}

/// Returns a tool that is no function unchanged, with the type and the name that the schema requires.
pub(super) fn named(tool: &Json<'_>, kind: &str, name: Option<&str>) -> Value {
    let mut members = match tool.to_value() {
        Value::Object(members) => members.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    };
    members.insert("type".to_owned(), kind.into());
    members.insert("name".to_owned(), name.unwrap_or(kind).into());
    Value::Object(members)
}

/// Returns `gen_ai.output.type` for a response format.
pub(super) fn output_type(format: &Json<'_>) -> Option<&'static str> {
    match format.get("type").as_str().or(format.as_str())? {
        "text" => Some("text"),
        "json_object" | "json_schema" | "json" => Some("json"),
        _ => None,
    }
}

/// Reads tokens with their log probabilities, in the form of chat, responses, llama.cpp and Ollama.
pub(super) fn logprobs(list: &Json<'_>, facts: &mut ResponseFacts) {
    for token in list.items() {
        // vLLM writes the id in place of the text on request.
        let id = token.first(&["id", "token_id"]).as_i64().or_else(|| token_id(token.get("token").as_str()?));
        facts.token(id, token.get("logprob").as_f64());
    }
}

pub(super) fn token_id(token: &str) -> Option<i64> {
    token.strip_prefix("token_id:")?.parse().ok()
}

/// Reads the facts that every response states about itself.
pub(super) fn head(document: &Json<'_>, facts: &mut ResponseFacts) {
    facts.set_id(document.get("id").as_str());
    facts.set_model(document.first(&["model", "model_id"]).as_str());
    if let Some(tier) = document.get("service_tier").filled() {
        facts.service_tier = Some(tier.to_owned());
    }
    if let Some(fingerprint) = document.get("system_fingerprint").filled() {
        facts.system_fingerprint = Some(fingerprint.to_owned());
    }
    super::usage(document.get("usage"), facts);
    super::usage(document.get("x_groq").get("usage"), facts);
    if document.get("usage").is_null() && facts.usage.is_empty() {
        timings(document.get("timings"), facts);
    }
    super::failure_in(document, facts);
    super::failure_in(document.get("x_groq"), facts);
    // MiniMax reports a failure in a 200.
    let status = document.get("base_resp");
    if status.get("status_code").as_i64().is_some_and(|code| code != 0) {
        super::failure(status, facts);
    }
    refused(document, facts);
}

/// Reads what llama.cpp has in every stream. A later `usage` has the same counts, with the cached tokens in the input.
fn timings(timings: &Json<'_>, facts: &mut ResponseFacts) {
    if let Some(counts) = genai_usage::read(|path| timings.at(path).to_count()) {
        facts.usage.merge(Usage {
            input: counts.all_input(),
            output: counts.all_output(),
            cache_read: counts.cache_read,
            ..Usage::default()
        });
    }
}

/// Reads errors without an `error` object: `{"code": …, "message": …}`, `{"detail": …}`, `{"errors": […]}`.
fn refused(document: &Json<'_>, facts: &mut ResponseFacts) {
    if !document.get("choices").is_null() || !document.get("data").is_null() || !document.get("output").is_null() {
        return;
    }
    let named = |key: &str| document.get(key).as_str() == Some("error");
    if named("object") || named("type") || document.get("message").filled().is_some() {
        super::failure(document, facts);
    }
    for member in [document.get("detail"), document.get("errors")] {
        match member {
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
            Json::Array(list) => match list.first() {
                Some(first) if first.is_object() || first.as_str().is_some() => super::failure(first, facts),
                _ => {}
            },
            one => super::failure(one, facts),
        }
    }
}
