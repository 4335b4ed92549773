//! Exchanges in the forms that gateways and servers give them, and the spans of their calls.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Exchange, Rig, expect, parts, sse};

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

#[test]
fn counts_never_fall() {
    let span = span_of(include_str!("exchanges/anthropic-delta-zero-input.json"));
    expect(&span, &json!({ "gen_ai.usage.input_tokens": 15, "gen_ai.usage.output_tokens": 7 }));
}

#[test]
fn parallel_calls_with_one_index() {
    let span = span_of(include_str!("exchanges/openai-parallel-calls-index-0.json"));
    let expected = json!([
        { "type": "tool_call", "id": "call_a", "name": "get_weather", "arguments": { "city": "London" } },
        { "type": "tool_call", "id": "call_b", "name": "get_time", "arguments": { "tz": "UTC" } },
    ]);
    assert_eq!(parts(&span), &expected);
}

#[test]
fn calls_are_told_apart_by_id_name_and_index() {
    let call = |id: Value, index: Value, name: Value, arguments: &str| {
        let mut call = json!({ "id": id, "index": index, "function": { "name": name, "arguments": arguments } });
        call.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        json!({ "tool_calls": [call] })
    };
    let expected = json!([
        { "type": "tool_call", "id": "a", "name": "f", "arguments": { "x": 1 } },
        { "type": "tool_call", "id": "b", "name": "f", "arguments": { "x": 2 } },
    ]);
    let null = Value::Null;
    let second = |id: Value, index: Value| {
        [call(id.clone(), index.clone(), null.clone(), ":2}"), call(id, index, null.clone(), "")]
    };
    // The id of the second call, what its later deltas have of id and index, and the index of both calls.
    for (id, index) in
        [(json!("b"), json!(0)), (json!("b"), null.clone()), (null.clone(), json!(0)), (null.clone(), null.clone())]
    {
        for first in [json!(0), null.clone()] {
            let mut deltas = vec![
                call(json!("a"), first.clone(), json!("f"), "{\"x\""),
                call(null.clone(), first.clone(), null.clone(), ":1}"),
                call(json!("b"), first, json!("f"), "{\"x\""),
            ];
            deltas.extend(second(id.clone(), index.clone()));
            assert_eq!(parts(&chat_stream(&deltas)), &expected, "{deltas:#?}");
        }
    }
    // Deltas of two calls that alternate.
    let span = chat_stream(&[
        call(json!("a"), json!(0), json!("f"), "{\"x\""),
        call(json!("b"), json!(1), json!("f"), "{\"x\""),
        call(null.clone(), json!(0), null.clone(), ":1}"),
        call(null.clone(), json!(1), null.clone(), ":2}"),
    ]);
    assert_eq!(parts(&span), &expected);
    // The name in each delta.
    let span =
        chat_stream(&[call(json!("a"), json!(0), json!("f"), "{\"x\""), call(json!("a"), json!(0), json!("f"), ":1}")]);
    assert_eq!(parts(&span), &json!([expected[0]]));
    // Calls without ids: another name, or the same one after arguments that are whole.
    let span = chat_stream(&[
        call(json!(""), json!(0), json!("f"), "{\"x\":1}"),
        call(json!(""), json!(0), json!("f"), "{\"x\":2}"),
        call(json!(""), json!(0), json!("g"), "{\"x\":"),
        call(json!(""), json!(0), json!("g"), "3}"),
    ]);
    let expected = json!([
        { "type": "tool_call", "name": "f", "arguments": { "x": 1 } },
        { "type": "tool_call", "name": "f", "arguments": { "x": 2 } },
        { "type": "tool_call", "name": "g", "arguments": { "x": 3 } },
    ]);
    assert_eq!(parts(&span), &expected);
}

#[test]
fn whole_calls_with_one_index_are_calls_of_their_own() {
    let call = |id: &str| json!({ "id": id, "index": 0, "function": { "name": "f", "arguments": "{}" } });
    let span = chat_answer(&json!({ "content": null, "tool_calls": [call("a"), call("b")] }));
    let ids: Vec<&Value> = parts(&span).as_array().unwrap().iter().map(|part| &part["id"]).collect();
    assert_eq!(ids, ["a", "b"]);
}

