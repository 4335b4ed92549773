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

/// How an API of a provider is read.
///
/// Nothing here sees a socket or keeps a state: what a call has said so far is in the facts. Where an API that the application
/// added panics, the call itself goes on untouched. A panic over the URL, or over whose body it is, says that the call is none
/// of that API's; after one over an answer nothing more of that answer is read, and the span is marked `retrace.partial`.
///
/// ```
/// use opentelemetry_instrumentation_genai::{Api, Json, Operation, RequestFacts, ResponseFacts, Route, Target};
///
/// /// A house of its own: `POST /ask` with `{"question": …}` is answered by `{"answer": …, "cost": {"in": …, "out": …}}`.
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

    /// Whether a `POST` to this URL is a call of this API. Asked for every request, so it must be cheap.
    fn route(&self, target: &Target<'_>) -> Option<Route>;

    /// Whether the body is one of this API, where the URL alone does not tell it from others.
    fn accepts(&self, body: &Json<'_>) -> bool {
        let _ = body;
        true
    }

    /// Reads a request. The body is null where it could not be read.
    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts);

    /// Paths of a response document whose values are not read but for their length: vectors, alternatives to the tokens that
    /// were chosen. `"*"` stands for each element of a list. At the end of a path a list becomes the count of its elements
    /// ([`Json::count`]) and a text that of its bytes, so that they take no memory; other values are kept. Default: none.
    ///
    /// At most 64 paths are followed. A path leads from the top of the document, so a member of the same name elsewhere, such
    /// as in the arguments of a tool, is not touched.
    fn unread(&self) -> &'static [UnreadPath] {
        &[]
    }

    /// Reads the head of a response.
    fn headers(&self, headers: &HeaderMap, facts: &mut ResponseFacts) {
        let _ = (headers, facts);
    }

    /// Reads a document of a response: the whole of it, or one event or line of a stream, or an error.
    ///
    /// An event of an AWS event stream (feature `bedrock`) is an object with one member, which has the name of the event.
    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts);
}

/// What a URL says of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// What is done.
    pub operation: Operation,
    /// The provider, where the host is not one that is known.
    pub provider: &'static str,
}

impl Route {
    /// A route to this operation, at this provider unless the host says otherwise.
    #[must_use]
    pub fn new(operation: Operation, provider: &'static str) -> Self {
        Self { operation, provider }
    }
}

/// The APIs that are known, the more special first.
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

/// A header's value as a number.
fn count(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

fn owned(json: &Json<'_>) -> Option<String> {
    json.filled().map(ToOwned::to_owned)
}

/// The first of several members that is a text and not empty.
fn filled_of<'a>(json: &'a Json<'_>, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| json.get(key).filled())
}

/// A list, or the one object that stands in the place of a list.
fn one_or_more<'a, 'j>(json: &'a Json<'j>) -> &'a [Json<'j>] {
    if json.is_object() { std::slice::from_ref(json) } else { json.items() }
}

/// A list of texts, or one text.
fn texts(json: &Json<'_>) -> Vec<String> {
    match json.as_str() {
        Some(text) => vec![text.to_owned()],
        None => json.items().iter().filter_map(Json::as_str).map(ToOwned::to_owned).collect(),
    }
}

/// Reads a usage object, whoever's it is: [`genai_usage`] has the table.
fn usage(usage: &Json<'_>, facts: &mut ResponseFacts) {
    if usage.is_object()
        && let Some(counts) = genai_usage::read(|path| usage.at(path).as_u64())
    {
        facts.usage.merge(counts);
    }
}

/// Reads `error` and its kin: an object with `code`, `type` or `status` and `message`, or a text.
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

/// Reads the `error` of a document or a choice. Where it is a text, `code` and `type` stand beside it.
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
