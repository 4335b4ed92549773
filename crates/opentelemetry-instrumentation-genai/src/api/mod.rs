//! The APIs of providers: one file each, all behind [`Api`].

mod anthropic;
mod bedrock;
mod bedrock_embeddings;
mod bedrock_stream;
mod catch_panic_api;
mod chat_calls;
mod cohere;
mod gemini;
mod gemini_interactions;
mod gemini_pieces;
mod local_servers;
mod mistral;
mod ollama;
mod openai;
mod openai_chat;
mod openai_completions;
mod openai_embeddings;
mod openai_media;
mod openai_responses;
pub(crate) mod reasoning;
mod text_generation;
mod vertex;

use std::fmt;

use http::HeaderMap;

use crate::json::Json;
use crate::json::UnreadPath;
use crate::request::{Operation, RequestFacts};
use crate::response::ResponseFacts;
use crate::url::Target;

pub(crate) use catch_panic_api::CatchPanicApi;

/// Reader of the requests and responses of one API.
///
/// An implementation has no state: everything that a call has received so far is in the facts. If an API of the application
/// panics, the call itself continues. A panic in `route` or `accepts` means that the call does not belong to the API; after one
/// in `headers` or `response`, nothing more of that response is read, and the span is marked `retrace.partial`.
///
/// ```
/// use opentelemetry_instrumentation_genai::{Api, Json, Operation, RequestFacts, ResponseFacts, Route, Target};
///
/// /// A provider with an API of its own: `POST /ask` with `{"question": …}` is answered by `{"answer": …, "cost": {"in": …, "out": …}}`.
/// #[derive(Debug)]
/// struct Oracle;
///
/// impl Api for Oracle {
///     fn route(&self, target: &Target<'_>) -> Option<Route> {
///         (target.path() == "/ask").then(|| Route::new(Operation::Chat, "oracle"))
///     }
///
///     fn request(&self, _: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
///         facts.model = Some("oracle-1".to_owned());
///         facts.messages = body.get("question").filled()
///             .map(|text| opentelemetry_instrumentation_genai::Message::text("user", text)).into_iter().collect();
///     }
///
///     fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
///         facts.usage.input = document.get("cost").get("in").as_u64();
///         facts.usage.output = document.get("cost").get("out").as_u64();
///         facts.choice(0).append(opentelemetry_instrumentation_genai::Kind::Text, document.get("answer").as_str().unwrap_or(""));
///     }
/// }
/// ```
pub trait Api: fmt::Debug + Send + Sync {
    /// Name of the API, such as `openai.chat`. It identifies the format of requests and responses. Default: `other`.
    fn name(&self) -> &'static str {
        "other"
    }

    /// Returns the route of a `POST` to this URL if it is a call of this API. Called for every request, so it must be cheap.
    fn route(&self, target: &Target<'_>) -> Option<Route>;

    /// Returns true if the body belongs to this API, for a URL that does not identify it.
    fn accepts(&self, body: &Json<'_>) -> bool {
        let _ = body;
        true
    }

    /// Reads a request. The body is null if it could not be read.
    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts);

    /// Paths of a response document whose values are not read except for their length: vectors, alternatives to the chosen
    /// tokens. `"*"` stands for each element of a list. At the end of a path a list becomes the count of its elements
    /// ([`Json::count`]) and a text that of its bytes, so that they take no memory; other values are kept. Default: none.
    ///
    /// At most 64 paths are followed. A path starts at the top of the document, so that a member of the same name elsewhere,
    /// such as in the arguments of a tool, is not affected.
    fn unread(&self) -> &'static [UnreadPath] {
        &[]
    }

    /// Reads the head of a response.
    fn headers(&self, headers: &HeaderMap, facts: &mut ResponseFacts) {
        let _ = (headers, facts);
    }

    /// Reads a document of a response: the whole response, one event or line of a stream, or an error.
    ///
    /// An event of an AWS event stream (feature `bedrock`) is an object with one member, named after the event.
    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts);
}

/// Facts that a URL states about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Operation of the call.
    pub operation: Operation,
    /// Provider, unless the host identifies another one.
    pub provider: &'static str,
}

impl Route {
    /// Creates a route to this operation, at this provider unless the host identifies another one.
    #[must_use]
    pub fn new(operation: Operation, provider: &'static str) -> Self {
        Self { operation, provider }
    }
}

