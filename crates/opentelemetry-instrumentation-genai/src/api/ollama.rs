//! Ollama's own API: <https://github.com/ollama/ollama/blob/main/docs/api.md>. It also speaks OpenAI's below `/v1`.

use super::{Api, Route, chat_calls, openai, owned, texts};
use crate::json::Json;
use crate::json::UnreadPath;
use crate::message::{Message, Part};
use crate::request::{Operation, RequestFacts};
use crate::response::{Kind, ResponseFacts};
use crate::url::Target;

/// Vectors.
const UNREAD_OF_EMBED: &[UnreadPath] = &[&["embedding"], &["embeddings", "*"]];

/// Vectors, and the conversation as tokens.
const UNREAD_OF_GENERATE: &[UnreadPath] =
    &[&["logprobs", "*", "bytes"], &["logprobs", "*", "top_logprobs"], &["context"]];

/// Alternatives to tokens.
const UNREAD_OF_CHAT: &[UnreadPath] = &[&["logprobs", "*", "bytes"], &["logprobs", "*", "top_logprobs"]];

fn here(target: &Target<'_>, names: &[&str]) -> bool {
    names.contains(&target.from_end(0)) && target.from_end(1) == "api"
}

/// Streams are the default.
fn parameters(body: &Json<'_>, facts: &mut RequestFacts) {
    let options = body.get("options");
    facts.model = owned(body.get("model"));
    facts.stream = body.get("stream").as_bool() != Some(false);
    facts.max_tokens = options.get("num_predict").as_i64();
    facts.temperature = options.get("temperature").as_f64();
    facts.top_p = options.get("top_p").as_f64();
    facts.top_k = options.get("top_k").as_f64();
    facts.stop_sequences = texts(options.get("stop"));
    facts.frequency_penalty = options.get("frequency_penalty").as_f64();
    facts.presence_penalty = options.get("presence_penalty").as_f64();
    facts.seed = options.get("seed").as_i64();
    let format = body.get("format");
    facts.output_type = (format.is_object() || format.filled() == Some("json")).then_some("json");
}

fn images(list: &Json<'_>, parts: &mut Vec<Part>) {
    parts.extend(list.items().iter().filter_map(Json::as_str).map(|data| Part::blob(None, Some("image"), data)));
}

/// Reads what every response and every line of one has; the last one has the counts.
fn response(document: &Json<'_>, facts: &mut ResponseFacts) {
    facts.set_model(document.get("model").as_str());
    if !document.first(&["eval_count", "prompt_eval_count"]).is_null() {
        super::usage(document, facts);
    }
    super::failure_in(document, facts);
    openai::logprobs(document.get("logprobs"), facts);
    facts.choice(0).finish(document.get("done_reason").as_str());
    facts.complete |= document.get("done").as_bool() == Some(true);
}

#[derive(Debug)]
pub(super) struct Chat;

impl Api for Chat {
    fn name(&self) -> &'static str {
        "ollama.chat"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        here(target, &["chat"]).then(|| Route::new(Operation::Chat, "ollama"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        body.get("model").filled().is_some() && body.get("messages").is_array()
    }

    fn request(&self, _: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        parameters(body, facts);
        for message in body.get("messages").items().iter().filter(|message| !message.is_null()) {
            if !message.is_object() {
                facts.messages.push(Message::of("user", vec![Part::other(message, "message")]));
                continue;
            }
            let mut read = openai::message(message);
            if let (Some(Part::ToolResponse { id, .. }), Some(tool)) =
                (read.parts.first_mut(), owned(message.get("tool_name")))
            {
                id.get_or_insert(tool);
            }
            images(message.get("images"), &mut read.parts);
            facts.messages.push(read);
        }
        facts.tools = openai::tools(body.get("tools"));
    }

    fn unread(&self) -> &'static [UnreadPath] {
        UNREAD_OF_CHAT
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        response(document, facts);
        let message = document.get("message");
        let mut answer = facts.choice(0);
        answer.append(Kind::Reasoning, message.get("thinking").as_str().unwrap_or_default());
        answer.append(Kind::Text, message.get("content").as_str().unwrap_or_default());
        for call in message.get("tool_calls").items().iter().filter(|call| call.is_object()) {
            let function = chat_calls::function(call);
            if function.is_null() {
                answer.push(Part::other(call, "tool_call"));
                continue;
            }
            let key = answer.next_key();
            let arguments = openai::arguments(function.get("arguments"));
            answer.tool_call(key, call.get("id").filled(), function.get("name").filled(), Some(&arguments));
        }
    }
}

#[derive(Debug)]
pub(super) struct Generate;

impl Api for Generate {
    fn name(&self) -> &'static str {
        "ollama.generate"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        here(target, &["generate"]).then(|| Route::new(Operation::TextCompletion, "ollama"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        body.get("model").filled().is_some()
    }

    fn request(&self, _: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        parameters(body, facts);
        facts.system.extend(body.get("system").filled().map(|text| Part::Text(text.to_owned())));
        let mut parts: Vec<Part> =
            body.get("prompt").filled().map(|text| Part::Text(text.to_owned())).into_iter().collect();
        images(body.get("images"), &mut parts);
        if !parts.is_empty() {
            facts.messages.push(Message::of("user", parts));
        }
    }

    fn unread(&self) -> &'static [UnreadPath] {
        UNREAD_OF_GENERATE
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        response(document, facts);
        facts.choice(0).append(Kind::Reasoning, document.get("thinking").as_str().unwrap_or_default());
        facts.choice(0).append(Kind::Text, document.get("response").as_str().unwrap_or_default());
    }
}

#[derive(Debug)]
pub(super) struct Embed;

impl Api for Embed {
    fn name(&self) -> &'static str {
        "ollama.embed"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        here(target, &["embed", "embeddings"]).then(|| Route::new(Operation::Embeddings, "ollama"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        body.get("model").filled().is_some() && !body.first(&["input", "prompt"]).is_null()
    }

    fn request(&self, _: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        parameters(body, facts);
        facts.stream = false;
        facts.dimensions = body.get("dimensions").as_i64();
        facts.messages = super::openai_embeddings::inputs(body.first(&["input", "prompt"]));
    }

    fn unread(&self) -> &'static [UnreadPath] {
        UNREAD_OF_EMBED
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        response(document, facts);
        let first = document.get("embeddings").items().first().unwrap_or(document.get("embedding"));
        facts.dimensions = super::openai_embeddings::dimensions(first);
    }
}
