//! Converts facts to attributes of the GenAI conventions.

use genai_redact::Place;
use opentelemetry::{Array, KeyValue, StringValue, Value};
use serde_json::Value as Json;

use crate::api::reasoning;
use crate::json::cut_mark;
use crate::message::{Message, Part};
use crate::request::RequestFacts;
use crate::response::{Choice, ResponseFacts};

/// Number of bytes of content that did not fit.
#[derive(Debug, Default)]
pub(crate) struct OmittedBytes(pub u64);

pub(crate) fn request(facts: &RequestFacts, attributes: &mut Vec<KeyValue>) {
    let mut set =
        |key: &'static str, value: Option<Value>| attributes.extend(value.map(|value| KeyValue::new(key, value)));
    set("gen_ai.request.stream", facts.stream.then_some(Value::Bool(true)));
    set("gen_ai.request.max_tokens", facts.max_tokens.map(Value::I64));
    set("gen_ai.request.choice.count", facts.choice_count.filter(|count| *count != 1).map(Value::I64));
    set("gen_ai.request.temperature", facts.temperature.map(Value::F64));
    set("gen_ai.request.top_p", facts.top_p.map(Value::F64));
    set("gen_ai.request.top_k", facts.top_k.map(Value::F64));
    set("gen_ai.request.stop_sequences", texts(&facts.stop_sequences));
    set("gen_ai.request.frequency_penalty", facts.frequency_penalty.map(Value::F64));
    set("gen_ai.request.presence_penalty", facts.presence_penalty.map(Value::F64));
    set("gen_ai.request.seed", facts.seed.map(Value::I64));
    set("gen_ai.request.encoding_formats", texts(&facts.encoding_formats));
    set("gen_ai.embeddings.dimension.count", facts.dimensions.map(Value::I64));
    set("gen_ai.output.type", facts.output_type.map(Into::into));
    set("gen_ai.conversation.id", text(facts.conversation_id.as_ref()));
    set("openai.request.service_tier", text(facts.service_tier.as_ref()));
    set("openai.api.type", facts.openai_api.map(Into::into));
}

/// Returns the attributes of the request's content.
pub(crate) fn input(facts: RequestFacts, limit: usize, attributes: &mut Vec<KeyValue>, omitted: &mut OmittedBytes) {
    let RequestFacts { mut system, mut messages, tools, .. } = facts;
    system.iter_mut().for_each(Part::redact);
    if !system.is_empty() {
        let cap = cap(&system, limit, |part, cap| part.weight().min(cap) + OVERHEAD);
        system.iter_mut().for_each(|part| shorten(part, cap, omitted));
        attributes.push(json("gen_ai.system_instructions", &system.iter().map(Part::to_value).collect()));
    }
    for message in messages.iter_mut().filter(|message| message.role == "assistant") {
        message.parts = reasoning::split_think(std::mem::take(&mut message.parts));
    }
    if !messages.is_empty() {
        fit(&mut messages, limit, omitted);
        attributes.push(json("gen_ai.input.messages", &messages.iter().map(Message::to_value).collect()));
    }
    if !tools.is_empty() {
        let mut room = limit;
        let redacted = tools.into_iter().map(|mut tool| {
            genai_redact::value(&mut tool, Place::Body);
            tool
        });
        let whole: Vec<Json> = redacted.map(|tool| within(tool, &mut room, omitted)).collect();
        attributes.push(json("gen_ai.tool.definitions", &whole.into()));
    }
}

/// Returns a definition, or the fields that the schema requires if there is no room for the rest.
fn within(tool: Json, room: &mut usize, omitted: &mut OmittedBytes) -> Json {
    let size = tool.to_string().len();
    if size <= *room {
        *room -= size;
        return tool;
    }
    omitted.0 += size as u64;
    let member = |key: &str| tool.get(key).cloned().unwrap_or_else(|| key.into());
    serde_json::json!({ "type": member("type"), "name": member("name") })
}

