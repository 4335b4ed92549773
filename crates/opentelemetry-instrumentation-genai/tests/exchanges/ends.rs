//! Errors wherever they are, and where an answer ends.

use serde_json::{Value, json};

use super::*;

#[test]
fn errors_wherever_they_are() {
    let span = span_of(include_str!("openrouter-error-in-choice.json"));
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
    let (url, request, body) = recorded(include_str!("gemini-dropped-after-finish.json"));
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
