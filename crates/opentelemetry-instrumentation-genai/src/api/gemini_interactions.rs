//! Gemini's interactions: <https://ai.google.dev/api/interactions-api>.
//!
//! A response is a list of steps, in the first version of the API a list of contents; a stream has events for each of them.

use super::{Api, Route, filled_of, one_or_more, openai, owned, texts};
use crate::json::Json;
use crate::message::{Message, Part, role};
use crate::request::{Operation, RequestFacts};
use crate::response::{Kind, PartKey, ResponseFacts};
use crate::url::Target;

#[derive(Debug)]
pub(super) struct Interactions;

impl Api for Interactions {
    fn name(&self) -> &'static str {
        "gemini.interactions"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let here = target.from_end(0) == "interactions" && target.from_end(1).starts_with('v');
        here.then(|| Route::new(Operation::GenerateContent, "gcp.gemini"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        !body.get("input").is_null() && filled_of(body, &["model", "agent"]).is_some()
    }

    fn request(&self, _: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        facts.model = filled_of(body, &["model", "agent"]).map(ToOwned::to_owned);
        facts.stream = body.get("stream").as_bool() == Some(true);
        let config = body.get("generation_config");
        facts.max_tokens = config.get("max_output_tokens").as_i64();
        facts.temperature = config.get("temperature").as_f64();
        facts.top_p = config.get("top_p").as_f64();
        facts.top_k = config.get("top_k").as_f64();
        facts.seed = config.get("seed").as_i64();
        facts.stop_sequences = texts(config.get("stop_sequences"));
        facts.output_type = output_type(body);
        facts.system.extend(owned(body.get("system_instruction")).map(Part::Text));
        facts.messages = messages(body.get("input"));
        facts.tools = openai::tools(body.get("tools"));
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        match document.get("event_type").as_str() {
            Some(event) => read_event(event, document, facts),
            None => read_interaction(document, facts),
        }
    }
}

fn output_type(body: &Json<'_>) -> Option<&'static str> {
    let modalities = texts(body.get("response_modalities"));
    let wants = |name: &str| modalities.iter().any(|each| each.eq_ignore_ascii_case(name));
    if wants("audio") {
        return Some("speech");
    }
    if wants("image") {
        return Some("image");
    }
    let asks_for_json =
        body.get("response_mime_type").as_str() == Some("application/json") || body.get("response_format").is_object();
    asks_for_json.then_some("json")
}

/// Reads the input: a text, contents, turns or steps. Adjacent contents are one message.
fn messages(input: &Json<'_>) -> Vec<Message> {
    if let Some(text) = input.as_str() {
        return vec![Message::text("user", text)];
    }
    let mut messages: Vec<Message> = Vec::new();
    let mut is_open = false;
    for item in one_or_more(input).iter().filter(|item| !item.is_null()) {
        let kind = item.get("type").as_str().unwrap_or_default();
        let whose = match kind {
            "" if item.first(&["role", "content"]).is_null() => None,
            "" => Some(role(item.get("role").as_str())),
            "user_input" => Some("user"),
            "model_output" => Some("assistant"),
            _ => None,
        };
        if let Some(whose) = whose {
            messages.push(Message::of(whose, contents(item.get("content"))));
            is_open = false;
            continue;
        }
        let Some(part) = part(item) else { continue };
        let whose = match kind {
            "function_result" => "tool",
            kind if kind == "thought" || kind.ends_with("_call") || kind.ends_with("_result") => "assistant",
            _ => "user",
        };
        match messages.last_mut().filter(|last| is_open && last.role == whose && whose == "user") {
            Some(last) => last.parts.push(part),
            None => messages.push(Message::of(whose, vec![part])),
        }
        is_open = true;
    }
    messages
}

fn contents(list: &Json<'_>) -> Vec<Part> {
    match list.as_str() {
        Some(text) => vec![Part::Text(text.to_owned())],
        None => one_or_more(list).iter().filter(|content| !content.is_null()).filter_map(part).collect(),
    }
}

/// Reads a content or a step as a part; returns `None` for a thought without text.
fn part(json: &Json<'_>) -> Option<Part> {
    let id = |keys: &[&str]| filled_of(json, keys).map(ToOwned::to_owned);
    let name = |kind: &str, end: &str| owned(json.get("name")).unwrap_or_else(|| kind.trim_end_matches(end).to_owned());
    if let Some(text) = json.as_str() {
        return Some(Part::Text(text.to_owned()));
    }
    Some(match json.get("type").as_str() {
        Some("text") => Part::Text(json.get("text").as_str().unwrap_or_default().to_owned()),
        Some("thought") => {
            let text = openai::joined(json.get("summary"));
            if text.is_empty() {
                return None;
            }
            Part::Reasoning(text)
        }
        Some(kind @ "function_call") => Part::ToolCall {
            id: id(&["id"]),
            name: name(kind, ""),
            arguments: openai::arguments(json.get("arguments")),
        },
        Some("function_result") => {
            Part::ToolResponse { id: id(&["call_id", "id", "name"]), response: openai::result(json.get("result")) }
        }
        Some(kind @ ("image" | "audio" | "video" | "document")) => {
            let mime = json.get("mime_type").as_str();
            match (json.get("data").filled(), json.get("uri").filled()) {
                (Some(data), _) => Part::blob(mime, Some(kind), data),
                (None, Some(uri)) => {
                    let mime_type = mime.map(ToOwned::to_owned);
                    Part::Uri { modality: kind.to_owned(), mime_type, uri: uri.to_owned() }
                }
                (None, None) => Part::other(json, kind),
            }
        }
        Some(kind) if kind.ends_with("_call") => {
            Part::ServerToolCall { id: id(&["id"]), name: name(kind, "_call"), call: json.to_value() }
        }
        Some(kind) if kind.ends_with("_result") => {
            Part::ServerToolResponse { id: id(&["call_id", "id"]), response: json.to_value() }
        }
        kind => Part::other(json, kind.unwrap_or("other")),
    })
}

fn read_interaction(interaction: &Json<'_>, facts: &mut ResponseFacts) {
    facts.set_id(interaction.get("id").as_str());
    facts.set_model(filled_of(interaction, &["model", "agent"]));
    super::usage(interaction.get("usage"), facts);
    super::failure_in(interaction, facts);
    if facts.choices().iter().all(|choice| choice.parts().next().is_none()) {
        for step in interaction.first(&["steps", "outputs"]).items().iter().filter(|step| !step.is_null()) {
            match step.get("type").as_str() {
                Some("user_input") => {}
                Some("model_output") => contents(step.get("content")).into_iter().for_each(|part| add(part, facts)),
                _ => part(step).into_iter().for_each(|part| add(part, facts)),
            }
        }
    }
    ended(interaction.get("status").as_str(), facts);
}

fn add(part: Part, facts: &mut ResponseFacts) {
    let mut answer = facts.choice(0);
    match part {
        Part::Text(text) => answer.append(Kind::Text, &text),
        Part::Reasoning(text) => answer.append(Kind::Reasoning, &text),
        part => answer.push(part),
    }
}

/// Sets the finish reason from the status of an interaction, as for a response of `OpenAI`.
fn ended(status: Option<&str>, facts: &mut ResponseFacts) {
    if let Some(
        status @ ("completed" | "requires_action" | "failed" | "cancelled" | "incomplete" | "budget_exceeded"),
    ) = status
    {
        facts.choice(0).finish(Some(status));
    }
    if status == Some("failed") && facts.failure.is_none() {
        facts.fail(None, Some("failed"), None);
    }
}

fn read_event(event: &str, document: &Json<'_>, facts: &mut ResponseFacts) {
    let key: PartKey = document.get("index").as_u64().unwrap_or(0).min(0xFFFF) << 16;
    match event {
        "step.start" | "content.start" => begin(key, document.first(&["step", "content"]), facts),
        "step.delta" | "content.delta" => delta(key, document.get("delta"), facts),
        "step.stop" | "content.stop" => facts.choice(0).close(key),
        "interaction.status_update" => ended(document.get("status").as_str(), facts),
        "error" => super::failure_in(document, facts),
        _ if document.get("interaction").is_object() => {
            read_interaction(document.get("interaction"), facts);
            facts.complete |= matches!(event, "interaction.complete" | "interaction.completed");
        }
        _ => {}
    }
}

fn begin(key: PartKey, json: &Json<'_>, facts: &mut ResponseFacts) {
    let kind = json.get("type").as_str();
    let content = if kind == Some("model_output") { contents(json.get("content")) } else { Vec::new() };
    let parts = if kind == Some("model_output") { content } else { part(json).into_iter().collect() };
    let mut answer = facts.choice(0);
    for (place, part) in parts.into_iter().enumerate() {
        match part {
            Part::Text(text) => answer.text(key, Kind::Text, &text),
            Part::Reasoning(text) => answer.text(key, Kind::Reasoning, &text),
            Part::ToolCall { id, name, arguments } => {
                // A stream begins with an empty object and sends the text of the real one.
                let arguments = Some(&*arguments).filter(|arguments| *arguments != "{}");
                answer.tool_call(key, id.as_deref(), Some(&name), arguments);
            }
            part => answer.put(key + place as u64, part),
        }
    }
}

fn delta(key: PartKey, delta: &Json<'_>, facts: &mut ResponseFacts) {
    let mut answer = facts.choice(0);
    match delta.get("type").as_str() {
        Some("text") => answer.text(key, Kind::Text, delta.get("text").as_str().unwrap_or_default()),
        Some("thought_summary") => {
            let content = delta.get("content");
            answer.text(key, Kind::Reasoning, content.get("text").as_str().or(content.as_str()).unwrap_or_default());
        }
        Some("arguments_delta" | "arguments") => {
            answer.input(key, delta.first(&["arguments", "partial_arguments"]).as_str().unwrap_or_default());
        }
        Some("function_call") => {
            let arguments = openai::arguments(delta.get("arguments"));
            answer.tool_call(key, delta.get("id").filled(), delta.get("name").filled(), Some(&arguments));
        }
        Some("thought_signature" | "text_annotation") | None => {}
        // Complete items: media, calls of the provider's own tools and their results.
        Some(_) => match part(delta) {
            Some(part) if answer.has(key) && matches!(part, Part::Blob { .. } | Part::Uri { .. }) => answer.push(part),
            Some(part) => answer.put(key, part),
            None => {}
        },
    }
}