pub(crate) fn response(facts: &ResponseFacts, attributes: &mut Vec<KeyValue>) {
    let count = |count: Option<u64>| count.and_then(|count| i64::try_from(count).ok()).map(Value::I64);
    let usage = &facts.usage;
    let mut set =
        |key: &'static str, value: Option<Value>| attributes.extend(value.map(|value| KeyValue::new(key, value)));
    set("gen_ai.response.id", text(facts.id.as_ref()));
    set("gen_ai.response.model", text(facts.model.as_ref()));
    set("gen_ai.usage.input_tokens", count(usage.all_input()));
    set("gen_ai.usage.output_tokens", count(usage.all_output()));
    set("gen_ai.usage.cache_read.input_tokens", count(usage.cache_read));
    set("gen_ai.usage.cache_creation.input_tokens", count(usage.cache_creation));
    set("gen_ai.usage.reasoning.output_tokens", count(usage.reasoning));
    set("gen_ai.embeddings.dimension.count", facts.dimensions.map(Value::I64));
    set("gen_ai.conversation.id", text(facts.conversation_id.as_ref()));
    set("openai.response.service_tier", text(facts.service_tier.as_ref()));
    set("openai.response.system_fingerprint", text(facts.system_fingerprint.as_ref()));
    let reasons: Vec<String> = facts.choices().iter().filter_map(|choice| choice.finish_reason.clone()).collect();
    set("gen_ai.response.finish_reasons", texts(&reasons));
    let ids = facts.token_ids();
    set("retrace.token_ids", (!ids.is_empty()).then(|| Value::Array(Array::I64(ids.to_vec()))));
    let logprobs = facts.logprobs();
    set("retrace.logprobs", (!logprobs.is_empty()).then(|| Value::Array(Array::F64(logprobs.to_vec()))));
    set("retrace.tokens_omitted", facts.tokens_cut().then_some(Value::Bool(true)));
}

/// Returns the attributes of the response's content.
pub(crate) fn output(
    facts: &ResponseFacts,
    failed: bool,
    limit: usize,
    omitted: &mut OmittedBytes,
) -> Option<KeyValue> {
    let choices: Vec<(Message, Option<&str>)> = facts
        .choices()
        .into_iter()
        .filter(|choice| choice.parts().next().is_some() || choice.finish_reason.is_some())
        .map(|choice: &Choice| {
            let parts = reasoning::split_think(choice.parts().cloned().collect());
            (Message::of("assistant", parts), choice.finish_reason.as_deref())
        })
        .collect();
    let (mut messages, reasons): (Vec<Message>, Vec<Option<&str>>) = choices.into_iter().unzip();
    if messages.is_empty() {
        return None;
    }
    fit(&mut messages, limit, omitted);
    let list = messages.iter().zip(reasons).map(|(message, reason)| {
        let mut value = message.to_value();
        if let Json::Object(members) = &mut value {
            let unsaid = if failed { "error" } else { "unknown" };
            members.insert("finish_reason".to_owned(), reason.map_or(unsaid, finish_reason).into());
        }
        value
    });
    Some(json("gen_ai.output.messages", &list.collect()))
}

/// Returns the name of a finish reason in the conventions, if they have one; the span also has the provider's own.
fn finish_reason(reason: &str) -> &str {
    match reason {
        "stop" | "STOP" | "end_turn" | "stop_sequence" | "eos" | "eos_token" | "COMPLETE" | "STOP_SEQUENCE"
        | "completed" | "FINISH" | "FINISHED" => "stop",
        "length" | "LENGTH" | "max_tokens" | "MAX_TOKENS" | "max_output_tokens" | "model_context_window_exceeded" => {
            "length"
        }
        "content_filter"
        | "SAFETY"
        | "PROHIBITED_CONTENT"
        | "BLOCKLIST"
        | "SPII"
        | "refusal"
        | "guardrail_intervened"
        | "content_filtered"
        | "CONTENT_FILTERED" => "content_filter",
        "tool_calls" | "tool_use" | "function_call" | "TOOL_CALL" => "tool_call",
        "error" | "ERROR" | "failed" => "error",
        other => other,
    }
}

/// Approximate size of a part in bytes, besides its text.
const OVERHEAD: usize = 48;
/// Size below which cut texts carry nothing, so that messages are omitted instead.
const SHORTEST: usize = 64;

