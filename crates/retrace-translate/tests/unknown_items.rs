//! No list is all or nothing: an item of an unknown kind is kept, and everything around it is read.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

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
fn io_of(attributes: &[(&str, String)]) -> (Json, Json) {
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
fn without(input: &Json, item: &Json) -> Json {
    let holds = |content: &Json| {
        content == item || content.as_array().is_some_and(|parts| parts.len() == 1 && parts[0] == *item)
    };
    let messages = input["messages"].as_array().unwrap().iter();
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
    let genkit = json!({"messages": [
        {"role": "user", "content": [{"text": "tide?"}]},
        {"role": "model", "content": [{"toolRequest": {"ref": "c", "name": "tide", "input": {}}}]},
    ]});
    let adk = json!({"model": "m", "contents": [
        {"role": "user", "parts": [{"text": "tide?"}]},
        {"role": "model", "parts": [{"function_call": {"id": "c", "name": "tide", "args": {}}}]},
    ]});
    let openinference = json!([
        {"message.role": "user", "message.contents": [{"message_content.type": "text", "message_content.text": "tide?"}]},
        {"message.role": "assistant", "message.tool_calls": [{"tool_call.id": "c", "tool_call.function.name": "tide", "tool_call.function.arguments": "{}"}]},
    ]);
    let vercel = json!([
        {"role": "user", "content": [{"type": "text", "text": "tide?"}]},
        {"role": "assistant", "content": [{"type": "tool-call", "toolCallId": "c", "toolName": "tide", "input": {}}]},
        {"role": "tool", "content": [{"type": "tool-result", "toolCallId": "c", "toolName": "tide", "output": {"type": "text", "value": "04:12"}}]},
    ]);
    let livekit = json!({"items": [
        {"type": "message", "role": "user", "content": ["tide?"]},
        {"type": "function_call", "call_id": "c", "name": "tide", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "name": "tide", "output": "04:12"},
    ]});
    let langchain = json!({"messages": [[
        {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "HumanMessage"], "kwargs": {"content": "tide?", "type": "human"}},
        {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "AIMessage"], "kwargs": {"content": "04:12", "type": "ai"}},
    ]]});
    let haystack = json!({"messages": [
        {"role": "user", "content": [{"text": "tide?"}]},
        {"role": "assistant", "content": [{"tool_call": {"id": "c", "tool_name": "tide", "arguments": {}}}]},
    ]});
    let bedrock = json!({"modelId": "m", "messages": [
        {"role": "user", "content": [{"text": "tide?"}]},
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c", "name": "tide", "input": {}}}]},
    ]});
    vec![
        ("gen_ai.input.messages", parts, vec!["", "/0/parts", "/1/parts"]),
        ("gen_ai.input.messages", chat.clone(), vec!["", "/1/content"]),
        ("gen_ai.prompt", chat.clone(), vec!["", "/1/content"]),
        ("input.value", chat.clone(), vec!["", "/1/content"]),
        ("input.value", json!({"messages": chat}), vec!["/messages", "/messages/1/content"]),
        ("input.value", gemini, vec!["/contents", "/contents/0/parts", "/contents/1/parts"]),
        ("input.value", items.clone(), vec!["/input", "/input/0/content"]),
        ("mlflow.spanInputs", json!({"messages": chat}), vec!["/messages", "/messages/1/content"]),
        ("langfuse.observation.input", chat.clone(), vec!["", "/1/content"]),
        ("braintrust.input_json", chat.clone(), vec!["", "/1/content"]),
        ("traceloop.entity.input", json!({"messages": chat}), vec!["/messages", "/messages/1/content"]),
        ("genkit:input", genkit, vec!["/messages", "/messages/0/content", "/messages/1/content"]),
        ("gcp.vertex.agent.llm_request", adk, vec!["/contents", "/contents/0/parts", "/contents/1/parts"]),
        ("gen_ai.request.messages", chat.clone(), vec!["", "/1/content"]),
        ("llm.input_messages", openinference, vec!["", "/0/message.contents", "/1/message.tool_calls"]),
        ("ai.prompt.messages", vercel, vec!["", "/0/content", "/1/content", "/2/content"]),
        ("request_data", json!({"messages": chat}), vec!["/messages", "/messages/1/content"]),
        ("lk.chat_ctx", livekit, vec!["/items", "/items/0/content"]),
        ("input.value", langchain.clone(), vec!["/messages/0"]),
        ("input.value", bedrock, vec!["/messages", "/messages/0/content", "/messages/1/content"]),
        ("gen_ai.prompt", langchain.clone(), vec!["/messages/0"]),
        ("haystack.agent.step.llm.input", haystack, vec!["/messages", "/messages/0/content"]),
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
            json!({"output": {"message": {"role": "assistant", "content": [{"text": "At 04:12."}]}}, "stopReason": "end_turn"}),
            vec!["/output/message/content"],
        ),
        ("gen_ai.completion", json!([{"role": "assistant", "content": "At 04:12."}]), vec![""]),
        (
            "llm.output_messages",
            json!([{"message.role": "assistant", "message.contents": [{"message_content.type": "text", "message_content.text": "At 04:12."}]}]),
            vec!["", "/0/message.contents"],
        ),
        (
            "mlflow.spanOutputs",
            json!({"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "At 04:12."}}]}),
            vec!["/choices"],
        ),
        (
            "genkit:output",
            json!({"message": {"role": "model", "content": [{"text": "At 04:12."}]}, "finishReason": "stop"}),
            vec!["/message/content"],
        ),
        (
            "gcp.vertex.agent.llm_response",
            json!({"content": {"role": "model", "parts": [{"text": "At 04:12."}]}, "finish_reason": "STOP"}),
            vec!["/content/parts"],
        ),
        (
            "output.value",
            json!({"generations": [[{"text": "At 04:12.", "message": {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "AIMessage"], "kwargs": {"content": [{"type": "text", "text": "At 04:12."}], "type": "ai"}}}]]}),
            vec!["/generations/0/0/message/kwargs/content"],
        ),
        (
            "output.value",
            json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "At 04:12."}]}, "finishReason": "STOP"}]}),
            vec!["/candidates", "/candidates/0/content/parts"],
        ),
    ]
}

