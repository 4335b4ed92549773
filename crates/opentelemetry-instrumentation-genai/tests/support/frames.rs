//! Frames of AWS event streams, encoded.

use base64::Engine as _;
use serde_json::{Value as Json, json};

/// A frame with these headers, all of them texts.
pub(crate) fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(u8::try_from(name.len()).unwrap());
        head.extend(name.bytes());
        head.push(7);
        head.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        head.extend(value.bytes());
    }
    let length = u32::try_from(16 + head.len() + payload.len()).unwrap();
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(u32::try_from(head.len()).unwrap().to_be_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes.extend(head);
    bytes.extend(payload);
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

/// An event of this type, with the padding that Bedrock adds.
pub(crate) fn event(kind: &str, mut payload: Json) -> Vec<u8> {
    payload["p"] = "abcdefgh".into();
    let headers = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    frame(&headers, payload.to_string().as_bytes())
}

/// A chunk of `invoke-with-response-stream`.
pub(crate) fn chunk(document: &Json) -> Vec<u8> {
    let bytes = base64::engine::general_purpose::STANDARD.encode(document.to_string());
    event("chunk", json!({ "bytes": bytes }))
}

/// An exception of this type.
pub(crate) fn exception(kind: &str, message: &str) -> Vec<u8> {
    let headers = [(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")];
    frame(&headers, json!({ "message": message }).to_string().as_bytes())
}

/// An answer of `converse-stream` that has text, reasoning and a call of a tool with these arguments.
pub(crate) fn converse(given: &Json) -> Vec<Vec<u8>> {
    let arguments = given.to_string();
    let half = (0..=arguments.len() / 2).rev().find(|place| arguments.is_char_boundary(*place)).unwrap();
    let (first, second) = arguments.split_at(half);
    let delta =
        |index: u64, delta: Json| event("contentBlockDelta", json!({ "contentBlockIndex": index, "delta": delta }));
    let stop = |index: u64| event("contentBlockStop", json!({ "contentBlockIndex": index }));
    vec![
        event("messageStart", json!({ "role": "assistant" })),
        delta(0, json!({ "reasoningContent": { "text": "Hm" } })),
        delta(0, json!({ "reasoningContent": { "text": "m." } })),
        delta(0, json!({ "reasoningContent": { "signature": "c2ln" } })),
        stop(0),
        delta(1, json!({ "text": "Hel" })),
        delta(1, json!({ "text": "lo" })),
        stop(1),
        event(
            "contentBlockStart",
            json!({ "contentBlockIndex": 2, "start": { "toolUse": { "toolUseId": "c1", "name": "f" } } }),
        ),
        delta(2, json!({ "toolUse": { "input": first } })),
        delta(2, json!({ "toolUse": { "input": second } })),
        stop(2),
        event("messageStop", json!({ "stopReason": "tool_use" })),
        event(
            "metadata",
            json!({ "metrics": { "latencyMs": 9 }, "usage": { "inputTokens": 3, "outputTokens": 2, "totalTokens": 20,
            "cacheReadInputTokens": 10, "cacheWriteInputTokens": 5 } }),
        ),
    ]
}
