//! Chat completions: <https://platform.openai.com/docs/api-reference/chat>, and all APIs compatible with it.

use super::openai::{self, head, logprobs};
use super::{Api, Route, chat_calls, filled_of, openai_completions, reasoning, texts};
use crate::json::Json;
use crate::json::UnreadPath;
use crate::message::Part;
use crate::request::{Operation, RequestFacts};
use crate::response::{ChoiceMut, Kind, ResponseFacts};
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

/// Keys of the parts of a response, beside those of tool calls.
const CONTENT: u64 = 1;
const REASONING: u64 = 2;
const REFUSAL: u64 = 3;
const FUNCTION: u64 = 4;
/// First key of tools that the provider ran, two for each: the call and its result.
const EXECUTED: u64 = 1 << 47;

#[derive(Debug)]
pub(super) struct Chat;

impl Api for Chat {
    fn name(&self) -> &'static str {
        "openai.chat"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let [last, before] = [target.from_end(0), target.from_end(1)];
        if let Some(provider) = hosted(target) {
            return Some(Route::new(Operation::Chat, provider));
        }
        let chat = (last == "completions" && matches!(before, "chat" | "fim" | "agents"))
            || (last == "chat" && before == "v1" && target.host() == "api.writer.com")
            || (matches!(last, "chat" | "chat_stream") && before == "text") // watsonx
            || (last == "chatcompletion_v2" && before == "text") // MiniMax
            || is_prompt(target);
        chat.then(|| Route::new(Operation::Chat, "openai"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        body.get("messages").is_array() || !body.get("prompt").is_null() || body.get("variables").is_object()
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

/// Returns the provider of a path of its own that accepts the body of chat completions: Databricks' serving endpoints,
/// Snowflake's Cortex, models of vendors other than Anthropic on Vertex.
fn hosted(target: &Target<'_>) -> Option<&'static str> {
    let last = target.from_end(0);
    let raw =
        (last.ends_with(":rawPredict") || last.ends_with(":streamRawPredict")) && !last.starts_with("count-tokens:"); // Anthropic's, which is no model call
    if last == "invocations" && target.from_end(2) == "serving-endpoints" {
        Some("databricks")
    } else if last == "inference:complete" && target.from_end(1) == "cortex" {
        Some("snowflake")
    } else if raw && target.from_end(1) == "models" && target.from_end(3) == "publishers" {
        Some("gcp.vertex_ai")
    } else {
        None
    }
}

/// Returns true for a prompt that a gateway stores: `/v1/prompts/{id}/completions`.
fn is_prompt(target: &Target<'_>) -> bool {
    target.from_end(0) == "completions" && target.from_end(2) == "prompts"
}

pub(super) fn request(target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
    openai::parameters(target, body, facts);
    let last = target.from_end(0);
    facts.stream |= last == "chat_stream" || last.ends_with(":streamRawPredict");
    if facts.model.is_none() {
        let of_method =
            last.rsplit_once(':').filter(|(_, method)| method.ends_with("RawPredict") || *method == "rawPredict");
        let in_path = of_method.map(|(model, _)| crate::url::decoded(model));
        facts.model = in_path.or_else(|| target.after("serving-endpoints")).map(Into::into);
    }
    facts.openai_api = Some("chat_completions");
    facts.output_type = openai::output_type(body.get("response_format"));
    let modalities = body.get("modalities").items();
    for (modality, output) in [("image", "image"), ("audio", "speech")] {
        if modalities.iter().any(|each| each.as_str() == Some(modality)) {
            facts.output_type = Some(output);
        }
    }
    facts.messages = openai::messages(body.get("messages"));
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
    for choice in document.get("choices").items().iter().filter(|choice| choice.is_object()) {
        read(choice, facts);
    }
}

/// Reads a choice, or what a chunk adds to it.
pub(super) fn read(choice: &Json<'_>, facts: &mut ResponseFacts) {
    let index = choice.get("index").as_u64().unwrap_or(0);
    super::failure_in(choice, facts);
    super::usage(choice.get("usage"), facts); // Moonshot
    let mut answer = facts.choice(index);
    // Mistral on Bedrock has a `stop_reason`; vLLM has one beside the finish reason.
    answer.finish(filled_of(choice, &["finish_reason", "native_finish_reason", "stop_reason"]));
    added(choice.get("delta"), &mut answer, chat_calls::delta);
    // Perplexity has the message so far beside each delta, and all of it beside an empty one.
    if answer.is_empty() {
        added(choice.get("message"), &mut answer, chat_calls::whole);
    }
    // Mistral lists the turns between which it ran tools.
    if answer.is_empty() {
        let turns = openai::messages(choice.get("messages"));
        let parts = turns.into_iter().flat_map(|turn| turn.parts);
        parts.filter(|part| *part != Part::Text(String::new())).for_each(|part| answer.push(part));
    }
    if index == 0 {
        tokens(choice, facts);
    }
}

/// Adds a delta or a whole message to a choice.
fn added(delta: &Json<'_>, answer: &mut ChoiceMut<'_>, calls: impl FnOnce(&Json<'_>, &mut ChoiceMut<'_>)) {
    if let Some(text) = reasoning::of(delta) {
        answer.text(REASONING, Kind::Reasoning, &text);
    }
    for (place, tool) in delta.get("executed_tools").items().iter().enumerate().filter(|(_, tool)| tool.is_object()) {
        let key = EXECUTED + tool.get("index").as_u64().unwrap_or(place as u64).min(0xFFFF) * 2;
        let (call, response) = openai::executed_tool(tool);
        answer.put(key, call);
        response.into_iter().for_each(|response| answer.put(key + 1, response));
    }
    match delta.get("content") {
        Json::Text(text) => answer.text(CONTENT, Kind::Text, text),
        parts => parts.items().iter().for_each(|part| content(part, answer)),
    }
    delta.get("images").items().iter().for_each(|part| content(part, answer)); // OpenRouter
    if let Some(refusal) = delta.get("refusal").as_str() {
        answer.text(REFUSAL, Kind::Refusal, refusal);
    }
    calls(delta.get("tool_calls"), answer);
    let call = delta.get("function_call");
    if filled_of(call, &["name", "arguments"]).is_some() {
        answer.tool_call(FUNCTION, None, call.get("name").filled(), call.get("arguments").as_str());
    }
    audio(delta.get("audio"), answer);
}

/// Reads token ids beside the choice, as vLLM writes them in the order of the tokens; they replace those of the list.
fn tokens(choice: &Json<'_>, facts: &mut ResponseFacts) {
    let ids = choice.get("token_ids").items();
    let listed = choice.get("logprobs").get("content");
    if ids.is_empty() && listed.is_null() {
        return openai_completions::tokens(choice, facts); // Together and Fireworks list them as completions do
    }
    if ids.is_empty() {
        return logprobs(listed, facts);
    }
    let probabilities = listed.items().iter().map(|token| token.get("logprob").as_f64());
    for (id, logprob) in ids.iter().zip(probabilities.chain(std::iter::repeat(None))) {
        facts.token(id.as_i64(), logprob);
    }
}

/// Reads a part of content that is a list: Mistral's reasoning, and media.
fn content(part: &Json<'_>, answer: &mut ChoiceMut<'_>) {
    match part.get("type").as_str() {
        Some("text") => answer.text(CONTENT, Kind::Text, part.get("text").as_str().unwrap_or_default()),
        Some("thinking") => answer.text(REASONING, Kind::Reasoning, &openai::joined(part.get("thinking"))),
        Some("reasoning") if !reasoning::of_part(part).is_empty() => {
            answer.text(REASONING, Kind::Reasoning, &reasoning::of_part(part));
        }
        _ => {
            let mut parts = Vec::new();
            openai::content(&Json::Array(vec![part.clone()]), &mut parts);
            parts.into_iter().for_each(|part| answer.push(part));
        }
    }
}

/// Reads audio: its transcript as text, the data only if it is complete.
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
