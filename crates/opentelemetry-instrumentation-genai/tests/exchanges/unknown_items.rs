//! No list is all or nothing: an item of an unknown kind changes nothing else.
//!
//! Each list that an API has is given items of unknown kinds at each place. What is around them is read as without them; an
//! object is kept where the list is one of messages or parts. A tool's result with a part that is no text is a list of parts.

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

/// The value without what comes from an inserted item, whose mark it carries, and without messages that had nothing else.
fn unmarked(value: &Value) -> Option<Value> {
    match value {
        Value::Array(items) => Some(items.iter().filter_map(unmarked).collect()),
        Value::Object(members) if members.contains_key("unheard") => None,
        Value::Object(members) => {
            let mut kept = members.clone();
            for (key, value) in &mut kept {
                match value {
                    Value::Array(items) if key == "parts" || key == "content" || key == "response" => {
                        let was = items.len();
                        *value = unmarked(value)?;
                        if value.as_array().is_some_and(|items| items.is_empty() && was > 0) {
                            return None;
                        }
                    }
                    other if other.to_string().contains("unheard") => return None,
                    _ => {}
                }
            }
            Some(Value::Object(kept))
        }
        Value::String(text) if text.contains("unheard") => None,
        other => Some(other.clone()),
    }
}

fn items() -> [Value; 3] {
    [json!(null), json!({ "type": "unheard_of", "x": [1, null] }), json!({ "unheard": { "y": "z" } })]
}

const CONVERSE: &str = "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse";
const INVOKE: &str = "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/invoke";
const INTERACTIONS: &str = "https://generativelanguage.googleapis.com/v1beta/interactions";
const OLLAMA: &str = "http://localhost:11434/api/chat";
const COHERE: &str = "https://api.cohere.com/v2/chat";
const COHERE_V1: &str = "https://api.cohere.com/v1/chat";

