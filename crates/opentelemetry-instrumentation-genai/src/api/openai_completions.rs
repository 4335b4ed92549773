//! Legacy completions: <https://platform.openai.com/docs/api-reference/completions>, and all APIs compatible with it.

use super::openai::{self, head, token_id};
use super::{Api, Route, openai_chat};
use crate::json::Json;
use crate::json::UnreadPath;
use crate::message::{Message, Part};
use crate::request::{Operation, RequestFacts};
use crate::response::{Kind, ResponseFacts};
use crate::url::Target;

/// As in chat, whose responses some gateways mix in.
const UNREAD: &[UnreadPath] = &[
    &["choices", "*", "logprobs", "content", "*", "bytes"],
    &["choices", "*", "logprobs", "content", "*", "top_logprobs"],
    &["choices", "*", "logprobs", "refusal"],
    &["choices", "*", "prompt_token_ids"],
    &["choices", "*", "prompt_logprobs"],
    &["prompt_token_ids"],
    &["prompt_logprobs"],
    &["choices", "*", "logprobs", "top_logprobs"],
    &["choices", "*", "logprobs", "text_offset"],
];

#[derive(Debug)]
pub(super) struct Completions;

impl Api for Completions {
    fn name(&self) -> &'static str {
        "openai.completions"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let here = target.from_end(0) == "completions" && target.from_end(1) != "chat";
        here.then(|| Route::new(Operation::TextCompletion, "openai"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        !body.get("prompt").is_null()
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        openai::parameters(target, body, facts);
        // One prompt, or several; each a text or its tokens.
        let prompt = body.get("prompt");
        match prompt.as_str() {
            Some(text) => facts.messages.push(Message::text("user", text)),
            None => facts.messages.extend(prompt.items().iter().map(|each| match each.as_str() {
                Some(text) => Message::text("user", text),
                None => Message::of("user", vec![Part::other(each, "tokens")]),
            })),
        }
    }

    fn unread(&self) -> &'static [UnreadPath] {
        UNREAD
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        head(document, facts);
        if let Some(text) = document.get("value").as_str() {
            facts.open_ended = true; // Writer's chunks are this and nothing else
            facts.choice(0).append(Kind::Text, text);
        }
        for choice in document.get("choices").items().iter().filter(|choice| choice.is_object()) {
            let index = choice.get("index").as_u64().unwrap_or(0);
            if let Some(text) = choice.get("text").as_str() {
                facts.choice(index).append(Kind::Text, text);
                facts.choice(index).finish(choice.get("finish_reason").as_str());
            } else {
                openai_chat::read(choice, facts); // gateways that mix the two
            }
            if index == 0 {
                tokens(choice, facts);
            }
        }
    }
}

/// Reads log probabilities, which are parallel lists here; the first one of an echoed prompt is null.
pub(super) fn tokens(choice: &Json<'_>, facts: &mut ResponseFacts) {
    let logprobs = choice.get("logprobs");
    let ids = match choice.get("token_ids").items() {
        [] => logprobs.get("token_ids").items(),
        ids => ids,
    };
    let texts = logprobs.get("tokens").items();
    let numbers = logprobs.get("token_logprobs").items();
    for place in 0..ids.len().max(numbers.len()) {
        let named = || token_id(texts.get(place)?.as_str()?);
        let id = ids.get(place).and_then(Json::as_i64).or_else(named);
        facts.token(id, numbers.get(place).and_then(Json::as_f64));
    }
}
