//! OpenAI's responses.

use serde_json::{Value, json};

use super::*;

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