/// Removes credentials and shortens messages: the longest texts are cut first; if that is not enough, the oldest messages
/// except for the first are omitted.
fn fit(messages: &mut Vec<Message>, limit: usize, omitted: &mut OmittedBytes) {
    let size = |message: &Message, cap: usize| -> usize {
        OVERHEAD + message.parts.iter().map(|part| part.weight().min(cap) + OVERHEAD).sum::<usize>()
    };
    messages.iter_mut().flat_map(|message| &mut message.parts).for_each(Part::redact);
    let cap = cap(messages, limit, size);
    for part in messages.iter_mut().flat_map(|message| &mut message.parts) {
        shorten(part, cap, omitted);
    }
    let mut total: usize = messages.iter().map(|message| size(message, cap)).sum();
    while total > limit && messages.len() > 2 {
        let gone = messages.remove(1);
        total -= size(&gone, cap);
        omitted.0 += gone.parts.iter().map(|part| part.weight() as u64).sum::<u64>();
    }
}

/// Returns the maximum length of a text with which all are within the limit.
fn cap<T>(items: &[T], limit: usize, size: impl Fn(&T, usize) -> usize) -> usize {
    let mut cap = limit;
    while cap > SHORTEST && items.iter().map(|item| size(item, cap)).sum::<usize>() > limit {
        cap /= 2;
    }
    cap
}

fn shorten(part: &mut Part, cap: usize, omitted: &mut OmittedBytes) {
    let weight = part.weight();
    if weight <= cap {
        return;
    }
    match part {
        Part::Text(text)
        | Part::Reasoning(text)
        | Part::Refusal(text)
        | Part::ToolCall { arguments: text, .. }
        | Part::Uri { uri: text, .. }
        | Part::Blob { content: text, .. }
        | Part::File { file_id: text, .. } => cut(text, cap, omitted),
        Part::ToolResponse { response: value, .. }
        | Part::ServerToolResponse { response: value, .. }
        | Part::ServerToolCall { call: value, .. }
        | Part::Other(value) => {
            // A part of an object would not be that object: it becomes a text.
            let mut text = match std::mem::take(value) {
                Json::String(text) => text,
                other => other.to_string(),
            };
            cut(&mut text, cap, omitted);
            *value = text.into();
        }
    }
}

fn cut(text: &mut String, cap: usize, omitted: &mut OmittedBytes) {
    let mut end = cap.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let gone = (text.len() - end) as u64;
    if gone > 0 {
        omitted.0 += gone;
        text.truncate(end);
        text.push_str(&cut_mark(gone));
    }
}

fn json(key: &'static str, value: &Json) -> KeyValue {
    KeyValue::new(key, value.to_string())
}

fn text(text: Option<&String>) -> Option<Value> {
    text.filter(|text| !text.is_empty()).map(|text| Value::String(text.clone().into()))
}

fn texts(texts: &[String]) -> Option<Value> {
    let list = || texts.iter().cloned().map(StringValue::from).collect();
    (!texts.is_empty()).then(|| Value::Array(Array::String(list())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_conversations_are_cut_where_they_are_long() {
        let mut messages = vec![Message::text("system", "short"), Message::text("user", "x".repeat(9000))];
        let mut omitted = OmittedBytes::default();
        fit(&mut messages, 4000, &mut omitted);
        assert_eq!(messages[0], Message::text("system", "short"));
        let Part::Text(text) = &messages[1].parts[0] else { panic!() };
        assert_eq!(text.find('…').unwrap() as u64 + omitted.0, 9000);

        let mut messages: Vec<Message> = (0..500).map(|turn| Message::text("user", format!("turn {turn}"))).collect();
        fit(&mut messages, 4000, &mut omitted);
        assert!(messages.len() < 60, "{}", messages.len());
        let last = messages.last().unwrap();
        assert_eq!((&messages[0], last), (&Message::text("user", "turn 0"), &Message::text("user", "turn 499")));
    }

    #[test]
    fn results_that_are_cut_become_text() {
        let response = serde_json::json!({ "rows": ["é".repeat(500)] });
        let mut part = Part::ToolResponse { id: None, response };
        let mut omitted = OmittedBytes::default();
        shorten(&mut part, 100, &mut omitted);
        let Part::ToolResponse { response: Json::String(text), .. } = part else { panic!() };
        assert!(text.starts_with(r#"{"rows":["éé"#) && text.ends_with(" bytes more]"), "{text}");
    }
}
