//! Exchanges in the forms that gateways and servers give them, and the spans of their calls.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod anthropic;
mod bedrock;
mod chat;
mod ends;
mod gemini;
mod interactions;
mod others;
mod responses;
#[path = "../support/mod.rs"]
mod support;
mod unknown_items;

use serde_json::{Value, json};
use support::{Exchange, Rig, expect, parts, sse};

const RESPONSES: &str = "https://api.openai.com/v1/responses";
const CHAT: &str = "https://openrouter.ai/api/v1/chat/completions";
const GEMINI: &str = "https://generativelanguage.googleapis.com/v1beta/models/gemini-3-flash:generateContent";
const GEMINI_STREAM: &str =
    "https://generativelanguage.googleapis.com/v1beta/models/gemini-3-flash:streamGenerateContent?alt=sse";
const ANTHROPIC: &str = "https://api.anthropic.com/v1/messages";

/// The exchange of a file in `tests/exchanges`.
fn recorded(text: &str) -> (String, Value, String) {
    let file: Value = serde_json::from_str(text).unwrap();
    let response = &file["response"];
    let body = match response["sse"].as_array() {
        Some(events) => events
            .iter()
            .map(|event| match event.as_str() {
                Some(text) => text.to_owned(),
                None if file["events"] == true => {
                    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
                }
                None => format!("data: {event}\n\n"),
            })
            .collect(),
        None => response["body"].to_string(),
    };
    (file["request"]["url"].as_str().unwrap().to_owned(), file["request"]["body"].clone(), body)
}

fn span_of(text: &str) -> Value {
    let (url, request, response) = recorded(text);
    Exchange::new(&url, &request, response).span()
}

fn chat_request(stream: bool) -> Value {
    json!({ "model": "m", "stream": stream, "messages": [{ "role": "user", "content": "hi" }] })
}

/// The span of a chat stream with these deltas.
fn chat_stream(deltas: &[Value]) -> Value {
    let mut events: Vec<Value> =
        deltas.iter().map(|delta| json!({ "id": "c1", "choices": [{ "index": 0, "delta": delta }] })).collect();
    events.push(json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] }));
    Exchange::new(CHAT, &chat_request(true), sse(&events) + "data: [DONE]\n\n").span()
}

/// The span of a whole chat answer.
fn chat_answer(message: &Value) -> Value {
    let body = json!({ "id": "c1", "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] });
    Exchange::new(CHAT, &chat_request(false), body.to_string()).span()
}

fn anthropic_stream(blocks: &[Value]) -> Value {
    let mut events = vec![json!({ "type": "message_start", "message": { "id": "m1", "content": [] } })];
    events.extend_from_slice(blocks);
    events.push(json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" } }));
    events.push(json!({ "type": "message_stop" }));
    Exchange::new(ANTHROPIC, &chat_request(true), sse(&events)).span()
}

fn gemini(stream: &[Value]) -> Value {
    let last = stream.len() - 1;
    let event = |(place, parts): (usize, &Value)| {
        let mut candidate = json!({ "content": { "role": "model", "parts": parts } });
        if place == last {
            candidate["finishReason"] = "STOP".into();
        }
        json!({ "candidates": [candidate] })
    };
    let events: Vec<Value> = stream.iter().enumerate().map(event).collect();
    let request = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] });
    Exchange::new(GEMINI_STREAM, &request, sse(&events)).span()
}
