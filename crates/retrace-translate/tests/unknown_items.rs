//! No list is all or nothing: an item of an unknown kind is kept, and everything around it is read.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use proptest::prelude::*;
use retrace_translate::Value;
use serde_json::{Value as Json, json};
use support::*;

/// Items that no dialect has.
const UNKNOWN: &[&str] = &[
    r#"{"type":"mcp_call","id":"m","name":"look","server_label":"s","arguments":"{}","output":"ok"}"#,
    r#"{"type":"hologram","beam":[1,2]}"#,
    r#"{"beam":{"type":"hologram"}}"#,
];

/// Input and output of a model call with these attributes.
fn told(attributes: &[(&str, String)]) -> (Json, Json) {
    let mut call = span(1, 0, "call")
        .with("gen_ai.operation.name", "chat")
        .with("gen_ai.request.model", "m")
        .with("openinference.span.kind", "LLM");
    for (key, value) in attributes {
        call = call.with_value(key, Value::Str(value.clone().into()));
    }
    let (_, spans) = run_of(&[call]);
    let json =
        |json: &Option<retrace_protocol::Json>| json.as_ref().map_or(Json::Null, |json| json.to_value().unwrap());
    let span = spans.iter().find(|span| span.span_type == retrace_protocol::SpanType::LlmCall).unwrap();
    (json(&span.input), json(&span.output))
}

/// The list at `path` with the item at the place `at`, counted around the list.
fn inserted(json: &Json, path: &str, at: usize, item: &Json) -> String {
    let mut json = json.clone();
    let list = json.pointer_mut(path).unwrap().as_array_mut().unwrap();
    let at = at % (list.len() + 1);
    list.insert(at, item.clone());
    json.to_string()
}

/// A conversation without messages and parts that hold `item`.
fn without(told: &Json, item: &Json) -> Json {
    let holds = |content: &Json| {
        content == item || content.as_array().is_some_and(|parts| parts.len() == 1 && parts[0] == *item)
    };
    let messages = told["messages"].as_array().unwrap().iter();
    let messages = messages
        .filter(|message| message.get("tool_calls").is_some() || !holds(&message["content"]))
        .cloned()
        .map(|mut message| {
            if let Some(parts) = message["content"].as_array_mut() {
                parts.retain(|part| part != item);
                // One text is the content itself, and none an empty one.
                if parts.iter().all(|part| part["type"] == "text") {
                    let texts: Vec<_> = parts.iter().map(|part| part["text"].as_str().unwrap()).collect();
                    message["content"] = texts.join("\n").into();
                }
            }
            message
        });
    json!({"messages": messages.collect::<Vec<_>>()})
}

fn conversations() -> Vec<(&'static str, Json, Vec<&'static str>)> {
    let chat = json!([
        {"role": "system", "content": "be terse"},
        {"role": "user", "content": [{"type": "text", "text": "tide?"}]},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "tide", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "04:12"},
    ]);
    let parts = json!([
        {"role": "user", "parts": [{"type": "text", "content": "tide?"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c", "name": "tide", "arguments": {}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "response": "04:12"}]},
    ]);
    let gemini = json!({"contents": [
        {"role": "user", "parts": [{"text": "tide?"}]},
        {"role": "model", "parts": [{"functionCall": {"id": "c", "name": "tide", "args": {}}}]},
    ]});
    let items = json!({"model": "m", "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "tide?"}]},
        {"type": "function_call", "call_id": "c", "name": "tide", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "04:12"},
    ]});
    vec![
        ("gen_ai.input.messages", parts, vec!["", "/0/parts", "/1/parts"]),
        ("gen_ai.input.messages", chat.clone(), vec!["", "/1/content"]),
        ("gen_ai.prompt", chat.clone(), vec!["", "/1/content"]),
        ("input.value", chat.clone(), vec!["", "/1/content"]),
        ("input.value", json!({"messages": chat}), vec!["/messages", "/messages/1/content"]),
        ("input.value", gemini, vec!["/contents", "/contents/0/parts", "/contents/1/parts"]),
        ("input.value", items, vec!["/input", "/input/0/content"]),
    ]
}

fn answers() -> Vec<(&'static str, Json, Vec<&'static str>)> {
    vec![
        (
            "gen_ai.output.messages",
            json!([{"role": "assistant", "parts": [{"type": "text", "content": "At 04:12."}], "finish_reason": "stop"}]),
            vec!["", "/0/parts"],
        ),
        (
            "output.value",
            json!({"id": "r", "status": "completed", "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "At 04:12."}]}]}),
            vec!["/output", "/output/0/content"],
        ),
        (
            "output.value",
            json!({"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "At 04:12."}}]}),
            vec!["/choices"],
        ),
        (
            "output.value",
            json!({"role": "assistant", "stop_reason": "end_turn", "content": [{"type": "text", "text": "At 04:12."}]}),
            vec!["/content"],
        ),
        (
            "output.value",
            json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "At 04:12."}]}, "finishReason": "STOP"}]}),
            vec!["/candidates", "/candidates/0/content/parts"],
        ),
    ]
}

