//! Answers from the attributes of a span, as the GenAI conventions name them.

use serde_json::{Map, Value};

use super::{Answer, Choice, ChoicePart, MediaSource, NotReplayable, ProviderPart, Usage};

impl Answer {
    /// Reads the attributes of a span of a model call, such as `gen_ai.output.messages`. Those that hold JSON hold it as text.
    ///
    /// # Errors
    /// [`NotReplayable`] for an answer with parts that are not rebuilt, with content that was cut, or without an end.
    pub fn from_attributes(attributes: &Map<String, Value>) -> Result<Self, NotReplayable> {
        let text = |key: &str| attributes.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
        let count = |key: &str| attributes.get(key).and_then(Value::as_u64);
        if attributes.contains_key("retrace.omitted_bytes") {
            return Err(NotReplayable::new("content was cut from the recorded call"));
        }
        if attributes.contains_key("retrace.partial") {
            return Err(NotReplayable::new("the response was not seen to its end"));
        }
        let messages = text("gen_ai.output.messages").and_then(|text| serde_json::from_str(&text).ok());
        let messages: Vec<Value> = messages.unwrap_or_default();
        let reasons: Vec<String> = list(attributes, "gen_ai.response.finish_reasons");
        if !reasons.is_empty() && reasons.len() != messages.len() {
            return Err(NotReplayable::new("the reason of each end is not recorded"));
        }
        let mut reasons = reasons.into_iter();
        let choices = messages.iter().map(|message| {
            let parts = message.get("parts").and_then(Value::as_array).into_iter().flatten();
            Ok(Choice { parts: parts.map(part).collect::<Result<_, _>>()?, finish_reason: reasons.next() })
        });
        Ok(Self {
            id: text("gen_ai.response.id"),
            model: text("gen_ai.response.model"),
            choices: choices.collect::<Result<_, _>>()?,
            usage: Usage {
                input: count("gen_ai.usage.input_tokens"),
                output: count("gen_ai.usage.output_tokens"),
                cache_read: count("gen_ai.usage.cache_read.input_tokens"),
                cache_creation: count("gen_ai.usage.cache_creation.input_tokens"),
                reasoning: count("gen_ai.usage.reasoning.output_tokens"),
            },
            service_tier: text("openai.response.service_tier"),
            system_fingerprint: text("openai.response.system_fingerprint"),
            conversation_id: text("gen_ai.conversation.id"),
            logprobs: list(attributes, "retrace.logprobs"),
            token_ids: list(attributes, "retrace.token_ids"),
            embeddings: Vec::new(),
            created: 0,
            reasoning_in_content: text("gen_ai.provider.name").as_deref() == Some("mistral_ai"),
        })
    }
}

fn list<T: serde::de::DeserializeOwned>(attributes: &Map<String, Value>, key: &str) -> Vec<T> {
    attributes.get(key).and_then(|list| serde_json::from_value(list.clone()).ok()).unwrap_or_default()
}

/// Reads a part as the conventions have it.
pub(super) fn part(part: &Value) -> Result<ChoicePart, NotReplayable> {
    let text = |key: &str| part.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    let content = || text("content").unwrap_or_default();
    Ok(match part.get("type").and_then(Value::as_str).unwrap_or_default() {
        "text" => ChoicePart::Text(content()),
        "reasoning" => ChoicePart::Reasoning(content()),
        "refusal" => ChoicePart::Refusal(content()),
        "tool_call" => ChoicePart::ToolCall {
            id: text("id"),
            name: text("name").unwrap_or_default(),
            arguments: part.get("arguments").cloned(),
        },
        "server_tool_call" => ChoicePart::Provider(ProviderPart::ToolCall {
            id: text("id"),
            name: text("name").unwrap_or_default(),
            call: part.get("server_tool_call").cloned().unwrap_or_default(),
        }),
        "server_tool_call_response" => ChoicePart::Provider(ProviderPart::ToolResult {
            id: text("id"),
            result: part.get("server_tool_call_response").cloned().unwrap_or_default(),
        }),
        "blob" | "uri" => {
            let data = text("content").filter(|data| !data.is_empty()).map(MediaSource::Data);
            let source = data.or_else(|| text("uri").map(MediaSource::Uri));
            let source = source.ok_or_else(|| NotReplayable::new("media were left out of the recorded answer"))?;
            ChoicePart::Provider(ProviderPart::Media { mime_type: text("mime_type"), source })
        }
        kind => {
            return Err(NotReplayable::new(format!(
                "the answer has a part of the kind `{kind}`, which is not rebuilt"
            )));
        }
    })
}
