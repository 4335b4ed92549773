//! Gemini's contents.

use serde_json::{Value, json};

use super::*;

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