#[test]
fn input_of_server_tools_in_deltas() {
    let span = span_of(include_str!("exchanges/anthropic-server-tool-stream.json"));
    assert_eq!(parts(&span)[0]["server_tool_call"]["input"], json!({ "query": "rome weather" }));
    let kinds: Vec<&Value> = parts(&span).as_array().unwrap().iter().map(|part| &part["type"]).collect();
    assert_eq!(kinds, ["server_tool_call", "server_tool_call_response", "text"]);
    for kind in ["mcp_tool_use", "other_tool_use"] {
        let block = json!({ "type": kind, "id": "t1", "name": "f", "input": {} });
        let delta = |text: &str| json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "input_json_delta", "partial_json": text } });
        let begin = json!({ "type": "content_block_start", "index": 0, "content_block": block });
        // Also where no event ends the block.
        for stop in [json!({ "type": "content_block_stop", "index": 0 }), json!({ "type": "ping" })] {
            let span = anthropic_stream(&[begin.clone(), delta(""), delta("{\"a\""), delta(":[1]}"), stop]);
            assert_eq!(parts(&span)[0]["server_tool_call"]["input"], json!({ "a": [1] }), "{kind}");
        }
    }
}

#[test]
fn anthropic_calls_without_arguments() {
    let block = json!({ "type": "tool_use", "id": "t1", "name": "ping", "input": {} });
    let streamed = anthropic_stream(&[
        json!({ "type": "content_block_start", "index": 0, "content_block": block }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "input_json_delta", "partial_json": "" } }),
        json!({ "type": "content_block_stop", "index": 0 }),
    ]);
    let whole = json!({ "type": "message", "content": [block], "stop_reason": "tool_use" });
    let whole = Exchange::new(ANTHROPIC, &chat_request(false), whole.to_string()).span();
    for span in [streamed, whole] {
        assert_eq!(parts(&span)[0]["arguments"], json!({}));
    }
}

#[test]
fn text_of_blocks_without_a_shape_of_their_own() {
    let span = anthropic_stream(&[
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "compaction", "content": null } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "compaction_delta", "content": "The user " } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "compaction_delta", "content": "greets." } }),
        json!({ "type": "content_block_stop", "index": 0 }),
    ]);
    assert_eq!(parts(&span), &json!([{ "type": "compaction", "content": "The user greets." }]));
}

#[test]
fn errors_wherever_they_are() {
    let span = span_of(include_str!("exchanges/openrouter-error-in-choice.json"));
    expect(&span, &json!({ "error.type": "502", "failed": "Worker request limit reached" }));
    // In a choice of a chunk, after text.
    let error = json!({ "code": "server_error", "message": "No." });
    for last in [
        json!({ "choices": [{ "index": 0, "delta": { "content": "" }, "finish_reason": "error", "error": error }] }),
        json!({ "choices": [{ "index": 0, "delta": { "content": "" }, "finish_reason": "error" }], "error": error }),
        json!({ "code": "server_error", "message": "No." }),
        json!({ "code": "server_error", "error": "No." }),
        json!({ "errors": [error] }),
        json!({ "detail": error }),
    ] {
        let text = json!({ "choices": [{ "index": 0, "delta": { "content": "Hel" } }] });
        let span = Exchange::new(CHAT, &chat_request(true), sse(&[text, last.clone()])).span();
        expect(&span, &json!({ "error.type": "server_error", "failed": "No." }));
        assert_eq!(parts(&span)[0]["content"], "Hel", "{last}");
        let span = Exchange::new(CHAT, &chat_request(false), last.to_string()).status(400).span();
        expect(&span, &json!({ "error.type": "server_error", "failed": "No." }));
    }
    let top = json!({ "code": 400, "message": "No.", "type": "Bad Request" });
    let span = Exchange::new(CHAT, &chat_request(false), top.to_string()).status(400).span();
    expect(&span, &json!({ "error.type": "Bad Request", "failed": "No." }));
    let request = json!({ "model": "m", "input": "hi" });
    let beside = json!({ "code": "invalid-argument", "error": "No." });
    let span = Exchange::new("https://api.x.ai/v1/responses", &request, beside.to_string()).status(400).span();
    expect(&span, &json!({ "error.type": "invalid-argument", "failed": "No." }));
    // An error that is null or empty is none.
    for none in [json!(null), json!("")] {
        let body = json!({ "error": none, "errors": [], "detail": null, "choices": [{ "message": { "content": "Hi" }, "finish_reason": "stop", "error": null }] });
        let span = Exchange::new(CHAT, &chat_request(false), body.to_string()).span();
        expect(&span, &json!({ "error.type": null, "failed": null }));
    }
}

