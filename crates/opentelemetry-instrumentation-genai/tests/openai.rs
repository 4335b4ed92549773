//! OpenAI's APIs, and the oddities of those who speak them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Exchange, Rig, expect, parts, sse};

const CHAT: &str = "https://api.openai.com/v1/chat/completions";
const RESPONSES: &str = "https://api.openai.com/v1/responses";
const COMPLETIONS: &str = "http://localhost:8000/v1/completions";

fn chat(stream: bool) -> Value {
    json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "hi" }], "stream": stream })
}

fn delta(delta: &Value) -> Value {
    json!({ "id": "c1", "model": "gpt-4o-x", "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })
}

fn finish(reason: &str) -> Value {
    json!({ "id": "c1", "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

#[test]
fn log_probabilities_and_token_ids() {
    let token = |text: &str, logprob: f64| json!({ "token": text, "logprob": logprob, "bytes": [104], "top_logprobs": [{ "token": "x", "logprob": -9.0 }] });
    let whole = json!({ "id": "c1", "choices": [{ "index": 0, "message": { "role": "assistant", "content": "hello" },
        "logprobs": { "content": [token("hel", -0.25), token("lo", -1.5)] }, "finish_reason": "stop" },
        { "index": 1, "message": { "content": "other" }, "logprobs": { "content": [token("other", -7.0)] }, "finish_reason": "stop" }] });
    let span = Exchange::new(CHAT, &chat(false), whole.to_string()).span();
    expect(&span, &json!({ "retrace.logprobs": [-0.25, -1.5], "retrace.token_ids": null }));

    let chunk = |text: &str, ids: &[i64], logprob: f64| json!({ "choices": [{ "index": 0, "delta": { "content": text }, "token_ids": ids, "logprobs": { "content": [token(text, logprob)] } }] });
    let stream = sse(&[chunk("hel", &[17], -0.25), chunk("lo", &[4], -1.5), finish("stop")]) + "data: [DONE]\n\n";
    let span = Exchange::new("http://localhost:8000/v1/chat/completions", &chat(true), stream).span();
    expect(&span, &json!({ "retrace.logprobs": [-0.25, -1.5], "retrace.token_ids": [17, 4], "retrace.partial": null }));

    // vLLM configured to write ids in place of texts, and a server that writes no JSON.
    let tokens = r#"{"choices":[{"index":0,"text":"hello","finish_reason":"stop",
        "logprobs":{"tokens":["token_id:9","token_id:8"],"token_logprobs":[null,-Infinity]}}]}"#;
    let request = json!({ "model": "m", "prompt": "say" });
    let span = Exchange::new(COMPLETIONS, &request, tokens).span();
    expect(
        &span,
        &json!({ "retrace.token_ids": [9, 8], "retrace.logprobs": null, "gen_ai.operation.name": "text_completion" }),
    );
}

#[test]
fn streams_with_reasoning_refusals_and_legacy_functions() {
    let stream = sse(&[
        delta(&json!({ "role": "assistant", "reasoning_content": "Hm" })),
        delta(&json!({ "reasoning_content": "m." })),
        delta(&json!({ "content": "I c" })),
        delta(&json!({ "refusal": "I must not." })),
        delta(&json!({ "function_call": { "name": "f", "arguments": "{\"a\"" } })),
        delta(&json!({ "function_call": { "arguments": ":1}" } })),
        finish("function_call"),
    ]);
    let span = Exchange::new(CHAT, &chat(true), stream).span();
    let expected = json!([
        { "type": "reasoning", "content": "Hmm." },
        { "type": "text", "content": "I c" },
        { "type": "refusal", "content": "I must not." },
        { "type": "tool_call", "name": "f", "arguments": { "a": 1 } },
    ]);
    assert_eq!(parts(&span), &expected);
    expect(&span, &json!({ "gen_ai.response.finish_reasons": ["function_call"], "retrace.partial": null }));
    assert_eq!(span["gen_ai.output.messages"][0]["finish_reason"], "tool_call");
}

#[test]
fn tool_calls_without_numbers_and_with_two_at_once() {
    let call = |id: &str, city: &str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": { "city": city } } });
    let stream = sse(&[
        delta(&json!({ "tool_calls": [call("a", "Oslo")] })),
        delta(&json!({ "tool_calls": [call("b", "Bergen")] })),
        finish("tool_calls"),
    ]);
    let span = Exchange::new(CHAT, &chat(true), stream).span();
    let expected = json!([
        { "type": "tool_call", "id": "a", "name": "f", "arguments": { "city": "Oslo" } },
        { "type": "tool_call", "id": "b", "name": "f", "arguments": { "city": "Bergen" } },
    ]);
    assert_eq!(parts(&span), &expected);
}

#[test]
fn errors_before_and_within_a_stream() {
    let error = |code: Value, kind: &str| json!({ "error": { "message": "No.", "type": kind, "code": code } });
    for (status, body, expected) in [
        (401, error(json!("invalid_api_key"), "invalid_request_error").to_string(), "invalid_api_key"),
        (429, error(json!("rate_limit_exceeded"), "tokens").to_string(), "rate_limit_exceeded"),
        (429, error(Value::Null, "insufficient_quota").to_string(), "insufficient_quota"),
        (
            400,
            json!({ "object": "error", "message": "No.", "type": "BadRequestError", "code": 400 }).to_string(),
            "BadRequestError",
        ),
        (422, json!({ "detail": "No." }).to_string(), "422"),
        (500, "<html>oops { not json".to_owned(), "500"),
        (503, String::new(), "503"),
        (502, error(json!(502), "").to_string(), "502"),
    ] {
        let span = Exchange::new(CHAT, &chat(true), body).status(status).span();
        expect(&span, &json!({ "error.type": expected, "http.response.status_code": status, "retrace.partial": null }));
    }
    let stream = sse(&[delta(&json!({ "content": "Hel" })), error(json!("server_error"), "server_error")]);
    let span = Exchange::new(CHAT, &chat(true), stream).span();
    expect(&span, &json!({ "error.type": "server_error", "failed": "No.", "gen_ai.response.id": "c1" }));
    assert_eq!(parts(&span)[0]["content"], "Hel");
    assert_eq!(span["gen_ai.output.messages"][0]["finish_reason"], "error");
}

#[test]
fn a_stream_that_is_cut_is_partial_and_one_that_ends_is_not() {
    let begun = sse(&[delta(&json!({ "content": "Hel" }))]);
    let span = Exchange::new(CHAT, &chat(true), begun.clone() + "data: {\"choices\":[{\"delta\":{\"cont").span();
    expect(&span, &json!({ "retrace.partial": true, "error.type": null }));
    assert_eq!(parts(&span)[0]["content"], "Hel");
    for end in [sse(&[finish("stop")]), "data: [DONE]\n\n".to_owned(), "data:[DONE]".to_owned()] {
        let span = Exchange::new(CHAT, &chat(true), begun.clone() + &end).span();
        expect(&span, &json!({ "retrace.partial": null }));
    }
}

#[test]
fn pain_24_usage_wherever_it_is() {
    let usage = json!({ "prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 19,
        "completion_tokens_details": { "reasoning_tokens": 5 }, "prompt_cache_hit_tokens": 6 });
    for stream in [
        sse(&[json!({ "choices": [], "usage": usage })]),
        sse(&[json!({ "choices": [], "x_groq": { "usage": usage } }), json!({ "choices": [], "usage": null })]),
    ] {
        let span =
            Exchange::new("https://api.x.ai/v1/chat/completions", &chat(true), stream + "data: [DONE]\n\n").span();
        // The sum shows that reasoning is counted beside the output here.
        expect(
            &span,
            &json!({ "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 9,
            "gen_ai.usage.reasoning.output_tokens": 5, "gen_ai.usage.cache_read.input_tokens": 6, "gen_ai.provider.name": "x_ai" }),
        );
    }
    let span = Exchange::new(CHAT, &chat(true), sse(&[finish("stop")])).span();
    expect(&span, &json!({ "gen_ai.usage.input_tokens": null, "gen_ai.usage.output_tokens": null }));
}

#[test]
fn requests_of_many_parts() {
    let request = json!({
        "model": "gpt-4o-audio", "modalities": ["text", "audio"], "n": 2, "max_completion_tokens": 9, "stop": "END",
        "messages": [
            { "role": "developer", "content": "Be terse." },
            { "role": "user", "name": "ada", "content": [
                { "type": "text", "text": "What is it?" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } },
                { "type": "image_url", "image_url": { "url": "https://example.com/x.png" } },
                { "type": "input_audio", "input_audio": { "data": "BBBB", "format": "wav" } },
                { "type": "file", "file": { "file_id": "file-1" } },
            ] },
            { "role": "assistant", "content": null, "tool_calls": [{ "id": "t1", "type": "function", "function": { "name": "f", "arguments": "not json" } }] },
            { "role": "tool", "tool_call_id": "t1", "content": [{ "type": "text", "text": "42" }] },
        ],
        "tools": [{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }, { "type": "web_search" }],
    });
    let answer = json!({ "choices": [{ "message": { "content": null, "audio": { "id": "a1", "data": "CCCC", "transcript": "A duck." } }, "finish_reason": "stop" }] });
    let span = Exchange::new(CHAT, &request, answer.to_string()).span();
    expect(
        &span,
        &json!({
            "gen_ai.output.type": "speech", "gen_ai.request.choice.count": 2, "gen_ai.request.max_tokens": 9,
            "gen_ai.request.stop_sequences": ["END"], "name": "chat gpt-4o-audio",
            "gen_ai.input.messages": [
                { "role": "system", "parts": [{ "type": "text", "content": "Be terse." }] },
                { "role": "user", "name": "ada", "parts": [
                    { "type": "text", "content": "What is it?" },
                    { "type": "blob", "modality": "image", "mime_type": "image/png", "content": "AAAA" },
                    { "type": "uri", "modality": "image", "uri": "https://example.com/x.png" },
                    { "type": "blob", "modality": "audio", "mime_type": "audio/wav", "content": "BBBB" },
                    { "type": "file", "modality": "file", "file_id": "file-1" },
                ] },
                { "role": "assistant", "parts": [{ "type": "tool_call", "id": "t1", "name": "f", "arguments": "not json" }] },
                { "role": "tool", "parts": [{ "type": "tool_call_response", "id": "t1", "response": "42" }] },
            ],
            "gen_ai.tool.definitions": [{ "type": "function", "name": "f", "parameters": { "type": "object" } }, { "type": "web_search", "name": "web_search" }],
        }),
    );
    assert_eq!(parts(&span)[0]["content"], "A duck.");
    assert_eq!(parts(&span)[1]["modality"], "audio");
}

#[test]
fn responses_that_end_early_fail_or_reason() {
    let request = json!({ "model": "o4", "input": "hi", "previous_response_id": "resp_0", "conversation": { "id": "conv_1" }, "stream": true });
    let response = |status: &str, rest: &Value| {
        let mut response = json!({ "id": "resp_1", "object": "response", "model": "o4-x", "status": status, "output": [],
            "usage": { "input_tokens": 3, "output_tokens": 2, "total_tokens": 5 } });
        response.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        response
    };
    let events = |end: Value| {
        sse(&[
            json!({ "type": "response.created", "response": { "id": "resp_1", "object": "response", "status": "in_progress", "usage": null } }),
            json!({ "type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "Let me" }),
            json!({ "type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": " see." }),
            json!({ "type": "response.refusal.delta", "output_index": 1, "content_index": 0, "delta": "No." }),
            json!({ "type": "response.output_text.delta", "output_index": 2, "content_index": 0, "delta": "Hi", "logprobs": [{ "token": "Hi", "logprob": -0.5 }] }),
            json!({ "type": "response.output_item.done", "output_index": 2, "item": { "type": "message", "content": [{ "type": "output_text", "text": "Hi", "logprobs": [{ "token": "Hi", "logprob": -0.5 }] }] } }),
            json!({ "type": "response.output_item.done", "output_index": 3, "item": { "type": "mcp_call", "id": "mcp_1", "name": "look", "arguments": "{}" } }),
            end,
        ])
    };
    let end = json!({ "type": "response.incomplete", "response": response("incomplete", &json!({ "incomplete_details": { "reason": "max_output_tokens" } })) });
    let span = Exchange::new(RESPONSES, &request, events(end)).span();
    expect(
        &span,
        &json!({ "gen_ai.response.finish_reasons": ["max_output_tokens"], "gen_ai.conversation.id": "conv_1", "retrace.logprobs": [-0.5],
        "gen_ai.usage.output_tokens": 2, "gen_ai.response.model": "o4-x", "retrace.partial": null, "error.type": null }),
    );
    let expected = json!([
        { "type": "reasoning", "content": "Let me see." },
        { "type": "refusal", "content": "No." },
        { "type": "text", "content": "Hi" },
        { "type": "server_tool_call", "id": "mcp_1", "name": "look", "server_tool_call": { "type": "mcp_call", "id": "mcp_1", "name": "look", "arguments": "{}" } },
    ]);
    assert_eq!(parts(&span), &expected);

    let end = json!({ "type": "response.failed", "response": response("failed", &json!({ "error": { "code": "server_error", "message": "Oh." } })) });
    let span = Exchange::new(RESPONSES, &request, events(end)).span();
    expect(
        &span,
        &json!({ "error.type": "server_error", "failed": "Oh.", "gen_ai.response.finish_reasons": ["failed"] }),
    );

    let span = Exchange::new(
        RESPONSES,
        &request,
        events(json!({ "type": "error", "code": "rate_limit_exceeded", "message": "Slow." })),
    )
    .span();
    expect(&span, &json!({ "error.type": "rate_limit_exceeded", "failed": "Slow." }));

    let span = Exchange::new(RESPONSES, &request, events(json!({ "type": "response.in_progress" }))).span();
    expect(&span, &json!({ "retrace.partial": true }));
}

#[test]
fn what_is_no_model_call_is_left_alone() {
    let rig = Rig::new();
    let start = |method: &str, url: &str, body: &str| {
        let request = opentelemetry_instrumentation_genai::Request { method, url, body: Some(body.as_bytes()) };
        rig.genai.start(&request).is_some()
    };
    let chat = chat(false).to_string();
    assert!(start("POST", CHAT, &chat));
    assert!(start("POST", "http://10.0.0.7/some/gateway/openai/chat/completions?key=x", &chat));
    assert!(!start("GET", CHAT, &chat));
    assert!(!start("POST", "https://api.openai.com/v1/threads/t/messages", &chat));
    assert!(!start("POST", "https://api.openai.com/v1/responses/r/cancel", "{}"));
    assert!(!start("POST", "https://chat.example.com/api/chat", r#"{"text":"hello"}"#));
    assert!(!start("POST", "https://forum.example.com/v1/messages", r#"{"to":"ada","text":"hello"}"#));
    assert!(!start("POST", "https://survey.example.com/responses", r#"{"answers":[1,2]}"#));
}

/// Unknown is not zero: a stream whose request did not ask for counts has none, and an attribute names the missing option.
#[test]
fn a_stream_without_usage_has_no_counts_and_states_why() {
    let no_counts = |missing: Value| json!({ "gen_ai.usage.input_tokens": null, "gen_ai.usage.output_tokens": null, "retrace.usage_missing": missing });
    let stream = sse(&[delta(&json!({ "content": "hello" })), finish("stop")]) + "data: [DONE]\n\n";
    let span = Exchange::new(CHAT, &chat(true), stream.clone()).span();
    expect(&span, &no_counts("stream_options.include_usage".into()));
    // A stream that was cut may lack its counts; a whole response without them is no stream.
    let cut = sse(&[delta(&json!({ "content": "hello" }))]);
    expect(&Exchange::new(CHAT, &chat(true), cut).span(), &no_counts(Value::Null));
    let whole =
        json!({ "id": "c1", "choices": [{ "index": 0, "message": { "content": "hi" }, "finish_reason": "stop" }] });
    expect(&Exchange::new(CHAT, &chat(false), whole.to_string()).span(), &no_counts(Value::Null));
    let usage = json!({ "id": "c1", "choices": [], "usage": { "prompt_tokens": 3, "completion_tokens": 0 } });
    let counted = sse(&[delta(&json!({ "content": "hello" })), finish("stop"), usage]) + "data: [DONE]\n\n";
    let span = Exchange::new(CHAT, &chat(true), counted).span();
    expect(
        &span,
        &json!({ "gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": 0, "retrace.usage_missing": null }),
    );
}