/// Built-in APIs, the more specific ones first.
pub(crate) static KNOWN: &[&dyn Api] = &[
    &local_servers::LlamaCpp,
    &local_servers::LmStudio,
    &local_servers::WorkersAi,
    &mistral::Conversations,
    &mistral::Ocr,
    &bedrock::Converse,
    &bedrock::Invoke,
    &anthropic::Messages,
    &anthropic::Complete,
    &gemini::GenerateContent,
    &gemini::Embed,
    &gemini_interactions::Interactions,
    &vertex::Predict,
    &ollama::Chat,
    &ollama::Generate,
    &ollama::Embed,
    &cohere::V2Chat,
    &cohere::V1Chat,
    &cohere::Embed,
    &cohere::Rerank,
    &text_generation::Watsonx,
    &text_generation::HuggingFace,
    &openai_responses::Responses,
    &openai_chat::Chat,
    &openai_completions::Completions,
    &openai_embeddings::Embeddings,
    &openai_media::Images,
    &openai_media::Speech,
];

/// Returns the value of a header as a number.
fn count(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

fn owned(json: &Json<'_>) -> Option<String> {
    json.filled().map(ToOwned::to_owned)
}

/// Returns the first of several members that is a text and not empty.
fn filled_of<'a>(json: &'a Json<'_>, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| json.get(key).filled())
}

/// Returns the elements of a list, or the single object in its place.
fn one_or_more<'a, 'j>(json: &'a Json<'j>) -> &'a [Json<'j>] {
    if json.is_object() { std::slice::from_ref(json) } else { json.items() }
}

/// Reads a list of texts or one text.
fn texts(json: &Json<'_>) -> Vec<String> {
    match json.as_str() {
        Some(text) => vec![text.to_owned()],
        None => json.items().iter().filter_map(Json::as_str).map(ToOwned::to_owned).collect(),
    }
}

/// Reads a usage object of any provider by the table of [`genai_usage`].
fn usage(usage: &Json<'_>, facts: &mut ResponseFacts) {
    if usage.is_object()
        && let Some(counts) = genai_usage::read(|path| usage.at(path).to_count())
    {
        facts.usage.merge(counts);
    }
}

/// Reads an error: an object with `code`, `type` or `status` and `message`, or a text.
fn failure(error: &Json<'_>, facts: &mut ResponseFacts) {
    if let Some(text) = error.filled() {
        facts.fail(None, None, Some(text));
    } else if error.is_object() {
        let code = error.first(&["code", "error_code", "status_code"]);
        let number = code.as_i64().map(|code| code.to_string());
        let code = code.as_str().or(number.as_deref());
        let kind = filled_of(error, &["type", "status", "error_type"]).filter(|kind| *kind != "error");
        facts.fail(code, kind, filled_of(error, &["message", "msg", "detail", "status_msg"]));
    }
}

/// Reads the `error` of a document or a choice. If it is a text, `code` and `type` are beside it.
fn failure_in(document: &Json<'_>, facts: &mut ResponseFacts) {
    let error = document.get("error");
    match error.filled() {
        Some(text) => {
            let number = document.get("code").as_i64().map(|code| code.to_string());
            let code = document.get("code").filled().or(number.as_deref());
            let kind = filled_of(document, &["type", "error_type", "status"]).filter(|kind| *kind != "error");
            facts.fail(code, kind, document.get("message").filled().or(Some(text)));
        }
        None => failure(error, facts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_has_an_exchange_in_the_tests_and_for_fuzzing() {
        for (place, source) in [
            ("`known` in tests/support/apis.rs", include_str!("../../tests/support/apis.rs")),
            (
                "`APIS` in fuzz/fuzz_targets/model_calls.rs",
                include_str!("../../../../fuzz/fuzz_targets/model_calls.rs"),
            ),
        ] {
            let urls: Vec<&str> = source.split('"').filter(|text| text.starts_with("http")).collect();
            let of = |api: &dyn Api| urls.iter().any(|url| api.route(&Target::of(url)).is_some());
            let missing: Vec<&str> = KNOWN.iter().filter(|api| !of(**api)).map(|api| api.name()).collect();
            assert!(missing.is_empty(), "add an exchange to {place} for {missing:?}");
        }
    }

    #[test]
    fn every_api_has_a_name_of_its_own() {
        let mut names: Vec<&str> = KNOWN.iter().map(|api| api.name()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]) && !names.contains(&"other"), "{names:?}");
    }
}