#[test]
fn reasoning_under_every_name() {
    let span = span_of(include_str!("exchanges/openrouter-reasoning-details.json"));
    assert_eq!(parts(&span)[0], json!({ "type": "reasoning", "content": "The user wants a sum." }));
    let [detail, summary] = ["text", "summary"]
        .map(|name| json!([{ "type": "reasoning", name: "Hmm" }, { "type": "reasoning.encrypted", "data": "xx" }]));
    let blocks = json!([{ "type": "thinking", "thinking": "Hmm", "signature": "xx" }]);
    for (name, value) in [
        ("reasoning_content", json!("Hmm")),
        ("reasoning", json!("Hmm")),
        ("reasoning", json!({ "content": "Hmm" })),
        ("thinking", json!("Hmm")),
        ("thinking_blocks", blocks),
        ("reasoning_details", detail),
        ("reasoning_details", summary),
    ] {
        let message =
            json!({ "role": "assistant", "content": "4", "reasoning": null, "reasoning_content": "", name: value });
        let expected = json!([{ "type": "reasoning", "content": "Hmm" }, { "type": "text", "content": "4" }]);
        assert_eq!(parts(&chat_answer(&message)), &expected, "{message}");
        assert_eq!(parts(&chat_stream(&[json!({ name: value }), json!({ "content": "4" })])), &expected, "{message}");
        let request = json!({ "model": "m", "messages": [{ "role": "user", "content": "2+2?" }, message] });
        let span = Exchange::new(CHAT, &request, "{}").span();
        assert_eq!(span["gen_ai.input.messages"][1]["parts"], expected, "{message}");
    }
    // Under two names it is there once.
    let both = json!({ "reasoning": "Hmm", "reasoning_details": [{ "text": "Hmm" }] });
    assert_eq!(parts(&chat_stream(&[both])), &json!([{ "type": "reasoning", "content": "Hmm" }]));
}

#[test]
fn think_blocks_are_reasoning() {
    let expected = json!([{ "type": "reasoning", "content": "Hmm" }, { "type": "text", "content": "4" }]);
    let text = "<think>\nHmm\n</think>\n\n4";
    assert_eq!(parts(&chat_answer(&json!({ "content": text }))), &expected);
    let deltas: Vec<Value> = text.chars().map(|one| json!({ "content": one.to_string() })).collect();
    assert_eq!(parts(&chat_stream(&deltas)), &expected);
    let request = json!({ "model": "m", "messages": [{ "role": "assistant", "content": text }, { "role": "user", "content": text }] });
    let span = Exchange::new(CHAT, &request, "{}").span();
    assert_eq!(span["gen_ai.input.messages"][0]["parts"], expected);
    assert_eq!(span["gen_ai.input.messages"][1]["parts"], json!([{ "type": "text", "content": text }]));
    let open = chat_answer(&json!({ "content": "<think>Hm" }));
    assert_eq!(parts(&open), &json!([{ "type": "reasoning", "content": "Hm" }]));
    let named = chat_answer(&json!({ "content": "Write <think>x</think>." }));
    assert_eq!(parts(&named), &json!([{ "type": "text", "content": "Write <think>x</think>." }]));
}

