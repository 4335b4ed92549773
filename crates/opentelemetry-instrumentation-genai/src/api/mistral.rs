//! Mistral's conversations and its reading of documents: <https://docs.mistral.ai/api/endpoint/beta/conversations> and
//! <https://docs.mistral.ai/api/endpoint/ocr>.
//!
//! An answer is a list of entries; a stream has events for each of them.

use super::{Api, Route, chat_calls, filled_of, openai, owned, texts};
use crate::json::Json;
use crate::json::UnreadPath;
use crate::message::{Message, Part, role};
use crate::request::{Operation, RequestFacts};
use crate::response::{Kind, PartKey, ResponseFacts};
use crate::url::Target;

/// `POST /v1/conversations`, and below it the next turn of one.
#[derive(Debug)]
pub(super) struct Conversations;

impl Api for Conversations {
    fn name(&self) -> &'static str {
        "mistral.conversations"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let [last, before, outer] = [target.from_end(0), target.from_end(1), target.from_end(2)];
        let here =
            last == "conversations" || before == "conversations" || last == "restart" && outer == "conversations";
        here.then(|| Route::new(Operation::Chat, "mistral_ai"))
    }

    /// OpenAI's conversations have items.
    fn accepts(&self, body: &Json<'_>) -> bool {
        !body.get("inputs").is_null()
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        let settings = body.get("completion_args");
        facts.model = owned(body.get("model"));
        facts.stream = body.get("stream").as_bool() == Some(true);
        facts.conversation_id = target.after("conversations").map(Into::into);
        facts.max_tokens = settings.get("max_tokens").as_i64();
        facts.temperature = settings.get("temperature").as_f64();
        facts.top_p = settings.get("top_p").as_f64();
        facts.stop_sequences = texts(settings.get("stop"));
        facts.frequency_penalty = settings.get("frequency_penalty").as_f64();
        facts.presence_penalty = settings.get("presence_penalty").as_f64();
        facts.seed = settings.get("random_seed").as_i64();
        facts.output_type = openai::output_type(settings.get("response_format"));
        facts.system.extend(body.get("instructions").filled().map(|text| Part::Text(text.to_owned())));
        let inputs = body.get("inputs");
        match inputs.as_str() {
            Some(text) => facts.messages.push(Message::text("user", text)),
            None => facts.messages.extend(super::one_or_more(inputs).iter().filter_map(entry)),
        }
        facts.tools = openai::tools(body.get("tools"));
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        facts.conversation_id = owned(document.get("conversation_id")).or(facts.conversation_id.take());
        super::usage(document.get("usage"), facts);
        match document.get("type").as_str() {
            // An error has a type of its own.
            Some(_) if document.get("object").as_str() == Some("error") => super::failure(document, facts),
            Some(event) => read_event(event, document, facts),
            None => {
                super::failure_in(document, facts);
                if document.get("outputs").is_null() && !document.first(&["message", "detail"]).is_null() {
                    super::failure(document, facts);
                }
                for (place, output) in document.get("outputs").items().iter().enumerate() {
                    read_entry(key(place as u64, 0), output, facts);
                }
            }
        }
        facts.open_ended = true; // no entry has a finish reason
    }
}

fn key(output: u64, content: u64) -> PartKey {
    (output.min(0xFFFF) << 16) | content.min(0xFFFF)
}

/// An entry of the input; `None` for null.
fn entry(entry: &Json<'_>) -> Option<Message> {
    if let Some(text) = entry.as_str() {
        return Some(Message::text("user", text));
    }
    if entry.is_null() {
        return None;
    }
    Some(match entry.get("type").as_str() {
        None | Some("message.input" | "message.output") if !entry.first(&["role", "content"]).is_null() => {
            let by_model = entry.get("type").as_str() == Some("message.output");
            let whose = if by_model { "assistant" } else { role(entry.get("role").as_str()) };
            let mut parts = Vec::new();
            openai::content(entry.get("content"), &mut parts);
            Message::of(whose, parts)
        }
        Some("function.result") => {
            let response = openai::result(entry.get("result"));
            Message::of("tool", vec![Part::ToolResponse { id: owned(entry.get("tool_call_id")), response }])
        }
        Some("function.call" | "tool.execution") => Message::of("assistant", vec![part(entry)]),
        kind => Message::of("user", vec![Part::other(entry, kind.unwrap_or("entry"))]),
    })
}

