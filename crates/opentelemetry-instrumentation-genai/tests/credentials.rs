//! No credential of a request, a response, an error or a URL is on a span, whatever the API.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use genai_redact::{CREDENTIALS, Match};
use http::HeaderMap;
use opentelemetry_instrumentation_genai::{Message, Operation, Part, Request, RequestFacts, Route};
use serde_json::{Map, Value, json};
use support::apis::{framed, known};
use support::{Exchange, Rig, attributes_of};

const CANARY: &str = "c4n4ry-7f3a91";

/// Members of a document that are a conversation, or a schema's names: what stands there is somebody's own.
const OWN: &[&str] = &[
    "messages",
    "contents",
    "input",
    "inputs",
    "prompt",
    "system",
    "arguments",
    "args",
    "parameters",
    "input_schema",
    "inputSchema",
    "parameter_definitions",
    "message",
    "content",
    "output",
    "choices",
    "candidates",
    "delta",
    "item",
    "content_block",
    "tool_calls",
    "documents",
    "texts",
    "query",
];

/// Members that hold a canary: one for each row of the table, as a text, in an object and in a list.
fn planted() -> Map<String, Value> {
    let mut members = Map::new();
    for row in CREDENTIALS {
        match row.by {
            Match::Parameter => {
                members.insert(
                    format!("url_{}", row.name),
                    format!("https://user:{CANARY}@h/x?a=1&{}={CANARY}", row.name).into(),
                );
            }
            Match::Members => {
                members.insert(row.name.to_owned(), json!({ "A": CANARY, "B": [CANARY] }));
            }
            Match::Whole | Match::End => {
                members.insert(row.name.to_owned(), CANARY.into());
                members.insert(format!("{}_", row.name), json!({ "X": { "value": CANARY }, "Y": [CANARY] }));
            }
        }
    }
    for (name, form) in [
        ("bearer", "Bearer "),
        ("openai", "sk-proj-"),
        ("google", "AIza"),
        ("groq", "gsk_"),
        ("xai", "xai-"),
        ("hf", "hf_"),
        ("own", "rt_"),
    ] {
        members.insert(name.to_owned(), format!("{form}{CANARY}").into());
    }
    members
}

/// Plants the canaries into every object that is no conversation and no schema.
fn plant(value: &mut Value, places: &mut usize) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| plant(item, places)),
        Value::Object(members) => {
            members
                .iter_mut()
                .filter(|(name, _)| !OWN.contains(&name.as_str()))
                .for_each(|(_, value)| plant(value, places));
            members.extend(planted());
            *places += 1;
        }
        _ => {}
    }
}

fn spans(rig: &Rig, url: &str, request: &Value, status: u16, response: &str) -> String {
    let exchange = Exchange::new(url, request, response).status(status);
    format!("{:#}", exchange.through(rig, &[response.as_bytes()]))
}

#[test]
fn no_credential_of_any_api_is_on_a_span() {
    let mut places = 0;
    for rig in [Rig::new(), Rig::with(|builder| builder)] {
        for known in known(&json!({ "city": "Oslo" })) {
            let mut request = known.request.clone();
            plant(&mut request, &mut places);
            let mut whole = known.whole.clone();
            plant(&mut whole, &mut places);
            let mut stream = known.stream.clone();
            stream.iter_mut().for_each(|document| plant(document, &mut places));
            let separator = if known.url.contains('?') { '&' } else { '?' };
            let url = format!("{}{separator}key={CANARY}&api_key={CANARY}", known.url)
                .replace("://", &format!("://user:{CANARY}@"));
            for response in [whole.to_string(), framed(&stream, known.framing)] {
                let span = spans(&rig, &url, &request, 200, &response);
                assert!(!span.contains(CANARY), "{}: {span}", known.url);
            }
        }
    }
    assert!(places > 200, "{places} objects");
}