/// Each item at each place of each list.
#[test]
fn an_unknown_item_changes_nothing_else() {
    let mut faults = Vec::new();
    for (key, json, paths) in &conversations() {
        let plain = io_of(&[(key, json.to_string())]).0;
        if plain["messages"].as_array().is_none_or(|messages| messages.len() < 2) {
            faults.push(format!("{key}: is not read: {plain}"));
            continue;
        }
        for (path, item) in paths.iter().flat_map(|path| UNKNOWN.iter().map(move |item| (path, item))) {
            let item: Json = serde_json::from_str(item).unwrap();
            let length = json.pointer(path).unwrap().as_array().unwrap().len();
            for at in 0..=length {
                let mixed = io_of(&[(key, inserted(json, path, at, &item))]).0;
                if !mixed.to_string().contains(&item.to_string()) {
                    faults.push(format!("{key} {path} {at}: {item} is lost: {mixed}"));
                } else if mixed.get("messages").is_none() || without(&mixed, &item) != plain {
                    faults.push(format!("{key} {path} {at}: {mixed}, without {item}: {plain}"));
                }
            }
        }
    }
    for (key, json, paths) in &answers() {
        let plain = io_of(&[(key, json.to_string())]).1;
        if plain != "At 04:12." {
            faults.push(format!("{key}: is not read: {plain}"));
            continue;
        }
        for (path, item) in paths.iter().flat_map(|path| UNKNOWN.iter().map(move |item| (path, item))) {
            let item: Json = serde_json::from_str(item).unwrap();
            let length = json.pointer(path).unwrap().as_array().unwrap().len();
            for at in 0..=length {
                let mixed = io_of(&[(key, inserted(json, path, at, &item))]).1;
                if mixed != "At 04:12." {
                    faults.push(format!("{key} {path} {at}: {mixed}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn items_of_other_conventions_among_messages_are_read() {
    let messages = json!([
        {"role": "user", "parts": [{"type": "text", "content": "When is high tide?"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c", "name": "tide", "arguments": {"port": "Bergen"}}]},
        {"type": "function_call_output", "call_id": "c", "output": "High tide at 04:12"},
    ]);
    let (input, _) = io_of(&[("gen_ai.input.messages", messages.to_string())]);
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
            let (input, _) = io_of(&[(key, json.to_string())]);
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
        let (input, _) = io_of(&[("input.value", json!([result]).to_string())]);
        assert_eq!(input["messages"], json!([{"role": "tool", "content": text, "tool_call_id": "c"}]), "{result}");
    }
}
