//! Cohere, its first API and its second: <https://docs.cohere.com/reference/chat>.

use serde_json::Value;

use super::{Api, Route, chat_calls, openai, owned, texts};
use crate::json::Json;
use crate::json::UnreadPath;
use crate::message::{Message, Part, role};
use crate::request::{Operation, RequestFacts};
use crate::response::{Kind, ResponseFacts, function_tool};
use crate::url::Target;

/// Vectors, of one kind or of several.
const UNREAD_OF_EMBED: &[UnreadPath] = &[
    &["embeddings", "*"],
    &["embeddings", "float", "*"],
    &["embeddings", "int8", "*"],
    &["embeddings", "uint8", "*"],
    &["embeddings", "binary", "*"],
    &["embeddings", "ubinary", "*"],
    &["embeddings", "base64", "*"],
];

fn parameters(body: &Json<'_>, facts: &mut RequestFacts) {
    facts.model = owned(body.get("model"));
    facts.stream = body.get("stream").as_bool() == Some(true);
    facts.max_tokens = body.get("max_tokens").as_i64();
    facts.temperature = body.get("temperature").as_f64();
    facts.top_p = body.get("p").as_f64();
    facts.top_k = body.get("k").as_f64();
    facts.stop_sequences = texts(body.get("stop_sequences"));
    facts.frequency_penalty = body.get("frequency_penalty").as_f64();
    facts.presence_penalty = body.get("presence_penalty").as_f64();
    facts.seed = body.get("seed").as_i64();
    facts.output_type = openai::output_type(body.get("response_format"));
}

/// Reads the documents from which the model responds: the first message.
fn documents(list: &Json<'_>, facts: &mut RequestFacts) {
    let part = |document: &Json<'_>| match document.as_str() {
        Some(text) => Part::Text(text.to_owned()),
        None => Part::other(document, "document"),
    };
    let parts: Vec<Part> = list.items().iter().filter(|document| !document.is_null()).map(part).collect();
    if !parts.is_empty() {
        facts.messages.push(Message::of("user", parts));
    }
}

/// Reads an error: an id and a message, and nothing else.
fn refused(document: &Json<'_>, facts: &mut ResponseFacts) {
    if let Some(message) = document.get("message").as_str()
        && document.get("text").is_null()
    {
        facts.fail(None, None, Some(message));
    }
}

#[derive(Debug)]
pub(super) struct V2Chat;

/// Key of the text before tool calls.
const PLAN: u64 = 1;
/// First key of the parts of the content, which are numbered.
const CONTENT: u64 = 1 << 16;
/// First key of tool calls, which have numbers of their own.
const TOOLS: u64 = 1 << 17;

