//! Events of `ConverseStream`, which are also those of Nova's own streams:
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html>.
//!
//! An event is an object with one member, whose key is the type of the event.

use super::bedrock;
use crate::json::Json;
use crate::message::Part;
use crate::response::{ChoiceMut, Kind, PartKey, ResponseFacts};

/// Reads an event. Returns false for any other document.
pub(super) fn event(document: &Json<'_>, facts: &mut ResponseFacts) -> bool {
    let known = |key: &str| {
        matches!(
            key,
            "messageStart"
                | "contentBlockStart"
                | "contentBlockDelta"
                | "contentBlockStop"
                | "messageStop"
                | "metadata"
                | "initial-response"
        )
    };
    let Some((name, event)) = document.members().iter().find(|(key, value)| known(key) && value.is_object()) else {
        return false;
    };
    let key = event.get("contentBlockIndex").as_u64().unwrap_or(0);
    let mut answer = facts.choice(0);
    match &**name {
        "contentBlockStart" => begin(key, event.get("start"), &mut answer),
        "contentBlockDelta" => delta(key, event.get("delta"), &mut answer),
        // A call without arguments has no delta.
        "contentBlockStop" => answer.close(key),
        "messageStop" => answer.finish(event.get("stopReason").as_str()),
        "metadata" => {
            super::usage(event.get("usage"), facts);
            facts.complete = true;
        }
        _ => {}
    }
    metrics(document.get("amazon-bedrock-invocationMetrics"), facts);
    true
}

fn begin(key: PartKey, start: &Json<'_>, answer: &mut ChoiceMut<'_>) {
    let (call, result, image) = (start.get("toolUse"), start.get("toolResult"), start.get("image"));
    if call.is_object() {
        match bedrock::tool_use(call) {
            Part::ToolCall { id, name, .. } => answer.tool_call(key, id.as_deref(), Some(&name), None),
            part => answer.put(key, part),
        }
    } else if result.is_object() {
        answer.put(key, bedrock::tool_result(result, true));
    } else if image.is_object() {
        let mime = image.get("format").filled().map(|format| format!("image/{format}"));
        answer.put(key, Part::blob(mime.as_deref(), Some("image"), ""));
    } else if start.is_object() {
        // An unknown kind is kept unchanged.
        let kind = start.members().first().map_or("other", |(key, _)| key);
        answer.put(key, Part::other(start, kind));
    }
}

fn delta(key: PartKey, delta: &Json<'_>, answer: &mut ChoiceMut<'_>) {
    let result = delta.get("toolResult");
    if let Some(text) = delta.get("text").as_str() {
        answer.text(key, Kind::Text, text);
    } else if let Some(text) = delta.get("reasoningContent").get("text").as_str() {
        answer.text(key, Kind::Reasoning, text);
    } else if let Some(input) = delta.get("toolUse").get("input").as_str() {
        answer.input(key, input);
    } else if result.is_array() {
        result.items().iter().for_each(|piece| answer.result(key, piece));
    } else if let Some(data) = delta.get("image").get("source").get("bytes").as_str() {
        answer.data(key, data);
    }
}

/// Reads the counts that the last chunk of `InvokeModelWithResponseStream` has beside the document of the model.
pub(super) fn metrics(metrics: &Json<'_>, facts: &mut ResponseFacts) {
    if metrics.is_object() {
        super::usage(metrics, facts);
        facts.complete = true;
    }
}
