//! Gemini's interactions; images and speech.

use serde_json::{Value, json};

use super::*;

const INTERACTIONS: &str = "https://generativelanguage.googleapis.com/v1beta/interactions";

fn usage() -> Value {
    json!({ "total_input_tokens": 9, "total_output_tokens": 7, "total_thought_tokens": 12, "total_cached_tokens": 4, "total_tokens": 28 })
}

fn expected() -> Value {
    json!({ "gen_ai.operation.name": "generate_content", "gen_ai.provider.name": "gcp.gemini", "gen_ai.request.model": "gemini-3-flash",
        "gen_ai.response.id": "v1_a", "gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 19, "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 12, "gen_ai.response.finish_reasons": ["requires_action"], "retrace.partial": null })
}

fn answer() -> Value {
    json!([
        { "type": "reasoning", "content": "Hmm" },
        { "type": "text", "content": "Let me look." },
        { "type": "tool_call", "id": "f1", "name": "tide", "arguments": { "port": "Bergen" } },
    ])
}

#[test]
fn interactions_whole() {
    let call = json!({ "type": "function_call", "id": "f1", "name": "tide", "arguments": { "port": "Bergen" } });
    let thought = json!({ "type": "thought", "signature": "xx", "summary": [{ "type": "text", "text": "Hmm" }] });
    let text = json!({ "type": "text", "text": "Let me look." });
    for (key, list) in [
        ("outputs", json!([thought, text, call])),
        ("steps", json!([thought, { "type": "model_output", "content": [text] }, call])),
    ] {
        let body = json!({ "id": "v1_a", "object": "interaction", "model": "gemini-3-flash", "status": "requires_action", "usage": usage(), key: list });
        let request = json!({ "model": "gemini-3-flash", "system_instruction": "be terse", "input": "tide?", "generation_config": { "temperature": 0.5 },
            "tools": [{ "type": "function", "name": "tide" }, { "type": "google_search" }] });
        let span = Exchange::new(INTERACTIONS, &request, body.to_string()).span();
        expect(&span, &expected());
        assert_eq!(parts(&span), &answer());
        assert_eq!(span["gen_ai.system_instructions"][0]["content"], "be terse");
        assert_eq!(span["gen_ai.tool.definitions"][1]["type"], "google_search");
    }
}

#[test]
fn interactions_streamed() {
    let event = |kind: &str, rest: Value| {
        let mut event = rest;
        event["event_type"] = kind.into();
        event
    };
    let delta = |kind: &str, index: u64, delta: Value| event(kind, json!({ "index": index, "delta": delta }));
    let end = json!({ "interaction": { "id": "v1_a", "status": "requires_action", "usage": usage() } });
    let old = [
        event(
            "interaction.start",
            json!({ "interaction": { "id": "v1_a", "model": "gemini-3-flash", "status": "in_progress" } }),
        ),
        event("content.start", json!({ "index": 0, "content": { "type": "thought" } })),
        delta("content.delta", 0, json!({ "type": "thought_summary", "content": { "type": "text", "text": "Hmm" } })),
        delta("content.delta", 0, json!({ "type": "thought_signature", "signature": "xx" })),
        event("content.stop", json!({ "index": 0 })),
        event("content.start", json!({ "index": 1, "content": { "type": "text" } })),
        delta("content.delta", 1, json!({ "type": "text", "text": "Let me " })),
        delta("content.delta", 1, json!({ "type": "text", "text": "look." })),
        delta(
            "content.delta",
            2,
            json!({ "type": "function_call", "id": "f1", "name": "tide", "arguments": { "port": "Bergen" } }),
        ),
        event("interaction.complete", end.clone()),
    ];
    let new = [
        event(
            "interaction.created",
            json!({ "interaction": { "id": "v1_a", "model": "gemini-3-flash", "status": "in_progress" } }),
        ),
        event("step.start", json!({ "index": 0, "step": { "type": "thought" } })),
        delta("step.delta", 0, json!({ "type": "thought_summary", "content": { "type": "text", "text": "Hmm" } })),
        event(
            "step.start",
            json!({ "index": 1, "step": { "type": "model_output", "content": [{ "type": "text", "text": "Let " }] } }),
        ),
        delta("step.delta", 1, json!({ "type": "text", "text": "me look." })),
        event(
            "step.start",
            json!({ "index": 2, "step": { "type": "function_call", "id": "f1", "name": "tide", "arguments": {} } }),
        ),
        delta("step.delta", 2, json!({ "type": "arguments_delta", "arguments": "{\"port\":" })),
        delta("step.delta", 2, json!({ "type": "arguments_delta", "arguments": "\"Bergen\"}" })),
        event("step.stop", json!({ "index": 2 })),
        event("interaction.completed", end),
    ];
    let request = json!({ "model": "gemini-3-flash", "stream": true, "input": [{ "type": "user_input", "content": [{ "type": "text", "text": "tide?" }] }] });
    for events in [old, new] {
        let span = Exchange::new(INTERACTIONS, &request, sse(&events) + "event: done\ndata: [DONE]\n\n").span();
        expect(&span, &expected());
        assert_eq!(parts(&span), &answer());
    }
}