proptest! {
    #[test]
    fn an_unknown_item_changes_nothing_else(case in 0_usize..64, place in 0_usize..8, at in 0_usize..8, item in 0_usize..UNKNOWN.len()) {
        let item: Json = serde_json::from_str(UNKNOWN[item]).unwrap();
        let all = conversations();
        let (key, json, paths) = &all[case % all.len()];
        let path = paths[place % paths.len()];
        let plain = told(&[(key, json.to_string())]).0;
        let mixed = told(&[(key, inserted(json, path, at, &item))]).0;
        prop_assert!(plain["messages"].as_array().is_some_and(|messages| messages.len() > 1), "{key}: {plain}");
        prop_assert!(mixed.to_string().contains(&item.to_string()), "{key} {path}: the item is kept: {mixed}");
        prop_assert_eq!(without(&mixed, &item), plain, "{} {}", key, path);

        let all = answers();
        let (key, json, paths) = &all[case % all.len()];
        let path = paths[place % paths.len()];
        prop_assert_eq!(told(&[(key, json.to_string())]).1, "At 04:12.");
        prop_assert_eq!(told(&[(key, inserted(json, path, at, &item))]).1, "At 04:12.", "{} {}", key, path);
    }
}

#[test]
fn items_of_other_conventions_among_messages_are_read() {
    let messages = json!([
        {"role": "user", "parts": [{"type": "text", "content": "When is high tide?"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c", "name": "tide", "arguments": {"port": "Bergen"}}]},
        {"type": "function_call_output", "call_id": "c", "output": "High tide at 04:12"},
    ]);
    let (input, _) = told(&[("gen_ai.input.messages", messages.to_string())]);
    assert_eq!(
        input["messages"],
        json!([
            {"role": "user", "content": "When is high tide?"},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "name": "tide", "arguments": {"port": "Bergen"}}]},
            {"role": "tool", "content": "High tide at 04:12", "tool_call_id": "c"},
        ])
    );
}

#[test]
fn roles_are_read_in_any_case() {
    for (written, role) in [
        ("User", "user"),
        ("USER", "user"),
        ("Human", "user"),
        ("MessageRole.USER", "user"),
        ("Assistant", "assistant"),
        ("AI", "assistant"),
        ("MODEL", "assistant"),
        ("System", "system"),
        ("Developer", "developer"),
        ("Critic", "Critic"),
    ] {
        for (key, json) in [
            ("input.value", json!([{"role": written, "content": "hello"}])),
            ("gen_ai.prompt", json!([{"role": written, "content": "hello"}])),
            ("gen_ai.input.messages", json!([{"role": written, "parts": [{"type": "text", "content": "hello"}]}])),
            ("llm.input_messages", json!([{"message": {"role": written, "content": "hello"}}])),
        ] {
            let (input, _) = told(&[(key, json.to_string())]);
            assert_eq!(input["messages"], json!([{"role": role, "content": "hello"}]), "{key} {written}");
        }
    }
}

#[test]
fn a_result_that_is_a_list_of_texts_is_text() {
    let text = "High tide at 04:12";
    for result in [
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": text}]}]}),
        json!({"role": "user", "content": [{"toolResult": {"toolUseId": "c", "status": "success", "content": [{"text": text}]}}]}),
        json!({"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": text}]}),
        json!({"type": "function_call_output", "call_id": "c", "output": [{"type": "output_text", "text": text}]}),
    ] {
        let (input, _) = told(&[("input.value", json!([result]).to_string())]);
        assert_eq!(input["messages"], json!([{"role": "tool", "content": text, "tool_call_id": "c"}]), "{result}");
    }
}
