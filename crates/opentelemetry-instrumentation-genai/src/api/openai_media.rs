//! Images and speech: <https://platform.openai.com/docs/api-reference/images>, and all APIs compatible with it.
//!
//! Requests with files are forms (`multipart/form-data`), which are not read: image edits in that form, and transcriptions, are
//! not recorded.

use super::openai::{self, head};
use super::{Api, Route, filled_of};
use crate::json::Json;
use crate::message::{Message, Part};
use crate::request::{Operation, RequestFacts};
use crate::response::ResponseFacts;
use crate::url::Target;

/// Generations and edits of images.
#[derive(Debug)]
pub(super) struct Images;

impl Api for Images {
    fn name(&self) -> &'static str {
        "openai.images"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let here = matches!(target.from_end(0), "generations" | "edits") && target.from_end(1) == "images";
        here.then(|| Route::new(Operation::GenerateContent, "openai"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        body.get("prompt").filled().is_some()
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        openai::parameters(target, body, facts);
        facts.output_type = Some("image");
        facts.messages.extend(body.get("prompt").filled().map(|text| Message::text("user", text)));
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        head(document, facts);
        // No field states why an image ended.
        facts.open_ended = true;
        let format = document.get("output_format").as_str().unwrap_or("png");
        let images = document.get("data").items();
        for (index, image) in images.iter().enumerate() {
            add(index as u64, image, format, facts);
        }
        if document.get("type").as_str().is_some_and(|event| event.ends_with(".completed")) {
            add(0, document, format, facts);
            facts.complete = true;
        }
    }
}

fn add(index: u64, image: &Json<'_>, format: &str, facts: &mut ResponseFacts) {
    let mime = format!("image/{format}");
    let part = match (image.get("b64_json").filled(), filled_of(image, &["url"])) {
        (Some(data), _) => Part::blob(Some(&mime), Some("image"), data),
        (None, Some(url)) => Part::media_at(url, "image"),
        (None, None) if image.is_object() => Part::other(image, "image"),
        (None, None) => return,
    };
    facts.choice(index).push(part);
}

/// Speech from text. The response is audio, which is not kept, or events.
#[derive(Debug)]
pub(super) struct Speech;

impl Api for Speech {
    fn name(&self) -> &'static str {
        "openai.speech"
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        let here = target.from_end(0) == "speech" && target.from_end(1) == "audio";
        here.then(|| Route::new(Operation::GenerateContent, "openai"))
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        body.get("input").filled().is_some()
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        openai::parameters(target, body, facts);
        facts.stream = body.get("stream_format").as_str() == Some("sse");
        facts.output_type = Some("speech");
        facts.system.extend(body.get("instructions").filled().map(|text| Part::Text(text.to_owned())));
        facts.messages.extend(body.get("input").filled().map(|text| Message::text("user", text)));
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        head(document, facts);
        facts.open_ended = true;
        facts.complete |= document.get("type").as_str() == Some("speech.audio.done");
    }
}
