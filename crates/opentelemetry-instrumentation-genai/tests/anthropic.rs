//! Anthropic's messages, wherever they are served.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Exchange, expect, parts, sse};

const URL: &str = "https://api.anthropic.com/v1/messages";

fn request() -> Value {
    json!({ "model": "claude", "max_tokens": 9, "stream": true, "system": [{ "type": "text", "text": "Be kind.", "cache_control": { "type": "ephemeral" } }],
        "messages": [{ "role": "user", "content": "hi" }] })
}

fn start() -> Value {
    json!({ "type": "message_start", "message": { "id": "msg_1", "type": "message", "model": "claude-1", "content": [],
        "usage": { "input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 7, "output_tokens": 1 } } })
}

#[test]
fn a_stream_with_every_kind_of_block() {
    let stream = sse(&[
        start(),
        json!({ "type": "ping" }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "thinking", "thinking": "", "signature": "" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "thinking_delta", "thinking": "Hm." } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "signature_delta", "signature": "c2ln" } }),
        json!({ "type": "content_block_start", "index": 1, "content_block": { "type": "redacted_thinking", "data": "ZW5j" } }),
        json!({ "type": "content_block_start", "index": 2, "content_block": { "type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {} } }),
        json!({ "type": "content_block_delta", "index": 2, "delta": { "type": "input_json_delta", "partial_json": "{\"query\":\"x\"}" } }),
        json!({ "type": "content_block_start", "index": 3, "content_block": { "type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [{ "type": "web_search_result", "url": "https://example.com" }] } }),
        json!({ "type": "content_block_start", "index": 4, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "content_block_delta", "index": 4, "delta": { "type": "text_delta", "text": "Here" } }),
        json!({ "type": "content_block_start", "index": 5, "content_block": { "type": "tool_use", "id": "t_1", "name": "f", "input": {} } }),
        json!({ "type": "content_block_delta", "index": 5, "delta": { "type": "input_json_delta", "partial_json": "" } }),
        json!({ "type": "content_block_delta", "index": 5, "delta": { "type": "input_json_delta", "partial_json": "{\"a\":" } }),
        json!({ "type": "content_block_delta", "index": 5, "delta": { "type": "input_json_delta", "partial_json": "1}" } }),
        json!({ "type": "content_block_stop", "index": 5 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" }, "usage": { "output_tokens": 40 } }),
        json!({ "type": "message_stop" }),
    ]);
    let span = Exchange::new(URL, &request(), stream).span();
    expect(
        &span,
        &json!({
            "gen_ai.usage.input_tokens": 117, "gen_ai.usage.output_tokens": 40, "gen_ai.usage.cache_read.input_tokens": 100,
            "gen_ai.usage.cache_creation.input_tokens": 7, "gen_ai.response.finish_reasons": ["tool_use"], "retrace.partial": null,
            "gen_ai.system_instructions": [{ "type": "text", "content": "Be kind." }],
        }),
    );
    let kinds: Vec<&str> = parts(&span).as_array().unwrap().iter().map(|part| part["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["reasoning", "redacted_thinking", "server_tool_call", "server_tool_call_response", "text", "tool_call"]
    );
    assert_eq!(parts(&span)[5]["arguments"], json!({ "a": 1 }));
}

#[test]
fn a_tool_without_arguments_and_a_stream_that_fails() {
    let block = json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "tool_use", "id": "t_1", "name": "now", "input": {} } });
    let overloaded = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } });
    let span = Exchange::new(URL, &request(), sse(&[start(), block, overloaded.clone()])).span();
    expect(
        &span,
        &json!({ "error.type": "overloaded_error", "failed": "Overloaded", "gen_ai.response.id": "msg_1", "gen_ai.usage.input_tokens": 117 }),
    );
    assert_eq!(parts(&span), &json!([{ "type": "tool_call", "id": "t_1", "name": "now" }]));
    let span = Exchange::new(URL, &request(), overloaded.to_string()).status(529).span();
    expect(
        &span,
        &json!({ "error.type": "overloaded_error", "http.response.status_code": 529, "gen_ai.output.messages": null }),
    );
    let span = Exchange::new(URL, &request(), sse(&[start()])).span();
    expect(&span, &json!({ "retrace.partial": true, "gen_ai.response.model": "claude-1", "error.type": null }));
}

#[test]
fn requests_with_documents_results_and_tools() {
    let request = json!({ "model": "claude", "max_tokens": 9, "messages": [
        { "role": "user", "content": [{ "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": "QQ==" } },
            { "type": "image", "source": { "type": "url", "url": "https://example.com/a.png" } }] },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "t", "name": "f", "input": { "a": [1] } }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t", "content": [{ "type": "text", "text": "4" }, { "type": "text", "text": "2" }] }] },
    ], "tools": [{ "name": "f", "description": "d", "input_schema": { "type": "object" } }, { "type": "web_search_20250305", "name": "web_search" }] });
    let answer = json!({ "id": "msg_1", "type": "message", "content": [{ "type": "text", "text": "Ok." }], "stop_reason": "end_turn" });
    let span = Exchange::new(URL, &request, answer.to_string()).span();
    expect(
        &span,
        &json!({ "gen_ai.input.messages": [
        { "role": "user", "parts": [{ "type": "blob", "modality": "document", "mime_type": "application/pdf", "content": "QQ==" },
            { "type": "uri", "modality": "image", "uri": "https://example.com/a.png" }] },
        { "role": "assistant", "parts": [{ "type": "tool_call", "id": "t", "name": "f", "arguments": { "a": [1] } }] },
        { "role": "user", "parts": [{ "type": "tool_call_response", "id": "t", "response": "42" }] },
    ], "gen_ai.tool.definitions": [
        { "type": "function", "name": "f", "description": "d", "parameters": { "type": "object" } },
        { "type": "web_search_20250305", "name": "web_search" },
    ] }),
    );
}

#[test]
fn claude_on_vertex_has_its_model_in_the_url() {
    let url = "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/anthropic/models/claude-opus-4%4020250514:streamRawPredict";
    let body = json!({ "anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }], "stream": true });
    let span = Exchange::new(url, &body, sse(&[start(), json!({ "type": "message_stop" })])).span();
    expect(
        &span,
        &json!({ "name": "chat claude-opus-4@20250514", "gen_ai.provider.name": "gcp.vertex_ai", "gen_ai.request.stream": true, "retrace.partial": null }),
    );
}