/// URLs, requests, and the lists in them.
fn requests() -> Vec<(&'static str, Value, Vec<&'static str>)> {
    let text = |text: &str| json!({ "type": "text", "text": text });
    let call = json!({ "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let chat = json!({ "model": "m", "messages": [{ "role": "system", "content": "a" }, { "role": "user", "content": [text("b"), text("c")] },
        { "role": "assistant", "content": "d", "tool_calls": [call] }, { "role": "tool", "tool_call_id": "c1", "content": "e" }] });
    let anthropic = json!({ "model": "m", "max_tokens": 9, "anthropic_version": "x", "messages": [{ "role": "user", "content": [text("a"), text("b")] },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "t1", "name": "f", "input": {} }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t1", "content": [text("x"), { "type": "image", "source": { "type": "url", "url": "https://h/a" } }] }] }] });
    let converse = json!({ "inferenceConfig": {}, "messages": [{ "role": "user", "content": [{ "text": "a" }, { "text": "b" }] },
        { "role": "assistant", "content": [{ "toolUse": { "toolUseId": "t1", "name": "f", "input": {} } }] },
        { "role": "user", "content": [{ "toolResult": { "toolUseId": "t1", "content": [{ "text": "x" }, { "json": { "y": 1 } }] } }] }] });
    let gemini = json!({ "contents": [{ "role": "user", "parts": [{ "text": "a" }, { "text": "b" }] },
        { "role": "model", "parts": [{ "functionCall": { "name": "f", "args": {} } }] }] });
    let responses = json!({ "model": "m", "input": [{ "role": "user", "content": [{ "type": "input_text", "text": "a" }] },
        { "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" }, { "type": "function_call_output", "call_id": "c", "output": "x" }] });
    let turns = json!({ "model": "m", "input": [{ "role": "user", "content": [text("a"), text("b")] }, { "role": "model", "content": [text("c")] }] });
    let v1 = json!({ "model": "m", "message": "d", "chat_history": [{ "role": "USER", "message": "a" }, { "role": "CHATBOT", "message": "b", "tool_calls": [{ "name": "f", "parameters": {} }] }],
        "documents": [{ "id": "d1", "text": "x" }], "tool_results": [{ "call": { "name": "f", "parameters": {} }, "outputs": [{ "y": 1 }] }] });
    let ollama = json!({ "model": "m", "messages": [{ "role": "user", "content": "a" }, { "role": "assistant", "content": "b", "tool_calls": [{ "function": { "name": "f", "arguments": {} } }] }] });
    vec![
        (CHAT, chat.clone(), vec!["/messages", "/messages/1/content", "/messages/2/tool_calls"]),
        (COHERE, chat, vec!["/messages", "/messages/1/content", "/messages/2/tool_calls"]),
        (COHERE_V1, v1, vec!["/chat_history", "/chat_history/1/tool_calls", "/documents", "/tool_results"]),
        (
            ANTHROPIC,
            anthropic.clone(),
            vec!["/messages", "/messages/0/content", "/messages/1/content", "/messages/2/content/0/content"],
        ),
        (INVOKE, anthropic, vec!["/messages", "/messages/0/content"]),
        (
            CONVERSE,
            converse.clone(),
            vec!["/messages", "/messages/0/content", "/messages/1/content", "/messages/2/content/0/toolResult/content"],
        ),
        (INVOKE, converse, vec!["/messages", "/messages/0/content"]),
        (GEMINI, gemini, vec!["/contents", "/contents/0/parts", "/contents/1/parts"]),
        (RESPONSES, responses, vec!["/input", "/input/0/content"]),
        (INTERACTIONS, turns, vec!["/input", "/input/0/content"]),
        (OLLAMA, ollama, vec!["/messages", "/messages/1/tool_calls"]),
    ]
}

#[test]
fn an_unknown_item_in_a_request_changes_nothing_else() {
    for (url, request, paths) in &requests() {
        let whole = |request: &Value| Exchange::new(url, request, "{}").span()["gen_ai.input.messages"].clone();
        let expected = whole(request);
        for path in paths {
            for item in &items() {
                for list in inserted(request.pointer(path).unwrap(), item) {
                    let mut with = request.clone();
                    *with.pointer_mut(path).unwrap() = list;
                    let found = whole(&with);
                    assert_eq!(
                        without_null(unmarked(&found).unwrap()),
                        expected,
                        "{item} at {path} of {url}: {found:#}"
                    );
                    assert_eq!(
                        found.to_string().contains("unheard"),
                        item.is_object(),
                        "{item} is kept at {path} of {url}: {found:#}"
                    );
                }
            }
        }
    }
}

/// A result that is kept as it came has the nulls that it came with.
fn without_null(mut value: Value) -> Value {
    let mut open = vec![&mut value];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => {
                items.retain(|item| !item.is_null());
                open.extend(items);
            }
            Value::Object(members) => open.extend(members.values_mut()),
            _ => {}
        }
    }
    value
}

