//! Events of `ConverseStream`, which are also those of Nova's own streams:
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html>.
//!
//! An event is an object with one member, whose key is the type of the event.

use super::{bedrock, owned};
use crate::json::Json;
use crate::message::Part;
use crate::response::{Kind, ResponseFacts, Usage};

/// Reads an event. Returns false for a document that is none.
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
        "contentBlockStart" => {
            let call = event.get("start").get("toolUse");
            if call.get("type").as_str() == Some("server_tool_use") {
                let name = owned(call.get("name")).unwrap_or_default();
                answer.put(key, Part::ServerToolCall { id: owned(call.get("toolUseId")), name, call: call.to_value() });
            } else if call.is_object() {
                answer.tool_call(key, call.get("toolUseId").as_str(), call.get("name").as_str(), None);
            }
        }
        "contentBlockDelta" => {
            let delta = event.get("delta");
            if let Some(text) = delta.get("text").as_str() {
                answer.text(key, Kind::Text, text);
            } else if let Some(text) = delta.get("reasoningContent").get("text").as_str() {
                answer.text(key, Kind::Reasoning, text);
            } else if let Some(input) = delta.get("toolUse").get("input").as_str() {
                answer.tool_call(key, None, None, Some(input));
            }
        }
        // A tool that is given no arguments has no delta.
        "contentBlockStop" => answer.whole_arguments(key, "{}"),
        "messageStop" => answer.finish(event.get("stopReason").as_str()),
        "metadata" => {
            bedrock::usage(event.get("usage"), facts);
            facts.complete = true;
        }
        _ => {}
    }
    metrics(document.get("amazon-bedrock-invocationMetrics"), facts);
    true
}

/// Reads the counts that the last chunk of `InvokeModelWithResponseStream` has beside the model's own document.
pub(super) fn metrics(metrics: &Json<'_>, facts: &mut ResponseFacts) {
    if metrics.is_object() {
        let count = |key: &str| metrics.get(key).as_u64();
        facts.usage.merge(Usage {
            input: count("inputTokenCount"),
            output: count("outputTokenCount"),
            cache_read: count("cacheReadInputTokenCount"),
            cache_creation: count("cacheWriteInputTokenCount"),
            ..Usage::default()
        });
        facts.complete = true;
    }
}