#[test]
fn an_answer_is_whole_once_each_choice_has_its_finish_reason() {
    let dropped = |url: &str, request: &Value, body: &str, fail: bool| {
        let rig = Rig::new();
        let text = request.to_string();
        let start = opentelemetry_instrumentation_genai::Request { method: "POST", url, body: Some(text.as_bytes()) };
        let mut call = rig.genai.start(&start).unwrap();
        call.response(200, &http::HeaderMap::new());
        call.chunk(body.as_bytes());
        if fail {
            call.fail("reset");
        } else {
            drop(call);
        }
        rig.one()
    };
    let (url, request, body) = recorded(include_str!("exchanges/gemini-dropped-after-finish.json"));
    for fail in [false, true] {
        expect(&dropped(&url, &request, &body, fail), &json!({ "retrace.partial": null }));
    }
    let chunk = |index: u64, reason: Value| json!({ "choices": [{ "index": index, "delta": { "content": "a" }, "finish_reason": reason }] });
    let mut request = chat_request(true);
    request["n"] = 2.into();
    let one = sse(&[chunk(0, json!("stop"))]);
    expect(&dropped(CHAT, &request, &one, false), &json!({ "retrace.partial": true }));
    let begun = sse(&[chunk(0, json!("stop")), chunk(1, json!(null))]);
    expect(&dropped(CHAT, &request, &begun, false), &json!({ "retrace.partial": true }));
    let both = sse(&[chunk(0, json!("stop")), chunk(1, json!("length"))]);
    expect(&dropped(CHAT, &request, &both, false), &json!({ "retrace.partial": null }));
}

#[test]
fn a_message_beside_an_empty_delta() {
    let choice = json!({ "index": 0, "delta": { "role": "assistant", "content": "" }, "message": { "content": "Hello." }, "finish_reason": "stop" });
    let body = json!({ "choices": [choice] });
    let span = Exchange::new(CHAT, &chat_request(false), body.to_string()).span();
    assert_eq!(parts(&span), &json!([{ "type": "text", "content": "Hello." }]));
    // A stream repeats the message so far in each chunk.
    let chunk = |delta: &str, message: &str| json!({ "choices": [{ "index": 0, "delta": { "content": delta }, "message": { "content": message } }] });
    let events = [chunk("Hel", "Hel"), chunk("lo.", "Hello."), body];
    let span = Exchange::new(CHAT, &chat_request(true), sse(&events)).span();
    assert_eq!(parts(&span), &json!([{ "type": "text", "content": "Hello." }]));
}

#[test]
fn an_empty_function_call_is_none() {
    let text = json!([{ "type": "text", "content": "4" }]);
    let message = json!({ "content": "4", "function_call": { "name": "", "arguments": "" }, "tool_calls": null, "refusal": "", "audio": { "data": "", "transcript": "" } });
    assert_eq!(parts(&chat_answer(&message)), &text);
    assert_eq!(parts(&chat_stream(std::slice::from_ref(&message))), &text);
    let span = Exchange::new(CHAT, &json!({ "model": "m", "messages": [message] }), "{}").span();
    assert_eq!(span["gen_ai.input.messages"][0]["parts"], text);
}

#[test]
fn tools_that_the_provider_ran() {
    let tool = json!({ "index": 0, "type": "search", "arguments": "{\"query\": \"x\"}", "output": "Title: x", "search_results": null });
    let message = json!({ "content": "4", "executed_tools": [tool] });
    let mut begun = tool.clone();
    begun.as_object_mut().unwrap().remove("output");
    let streamed = chat_stream(&[
        json!({ "executed_tools": [begun] }),
        json!({ "executed_tools": [tool] }),
        json!({ "content": "4" }),
    ]);
    for span in [chat_answer(&message), streamed] {
        let [call, response, text] = parts(&span).as_array().unwrap().as_slice() else { panic!("{span:#}") };
        assert_eq!((&call["type"], &call["name"]), (&json!("server_tool_call"), &json!("search")));
        assert_eq!(call["server_tool_call"]["arguments"], "{\"query\": \"x\"}");
        assert_eq!(response["type"], "server_tool_call_response");
        assert_eq!(response["server_tool_call_response"]["output"], "Title: x");
        assert_eq!(text["content"], "4");
    }
}