/// Texts as providers, clients and gateways write them.
fn errors() -> Vec<String> {
    let mut errors = vec![
        format!("Incorrect API key provided: {CANARY}. You can find your API key at https://platform.openai.com."),
        format!("API key not valid: AIza{CANARY}"),
        format!("Authorization: Bearer {CANARY} was refused"),
        format!("The API key '{CANARY}' is unknown"),
        format!("the token sk-ant-{CANARY} has expired"),
        format!(r#"{{"headers":{{"X-Other":"{CANARY}"}},"authorization":"Bearer {CANARY}"}}"#),
    ];
    for row in CREDENTIALS.iter().filter(|row| row.by != Match::Members) {
        errors
            .push(format!("error sending request for url (https://user:{CANARY}@h/v1?alt=sse&{}={CANARY})", row.name));
        if row.by == Match::End && !matches!(row.name, "headers" | "credentials" | "secrets") {
            errors.push(format!("invalid {}: {CANARY}", row.name));
        }
    }
    errors
}

#[test]
fn no_credential_of_any_error_is_on_a_span() {
    let rig = Rig::new();
    for known in known(&json!({})) {
        for text in errors() {
            for body in [
                json!({ "error": { "message": text, "code": text, "type": text, "status": text } }),
                json!({ "error": text, "error_type": text }),
                json!({ "message": text }),
                json!({ "detail": text }),
                json!({ "code": "bad", "object": "error", "message": text }),
                json!({ "type": "error", "error": { "type": "authentication_error", "message": text } }),
                json!({ "errors": [{ "code": "x", "message": text }] }),
                json!({ "choices": [{ "index": 0, "finish_reason": "error", "error": { "message": text } }] }),
                json!({ "type": "response.failed", "response": { "status": "failed", "error": { "code": "x", "message": text } } }),
            ] {
                let span = spans(&rig, known.url, &known.request, 401, &body.to_string());
                assert!(!span.contains(CANARY), "{}: {span}", known.url);
            }
        }
    }
}

#[test]
fn an_error_of_the_client_has_no_credential() {
    let rig = Rig::new();
    for text in errors() {
        let request = Request {
            method: "POST",
            url: "https://api.openai.com/v1/completions",
            body: Some(br#"{"model":"m","prompt":""}"#),
        };
        rig.genai.start(&request).unwrap().fail(&text);
        let span = rig.one().to_string();
        assert!(!span.contains(CANARY), "{span}");
    }
}

#[test]
fn a_marker_stands_where_a_credential_stood() {
    let request = json!({ "model": "m", "input": "hi", "tools": [
        { "type": "mcp", "server_label": "s", "server_url": format!("https://h/sse?token={CANARY}"), "authorization": CANARY, "headers": { "X-Api-Key": CANARY } },
        { "type": "function", "name": "login", "parameters": { "type": "object", "properties": { "api_key": { "type": "string" }, "headers": { "type": "object" } } } }] });
    let span = Exchange::new("https://api.openai.com/v1/responses", &request, "{}").span();
    let expected = json!([
        { "type": "mcp", "name": "mcp", "server_label": "s", "server_url": "https://h/sse?token=[redacted]", "authorization": "[redacted]", "headers": { "X-Api-Key": "[redacted]" } },
        { "type": "function", "name": "login", "parameters": { "type": "object", "properties": { "api_key": { "type": "string" }, "headers": { "type": "object" } } } }]);
    assert_eq!(span["gen_ai.tool.definitions"], expected);
}

#[test]
fn the_conversation_stays_as_it_is() {
    let text = "My password: hunter2, my key sk-abcdef123456789, https://u:p@h/?key=1";
    let given = json!({ "api_key": "sk-abcdef123456789", "headers": { "Authorization": "Bearer abcdef123456" }, "url": "https://u:p@h/?key=1" });
    let mut seen = 0;
    for known in known(&given) {
        let span = Exchange::new(known.url, &known.request, known.whole.to_string()).span();
        let parts = span["gen_ai.output.messages"][0]["parts"].as_array().cloned().unwrap_or_default();
        for part in parts.iter().filter(|part| part["type"] == "tool_call") {
            assert_eq!(part["arguments"], given, "{}", known.url);
            seen += 1;
        }
    }
    assert!(seen > 8, "{seen}");
    let messages =
        json!([{ "role": "user", "content": text }, { "role": "tool", "tool_call_id": "c", "content": text }]);
    let answer = json!({ "choices": [{ "message": { "content": text } }] });
    let span = Exchange::new(
        "https://api.openai.com/v1/chat/completions",
        &json!({ "model": "m", "messages": messages }),
        answer.to_string(),
    )
    .span();
    for place in [
        &span["gen_ai.input.messages"][0]["parts"][0]["content"],
        &span["gen_ai.input.messages"][1]["parts"][0]["response"],
        &support::parts(&span)[0]["content"],
    ] {
        assert_eq!(place, text);
    }
}

#[test]
fn signatures_of_media_and_facts_by_hand_are_redacted_too() {
    let rig = Rig::new();
    let signed = format!("https://b.s3.amazonaws.com/a.png?X-Amz-Date=2&X-Amz-Signature={CANARY}");
    let request = RequestFacts {
        messages: vec![Message::of("user", vec![Part::media_at(&signed, "image")])],
        tools: vec![json!({ "type": "mcp", "name": "s", "authorization_token": CANARY })],
        ..RequestFacts::default()
    };
    let mut call = rig.genai.start_by_hand(Route::new(Operation::Chat, "house"), "https://h", request);
    call.response(401, &HeaderMap::new());
    call.facts().unwrap().fail(None, None, Some(&format!("Bearer {CANARY}")));
    call.end();
    let span = attributes_of(&rig.take()[0]);
    assert!(!span.to_string().contains(CANARY), "{span:#}");
    assert_eq!(
        span["gen_ai.input.messages"][0]["parts"][0]["uri"],
        "https://b.s3.amazonaws.com/a.png?X-Amz-Date=2&X-Amz-Signature=[redacted]"
    );
}