/// A list in an answer, and if an unknown object in it is kept.
type Kept = (&'static str, bool);

/// URLs, answers, and the lists in them.
fn answers() -> Vec<(&'static str, Value, Vec<Kept>)> {
    let call = json!({ "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let text = |text: &str| json!({ "type": "text", "text": text });
    let choice = |index: u64, text: &str| json!({ "index": index, "message": { "content": text, "tool_calls": [call] }, "finish_reason": "stop" });
    let anthropic = json!({ "type": "message", "content": [text("a"), { "type": "tool_use", "id": "t", "name": "f", "input": {} }], "stop_reason": "end_turn" });
    let converse = json!({ "output": { "message": { "content": [{ "text": "a" }, { "toolUse": { "toolUseId": "t", "name": "f", "input": {} } }] } }, "stopReason": "end_turn" });
    vec![
        (
            CHAT,
            json!({ "choices": [choice(0, "a"), choice(1, "b")] }),
            vec![("/choices", false), ("/choices/0/message/tool_calls", true)],
        ),
        (
            CHAT,
            json!({ "choices": [{ "index": 0, "message": { "content": [text("a"), { "type": "thinking", "thinking": [text("b")] }] }, "finish_reason": "stop" }] }),
            vec![("/choices/0/message/content", true)],
        ),
        (
            RESPONSES,
            json!({ "object": "response", "status": "completed", "output": [{ "type": "message", "content": [{ "type": "output_text", "text": "a" }, { "type": "refusal", "refusal": "b" }] }, { "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" }] }),
            vec![("/output", true), ("/output/0/content", true)],
        ),
        (ANTHROPIC, anthropic.clone(), vec![("/content", true)]),
        (INVOKE, anthropic, vec![("/content", true)]),
        (CONVERSE, converse.clone(), vec![("/output/message/content", true)]),
        (INVOKE, converse, vec![("/output/message/content", true)]),
        (
            GEMINI,
            json!({ "candidates": [{ "content": { "parts": [{ "text": "a" }, { "functionCall": { "name": "f", "args": {} } }] }, "finishReason": "STOP" }, { "content": { "parts": [{ "text": "b" }] }, "finishReason": "STOP" }] }),
            vec![("/candidates", false), ("/candidates/0/content/parts", true)],
        ),
        (
            INTERACTIONS,
            json!({ "id": "i", "status": "completed", "steps": [{ "type": "model_output", "content": [text("a")] }, { "type": "function_call", "id": "f1", "name": "f", "arguments": {} }] }),
            vec![("/steps", true), ("/steps/0/content", true)],
        ),
        (
            COHERE,
            json!({ "message": { "content": [text("a"), { "type": "thinking", "thinking": "b" }], "tool_calls": [call] }, "finish_reason": "COMPLETE" }),
            vec![("/message/content", true), ("/message/tool_calls", true)],
        ),
        (
            COHERE_V1,
            json!({ "text": "a", "tool_calls": [{ "name": "f", "parameters": {} }], "finish_reason": "COMPLETE" }),
            vec![("/tool_calls", true)],
        ),
        (
            OLLAMA,
            json!({ "model": "m", "message": { "content": "a", "tool_calls": [{ "function": { "name": "f", "arguments": {} } }] }, "done": true, "done_reason": "stop" }),
            vec![("/message/tool_calls", true)],
        ),
    ]
}

fn request_to(url: &str, stream: bool) -> Value {
    match url {
        GEMINI | GEMINI_STREAM => json!({ "contents": [{ "parts": [{ "text": "hi" }] }] }),
        RESPONSES | INTERACTIONS => json!({ "model": "m", "input": "hi", "stream": stream }),
        COHERE_V1 => json!({ "model": "m", "message": "hi", "stream": stream }),
        CONVERSE => json!({ "messages": [] }),
        _ => chat_request(stream),
    }
}

#[test]
fn an_unknown_item_in_an_answer_changes_nothing_else() {
    for (url, response, paths) in &answers() {
        let whole = |response: &Value| Exchange::new(url, &request_to(url, false), response.to_string()).span();
        let expected = whole(response);
        for ((path, is_kept), item) in paths.iter().flat_map(|path| items().map(|item| (path, item))) {
            for list in inserted(response.pointer(path).unwrap(), &item) {
                let mut with = response.clone();
                *with.pointer_mut(path).unwrap() = list;
                let found = whole(&with);
                let place = format!("{item} at {path} of {url}: {found:#}");
                assert_eq!(
                    unmarked(&found["gen_ai.output.messages"]).as_ref(),
                    Some(&expected["gen_ai.output.messages"]),
                    "{place}"
                );
                for key in ["gen_ai.response.finish_reasons", "retrace.partial", "error.type"] {
                    assert_eq!(found[key], expected[key], "{place}");
                }
                let marked = parts(&found).to_string().contains("unheard");
                assert_eq!(marked, *is_kept && item.is_object(), "{place}");
            }
        }
    }
}

/// URLs and the events of a stream.
fn streams() -> Vec<(&'static str, Vec<Value>)> {
    let choice = |delta: Value, reason: Value| json!({ "id": "c1", "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] });
    vec![
        (
            CHAT,
            vec![
                choice(json!({ "content": "a" }), json!(null)),
                choice(
                    json!({ "tool_calls": [{ "index": 0, "id": "t", "function": { "name": "f", "arguments": "{}" } }] }),
                    json!(null),
                ),
                choice(json!({}), json!("stop")),
                json!({ "id": "c1", "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 7 } }),
            ],
        ),
        (
            ANTHROPIC,
            vec![
                json!({ "type": "message_start", "message": { "id": "m1", "content": [], "usage": { "input_tokens": 5, "output_tokens": 1 } } }),
                json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
                json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "a" } }),
                json!({ "type": "content_block_stop", "index": 0 }),
                json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 7 } }),
                json!({ "type": "message_stop" }),
            ],
        ),
        (
            RESPONSES,
            vec![
                json!({ "type": "response.created", "response": { "id": "r", "object": "response", "status": "in_progress", "output": [] } }),
                json!({ "type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "a" }),
                json!({ "type": "response.completed", "response": { "id": "r", "object": "response", "status": "completed", "output": [], "usage": { "input_tokens": 5, "output_tokens": 7 } } }),
            ],
        ),
        (
            GEMINI_STREAM,
            vec![
                json!({ "candidates": [{ "content": { "parts": [{ "text": "a" }] } }] }),
                json!({ "candidates": [{ "content": { "parts": [{ "text": "b" }] }, "finishReason": "STOP" }], "usageMetadata": { "promptTokenCount": 5, "candidatesTokenCount": 7 } }),
            ],
        ),
        (
            COHERE,
            vec![
                json!({ "type": "message-start", "id": "m1" }),
                json!({ "type": "content-delta", "index": 0, "delta": { "message": { "content": { "text": "a" } } } }),
                json!({ "type": "message-end", "delta": { "finish_reason": "COMPLETE", "usage": { "tokens": { "input_tokens": 5, "output_tokens": 7 } } } }),
            ],
        ),
        (
            COHERE_V1,
            vec![
                json!({ "event_type": "text-generation", "text": "a" }),
                json!({ "event_type": "stream-end", "finish_reason": "COMPLETE", "response": { "text": "a", "meta": { "tokens": { "input_tokens": 5, "output_tokens": 7 } } } }),
            ],
        ),
        (
            INTERACTIONS,
            vec![
                json!({ "event_type": "content.delta", "index": 0, "delta": { "type": "text", "text": "a" } }),
                json!({ "event_type": "interaction.complete", "interaction": { "id": "i", "status": "completed", "usage": { "total_input_tokens": 5, "total_output_tokens": 7 } } }),
            ],
        ),
        (
            OLLAMA,
            vec![
                json!({ "model": "m", "message": { "content": "a" }, "done": false }),
                json!({ "model": "m", "message": { "content": "b" }, "done": true, "done_reason": "stop", "prompt_eval_count": 5, "eval_count": 7 }),
            ],
        ),
    ]
}

#[test]
fn an_unknown_event_in_a_stream_changes_nothing_else() {
    for (url, events) in &streams() {
        let whole = |events: &[Value]| {
            let body = match *url {
                OLLAMA => events.iter().map(|event| format!("{event}\n")).collect(),
                _ => sse(events),
            };
            Exchange::new(url, &request_to(url, true), body).span()
        };
        let expected = whole(events);
        expect(
            &expected,
            &json!({ "gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 7, "retrace.partial": null }),
        );
        let unknown = [
            json!({}),
            json!({ "type": "unheard_of", "event_type": "unheard_of", "text": "unheard", "content": "unheard", "x": [1] }),
            json!({ "unheard": { "y": "z" } }),
        ];
        for item in &unknown {
            for list in inserted(&json!(events), item) {
                // A line that is cut is none, whatever follows it.
                assert_eq!(whole(list.as_array().unwrap()), expected, "{item} in {list} of {url}");
            }
        }
    }
}