#[test]
fn mistral_documents_audio_and_counts() {
    let content = json!([
        { "type": "document_url", "document_url": "https://example.org/a.pdf" },
        { "type": "document_url", "document_url": "data:application/pdf;base64,AAAA" },
        { "type": "input_audio", "input_audio": "BBBB" },
    ]);
    let request = json!({ "model": "m", "messages": [{ "role": "user", "content": content }] });
    let body = json!({ "choices": [{ "message": { "content": "x" }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 11, "completion_tokens": 15, "total_tokens": 401, "num_cached_tokens": 9, "prompt_tokens_details": { "audio_tokens": 375 } } });
    let span = Exchange::new("https://api.mistral.ai/v1/chat/completions", &request, body.to_string()).span();
    let parts = &span["gen_ai.input.messages"][0]["parts"];
    assert_eq!((&parts[0]["type"], &parts[0]["uri"]), (&json!("uri"), &json!("https://example.org/a.pdf")));
    assert_eq!((&parts[1]["type"], &parts[1]["content"]), (&json!("blob"), &json!("AAAA")));
    assert_eq!((&parts[2]["type"], &parts[2]["content"]), (&json!("blob"), &json!("BBBB")));
    expect(&span, &json!({ "gen_ai.usage.input_tokens": 386, "gen_ai.usage.cache_read.input_tokens": 9 }));
}

#[test]
fn gemini_arguments_in_pieces() {
    let call = |call: Value| json!([{ "functionCall": call }]);
    let piece = |path: &str, text: &str, goes_on: bool| {
        call(
            json!({ "partialArgs": [{ "jsonPath": path, "stringValue": text, "willContinue": goes_on }], "willContinue": true }),
        )
    };
    let span = gemini(&[
        call(json!({ "name": "theme" })),
        call(json!({ "name": "screen", "willContinue": true })),
        piece("$.id", "Mai", true),
        piece("$.id", "n", false),
        call(
            json!({ "partialArgs": [{ "jsonPath": "$.at[0].x", "numberValue": 2 }, { "jsonPath": "$.all", "boolValue": true }], "willContinue": true }),
        ),
        call(json!({})),
        call(json!({ "name": "screen", "willContinue": true })),
        piece("$.id", "B", false),
        call(json!({})),
    ]);
    let expected = json!([
        { "type": "tool_call", "name": "theme" },
        { "type": "tool_call", "name": "screen", "arguments": { "id": "Main", "at": [{ "x": 2 }], "all": true } },
        { "type": "tool_call", "name": "screen", "arguments": { "id": "B" } },
    ]);
    assert_eq!(parts(&span), &expected);
}

#[test]
fn gemini_server_tools_and_signatures() {
    let call = json!({ "thoughtSignature": "xx", "toolCall": { "id": "t1", "toolType": "GOOGLE_SEARCH_WEB", "args": { "queries": ["x"] } } });
    let response = json!({ "thoughtSignature": "xx", "toolResponse": { "id": "t1", "toolType": "GOOGLE_SEARCH_WEB", "response": { "y": 1 } } });
    let span = gemini(&[
        json!([call, response, { "thoughtSignature": "xx" }, { "functionCall": { "id": "f1", "name": "f", "args": {} } }]),
    ]);
    let [call, response, function] = parts(&span).as_array().unwrap().as_slice() else { panic!("{span:#}") };
    assert_eq!(
        (&call["type"], &call["id"], &call["name"]),
        (&json!("server_tool_call"), &json!("t1"), &json!("GOOGLE_SEARCH_WEB"))
    );
    assert_eq!((&response["type"], &response["id"]), (&json!("server_tool_call_response"), &json!("t1")));
    assert_eq!(function, &json!({ "type": "tool_call", "id": "f1", "name": "f", "arguments": {} }));
}

#[test]
fn gemini_tools_and_media_of_results() {
    let image = json!({ "inlineData": { "mimeType": "image/png", "data": "AAAA" } });
    let result =
        json!({ "functionResponse": { "id": "f1", "name": "f", "response": { "ok": true }, "parts": [image] } });
    let function = json!({ "name": "f" });
    let expected = json!([{ "type": "function", "name": "f" }]);
    for tools in [
        json!({ "function_declarations": [function] }),
        json!([{ "functionDeclarations": [function], "codeExecution": null }]),
        json!([null, { "functionDeclarations": function }]),
    ] {
        let request = json!({ "contents": [{ "role": "user", "parts": [result] }], "tools": tools });
        let span = Exchange::new(GEMINI, &request, "{}").span();
        assert_eq!(span["gen_ai.tool.definitions"], expected);
        let [response, blob] = span["gen_ai.input.messages"][0]["parts"].as_array().unwrap().as_slice() else {
            panic!("{span:#}")
        };
        assert_eq!((&response["type"], &response["id"]), (&json!("tool_call_response"), &json!("f1")));
        assert_eq!((&blob["type"], &blob["content"]), (&json!("blob"), &json!("AAAA")));
    }
}

const RESPONSES: &str = "https://api.openai.com/v1/responses";

/// The messages that a request to the responses API has for these items.
fn responses_input(items: &[Value]) -> Value {
    let span = Exchange::new(RESPONSES, &json!({ "model": "m", "input": items }), "{}").span();
    span["gen_ai.input.messages"].clone()
}

fn responses_output(items: &[Value]) -> Value {
    let body = json!({ "id": "r1", "object": "response", "status": "completed", "output": items });
    Exchange::new(RESPONSES, &json!({ "model": "m", "input": "hi" }), body.to_string()).span()
}

#[test]
fn items_of_responses_without_output_or_text() {
    let tools = json!([{ "type": "function", "name": "f" }]);
    let found = json!({ "type": "tool_search_output", "call_id": "s1", "status": "completed", "tools": tools });
    let hidden = json!({ "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "xx" });
    let messages = responses_input(&[json!({ "role": "user", "content": "hi" }), hidden, found.clone()]);
    let expected =
        json!([{ "role": "tool", "parts": [{ "type": "tool_call_response", "id": "s1", "response": tools }] }]);
    assert_eq!(messages.as_array().unwrap()[1..], *expected.as_array().unwrap());
    let span = responses_output(&[found]);
    assert_eq!((&parts(&span)[0]["type"], &parts(&span)[0]["id"]), (&json!("server_tool_call_response"), &json!("s1")));
}

#[test]
fn an_empty_call_id_is_none() {
    let item = json!({ "type": "code_interpreter_call", "call_id": "", "id": "fc_1", "name": "code_execution", "arguments": "{}" });
    let function = json!({ "type": "function_call", "call_id": "", "id": "fc_2", "name": "f", "arguments": "{}" });
    let span = responses_output(&[item.clone(), function.clone()]);
    assert_eq!((&parts(&span)[0]["id"], &parts(&span)[1]["id"]), (&json!("fc_1"), &json!("fc_2")));
    let input = responses_input(&[item, function]);
    assert_eq!((&input[0]["parts"][0]["id"], &input[1]["parts"][0]["id"]), (&json!("fc_1"), &json!("fc_2")));
}

#[test]
fn cohere_documents_and_images() {
    let documents = json!([{ "id": "d1", "data": { "text": "Dock Seven." } }, "Dock Three."]);
    let v2 = json!({ "model": "m", "documents": documents, "messages": [{ "role": "user", "content": "which?" }] });
    let v1 = json!({ "model": "m", "documents": documents, "message": "which?" });
    for (url, request) in [("https://api.cohere.com/v2/chat", v2), ("https://api.cohere.com/v1/chat", v1)] {
        let span = Exchange::new(url, &request, "{}").span();
        let [read, asked] = span["gen_ai.input.messages"].as_array().unwrap().as_slice() else { panic!("{span:#}") };
        assert_eq!(read["parts"][0]["data"]["text"], "Dock Seven.");
        assert_eq!(read["parts"][1]["content"], "Dock Three.");
        assert_eq!(asked["parts"][0]["content"], "which?");
    }
    let image = "data:image/gif;base64,AAAA";
    let blob = json!({ "type": "blob", "modality": "image", "mime_type": "image/gif", "content": "AAAA" });
    let parts_of = |body: Value| {
        let span = Exchange::new("https://api.cohere.com/v2/embed", &body, "{}").span();
        span["gen_ai.input.messages"][0]["parts"].clone()
    };
    assert_eq!(parts_of(json!({ "model": "m", "images": [image] })), json!([blob]));
    let content = json!([{ "type": "text", "text": "a" }, { "type": "image_url", "image_url": { "url": image } }]);
    let expected = json!([{ "type": "text", "content": "a" }, blob]);
    assert_eq!(parts_of(json!({ "model": "m", "inputs": [{ "content": content }] })), expected);
}

#[test]
fn prompts_that_a_gateway_holds_are_chats() {
    let url = "https://api.portkey.ai/v1/prompts/pp-1/completions";
    let body = json!({ "object": "chat.completion", "model": "m", "choices": [{ "message": { "content": "Hi" }, "finish_reason": "stop" }] });
    let span = Exchange::new(url, &json!({ "variables": { "a": "b" } }), body.to_string()).span();
    expect(&span, &json!({ "gen_ai.operation.name": "chat", "gen_ai.response.model": "m" }));
    assert_eq!(parts(&span)[0]["content"], "Hi");
}

#[test]
fn embeddings_on_vertex_and_in_base64() {
    let url = "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google/models/gemini-embedding-001:predict";
    let prediction =
        |count: u64| json!({ "embeddings": { "values": [0.1, 0.2, 0.3], "statistics": { "token_count": count } } });
    let body = json!({ "predictions": [prediction(4), prediction(3)] });
    let request = json!({ "instances": [{ "content": "a" }, { "content": "b" }] });
    let span = Exchange::new(url, &request, body.to_string()).span();
    expect(
        &span,
        &json!({ "gen_ai.operation.name": "embeddings", "gen_ai.request.model": "gemini-embedding-001", "gen_ai.provider.name": "gcp.vertex_ai",
            "gen_ai.embeddings.dimension.count": 3, "gen_ai.usage.input_tokens": 7, "retrace.omitted_bytes": null }),
    );
    assert_eq!(span["gen_ai.input.messages"][1]["parts"][0]["content"], "b");
    let body =
        json!({ "data": [{ "embedding": "LGqyvKvVET2BNay81bEcPQ==", "index": 0 }], "usage": { "total_tokens": 4 } });
    let request = json!({ "model": "voyage-3.5", "input": ["a"], "encoding_format": "base64" });
    let span = Exchange::new("https://api.voyageai.com/v1/embeddings", &request, body.to_string()).span();
    expect(&span, &json!({ "retrace.omitted_bytes": null }));
}

/// Inserts an item at each place of a list.
fn inserted(list: &Value, item: &Value) -> Vec<Value> {
    let list = list.as_array().unwrap();
    let with = |place: usize| {
        let mut longer = list.clone();
        longer.insert(place, item.clone());
        longer.into()
    };
    (0..=list.len()).map(with).collect()
}

/// The elements of a list that do not come from an inserted item, whose mark they would carry. Empty ones are left out.
fn unmarked(list: &Value) -> Vec<Value> {
    let elements = list.as_array().into_iter().flatten();
    elements.filter(|each| !each.to_string().contains("unheard")).cloned().collect()
}

#[test]
fn an_unknown_item_in_a_list_changes_nothing_else() {
    let chat = "https://api.openai.com/v1/chat/completions";
    let cases = [
        (
            chat,
            "/messages",
            json!({ "model": "m", "messages": [{ "role": "system", "content": "a" }, { "role": "user", "content": "b" }] }),
        ),
        (
            chat,
            "/messages/0/content",
            json!({ "model": "m", "messages": [{ "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] }] }),
        ),
        (
            RESPONSES,
            "/input",
            json!({ "model": "m", "input": [{ "role": "user", "content": "a" }, { "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" }] }),
        ),
        (
            ANTHROPIC,
            "/messages",
            json!({ "model": "m", "messages": [{ "role": "user", "content": "a" }, { "role": "assistant", "content": "b" }] }),
        ),
        (
            ANTHROPIC,
            "/messages/0/content",
            json!({ "model": "m", "messages": [{ "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] }] }),
        ),
        (
            GEMINI,
            "/contents",
            json!({ "contents": [{ "role": "user", "parts": [{ "text": "a" }] }, { "role": "model", "parts": [{ "text": "b" }] }] }),
        ),
        (
            GEMINI,
            "/contents/0/parts",
            json!({ "contents": [{ "role": "user", "parts": [{ "text": "a" }, { "text": "b" }] }] }),
        ),
    ];
    let items = [json!(null), json!({ "type": "unheard_of", "x": [1, null] }), json!({ "unheard": { "y": "z" } })];
    for (url, path, request) in &cases {
        let whole = |request: &Value| Exchange::new(url, request, "{}").span()["gen_ai.input.messages"].clone();
        let expected = whole(request);
        for item in &items {
            for list in inserted(request.pointer(path).unwrap(), item) {
                let mut with = request.clone();
                *with.pointer_mut(path).unwrap() = list;
                let found = whole(&with);
                let (found, expected) = match *path {
                    "/messages" | "/input" | "/contents" => (found, expected.clone()),
                    _ => (found[0]["parts"].clone(), expected[0]["parts"].clone()),
                };
                assert_eq!(unmarked(&found), *expected.as_array().unwrap(), "{item} at {path} of {url}");
                assert_eq!(
                    found.to_string().contains("unheard"),
                    item.is_object(),
                    "{item} is kept at {path} of {url}"
                );
            }
        }
    }
}

#[test]
fn an_unknown_item_in_an_answer_changes_nothing_else() {
    let call = json!({ "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let text = |text: &str| json!({ "type": "text", "text": text });
    let cases = [
        (
            CHAT,
            "/choices",
            false,
            json!({ "choices": [{ "index": 0, "message": { "content": "a" }, "finish_reason": "stop" }, { "index": 1, "message": { "content": "b" }, "finish_reason": "stop" }] }),
        ),
        (
            CHAT,
            "/choices/0/message/content",
            true,
            json!({ "choices": [{ "index": 0, "message": { "content": [text("a"), { "type": "thinking", "thinking": [text("b")] }] }, "finish_reason": "stop" }] }),
        ),
        (
            CHAT,
            "/choices/0/message/tool_calls",
            true,
            json!({ "choices": [{ "index": 0, "message": { "content": "a", "tool_calls": [call] }, "finish_reason": "stop" }] }),
        ),
        (
            RESPONSES,
            "/output",
            true,
            json!({ "object": "response", "status": "completed", "output": [{ "type": "message", "content": [{ "type": "output_text", "text": "a" }] }, { "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" }] }),
        ),
        (
            RESPONSES,
            "/output/0/content",
            true,
            json!({ "object": "response", "status": "completed", "output": [{ "type": "message", "content": [{ "type": "output_text", "text": "a" }, { "type": "refusal", "refusal": "b" }] }] }),
        ),
        (
            ANTHROPIC,
            "/content",
            true,
            json!({ "type": "message", "content": [text("a"), { "type": "tool_use", "id": "t", "name": "f", "input": {} }], "stop_reason": "end_turn" }),
        ),
        (
            GEMINI,
            "/candidates",
            false,
            json!({ "candidates": [{ "content": { "parts": [{ "text": "a" }] }, "finishReason": "STOP" }, { "content": { "parts": [{ "text": "b" }] }, "finishReason": "STOP" }] }),
        ),
        (
            GEMINI,
            "/candidates/0/content/parts",
            true,
            json!({ "candidates": [{ "content": { "parts": [{ "text": "a" }, { "functionCall": { "name": "f", "args": {} } }] }, "finishReason": "STOP" }] }),
        ),
        (
            "https://api.cohere.com/v2/chat",
            "/message/content",
            true,
            json!({ "message": { "content": [text("a"), { "type": "thinking", "thinking": "b" }] }, "finish_reason": "COMPLETE" }),
        ),
    ];
    let items = [json!(null), json!("unheard of"), json!({ "type": "unheard_of", "x": [1, null] })];
    for (url, path, kept, response) in &cases {
        let request = match *url {
            GEMINI => json!({ "contents": [{ "parts": [{ "text": "hi" }] }] }),
            RESPONSES => json!({ "model": "m", "input": "hi" }),
            _ => chat_request(false),
        };
        let whole = |response: &Value| Exchange::new(url, &request, response.to_string()).span();
        let expected = whole(response);
        for item in &items {
            if item.is_string() && path.ends_with("content") || item.is_string() && path.ends_with("parts") {
                continue; // a text is a part of a known kind
            }
            for list in inserted(response.pointer(path).unwrap(), item) {
                let mut with = response.clone();
                *with.pointer_mut(path).unwrap() = list;
                let found = whole(&with);
                let place = format!("{item} at {path} of {url}: {found:#}");
                assert_eq!(unmarked(parts(&found)), *parts(&expected).as_array().unwrap(), "{place}");
                for key in ["gen_ai.response.finish_reasons", "retrace.partial", "error.type"] {
                    assert_eq!(found[key], expected[key], "{place}");
                }
                let marked = parts(&found).to_string().contains("unheard");
                assert_eq!(marked, *kept && item.is_object(), "{place}");
            }
        }
    }
}
