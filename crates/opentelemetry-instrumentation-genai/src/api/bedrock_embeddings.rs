//! Embeddings on Bedrock: Titan, Cohere and Nova.
//!
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html> and
//! <https://docs.aws.amazon.com/nova/latest/userguide/embeddings-schema.html>

use super::{bedrock, cohere, openai_embeddings, owned, texts};
use crate::json::Json;
use crate::message::{Message, Part};
use crate::request::RequestFacts;
use crate::response::ResponseFacts;

pub(super) fn request(body: &Json<'_>, facts: &mut RequestFacts) {
    let nova = body.first(&["singleEmbeddingParams", "segmentedEmbeddingParams"]);
    let stated = [
        body.first(&["dimensions", "output_dimension"]),
        body.get("embeddingConfig").get("outputEmbeddingLength"),
        nova.get("embeddingDimension"),
    ];
    facts.dimensions = stated.into_iter().find_map(Json::as_i64);
    facts.encoding_formats = texts(body.first(&["embedding_types", "embeddingTypes"]));
    if nova.is_object() {
        facts.messages.extend(input(nova));
    } else if body.first(&["texts", "images", "inputs"]).is_null() {
        let mut parts: Vec<Part> =
            body.get("inputText").filled().map(|text| Part::Text(text.to_owned())).into_iter().collect();
        parts.extend(body.get("inputImage").filled().map(|data| Part::blob(None, Some("image"), data)));
        facts.messages.extend(Some(Message::of("user", parts)).filter(|message| !message.parts.is_empty()));
    } else {
        facts.messages = cohere::inputs(body);
    }
}

/// Reads the single input of Nova: a text or a medium.
fn input(params: &Json<'_>) -> Option<Message> {
    let text = params.get("text");
    let part = match text.get("value").filled() {
        Some(text) => Part::Text(text.to_owned()),
        None if text.is_object() => match text.get("source").get("s3Location").get("uri").filled() {
            Some(uri) => Part::Uri { modality: "text".to_owned(), mime_type: None, uri: uri.to_owned() },
            None => Part::other(text, "text"),
        },
        None => bedrock::media(params)?,
    };
    Some(Message::of("user", vec![part]))
}

pub(super) fn response(document: &Json<'_>, facts: &mut ResponseFacts) {
    facts.set_id(owned(document.get("id")).as_deref());
    let embeddings = document.get("embeddings");
    // Nova names the kind of each vector.
    let named = embeddings.items().first().map(|first| first.get("embedding")).filter(|vector| !vector.is_null());
    facts.dimensions = match named {
        Some(vector) => openai_embeddings::dimensions(vector),
        None if embeddings.is_null() => {
            let by_type = document.get("embeddingsByType");
            let vector =
                if by_type.is_object() { by_type.first(&["float", "binary"]) } else { document.get("embedding") };
            openai_embeddings::dimensions(vector)
        }
        None => cohere::dimensions(embeddings),
    };
    super::usage(document, facts);
}
