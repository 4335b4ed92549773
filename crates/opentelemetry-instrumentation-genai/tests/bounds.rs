//! Anything may come: nothing panics, memory stays bounded, spans end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use http::HeaderMap;
use opentelemetry_instrumentation_genai::{Capture, Request};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Rig, expect, parts};

/// A URL of every API.
const URLS: &[&str] = &[
    "https://api.openai.com/v1/chat/completions",
    "https://api.openai.com/v1/responses",
    "https://api.openai.com/v1/completions",
    "https://api.openai.com/v1/embeddings",
    "https://api.anthropic.com/v1/messages",
    "https://api.anthropic.com/v1/complete",
    "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent",
    "https://generativelanguage.googleapis.com/v1beta/models/m:embedContent",
    "http://localhost:11434/api/chat",
    "http://localhost:11434/api/generate",
    "http://localhost:11434/api/embed",
    "https://api.cohere.com/v2/chat",
    "https://api.cohere.com/v1/chat",
    "https://api.cohere.com/v1/embed",
    "https://api.cohere.com/v1/rerank",
    "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse",
    "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/invoke",
    "http://localhost:8080/generate",
    "https://us-south.ml.cloud.ibm.com/ml/v1/text/generation_stream",
];

/// Keys that some provider reads, so that values of any type come to where they are read.
const KEYS: &str = "(model|messages|message|role|content|parts|text|type|tool_calls|function|name|arguments|id|index|choices|delta|\
    finish_reason|usage|prompt_tokens|completion_tokens|total_tokens|input_tokens|output_tokens|error|code|logprobs|token|\
    logprob|token_ids|tokens|response|output|item|output_index|content_index|status|content_block|partial_json|thinking|\
    candidates|functionCall|args|usageMetadata|thoughtsTokenCount|embedding|embeddings|data|done|eval_count|prompt|input|\
    inputs|tools|stream|delta|stop_reason|results|outputs|generated_text|details|query|documents|texts|max_tokens|n|seed|\
    message_start|system|instructions|image_url|url|source|toolUse|toolResult|inferenceConfig|generationConfig|contents)";

