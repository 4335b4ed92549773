//! The facts of an exchange against its span.

use opentelemetry::trace::Status;
use opentelemetry_sdk::trace::SpanData;
use serde_json::{Value, json};

use crate::exchange::Exchange;
use crate::spans::{attribute, content};
use crate::tally::{Tally, Verdict};

/// Facts that are not looked for, and why.
const NOT_LOOKED_FOR: &[(&str, &str)] = &[
    ("caveat", "a note on the recording"),
    ("stream", "a note on the recording"),
    ("usage", "its counts are compared one by one"),
    ("from_headers", "the counts themselves are compared"),
    ("finish_reasons_wire", "the names are compared"),
];

/// Facts that the conventions have no attribute for.
const WITHOUT_AN_ATTRIBUTE: &[&str] =
    &["billed_input_tokens", "billed_output_tokens", "embedding_count", "reasoning_effort"];

/// Holds every fact against the span.
pub(crate) fn compare(exchange: &Exchange, span: &SpanData, tally: &mut Tally, place: &str) {
    for (field, expected) in exchange.truth.as_object().into_iter().flatten() {
        if NOT_LOOKED_FOR.iter().any(|(name, _)| name == field) {
            continue;
        }
        let found = found(field, expected, span);
        let verdict = match excepted(exchange, field) {
            Some(reason) => Verdict::Excepted(reason),
            None if same(expected, &found) => Verdict::Right,
            None if found.is_null() => Verdict::Missing,
            None => Verdict::Wrong,
        };
        tally.note(&exchange.provider, field, verdict);
        if matches!(verdict, Verdict::Wrong | Verdict::Missing) {
            tally.fault(place, &format!("{field}: {found} for {expected}"));
        }
    }
    if !attribute(span, "retrace.partial").is_null() {
        tally.fault(place, "marked partial though it was read to its end");
    }
}

fn excepted(exchange: &Exchange, field: &str) -> Option<&'static str> {
    let file = exchange.name.as_str();
    if WITHOUT_AN_ATTRIBUTE.contains(&field) {
        return Some("the conventions have no attribute for it");
    }
    let named =
        exchange.truth["error_code"].as_str().is_some_and(|code| !code.bytes().all(|byte| byte.is_ascii_digit()));
    match field {
        "error_type" if named => Some("`error.type` has the code, which says more"),
        "error_code" if !named => Some("a number: `error.type` has the type, or the status, which says the same"),
        "service_tier" if exchange.provider == "anthropic" => Some("the conventions have one for OpenAI only"),
        "provider" if exchange.provider == "vllm" => {
            Some("nothing in the exchange tells it from OpenAI: with_provider(\"localhost:8000\", \"vllm\") does")
        }
        "output_item_types" if file.starts_with("openai/responses/reasoning") => {
            Some("a reasoning item without any text has no part")
        }
        _ => None,
    }
}

fn same(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Number(expected), Value::Number(found)) => expected.as_f64() == found.as_f64(),
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(expected, found)| same(expected, found))
        }
        (Value::Object(expected), Value::Object(found)) => {
            // Of arguments the conventions want what the text says; the id of an item beside that of the call nobody reads.
            let told = expected.iter().filter(|(key, _)| !matches!(key.as_str(), "arguments_text" | "item_id"));
            told.into_iter().all(|(key, expected)| found.get(key).is_some_and(|found| same(expected, found)))
        }
        _ => expected == found,
    }
}

