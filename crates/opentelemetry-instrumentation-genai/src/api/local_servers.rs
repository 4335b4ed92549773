//! Servers with APIs of their own beside OpenAI's: llama.cpp, LM Studio, Cloudflare's Workers AI.

use super::{Api, Route, chat_calls, failure_in, filled_of, openai, owned, texts, usage};
use crate::json::Json;
use crate::json::UnreadPath;
use crate::message::{Message, Part};
use crate::request::{Operation, RequestFacts};
use crate::response::{Kind, ResponseFacts, Usage};
use crate::url::Target;

/// `POST /completion`: <https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md>
#[derive(Debug)]
pub(super) struct LlamaCpp;

impl Api for LlamaCpp {
    fn name(&self) -> &'static str {
        "llama_cpp.completion"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        (target.from_end(0) == "completion").then(|| Route::new(Operation::TextCompletion, "llama_cpp"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        !body.get("prompt").is_null()
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        openai::parameters(target, body, facts);
        facts.max_tokens = body.first(&["n_predict", "max_tokens"]).as_i64().filter(|count| *count >= 0);
        facts.messages = super::openai_embeddings::inputs(body.get("prompt"));
    }

    fn unread(&self) -> &'static [UnreadPath] {
        &[&["completion_probabilities", "*", "top_logprobs"], &["tokens"], &["generation_settings"]]
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        failure_in(document, facts);
        facts.set_model(document.get("model").as_str());
        facts.choice(0).append(Kind::Text, document.get("content").as_str().unwrap_or_default());
        openai::logprobs(document.get("completion_probabilities"), facts);
        if document.get("stop").as_bool() == Some(true) {
            facts.choice(0).finish(document.get("stop_type").filled().or(Some("stop")));
            facts.usage.merge(Usage {
                input: document.get("tokens_evaluated").as_u64(),
                output: document.get("tokens_predicted").as_u64(),
                cache_read: document.get("timings").get("cache_n").as_u64(),
                ..Usage::default()
            });
            facts.complete = true;
        }
    }
}

/// `POST /api/v1/chat`: <https://lmstudio.ai/docs/developer/rest/chat>
#[derive(Debug)]
pub(super) struct LmStudio;

impl Api for LmStudio {
    fn name(&self) -> &'static str {
        "lmstudio.chat"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let here = target.from_end(0) == "chat" && target.from_end(1) == "v1" && target.from_end(2) == "api";
        here.then(|| Route::new(Operation::Chat, "lmstudio"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        !body.get("input").is_null() && body.get("model").filled().is_some()
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        openai::parameters(target, body, facts);
        facts.system.extend(body.get("system_prompt").filled().map(|text| Part::Text(text.to_owned())));
        let input = body.get("input");
        match input.as_str() {
            Some(text) => facts.messages.push(Message::text("user", text)),
            None => facts.messages.push(Message::of("user", input.items().iter().map(given).collect())),
        }
        facts.tools = openai::tools(body.get("integrations"));
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        failure_in(document, facts);
        facts.open_ended = true; // no answer has a finish reason
        let text = document.get("content").as_str().unwrap_or_default();
        match document.get("type").as_str() {
            Some("message.delta") => facts.choice(0).append(Kind::Text, text),
            Some("reasoning.delta") => facts.choice(0).append(Kind::Reasoning, text),
            Some("chat.end") => {
                finish(document.get("result"), facts);
                facts.complete = true;
            }
            Some(_) => {}
            None => finish(document, facts),
        }
    }
}

fn given(item: &Json<'_>) -> Part {
    let text =
        filled_of(item, &["content", "text"]).filter(|_| matches!(item.get("type").as_str(), Some("message" | "text")));
    match (text, item.get("data_url").filled()) {
        (Some(text), _) => Part::Text(text.to_owned()),
        (None, Some(url)) => Part::media_at(url, "image"),
        (None, None) => Part::other(item, "other"),
    }
}

/// Reads a whole answer: what came in pieces is there already, calls of tools come with their results.
fn finish(answer: &Json<'_>, facts: &mut ResponseFacts) {
    facts.set_id(answer.get("response_id").as_str());
    facts.set_model(answer.get("model_instance_id").as_str());
    let stats = answer.get("stats");
    facts.usage.merge(Usage {
        input: stats.get("input_tokens").as_u64(),
        output: stats.get("total_output_tokens").as_u64(),
        reasoning: stats.get("reasoning_output_tokens").as_u64(),
        ..Usage::default()
    });
    let is_begun = facts.choices().iter().any(|choice| choice.parts().next().is_some());
    for item in answer.get("output").items() {
        let text = item.get("content").as_str().unwrap_or_default();
        match item.get("type").as_str() {
            Some("message" | "reasoning") if is_begun => {}
            Some("message") => facts.choice(0).append(Kind::Text, text),
            Some("reasoning") => facts.choice(0).append(Kind::Reasoning, text),
            Some("tool_call") => {
                let name = owned(item.get("tool")).unwrap_or_default();
                facts.choice(0).push(Part::ServerToolCall { id: None, name, call: item.to_value() });
            }
            _ if item.is_null() => {}
            kind => facts.choice(0).push(Part::other(item, kind.unwrap_or("other"))),
        }
    }
}

/// `POST …/ai/run/{model}`: <https://developers.cloudflare.com/workers-ai/get-started/rest-api>, also behind the AI gateway.
#[derive(Debug)]
pub(super) struct WorkersAi;

fn model<'a>(target: &Target<'a>) -> Option<&'a str> {
    let path = target.path();
    let (_, model) = path.split_once("/ai/run/").or_else(|| path.split_once("/workers-ai/"))?;
    model.starts_with('@').then_some(model)
}

impl Api for WorkersAi {
    fn name(&self) -> &'static str {
        "cloudflare.workers_ai"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        model(target).map(|_| Route::new(Operation::Chat, "cloudflare"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        body.get("messages").is_array() || body.get("prompt").filled().is_some()
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        openai::parameters(target, body, facts);
        facts.model = model(target).map(ToOwned::to_owned);
        facts.messages = openai::messages(body.get("messages"));
        if let Some(prompt) = body.get("prompt").filled() {
            facts.operation = Some(Operation::TextCompletion);
            facts.messages.push(Message::text("user", prompt));
        }
        facts.stop_sequences = texts(body.get("stop"));
        facts.tools = openai::tools(body.get("tools"));
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        // The gateway gives the result without the envelope, as a stream does.
        let result = document.get("result");
        let result = if result.is_object() { result } else { document };
        super::openai_chat::response(result, facts);
        openai::head(document, facts);
        usage(result.get("usage"), facts);
        facts.open_ended = true;
        let answer = result.get("response");
        // The `response` of an event with a type is not an answer of the model but the state of OpenAI's response, as in
        // `response.failed`.
        let is_event = result.get("type").as_str().is_some();
        if is_event {
            super::failure(answer.get("error"), facts);
        }
        let text = if answer.is_object() && !is_event {
            answer.to_value().to_string()
        } else {
            answer.as_str().unwrap_or_default().to_owned()
        };
        facts.choice(0).append(Kind::Text, &text);
        if result.get("choices").is_null() {
            chat_calls::whole(result.get("tool_calls"), &mut facts.choice(0));
        }
    }
}