/// An entry that is no message, as a part.
fn part(entry: &Json<'_>) -> Part {
    let name = || owned(entry.get("name")).unwrap_or_default();
    match entry.get("type").as_str() {
        Some("function.call") => Part::ToolCall {
            id: filled_of(entry, &["tool_call_id", "id"]).map(ToOwned::to_owned),
            name: name(),
            arguments: openai::arguments(entry.get("arguments")),
        },
        Some("tool.execution") => {
            Part::ServerToolCall { id: owned(entry.get("id")), name: name(), call: entry.to_value() }
        }
        kind => Part::other(entry, kind.unwrap_or("entry")),
    }
}

fn read_entry(at: PartKey, entry: &Json<'_>, facts: &mut ResponseFacts) {
    if entry.get("type").as_str() != Some("message.output") {
        return facts.choice(0).put(at, part(entry));
    }
    facts.set_id(entry.get("id").as_str());
    facts.set_model(entry.get("model").as_str());
    content(at, entry.get("content"), facts);
}

/// Adds the content of a message: a text, a chunk or a list of them.
fn content(at: PartKey, content: &Json<'_>, facts: &mut ResponseFacts) {
    let mut answer = facts.choice(0);
    if let Some(text) = content.as_str() {
        return answer.text(at, Kind::Text, text);
    }
    for (place, chunk) in super::one_or_more(content).iter().enumerate() {
        let mut parts = Vec::new();
        openai::content(&Json::Array(vec![chunk.clone()]), &mut parts);
        for part in parts {
            match part {
                Part::Text(text) => answer.text(at + place as u64, Kind::Text, &text),
                Part::Reasoning(text) => answer.text(at + place as u64, Kind::Reasoning, &text),
                part => answer.push(part),
            }
        }
    }
}

fn read_event(event: &str, document: &Json<'_>, facts: &mut ResponseFacts) {
    let number = |name: &str| document.get(name).as_u64().unwrap_or(0);
    let at = key(number("output_index"), number("content_index"));
    match event {
        "message.output.delta" => {
            facts.set_id(document.get("id").as_str());
            facts.set_model(document.get("model").as_str());
            content(at, document.get("content"), facts);
        }
        "function.call.delta" => {
            let id = filled_of(document, &["tool_call_id", "id"]);
            let arguments = chat_calls::function(document).get("arguments").as_str();
            facts.choice(0).tool_call(at, id, document.get("name").filled(), arguments);
        }
        "tool.execution.started" => {
            let (id, name) = (owned(document.get("id")), owned(document.get("name")).unwrap_or_default());
            facts.choice(0).put(at, Part::ServerToolCall { id, name, call: document.to_value() });
        }
        "conversation.response.error" => super::failure(document, facts),
        "conversation.response.done" => facts.complete = true,
        _ => {}
    }
}

/// `POST /v1/ocr`: a document as text.
#[derive(Debug)]
pub(super) struct Ocr;

impl Api for Ocr {
    fn name(&self) -> &'static str {
        "mistral.ocr"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let here = target.from_end(0) == "ocr" && target.from_end(1) == "v1";
        here.then(|| Route::new(Operation::GenerateContent, "mistral_ai"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        body.get("document").is_object()
    }

    fn request(&self, _: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        facts.model = owned(body.get("model"));
        let mut parts = Vec::new();
        openai::content(&Json::Array(vec![body.get("document").clone()]), &mut parts);
        facts.messages.push(Message::of("user", parts));
    }

    fn unread(&self) -> &'static [UnreadPath] {
        &[&["pages", "*", "images", "*", "image_base64"]]
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        openai::head(document, facts);
        facts.open_ended = true;
        for (place, page) in document.get("pages").items().iter().enumerate() {
            facts.choice(0).text(place as u64, Kind::Text, page.get("markdown").as_str().unwrap_or_default());
        }
    }
}
