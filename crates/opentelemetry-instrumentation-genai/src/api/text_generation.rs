//! Text generation APIs of their own kind: Hugging Face's text-generation-inference, IBM's watsonx.

use http::HeaderMap;

use super::{Api, Route, count, openai, owned, texts};
use crate::json::Json;
use crate::json::UnreadPath;
use crate::message::Message;
use crate::request::{Operation, RequestFacts};
use crate::response::{Kind, ResponseFacts, Usage};
use crate::url::Target;

/// Alternatives to tokens, and the tokens of the prompt.
const UNREAD_OF_WATSONX: &[UnreadPath] =
    &[&["results", "*", "input_tokens"], &["results", "*", "generated_tokens", "*", "top_tokens"]];

/// Alternatives to tokens, and the tokens of the prompt.
const UNREAD_OF_HUGGING_FACE: &[UnreadPath] = &[
    &["top_tokens"],
    &["prefill"],
    &["details", "top_tokens"],
    &["details", "prefill"],
    &["details", "best_of_sequences"],
];

/// <https://huggingface.co/docs/text-generation-inference/reference/api_reference>
#[derive(Debug)]
pub(super) struct HuggingFace;

impl Api for HuggingFace {
    fn name(&self) -> &'static str {
        "huggingface.text_generation"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let own =
            target.host().ends_with(".endpoints.huggingface.cloud") || target.host() == "api-inference.huggingface.co";
        let path = matches!(target.from_end(0), "generate" | "generate_stream");
        let root = own
            && (target.from_end(0).is_empty()
                || target.from_end(0) == "models"
                || target.path().starts_with("/models/"));
        (path || root).then(|| Route::new(Operation::TextCompletion, "huggingface"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        body.get("inputs").as_str().is_some()
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        let parameters = body.get("parameters");
        let named = target.path().split_once("/models/").map(|(_, model)| model.to_owned());
        facts.model = owned(body.get("model")).or(named);
        facts.stream = body.get("stream").as_bool() == Some(true) || target.from_end(0) == "generate_stream";
        facts.max_tokens = parameters.get("max_new_tokens").as_i64();
        facts.temperature = parameters.get("temperature").as_f64();
        facts.top_p = parameters.get("top_p").as_f64();
        facts.top_k = parameters.get("top_k").as_f64();
        facts.stop_sequences = texts(parameters.get("stop"));
        facts.frequency_penalty = parameters.get("frequency_penalty").as_f64();
        facts.seed = parameters.get("seed").as_i64();
        facts.messages.extend(body.get("inputs").as_str().map(|text| Message::text("user", text)));
    }

    fn headers(&self, headers: &HeaderMap, facts: &mut ResponseFacts) {
        facts.usage.merge(Usage {
            input: count(headers, "x-prompt-tokens"),
            output: count(headers, "x-generated-tokens"),
            ..Usage::default()
        });
    }

    fn unread(&self) -> &'static [UnreadPath] {
        UNREAD_OF_HUGGING_FACE
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        let details = document.get("details");
        let token = document.get("token");
        if token.is_object() {
            facts.token(token.get("id").as_i64(), token.get("logprob").as_f64());
            if token.get("special").as_bool() != Some(true) {
                facts.choice(0).append(Kind::Text, token.get("text").as_str().unwrap_or_default());
            }
        } else if let Some(text) = document.get("generated_text").as_str() {
            facts.choice(0).append(Kind::Text, text);
            openai::logprobs(details.get("tokens"), facts);
        }
        facts.choice(0).finish(details.get("finish_reason").as_str());
        super::usage(details, facts);
        super::failure_in(document, facts);
    }
}

/// <https://cloud.ibm.com/apidocs/watsonx-ai#text-generation>
#[derive(Debug)]
pub(super) struct Watsonx;

impl Api for Watsonx {
    fn name(&self) -> &'static str {
        "watsonx.text_generation"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let (last, before) = (target.from_end(0), target.from_end(1));
        let here = (before == "text" && matches!(last, "generation" | "generation_stream"))
            || (before == "generation" && matches!(last, "text" | "text_stream"));
        here.then(|| Route::new(Operation::TextCompletion, "ibm.watsonx.ai"))
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        let parameters = body.get("parameters");
        facts.model = owned(body.get("model_id")).or_else(|| target.after("deployments").map(Into::into));
        facts.stream = target.from_end(0).ends_with("_stream");
        facts.max_tokens = parameters.get("max_new_tokens").as_i64();
        facts.temperature = parameters.get("temperature").as_f64();
        facts.top_p = parameters.get("top_p").as_f64();
        facts.top_k = parameters.get("top_k").as_f64();
        facts.stop_sequences = texts(parameters.get("stop_sequences"));
        facts.seed = parameters.get("random_seed").as_i64();
        facts.messages.extend(body.get("input").as_str().map(|text| Message::text("user", text)));
    }

    /// Counts of a stream are cumulative; the input is stated once, and zero after that.
    fn unread(&self) -> &'static [UnreadPath] {
        UNREAD_OF_WATSONX
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        facts.set_model(document.get("model_id").as_str());
        facts.set_id(document.get("id").as_str());
        for (index, result) in document.get("results").items().iter().enumerate() {
            let index = index as u64;
            facts.choice(index).append(Kind::Text, result.get("generated_text").as_str().unwrap_or_default());
            let reason = result.get("stop_reason").as_str().filter(|reason| *reason != "not_finished");
            facts.choice(index).finish(reason);
            facts.usage.merge(Usage {
                input: result.get("input_token_count").as_u64().filter(|count| *count > 0),
                output: result.get("generated_token_count").as_u64(),
                ..Usage::default()
            });
            for token in result.get("generated_tokens").items() {
                facts.token(None, token.get("logprob").as_f64());
            }
        }
        for error in document.get("errors").items() {
            super::failure(error, facts);
        }
    }
}