impl Api for V2Chat {
    fn name(&self) -> &'static str {
        "cohere.v2_chat"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        (target.from_end(0) == "chat" && target.from_end(1) == "v2").then(|| Route::new(Operation::Chat, "cohere"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        body.get("messages").is_array() && body.get("model").filled().is_some()
    }

    fn request(&self, _: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        parameters(body, facts);
        documents(body.get("documents"), facts);
        for message in body.get("messages").items().iter().filter(|message| !message.is_null()) {
            let mut read = openai::message(message);
            if let Some(plan) = message.get("tool_plan").filled() {
                read.parts.insert(0, Part::Reasoning(plan.to_owned()));
            }
            facts.messages.push(read);
        }
        facts.tools = openai::tools(body.get("tools"));
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        let delta = document.get("delta");
        let inner = delta.get("message");
        let index = document.get("index").as_u64().unwrap_or(0);
        facts.set_id(document.get("id").as_str());
        match document.get("type").as_str() {
            None => {
                refused(document, facts);
                message(document.get("message"), facts);
                facts.choice(0).finish(document.get("finish_reason").as_str());
                super::usage(document.get("usage"), facts);
                logprobs(document.get("logprobs"), facts);
            }
            Some("message-end") => {
                facts.choice(0).finish(delta.get("finish_reason").as_str());
                super::usage(delta.get("usage"), facts);
                if let Some(error) = delta.get("error").as_str() {
                    facts.fail(delta.get("finish_reason").as_str(), None, Some(error));
                }
                facts.complete = true;
            }
            Some("tool-plan-delta") => {
                facts.choice(0).text(PLAN, Kind::Reasoning, inner.get("tool_plan").as_str().unwrap_or_default());
            }
            Some("content-start" | "content-delta") => {
                content(CONTENT + index, inner.get("content"), facts);
                logprobs(&Json::Array(vec![document.get("logprobs").clone()]), facts);
            }
            Some("tool-call-start" | "tool-call-delta") => tool_call(TOOLS + index, inner.get("tool_calls"), facts),
            Some(_) => super::failure_in(document, facts),
        }
    }
}

fn content(key: u64, content: &Json<'_>, facts: &mut ResponseFacts) {
    facts.choice(0).text(key, Kind::Reasoning, content.get("thinking").as_str().unwrap_or_default());
    facts.choice(0).text(key, Kind::Text, content.get("text").as_str().unwrap_or_default());
}

fn tool_call(key: u64, call: &Json<'_>, facts: &mut ResponseFacts) {
    let function = call.get("function");
    let (name, arguments) = (function.get("name").filled(), function.get("arguments").as_str());
    facts.choice(0).tool_call(key, call.get("id").filled(), name, arguments);
}

fn message(message: &Json<'_>, facts: &mut ResponseFacts) {
    facts.choice(0).text(PLAN, Kind::Reasoning, message.get("tool_plan").as_str().unwrap_or_default());
    for (place, part) in message.get("content").items().iter().enumerate() {
        let key = CONTENT + place as u64;
        match part.first(&["text", "thinking"]) {
            Json::Null if part.is_object() => {
                facts.choice(0).put(key, Part::other(part, part.get("type").as_str().unwrap_or("other")));
            }
            _ => content(key, part, facts),
        }
    }
    for (place, call) in message.get("tool_calls").items().iter().enumerate().filter(|(_, call)| call.is_object()) {
        match chat_calls::function(call) {
            Json::Null => facts.choice(0).put(TOOLS + place as u64, Part::other(call, "tool_call")),
            _ => tool_call(TOOLS + place as u64, call, facts),
        }
    }
}

/// Reads chunks of text with the ids of their tokens and their log probabilities.
fn logprobs(list: &Json<'_>, facts: &mut ResponseFacts) {
    for chunk in list.items() {
        let (ids, numbers) = (chunk.get("token_ids").items(), chunk.get("logprobs").items());
        for place in 0..ids.len().max(numbers.len()) {
            facts.token(ids.get(place).and_then(Json::as_i64), numbers.get(place).and_then(Json::as_f64));
        }
    }
}

#[derive(Debug)]
pub(super) struct V1Chat;

impl Api for V1Chat {
    fn name(&self) -> &'static str {
        "cohere.v1_chat"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let here = target.from_end(0) == "chat" && target.from_end(1) == "v1" && target.host() != "api.writer.com";
        here.then(|| Route::new(Operation::Chat, "cohere"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        body.get("message").as_str().is_some()
    }

    fn request(&self, _: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        request(body, facts);
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        response(document, facts);
    }
}

pub(super) fn request(body: &Json<'_>, facts: &mut RequestFacts) {
    parameters(body, facts);
    facts.conversation_id = owned(body.get("conversation_id"));
    documents(body.get("documents"), facts);
    facts.system.extend(body.get("preamble").filled().map(|text| Part::Text(text.to_owned())));
    for turn in body.get("chat_history").items().iter().filter(|turn| !turn.is_null()) {
        let mut parts: Vec<Part> =
            turn.get("message").filled().map(|text| Part::Text(text.to_owned())).into_iter().collect();
        parts.extend(turn.get("tool_calls").items().iter().filter(|call| !call.is_null()).map(called));
        parts.extend(turn.get("tool_results").items().iter().filter(|result| !result.is_null()).map(result));
        if parts.is_empty() && turn.first(&["role", "message"]).is_null() {
            parts.push(Part::other(turn, "message"));
        }
        facts.messages.push(Message::of(role(turn.get("role").as_str()), parts));
    }
    let results = body.get("tool_results").items().iter().filter(|result| !result.is_null());
    let results: Vec<Part> = results.map(result).collect();
    if !results.is_empty() {
        facts.messages.push(Message::of("tool", results));
    }
    facts.messages.extend(body.get("message").filled().map(|text| Message::text("user", text)));
    facts.tools = body.get("tools").items().iter().filter(|tool| !tool.is_null()).map(tool).collect();
}

/// Reads a call of the first API: a name and parameters.
fn called(call: &Json<'_>) -> Part {
    match call.get("name").filled() {
        Some(name) => {
            let arguments = openai::arguments(call.get("parameters"));
            Part::ToolCall { id: None, name: name.to_owned(), arguments }
        }
        None => Part::other(call, "tool_call"),
    }
}

fn result(result: &Json<'_>) -> Part {
    if result.get("call").is_null() && result.get("outputs").is_null() {
        return Part::other(result, "tool_result");
    }
    Part::ToolResponse { id: owned(result.get("call").get("name")), response: result.get("outputs").to_value() }
}

fn tool(tool: &Json<'_>) -> Value {
    match tool.get("name").as_str() {
        Some(name) => function_tool(name, tool.get("description").as_str(), None),
        None => openai::named(tool, tool.get("type").as_str().unwrap_or("tool"), None),
    }
}

/// Reads a response. The first id is that of the generation, also in a stream.
pub(super) fn response(document: &Json<'_>, facts: &mut ResponseFacts) {
    match document.get("event_type").as_str() {
        Some("text-generation") => {
            facts.choice(0).append(Kind::Text, document.get("text").as_str().unwrap_or_default());
        }
        Some("stream-end") => {
            let whole = document.get("response");
            let generation = document.get("generation_id").as_str().or(whole.get("generation_id").as_str());
            facts.set_id(whole.get("response_id").as_str().or(generation));
            facts.choice(0).finish(document.get("finish_reason").as_str());
            super::usage(whole.get("meta"), facts);
            if facts.choices().iter().all(|choice| choice.parts().next().is_none()) {
                answer(whole, facts);
            }
            facts.complete = true;
        }
        Some("tool-calls-generation") => answer(document, facts),
        Some(_) => super::failure_in(document, facts),
        None => {
            facts.set_id(document.first(&["response_id", "generation_id"]).as_str());
            refused(document, facts);
            answer(document, facts);
            facts.choice(0).finish(document.get("finish_reason").as_str());
            super::usage(document.get("meta"), facts);
        }
    }
}

fn answer(document: &Json<'_>, facts: &mut ResponseFacts) {
    facts.choice(0).append(Kind::Text, document.get("text").as_str().unwrap_or_default());
    for call in document.get("tool_calls").items().iter().filter(|call| !call.is_null()) {
        let mut answer = facts.choice(0);
        if call.get("name").filled().is_none() {
            answer.push(called(call));
            continue;
        }
        let key = answer.next_key();
        let arguments = openai::arguments(call.get("parameters"));
        answer.tool_call(key, None, call.get("name").filled(), Some(&arguments));
    }
}

#[derive(Debug)]
pub(super) struct Embed;

impl Api for Embed {
    fn name(&self) -> &'static str {
        "cohere.embed"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let here = target.from_end(0) == "embed" && matches!(target.from_end(1), "v1" | "v2");
        here.then(|| Route::new(Operation::Embeddings, "cohere"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        !body.first(&["texts", "images", "inputs"]).is_null()
    }

    fn request(&self, _: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        facts.model = owned(body.get("model"));
        facts.encoding_formats = texts(body.get("embedding_types"));
        facts.dimensions = body.get("output_dimension").as_i64();
        facts.messages = inputs(body);
    }

    fn unread(&self) -> &'static [UnreadPath] {
        UNREAD_OF_EMBED
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        facts.set_id(document.get("id").as_str());
        super::usage(document.get("meta"), facts);
        let embeddings = document.get("embeddings");
        facts.dimensions = dimensions(embeddings);
        if embeddings.is_null() {
            refused(document, facts);
        }
    }
}

/// Reads the input of an embedding: texts, images, or inputs of several parts.
pub(super) fn inputs(body: &Json<'_>) -> Vec<Message> {
    let mut messages = super::openai_embeddings::inputs(body.get("texts"));
    let images = body.get("images").items().iter().filter_map(Json::as_str);
    messages.extend(images.map(|image| Message::of("user", vec![Part::media_at(image, "image")])));
    // The second API has inputs of several parts.
    for input in body.get("inputs").items().iter().filter(|input| !input.is_null()) {
        match input.as_str() {
            Some(text) => messages.push(Message::text("user", text)),
            None => {
                let mut parts = Vec::new();
                openai::content(input.get("content"), &mut parts);
                if parts.is_empty() {
                    parts.push(Part::other(input, "input"));
                }
                messages.push(Message::of("user", parts));
            }
        }
    }
    messages
}

/// Returns the length of the first vector of a list, or of lists by number type.
pub(super) fn dimensions(embeddings: &Json<'_>) -> Option<i64> {
    let first = |list: &Json<'_>| list.items().first().and_then(super::openai_embeddings::dimensions);
    if embeddings.is_array() {
        return first(embeddings);
    }
    // A byte of a binary vector holds eight of its numbers.
    let packed = || first(embeddings.first(&["ubinary", "binary"])).and_then(|bytes| bytes.checked_mul(8));
    first(embeddings.first(&["float", "int8", "uint8", "base64"])).or_else(packed)
}

/// Reranking, also in the form of Jina and Voyage.
#[derive(Debug)]
pub(super) struct Rerank;

impl Api for Rerank {
    fn name(&self) -> &'static str {
        "cohere.rerank"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let here = target.from_end(0) == "rerank" && matches!(target.from_end(1), "v1" | "v2");
        here.then(|| Route::new(Operation::Rerank, "cohere"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        body.get("documents").is_array() && !body.get("query").is_null()
    }

    fn request(&self, _: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        facts.model = owned(body.get("model"));
        facts.messages.extend(body.get("query").filled().map(|query| Message::text("user", query)));
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        facts.set_id(document.get("id").as_str());
        super::usage(document.get("meta"), facts);
        super::usage(document.get("usage"), facts);
        if document.first(&["results", "data"]).is_null() {
            refused(document, facts);
        }
    }
}
