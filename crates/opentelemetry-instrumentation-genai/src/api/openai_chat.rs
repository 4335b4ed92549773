//! Chat completions: <https://platform.openai.com/docs/api-reference/chat>, and everybody who speaks it.

use super::openai::{self, head, logprobs};
use super::{Api, Route, texts};
use crate::json::Json;
use crate::message::Part;
use crate::request::{Operation, RequestFacts};
use crate::response::{ChoiceMut, Kind, ResponseFacts};
use crate::unread::UnreadPath;
use crate::url::Target;

/// Alternatives to tokens, and what vLLM repeats of the prompt.
const UNREAD: &[UnreadPath] = &[
    &["choices", "*", "logprobs", "content", "*", "bytes"],
    &["choices", "*", "logprobs", "content", "*", "top_logprobs"],
    &["choices", "*", "logprobs", "refusal"],
    &["choices", "*", "prompt_token_ids"],
    &["choices", "*", "prompt_logprobs"],
    &["prompt_token_ids"],
    &["prompt_logprobs"],
];

/// Parts of an answer have no numbers of the provider's; tool calls have, from here on.
const CONTENT: u64 = 1;
const REASONING: u64 = 2;
const REFUSAL: u64 = 3;
const FUNCTION: u64 = 4;
const TOOLS: u64 = 16;

#[derive(Debug)]
pub(super) struct Chat;

impl Api for Chat {
    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let [last, before] = [target.from_end(0), target.from_end(1)];
        let chat = (last == "completions" && matches!(before, "chat" | "fim"))
            || (last == "chat" && before == "v1" && target.host() == "api.writer.com")
            || (matches!(last, "chat" | "chat_stream") && before == "text"); // watsonx
        chat.then(|| Route::new(Operation::Chat, "openai"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        body.get("messages").is_array() || !body.get("prompt").is_null()
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        request(target, body, facts);
    }

    fn unread(&self) -> &'static [UnreadPath] {
        UNREAD
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        response(document, facts);
    }
}

pub(super) fn request(target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
    openai::parameters(target, body, facts);
    facts.stream |= target.from_end(0) == "chat_stream";
    facts.openai_api = Some("chat_completions");
    facts.output_type = openai::output_type(body.get("response_format"));
    let modalities = body.get("modalities").items();
    if modalities.iter().any(|modality| modality.as_str() == Some("audio")) {
        facts.output_type = Some("speech");
    }
    facts.messages = body.get("messages").items().iter().map(openai::message).collect();
    if let Some(prompt) = body.get("prompt").filled() {
        facts.messages.push(crate::message::Message::text("user", prompt)); // fill in the middle
    }
    facts.tools = openai::tools(body.first(&["tools", "functions"]));
    if facts.stop_sequences.is_empty() {
        facts.stop_sequences = texts(body.get("stop_sequences"));
    }
}

pub(super) fn response(document: &Json<'_>, facts: &mut ResponseFacts) {
    head(document, facts);
    for choice in document.get("choices").items() {
        read(choice, facts);
    }
}

/// An answer, or what a chunk adds to it.
pub(super) fn read(choice: &Json<'_>, facts: &mut ResponseFacts) {
    let index = choice.get("index").as_u64().unwrap_or(0);
    let delta = if choice.get("delta").is_null() { choice.get("message") } else { choice.get("delta") };
    let mut answer = facts.choice(index);
    answer.finish(choice.first(&["finish_reason", "native_finish_reason"]).as_str());
    if let Some(text) = delta.first(&["reasoning_content", "reasoning"]).as_str() {
        answer.text(REASONING, Kind::Reasoning, text);
    }
    match delta.get("content") {
        Json::Text(text) => answer.text(CONTENT, Kind::Text, text),
        parts => parts.items().iter().for_each(|part| content(part, &mut answer)),
    }
    if let Some(refusal) = delta.get("refusal").as_str() {
        answer.text(REFUSAL, Kind::Refusal, refusal);
    }
    for (place, call) in delta.get("tool_calls").items().iter().enumerate() {
        tool_call(place, call, &mut answer);
    }
    let call = delta.get("function_call");
    if call.is_object() {
        answer.tool_call(FUNCTION, None, call.get("name").filled(), call.get("arguments").as_str());
    }
    audio(delta.get("audio"), &mut answer);
    if index == 0 {
        // vLLM tells ids beside the answer, in the order of the tokens; then they stand in for those of the list.
        let ids = choice.get("token_ids").items();
        let listed = choice.get("logprobs").get("content");
        if ids.is_empty() {
            logprobs(listed, facts);
        } else {
            let probabilities = listed.items().iter().map(|token| token.get("logprob").as_f64());
            for (id, logprob) in ids.iter().zip(probabilities.chain(std::iter::repeat(None))) {
                facts.token(id.as_i64(), logprob);
            }
        }
    }
}

/// A part of content that comes as a list: Mistral's reasoning, and media that some return.
fn content(part: &Json<'_>, answer: &mut ChoiceMut<'_>) {
    match part.get("type").as_str() {
        Some("text") => answer.text(CONTENT, Kind::Text, part.get("text").as_str().unwrap_or_default()),
        Some("thinking") => answer.text(REASONING, Kind::Reasoning, &openai::joined(part.get("thinking"))),
        _ => {
            let mut parts = Vec::new();
            openai::content(&Json::Array(vec![part.clone()]), &mut parts);
            parts.into_iter().for_each(|part| answer.push(part));
        }
    }
}

fn tool_call(place: usize, call: &Json<'_>, answer: &mut ChoiceMut<'_>) {
    let function = if call.get("function").is_null() { call.get("custom") } else { call.get("function") };
    let id = call.get("id").filled();
    let mut key = TOOLS + call.get("index").as_u64().unwrap_or(place as u64);
    // Servers that number no calls send each whole: a second id is a second call.
    if call.get("index").is_null() && answer.has(key) && id.is_some() {
        key = answer.next_key();
    }
    let arguments = function.first(&["arguments", "input"]);
    let written = if arguments.is_object() { Some(arguments.to_value().to_string()) } else { None };
    answer.tool_call(key, id, function.get("name").filled(), written.as_deref().or(arguments.as_str()));
}

/// What is said aloud: its words as text, the sound only when it comes whole.
fn audio(audio: &Json<'_>, answer: &mut ChoiceMut<'_>) {
    if let Some(words) = audio.get("transcript").as_str() {
        answer.text(CONTENT, Kind::Text, words);
    }
    if let Some(data) = audio.get("data").filled()
        && !audio.get("transcript").is_null()
    {
        answer.push(Part::blob(Some("audio/wav"), Some("audio"), data));
    }
}
