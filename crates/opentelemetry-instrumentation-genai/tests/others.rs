//! Gemini, Ollama, Cohere, Bedrock and the rest.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Exchange, expect, parts, sse};

const GEMINI: &str = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash";

fn gemini() -> Value {
    json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }], "generationConfig": { "responseMimeType": "application/json" } })
}

fn candidates(parts: &Value, rest: &Value) -> Value {
    let mut chunk = json!({ "responseId": "r1", "modelVersion": "gemini-x", "candidates": [{ "content": { "role": "model", "parts": parts } }] });
    chunk["candidates"][0].as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    chunk
}

#[test]
fn gemini_streams_events_or_one_list() {
    let call =
        json!({ "functionCall": { "id": "f1", "name": "look", "args": { "at": "x" } }, "thoughtSignature": "AA" });
    let logprobs = json!({ "chosenCandidates": [{ "token": "a", "tokenId": 5, "logProbability": -0.5 }] });
    let mut last = candidates(&json!([call]), &json!({ "finishReason": "STOP", "logprobsResult": logprobs }));
    last["usageMetadata"] = json!({ "promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "toolUsePromptTokenCount": 1, "totalTokenCount": 16 });
    let chunks = [
        candidates(&json!([{ "text": "Hm, ", "thought": true }]), &json!({})),
        candidates(&json!([{ "text": "let me", "thought": true }, { "text": "Look" }]), &json!({})),
        candidates(&json!([{ "text": "ing." }]), &json!({})),
        last,
    ];
    let list = format!(
        "[{}\n]",
        chunks.iter().map(|chunk| serde_json::to_string_pretty(chunk).unwrap()).collect::<Vec<_>>().join("\n,\r\n")
    );
    let events = sse(&chunks).replace('\n', "\r\n");
    for (url, stream) in [
        (format!("{GEMINI}:streamGenerateContent?alt=sse&key=secret"), events),
        (format!("{GEMINI}:streamGenerateContent"), list),
    ] {
        let span = Exchange::new(&url, &gemini(), stream).span();
        expect(
            &span,
            &json!({
                "name": "generate_content gemini-2.5-flash", "gen_ai.provider.name": "gcp.gemini", "gen_ai.request.stream": true, "gen_ai.output.type": "json",
                "gen_ai.usage.input_tokens": 11, "gen_ai.usage.output_tokens": 5, "gen_ai.usage.cache_read.input_tokens": 4,
                "retrace.token_ids": [5], "retrace.logprobs": [-0.5], "retrace.partial": null, "gen_ai.response.finish_reasons": ["STOP"],
            }),
        );
        let expected = json!([
            { "type": "reasoning", "content": "Hm, let me" },
            { "type": "text", "content": "Looking." },
            { "type": "tool_call", "id": "f1", "name": "look", "arguments": { "at": "x" } },
        ]);
        assert_eq!(parts(&span), &expected);
        assert!(!span.to_string().contains("secret"), "keys in URLs are not recorded");
    }
}

#[test]
fn gemini_that_blocks_fails_or_embeds() {
    let blocked = json!({ "promptFeedback": { "blockReason": "SAFETY" }, "usageMetadata": { "promptTokenCount": 3 } });
    let url = format!("{GEMINI}:generateContent");
    let span = Exchange::new(&url, &gemini(), blocked.to_string()).span();
    expect(&span, &json!({ "gen_ai.response.finish_reasons": ["SAFETY"], "gen_ai.usage.input_tokens": 3 }));
    let error = json!([{ "error": { "code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Slow." } }]);
    let span = Exchange::new(&url, &gemini(), error.to_string()).status(429).span();
    expect(&span, &json!({ "error.type": "RESOURCE_EXHAUSTED", "failed": "Slow." }));
    let request = json!({ "content": { "parts": [{ "text": "a" }] } });
    let answer = json!({ "embedding": { "values": vec![0.5; 700] } });
    let span = Exchange::new(&format!("{GEMINI}:embedContent"), &request, answer.to_string()).span();
    expect(&span, &json!({ "gen_ai.operation.name": "embeddings", "gen_ai.embeddings.dimension.count": 700 }));
}

#[test]
fn ollama_thinks_calls_tools_and_fails_in_lines() {
    let request = json!({ "model": "qwen3", "messages": [{ "role": "user", "content": "hi", "images": ["QUJD"] },
        { "role": "tool", "tool_name": "f", "content": "42" }], "options": { "num_predict": 5, "top_k": 3 }, "format": { "type": "object" } });
    let lines = |lines: &[Value]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let stream = lines(&[
        json!({ "model": "qwen3", "message": { "role": "assistant", "content": "", "thinking": "Hm" }, "done": false }),
        json!({ "model": "qwen3", "message": { "role": "assistant", "content": "", "thinking": "." }, "done": false }),
        json!({ "model": "qwen3", "message": { "role": "assistant", "content": "", "tool_calls": [{ "function": { "name": "f", "arguments": { "a": 1 } } }] }, "done": false }),
        json!({ "model": "qwen3", "message": { "role": "assistant", "content": "" }, "done_reason": "stop", "done": true, "prompt_eval_count": 3, "eval_count": 4,
            "logprobs": [{ "token": "a", "logprob": -0.1 }] }),
    ]);
    let url = "http://localhost:11434/api/chat";
    let span = Exchange::new(url, &request, stream).span();
    expect(
        &span,
        &json!({ "gen_ai.request.stream": true, "gen_ai.usage.output_tokens": 4, "gen_ai.request.top_k": 3.0, "gen_ai.output.type": "json",
        "retrace.partial": null, "retrace.logprobs": [-0.1], "gen_ai.provider.name": "ollama" }),
    );
    assert_eq!(
        parts(&span),
        &json!([{ "type": "reasoning", "content": "Hm." }, { "type": "tool_call", "name": "f", "arguments": { "a": 1 } }])
    );
    assert_eq!(
        span["gen_ai.input.messages"][1]["parts"][0],
        json!({ "type": "tool_call_response", "id": "f", "response": "42" })
    );
    let cut = lines(&[
        json!({ "message": { "content": "a" }, "done": false }),
        json!({ "message": { "content": "b" }, "done": false }),
    ]);
    expect(&Exchange::new(url, &request, cut.clone()).span(), &json!({ "retrace.partial": true }));
    let failed = cut + &lines(&[json!({ "error": "llama runner has died" })]);
    expect(
        &Exchange::new(url, &request, failed).span(),
        &json!({ "error.type": "_OTHER", "failed": "llama runner has died" }),
    );
    // Its other API is that of OpenAI. The port identifies the provider.
    let url = "http://gpu-box:11434/v1/chat/completions";
    let span = Exchange::new(url, &json!({ "model": "m", "messages": [] }), r#"{"choices":[]}"#).span();
    expect(&span, &json!({ "gen_ai.provider.name": "ollama", "openai.api.type": "chat_completions" }));
}

#[test]
fn the_error_of_cohere_is_that_of_the_span() {
    let request = json!({ "model": "command-a", "messages": [{ "role": "user", "content": "hi" }], "stream": true });
    let stream = sse(&[
        json!({ "type": "message-start", "id": "m1", "delta": { "message": { "role": "assistant" } } }),
        json!({ "type": "content-start", "index": 0, "delta": { "message": { "content": { "type": "thinking", "thinking": "" } } } }),
        json!({ "type": "content-delta", "index": 0, "delta": { "message": { "content": { "thinking": "Hm." } } } }),
        json!({ "type": "content-delta", "index": 1, "delta": { "message": { "content": { "text": "Hi" } } }, "logprobs": { "text": "Hi", "token_ids": [3, 4], "logprobs": [-0.5, -0.25] } }),
        json!({ "type": "message-end", "delta": { "finish_reason": "ERROR", "error": "worker died", "usage": { "billed_units": { "input_tokens": 1 }, "tokens": { "output_tokens": 8 } } } }),
    ]);
    let span = Exchange::new("https://api.cohere.com/v2/chat", &request, stream).span();
    expect(
        &span,
        &json!({ "error.type": "ERROR", "failed": "worker died", "gen_ai.usage.input_tokens": 1, "gen_ai.usage.output_tokens": 8,
        "retrace.token_ids": [3, 4], "retrace.logprobs": [-0.5, -0.25] }),
    );
    assert_eq!(parts(&span), &json!([{ "type": "reasoning", "content": "Hm." }, { "type": "text", "content": "Hi" }]));
}

#[test]
fn bedrock_speaks_in_many_tongues() {
    let host = "https://bedrock-runtime.eu-west-1.amazonaws.com/model";
    let request = json!({ "messages": [{ "role": "user", "content": [{ "text": "hi" }] }], "system": [{ "text": "Be terse." }],
        "toolConfig": { "tools": [{ "toolSpec": { "name": "f", "inputSchema": { "json": { "type": "object" } } } }] } });
    let answer = json!({ "output": { "message": { "role": "assistant", "content": [
        { "reasoningContent": { "reasoningText": { "text": "Hm.", "signature": "s" } } }, { "toolUse": { "toolUseId": "u", "name": "f", "input": {} } }] } },
        "stopReason": "tool_use", "usage": { "inputTokens": 5, "outputTokens": 2, "cacheReadInputTokens": 30, "cacheWriteInputTokens": 1, "totalTokens": 38 } });
    let span =
        Exchange::new(&format!("{host}/eu.amazon.nova-pro-v1%3A0/converse"), &request, answer.to_string()).span();
    expect(
        &span,
        &json!({ "gen_ai.request.model": "eu.amazon.nova-pro-v1:0", "gen_ai.usage.input_tokens": 36, "gen_ai.usage.output_tokens": 2,
        "gen_ai.tool.definitions": [{ "type": "function", "name": "f", "parameters": { "type": "object" } }] }),
    );
    assert_eq!(
        parts(&span),
        &json!([{ "type": "reasoning", "content": "Hm." }, { "type": "tool_call", "id": "u", "name": "f", "arguments": {} }])
    );
    let url = format!("{host}/x/converse");
    let refused = Exchange::new(&url, &request, json!({ "message": "Too many." }).to_string()).status(429);
    let span = refused.header("x-amzn-errortype", "ThrottlingException:http://internal/").span();
    expect(&span, &json!({ "error.type": "ThrottlingException", "failed": "Too many." }));
    let url = format!("{host}/x/converse-stream");
    let frames = Exchange::new(&url, &request, "\u{0}\u{0}\u{1}binary{\"a\":1}");
    let span = frames.header("content-type", "application/vnd.amazon.eventstream").span();
    let damaged = cfg!(feature = "bedrock").then_some(true);
    expect(
        &span,
        &json!({ "gen_ai.request.stream": true, "gen_ai.request.model": "x", "error.type": null, "retrace.partial": damaged }),
    );
}

#[test]
fn text_generation_inference_streams_its_tokens() {
    let request = json!({ "inputs": "Say", "parameters": { "max_new_tokens": 4, "stop": ["x"] } });
    let stream = sse(&[
        json!({ "index": 1, "token": { "id": 7, "text": "He", "logprob": -0.5, "special": false }, "generated_text": null, "details": null }),
        json!({ "index": 2, "token": { "id": 8, "text": "y", "logprob": -0.25, "special": false }, "generated_text": "Hey", "details": { "finish_reason": "length", "generated_tokens": 2, "input_length": 1 } }),
    ]);
    let span = Exchange::new("http://127.0.0.1:8080/generate_stream", &request, stream).span();
    expect(
        &span,
        &json!({ "gen_ai.request.stream": true, "retrace.token_ids": [7, 8], "gen_ai.usage.input_tokens": 1, "retrace.partial": null }),
    );
    assert_eq!(parts(&span), &json!([{ "type": "text", "content": "Hey" }]));
}
