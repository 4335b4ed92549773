//! Chat completions, as gateways and servers write them.

use serde_json::{Value, json};

use super::*;

#[test]
fn parallel_calls_with_one_index() {
    let span = span_of(include_str!("openai-parallel-calls-index-0.json"));
    let expected = json!([
        { "type": "tool_call", "id": "call_a", "name": "get_weather", "arguments": { "city": "London" } },
        { "type": "tool_call", "id": "call_b", "name": "get_time", "arguments": { "tz": "UTC" } },
    ]);
    assert_eq!(parts(&span), &expected);
}

#[test]
fn calls_are_distinguished_by_id_name_and_index() {
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
fn reasoning_under_every_name() {
    let span = span_of(include_str!("openrouter-reasoning-details.json"));
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
fn prompts_that_a_gateway_holds_are_chats() {
    let url = "https://api.portkey.ai/v1/prompts/pp-1/completions";
    let body = json!({ "object": "chat.completion", "model": "m", "choices": [{ "message": { "content": "Hi" }, "finish_reason": "stop" }] });
    let span = Exchange::new(url, &json!({ "variables": { "a": "b" } }), body.to_string()).span();
    expect(&span, &json!({ "gen_ai.operation.name": "chat", "gen_ai.response.model": "m" }));
    assert_eq!(parts(&span)[0]["content"], "Hi");
}

#[test]
fn a_call_whose_index_grows_with_each_delta_is_one() {
    let delta = |index: u64, function: Value| json!({ "tool_calls": [{ "index": index, "function": function }] });
    let begin = json!({ "tool_calls": [{ "index": 0, "id": "a", "function": { "name": "f", "arguments": "" } }] });
    let second = json!({ "tool_calls": [{ "index": 4, "id": "b", "function": { "name": "g", "arguments": "{}" } }] });
    let span = chat_stream(&[
        begin,
        delta(1, json!({ "arguments": "{\"x\"" })),
        delta(2, json!({ "arguments": ":1" })),
        delta(3, json!({ "arguments": "}" })),
        second,
    ]);
    let expected = json!([
        { "type": "tool_call", "id": "a", "name": "f", "arguments": { "x": 1 } },
        { "type": "tool_call", "id": "b", "name": "g", "arguments": {} },
    ]);
    assert_eq!(parts(&span), &expected);
}

#[test]
fn paths_of_hosts_that_take_chat_completions() {
    let body = json!({ "choices": [{ "message": { "content": "Hi" }, "finish_reason": "stop" }], "usage": { "prompt_tokens": 5, "completion_tokens": 7 } });
    let request = json!({ "messages": [{ "role": "user", "content": "hi" }] });
    let vertex = "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/mistralai/models";
    for (url, provider, model, stream) in [
        (
            "https://dbc.cloud.databricks.com/serving-endpoints/my-llm/invocations".to_owned(),
            "databricks",
            json!("my-llm"),
            json!(null),
        ),
        (
            "https://a.snowflakecomputing.com/api/v2/cortex/inference:complete".to_owned(),
            "snowflake",
            json!(null),
            json!(null),
        ),
        (format!("{vertex}/mistral-small-2503:rawPredict"), "gcp.vertex_ai", json!("mistral-small-2503"), json!(null)),
        (
            format!("{vertex}/mistral-small-2503:streamRawPredict"),
            "gcp.vertex_ai",
            json!("mistral-small-2503"),
            json!(true),
        ),
        ("https://api.mistral.ai/v1/agents/completions".to_owned(), "mistral_ai", json!(null), json!(null)),
    ] {
        let span = Exchange::new(&url, &request, body.to_string()).span();
        expect(
            &span,
            &json!({ "gen_ai.operation.name": "chat", "gen_ai.provider.name": provider, "gen_ai.request.model": model, "gen_ai.request.stream": stream,
                "gen_ai.usage.input_tokens": 5 }),
        );
        assert_eq!(parts(&span)[0]["content"], "Hi");
    }
}
