//! Embeddings on Vertex: <https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api>.

use super::openai_embeddings::dimensions;
use super::{Api, Route, failure_in};
use crate::json::Json;
use crate::json::UnreadPath;
use crate::message::{Message, Part};
use crate::request::{Operation, RequestFacts};
use crate::response::{ResponseFacts, Usage};
use crate::url::{Target, decoded};

/// Vectors of texts, and those of the multimodal models.
const UNREAD: &[UnreadPath] = &[
    &["predictions", "*", "embeddings", "values"],
    &["predictions", "*", "textEmbedding"],
    &["predictions", "*", "imageEmbedding"],
];

#[derive(Debug)]
pub(super) struct Predict;

impl Api for Predict {
    fn name(&self) -> &'static str {
        "vertex.predict"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let here = target.from_end(0).ends_with(":predict") && target.from_end(1) == "models";
        here.then(|| Route::new(Operation::Embeddings, "gcp.vertex_ai"))
    }

    /// Other models accept other instances, such as the prompts of image models.
    fn accepts(&self, body: &Json<'_>) -> bool {
        body.get("instances")
            .items()
            .iter()
            .any(|instance| !instance.first(&["content", "text", "image", "prompt"]).is_null())
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        let model = target.from_end(0).rsplit_once(':').map(|(model, _)| model);
        facts.model = model.map(|model| decoded(model).into_owned());
        facts.dimensions = body.get("parameters").first(&["outputDimensionality", "dimension"]).as_i64();
        for instance in body.get("instances").items() {
            if instance.get("prompt").filled().is_some() {
                // Imagen and Veo
                facts.operation = Some(Operation::GenerateContent);
                facts.output_type = Some("image");
                facts.choice_count = body.get("parameters").get("sampleCount").as_i64();
            }
            let text = instance.first(&["content", "text", "prompt"]).as_str();
            let mut parts: Vec<Part> = text.map(|text| Part::Text(text.to_owned())).into_iter().collect();
            let image = instance.get("image");
            if let Some(data) = image.get("bytesBase64Encoded").filled() {
                parts.push(Part::blob(image.get("mimeType").as_str(), Some("image"), data));
            } else if let Some(uri) = image.get("gcsUri").filled() {
                parts.push(Part::media_at(uri, "image"));
            }
            if parts.is_empty() && instance.is_object() {
                parts.push(Part::other(instance, "instance"));
            }
            if !parts.is_empty() {
                facts.messages.push(Message::of("user", parts));
            }
        }
    }

    fn unread(&self) -> &'static [UnreadPath] {
        UNREAD
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        failure_in(document, facts);
        let predictions = document.get("predictions").items();
        for (index, prediction) in predictions.iter().enumerate() {
            if let Some(data) = prediction.get("bytesBase64Encoded").filled() {
                let image = Part::blob(prediction.get("mimeType").as_str(), Some("image"), data);
                facts.choice(index as u64).push(image);
            }
        }
        let count = |prediction: &Json<'_>| prediction.get("embeddings").get("statistics").get("token_count").as_u64();
        let counts: Vec<u64> = predictions.iter().filter_map(count).collect();
        if !counts.is_empty() {
            let input = counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
            facts.usage.merge(Usage { input: Some(input), ..Usage::default() });
        }
        let vector = |prediction: &Json<'_>| {
            let values = prediction.get("embeddings").get("values");
            dimensions(if values.is_null() { prediction.first(&["textEmbedding", "imageEmbedding"]) } else { values })
        };
        facts.dimensions = predictions.iter().find_map(vector);
    }
}