#[test]
fn turns_steps_and_contents_of_the_input() {
    let messages = |input: Value| {
        let request = json!({ "model": "m", "input": input });
        Exchange::new(INTERACTIONS, &request, "{}").span()["gen_ai.input.messages"].clone()
    };
    let text = |text: &str| json!({ "type": "text", "text": text });
    let user =
        json!({ "role": "user", "parts": [{ "type": "text", "content": "a" }, { "type": "text", "content": "b" }] });
    assert_eq!(messages(json!([text("a"), text("b")])), json!([user]));
    let call = json!({ "type": "function_call", "id": "f1", "name": "f", "arguments": {} });
    let result = json!({ "type": "function_result", "call_id": "f1", "name": "f", "result": { "x": 1 } });
    let turns = json!([{ "role": "user", "content": [text("a"), text("b")] }, { "role": "model", "content": [call] }, { "role": "user", "content": [result] }]);
    let steps = json!([{ "type": "user_input", "content": [text("a"), text("b")] }, call, result]);
    let called =
        json!({ "role": "assistant", "parts": [{ "type": "tool_call", "id": "f1", "name": "f", "arguments": {} }] });
    let returned = json!([{ "type": "tool_call_response", "id": "f1", "response": { "x": 1 } }]);
    for (input, role) in [(turns, "user"), (steps, "tool")] {
        assert_eq!(messages(input), json!([user, called, { "role": role, "parts": returned }]));
    }
}

#[test]
fn images_and_speech() {
    let url = "https://api.openai.com/v1/images/generations";
    let usage = json!({ "input_tokens": 5, "output_tokens": 272, "total_tokens": 277, "input_tokens_details": { "text_tokens": 5, "image_tokens": 0 } });
    let request = json!({ "model": "gpt-image-1", "prompt": "a boat" });
    let whole = json!({ "created": 1, "data": [{ "b64_json": "AAAA" }], "usage": usage }).to_string();
    let streamed = sse(&[
        json!({ "type": "image_generation.partial_image", "b64_json": "BBBB", "partial_image_index": 0 }),
        json!({ "type": "image_generation.completed", "b64_json": "AAAA", "usage": usage }),
    ]);
    for response in [whole, streamed] {
        let span = Exchange::new(url, &request, response).span();
        expect(
            &span,
            &json!({ "gen_ai.operation.name": "generate_content", "gen_ai.output.type": "image", "gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 272, "retrace.partial": null }),
        );
        let image = json!([{ "type": "blob", "modality": "image", "mime_type": "image/png", "content": "AAAA" }]);
        assert_eq!(parts(&span), &image);
    }
    // Sound may begin with any byte, also with that of a frame.
    let url = "https://api.openai.com/v1/audio/speech";
    let request = json!({ "model": "tts-1", "input": "hello", "voice": "alloy" });
    let span = Exchange::new(url, &request, "\0\0\u{1}RIFF{").header("content-type", "audio/pcm").span();
    expect(
        &span,
        &json!({ "gen_ai.operation.name": "generate_content", "gen_ai.output.type": "speech", "retrace.unread_body": "audio/pcm", "retrace.partial": null }),
    );
    assert_eq!(span["gen_ai.input.messages"][0]["parts"][0]["content"], "hello");
    let error = json!({ "error": { "message": "No.", "type": "invalid_request_error", "code": null } });
    let span = Exchange::new(url, &request, error.to_string()).status(400).span();
    expect(&span, &json!({ "error.type": "invalid_request_error" }));
}

#[test]
fn compacted_conversations() {
    let url = "https://api.openai.com/v1/responses/compact";
    let body = json!({ "id": "resp_1", "object": "response.compaction", "output": [{ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "hi" }] },
        { "type": "compaction", "id": "cmp_1", "encrypted_content": "xx" }], "usage": { "input_tokens": 139, "output_tokens": 438, "total_tokens": 577 } });
    let span = Exchange::new(url, &json!({ "model": "m", "input": "hi" }), body.to_string()).span();
    expect(
        &span,
        &json!({ "gen_ai.operation.name": "chat", "gen_ai.usage.output_tokens": 438, "retrace.partial": null }),
    );
    assert_eq!(parts(&span)[1]["type"], "compaction");
}
