//! Embeddings: <https://platform.openai.com/docs/api-reference/embeddings>, and all APIs compatible with it.

use super::openai::{self, head};
use super::{Api, Route, owned};
use crate::json::Json;
use crate::json::UnreadPath;
use crate::json::bytes_cut;
use crate::message::{Message, Part};
use crate::request::{Operation, RequestFacts};
use crate::response::ResponseFacts;
use crate::url::Target;

/// Vectors, as numbers or in base64; several for a text where each token has one.
const UNREAD: &[UnreadPath] =
    &[&["data", "*", "embedding"], &["data", "*", "embeddings"], &["results", "*", "embedding"], &["embedding"]];

#[derive(Debug)]
pub(super) struct Embeddings;

impl Api for Embeddings {
    fn name(&self) -> &'static str {
        "openai.embeddings"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        if target.from_end(0) == "invocations" && target.from_end(2) == "serving-endpoints" {
            return Some(Route::new(Operation::Embeddings, "databricks"));
        }
        let here = matches!(target.from_end(0), "embeddings" | "multimodalembeddings");
        here.then(|| Route::new(Operation::Embeddings, "openai"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        !body.first(&["input", "inputs"]).is_null()
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        openai::parameters(target, body, facts);
        facts.model = facts.model.take().or_else(|| target.after("serving-endpoints").map(Into::into));
        facts.encoding_formats = owned(body.get("encoding_format")).into_iter().collect();
        facts.dimensions = body.first(&["dimensions", "output_dimension"]).as_i64();
        facts.messages = inputs(body.first(&["input", "inputs"]));
    }

    fn unread(&self) -> &'static [UnreadPath] {
        UNREAD
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        head(document, facts);
        // watsonx calls the list `results` and has the count beside it.
        if !document.get("input_token_count").is_null() {
            super::usage(document, facts);
        }
        // Voyage states only the total, which is all input.
        facts.usage.input = facts.usage.input.or(facts.usage.total);
        facts.usage.output = None;
        let vectors = document.first(&["data", "results"]);
        facts.dimensions = vectors.items().first().and_then(|first| dimensions(first.get("embedding")));
        facts.complete |= vectors.is_array();
    }
}

/// Reads the input of an embedding: one text or several.
pub(super) fn inputs(input: &Json<'_>) -> Vec<Message> {
    match input.as_str() {
        Some(text) => vec![Message::text("user", text)],
        None => input
            .items()
            .iter()
            .filter(|each| !matches!(each, Json::Number(_)))
            .map(|each| match each.as_str() {
                Some(text) => Message::text("user", text),
                None => Message::of("user", vec![Part::other(each, "tokens")]),
            })
            .collect(),
    }
}

/// Returns the length of a vector: of a list of numbers, or of 32-bit floats in base64.
pub(super) fn dimensions(vector: &Json<'_>) -> Option<i64> {
    let count = match vector.as_str() {
        Some(text) => {
            let (kept, cut) = bytes_cut(text).unwrap_or((text, 0));
            (kept.len() as u64).saturating_add(cut) / 4 * 3 / 4
        }
        None => vector.count()?,
    };
    i64::try_from(count).ok().filter(|count| *count > 0)
}