/// What the span says of a fact.
fn found(field: &str, expected: &Value, span: &SpanData) -> Value {
    let key = match field {
        "provider" => "gen_ai.provider.name",
        "operation" => "gen_ai.operation.name",
        "request_model" => "gen_ai.request.model",
        "response_model" => "gen_ai.response.model",
        "response_id" => "gen_ai.response.id",
        "input_tokens" => "gen_ai.usage.input_tokens",
        "output_tokens" => "gen_ai.usage.output_tokens",
        "cache_read_input_tokens" => "gen_ai.usage.cache_read.input_tokens",
        "cache_creation_input_tokens" => "gen_ai.usage.cache_creation.input_tokens",
        "reasoning_output_tokens" => "gen_ai.usage.reasoning.output_tokens",
        "finish_reasons" => "gen_ai.response.finish_reasons",
        "temperature" => "gen_ai.request.temperature",
        "top_p" => "gen_ai.request.top_p",
        "top_k" => "gen_ai.request.top_k",
        "max_tokens" => "gen_ai.request.max_tokens",
        "seed" => "gen_ai.request.seed",
        "frequency_penalty" => "gen_ai.request.frequency_penalty",
        "presence_penalty" => "gen_ai.request.presence_penalty",
        "choice_count" => "gen_ai.request.choice.count",
        "server_address" => "server.address",
        "server_port" => "server.port",
        "http_status" => "http.response.status_code",
        "service_tier" => "openai.response.service_tier",
        "request_service_tier" => "openai.request.service_tier",
        "system_fingerprint" => "openai.response.system_fingerprint",
        "embedding_dimensions" | "dimensions" => "gen_ai.embeddings.dimension.count",
        _ => return derived(field, expected, span),
    };
    attribute(span, key)
}

fn derived(field: &str, expected: &Value, span: &SpanData) -> Value {
    match field {
        "streaming" => (attribute(span, "gen_ai.request.stream") == true).into(),
        "total_tokens" => {
            let count = |key| attribute(span, key).as_u64().unwrap_or(0);
            (count("gen_ai.usage.input_tokens") + count("gen_ai.usage.output_tokens")).into()
        }
        "stop" => match (attribute(span, "gen_ai.request.stop_sequences"), expected) {
            (Value::Array(list), Value::String(_)) if list.len() == 1 => list.into_iter().next().unwrap_or_default(),
            (Value::Null, Value::Array(_)) => json!([]),
            (found, _) => found,
        },
        "encoding_format" => attribute(span, "gen_ai.request.encoding_formats").get(0).cloned().unwrap_or_default(),
        "response_status" => attribute(span, "gen_ai.response.finish_reasons").get(0).cloned().unwrap_or_default(),
        "error_type" | "error_code" => attribute(span, "error.type"),
        "error_message" => match &span.status {
            Status::Error { description } => description.as_ref().into(),
            _ => Value::Null,
        },
        _ => answer(field, span),
    }
}

/// What the messages say.
fn answer(field: &str, span: &SpanData) -> Value {
    let messages = content(span, "gen_ai.output.messages");
    let messages: Vec<Vec<Value>> = messages
        .as_array()
        .into_iter()
        .flatten()
        .map(|message| message["parts"].as_array().cloned().unwrap_or_default())
        .collect();
    let texts = |kind: &str| -> Vec<String> {
        let of = |parts: &Vec<Value>| {
            parts
                .iter()
                .filter(|part| part["type"] == kind)
                .filter_map(|part| part["content"].as_str())
                .collect::<String>()
        };
        messages.iter().map(of).collect()
    };
    let of_kind = |kind: &'static str| messages.iter().flatten().filter(move |part| part["type"] == kind);
    let joined = |kind: &str| match texts(kind).concat() {
        text if text.is_empty() => Value::Null,
        text => text.into(),
    };
    match field {
        "output_text" => joined("text"),
        "output_texts" => texts("text").into(),
        "reasoning_text" | "tool_plan" => joined("reasoning"),
        "refusal" => joined("refusal"),
        "tool_calls" => of_kind("tool_call").cloned().collect(),
        "hosted_tool_calls" => of_kind("server_tool_call")
            .map(|part| json!({ "id": part["id"], "type": part["server_tool_call"]["type"] }))
            .collect(),
        "output_block_types" | "output_item_types" => {
            let blocks = field == "output_block_types";
            messages.iter().flatten().map(|part| kind(part, blocks)).collect()
        }
        _ => Value::Null,
    }
}

fn kind(part: &Value, blocks: bool) -> Value {
    match (part["type"].as_str().unwrap_or_default(), blocks) {
        ("tool_call", true) => "tool_use".into(),
        ("reasoning", true) => "thinking".into(),
        ("tool_call", false) => "function_call".into(),
        ("text" | "refusal", false) => "message".into(),
        ("server_tool_call", false) => part["server_tool_call"]["type"].clone(),
        (other, _) => other.into(),
    }
}
