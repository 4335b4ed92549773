//! No list is all or nothing: an item of an unknown kind changes nothing else.

use serde_json::{Value, json};

use super::*;

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