fn any_json() -> impl Strategy<Value = Value> {
    let kinds = "(message_start|content_block_start|content_block_delta|message_delta|text|tool_use|function_call|response.completed|\
        response.output_text.delta|response.output_item.done|error|message|reasoning|text_delta|input_json_delta|message-end|\
        tool-call-start|content-delta|[a-z\u{e9}]{0,6})";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        kinds.prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((KEYS, inner), 0..7).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn feed(rig: &Rig, url: &str, request: &[u8], chunks: &[Vec<u8>]) {
    let Some(mut call) = rig.genai.start(&Request { method: "POST", url, body: Some(request) }) else { return };
    call.response(200, &HeaderMap::new());
    chunks.iter().for_each(|chunk| call.chunk(chunk));
    call.end();
    let span = rig.one(); // content parses, or this panics
    for key in ["gen_ai.input.messages", "gen_ai.output.messages"] {
        assert!(span[key].to_string().len() < 64 * 1024);
    }
}

fn small() -> Rig {
    Rig::with(|builder| builder.with_capture(Capture::SpanOnly).with_text_limit(64).with_attribute_limit(8 * 1024))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_json_is_read_by_every_api(request in any_json(), documents in prop::collection::vec(any_json(), 1..4)) {
        let rig = small();
        let lines: Vec<Vec<u8>> = documents.iter().map(|document| format!("{document}\n").into_bytes()).collect();
        let events: Vec<Vec<u8>> = documents.iter().map(|document| format!("data: {document}\n\n").into_bytes()).collect();
        for url in URLS {
            feed(&rig, url, request.to_string().as_bytes(), &lines);
            // What every API accepts, so that its response is read whatever the request was.
            let accepted = json!({ "model": "m", "messages": [], "prompt": "", "input": "", "message": "", "texts": [], "inputs": "",
                "documents": [], "query": "", "max_tokens_to_sample": 1, "stream": true });
            feed(&rig, url, accepted.to_string().as_bytes(), &lines);
            feed(&rig, url, accepted.to_string().as_bytes(), &events);
        }
    }

    #[test]
    fn any_bytes_are_read(request in prop::collection::vec(any::<u8>(), 0..200), chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..6)) {
        let rig = small();
        for url in URLS {
            feed(&rig, url, &request, &chunks);
            feed(&rig, url, br#"{"model":"m","messages":[],"prompt":"","input":"","message":"","inputs":""}"#, &chunks);
        }
    }

    #[test]
    fn damaged_documents_say_what_they_can(cut in any::<prop::sample::Index>(), byte in any::<u8>(), at in any::<prop::sample::Index>()) {
        let rig = small();
        let whole = json!({ "id": "c1", "model": "m-1", "usage": { "prompt_tokens": 7 },
            "choices": [{ "index": 0, "message": { "content": "a \"quoted\" \u{1f600} text \\ ".repeat(9) }, "finish_reason": "stop" }] }).to_string().into_bytes();
        let mut damaged = whole.clone();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        feed(&rig, URLS[0], br#"{"model":"m","messages":[]}"#, &[damaged]);
        let cut = cut.index(whole.len());
        feed(&rig, URLS[0], br#"{"model":"m","messages":[]}"#, &[whole[..cut].to_vec()]);
    }
}

#[test]
fn a_body_that_is_cut_in_the_middle_keeps_its_beginning() {
    let rig = Rig::new();
    let text = "word ".repeat(40);
    let body = json!({ "choices": [{ "message": { "content": text } }], "id": "chatcmpl-42" }).to_string();
    let request = Request { method: "POST", url: URLS[0], body: Some(br#"{"model":"m","messages":[]}"#) };
    let mut call = rig.genai.start(&request).unwrap();
    call.chunk(&body.as_bytes()[..120]);
    drop(call);
    let span = rig.one();
    expect(&span, &json!({ "retrace.partial": true, "gen_ai.response.id": null }));
    let text_kept = parts(&span)[0]["content"].as_str().unwrap();
    assert!(text_kept.len() > 60 && text.starts_with(text_kept), "{text_kept:?}");
    // Half a name is no name, half a number no count.
    let mut call = rig.genai.start(&request).unwrap();
    call.chunk(br#"{"usage":{"prompt_tokens":12},"x":{"completion_tokens":1"#);
    call.chunk(br#"},"model":"gpt-4"#);
    drop(call);
    expect(&rig.one(), &json!({ "gen_ai.usage.input_tokens": 12, "gen_ai.response.model": null }));
}

#[test]
fn hundred_megabytes_are_read_in_bounded_memory() {
    let rig = Rig::new();
    let picture = "QUJD".repeat(25_000_000 / 4);
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{picture}"}}}}]}}]}}"#
    );
    let mut call = rig.genai.start(&Request { method: "POST", url: URLS[0], body: Some(body.as_bytes()) }).unwrap();
    call.response(200, &HeaderMap::new());
    call.chunk(br#"{"choices":[{"message":{"content":""#);
    let megabyte = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        call.chunk(&megabyte);
    }
    call.chunk(br#""},"finish_reason":"stop"}],"usage":{"completion_tokens":5}}"#);
    call.end();
    let span = rig.one();
    expect(&span, &json!({ "gen_ai.usage.output_tokens": 5, "gen_ai.response.finish_reasons": ["stop"] }));
    let blob = &span["gen_ai.input.messages"][0]["parts"][0];
    assert_eq!(
        (&blob["modality"], &blob["content"], &blob["omitted_base64_characters"]),
        (&json!("image"), &json!(""), &json!(picture.len()))
    );
    let text_kept = parts(&span)[0]["content"].as_str().unwrap();
    assert!(text_kept.len() < 129 * 1024 && text_kept.ends_with(" bytes more]"), "{}", text_kept.len());
    let omitted = span["retrace.omitted_bytes"].as_u64().unwrap();
    assert!(omitted > 120_000_000, "{omitted}");
}

#[test]
fn streams_and_embeddings_without_end() {
    let rig = Rig::new();
    let request = Request { method: "POST", url: URLS[0], body: Some(br#"{"model":"m","messages":[],"stream":true}"#) };
    let mut call = rig.genai.start(&request).unwrap();
    let line = format!("data: {}\n\n", json!({ "choices": [{ "delta": { "content": "x".repeat(4096) } }] }));
    for _ in 0..1000 {
        call.chunk(line.as_bytes());
    }
    // An event that never ends, and names of fields that never end.
    for _ in 0..2000 {
        call.chunk(&[b'y'; 4096]);
    }
    call.chunk(b"\n\ndata: {\"usage\":{\"completion_tokens\":9},\"choices\":[]}\n\ndata: [DONE]\n\n");
    call.end();
    let span = rig.one();
    expect(&span, &json!({ "gen_ai.usage.output_tokens": 9, "retrace.partial": null }));
    assert!(parts(&span)[0]["content"].as_str().unwrap().len() <= 1024 * 1024 + 32);

    let vectors: Vec<Value> =
        (0..50).map(|index| json!({ "index": index, "embedding": vec![0.123_456; 3072] })).collect();
    let body = json!({ "data": vectors, "model": "e-1", "usage": { "prompt_tokens": 3 } }).to_string();
    let request = Request { method: "POST", url: URLS[3], body: Some(br#"{"model":"e","input":["a"]}"#) };
    let mut call = rig.genai.start(&request).unwrap();
    body.as_bytes().chunks(1000).for_each(|chunk| call.chunk(chunk));
    call.end();
    expect(
        &rig.one(),
        &json!({ "gen_ai.embeddings.dimension.count": 3072, "gen_ai.usage.input_tokens": 3, "gen_ai.response.model": "e-1" }),
    );
}
