//! Event streams of Bedrock.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use opentelemetry_instrumentation_genai::Request;
use serde_json::{Value as Json, json};
use support::frames::{chunk, converse, event, exception, frame};
use support::{Exchange, Rig, expect, parts};

const HOST: &str = "https://bedrock-runtime.eu-west-1.amazonaws.com/model";

/// The span of this stream, which is the same for every cut into two and byte by byte.
#[track_caller]
fn span(url: &str, request: &Json, bytes: &[u8]) -> Json {
    let rig = Rig::new();
    let exchange = Exchange::new(url, request, "").header("content-type", "application/vnd.amazon.eventstream");
    let whole = exchange.through(&rig, &[bytes]);
    for place in 0..=bytes.len() {
        let (one, other) = bytes.split_at(place);
        assert_eq!(exchange.through(&rig, &[one, other]), whole, "cut at {place}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(exchange.through(&rig, &single), whole, "byte by byte");
    whole
}

fn converse_span(frames: &[Vec<u8>]) -> Json {
    let request = json!({ "messages": [{ "role": "user", "content": [{ "text": "hi" }] }] });
    span(&format!("{HOST}/amazon.nova-lite-v1%3A0/converse-stream"), &request, &frames.concat())
}

fn invoke_span(request: &Json, documents: &[Json]) -> Json {
    let frames: Vec<Vec<u8>> = documents.iter().map(chunk).collect();
    span(&format!("{HOST}/m/invoke-with-response-stream"), request, &frames.concat())
}

#[test]
fn converse_streams_have_blocks_a_reason_and_counts() {
    let span = converse_span(&converse(&json!({ "x": 20, "y": [22] })));
    expect(
        &span,
        &json!({ "gen_ai.request.model": "amazon.nova-lite-v1:0", "gen_ai.request.stream": true, "gen_ai.response.finish_reasons": ["tool_use"],
            "gen_ai.usage.input_tokens": 18, "gen_ai.usage.output_tokens": 2, "gen_ai.usage.cache_read.input_tokens": 10,
            "gen_ai.usage.cache_creation.input_tokens": 5, "retrace.partial": null, "retrace.unread_body": null, "failed": null }),
    );
    let expected = json!([{ "type": "reasoning", "content": "Hmm." }, { "type": "text", "content": "Hello" },
        { "type": "tool_call", "id": "c1", "name": "f", "arguments": { "x": 20, "y": [22] } }]);
    assert_eq!(parts(&span), &expected);
}

#[test]
fn a_tool_without_arguments_is_given_an_empty_object() {
    let start = json!({ "contentBlockIndex": 0, "start": { "toolUse": { "toolUseId": "c1", "name": "f" } } });
    let stop = event("contentBlockStop", json!({ "contentBlockIndex": 0 }));
    let end = event("messageStop", json!({ "stopReason": "tool_use" }));
    let span = converse_span(&[event("contentBlockStart", start), stop, end]);
    assert_eq!(parts(&span)[0]["arguments"], json!({}));
}

#[test]
fn unknown_events_are_skipped() {
    let mut frames = converse(&json!({}));
    let usual = converse_span(&frames);
    frames.insert(3, event("someFutureEvent", json!({ "output": 1, "stopReason": "x", "message": "no failure" })));
    frames.insert(5, frame(&[(":message-type", "news"), (":event-type", "messageStop")], b"{\"stopReason\":\"x\"}"));
    frames.insert(7, frame(&[(":message-type", "event"), (":event-type", "metadata")], b"\xFF no JSON"));
    frames.insert(8, frame(&[], b""));
    assert_eq!(converse_span(&frames), usual);
}

#[test]
fn exceptions_fail_the_span() {
    for kind in ["throttlingException", "modelStreamErrorException", "internalServerException"] {
        let mut frames = converse(&json!({}));
        frames.truncate(7);
        frames.push(exception(kind, "Too many requests"));
        let span = converse_span(&frames);
        expect(&span, &json!({ "error.type": kind, "failed": "Too many requests", "retrace.partial": null }));
        assert_eq!(parts(&span)[1]["content"], "Hello");
    }
    let error = [(":message-type", "error"), (":error-code", "InternalError"), (":error-message", "It broke")];
    expect(&converse_span(&[frame(&error, b"")]), &json!({ "error.type": "InternalError", "failed": "It broke" }));
}

#[test]
fn streams_that_are_cut_or_damaged_are_partial() {
    let frames = converse(&json!({ "a": 1 }));
    let usual = converse_span(&frames);
    let bytes = frames.concat();
    let url = format!("{HOST}/m/converse-stream");
    let exchange = Exchange::new(&url, &json!({ "messages": [] }), "");
    let rig = Rig::new();
    for end in 1..bytes.len() {
        let span = exchange.through(&rig, &[&bytes[..end]]);
        let last = bytes.len() - frames.last().unwrap().len();
        let expected = if end == last { Json::Null } else { true.into() }; // it has the reason, and ends between frames
        assert_eq!(span["retrace.partial"], expected, "cut at {end} of {}", bytes.len());
        let mut damaged = bytes.clone();
        damaged[end] ^= 0x10;
        let span = exchange.through(&rig, &[&damaged]);
        assert_eq!(span["retrace.partial"], true, "damaged at {end}");
        let output = &span["gen_ai.output.messages"][0];
        let reason = &output["finish_reason"];
        assert!(*output == usual["gen_ai.output.messages"][0] || output.is_null() || reason == "unknown", "{output}");
    }
}

#[test]
fn streams_that_are_dropped_are_partial_until_the_reason_has_come() {
    let frames = converse(&json!({}));
    let rig = Rig::new();
    let url = format!("{HOST}/m/converse-stream");
    // The last frame has the counts, the one before it the reason.
    for (seen, partial) in [(frames.len() - 2, json!(true)), (frames.len() - 1, Json::Null), (frames.len(), Json::Null)]
    {
        let request = Request { method: "POST", url: &url, body: Some(b"{\"messages\":[]}") };
        let mut call = rig.genai.start(&request).unwrap();
        call.response(200, &http::HeaderMap::new());
        frames[..seen].iter().for_each(|frame| call.chunk(frame));
        assert_eq!(call.is_complete(), seen == frames.len());
        drop(call);
        assert_eq!(rig.one()["retrace.partial"], partial);
    }
}

/// Counts that come beside the last document of any model.
fn metrics(mut document: Json) -> Json {
    document["amazon-bedrock-invocationMetrics"] =
        json!({ "inputTokenCount": 7, "outputTokenCount": 4, "invocationLatency": 9, "firstByteLatency": 3 });
    document
}

#[test]
fn chunks_hold_the_stream_of_the_model() {
    let prompt = json!({ "prompt": "hi" });
    let nova = json!({ "schemaVersion": "messages-v1", "messages": [] });
    for (request, reason, documents) in [
        (
            json!({ "anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [] }),
            "end_turn",
            vec![
                json!({ "type": "message_start", "message": { "id": "r1", "model": "m", "content": [], "usage": { "input_tokens": 7 } } }),
                json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
                json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Hel" } }),
                json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "lo" } }),
                json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 4 } }),
                metrics(json!({ "type": "message_stop" })),
            ],
        ),
        (
            nova,
            "end_turn",
            vec![
                json!({ "messageStart": { "role": "assistant" } }),
                json!({ "contentBlockDelta": { "delta": { "text": "Hel" }, "contentBlockIndex": 0 } }),
                json!({ "contentBlockDelta": { "delta": { "text": "lo" }, "contentBlockIndex": 0 } }),
                json!({ "contentBlockStop": { "contentBlockIndex": 0 } }),
                json!({ "messageStop": { "stopReason": "end_turn" } }),
                metrics(
                    json!({ "metadata": { "usage": { "inputTokens": 7, "outputTokens": 4 }, "metrics": {}, "trace": {} } }),
                ),
            ],
        ),
        (
            prompt.clone(),
            "stop",
            vec![
                json!({ "generation": "Hel", "prompt_token_count": 7, "generation_token_count": 1, "stop_reason": null }),
                json!({ "generation": "lo", "prompt_token_count": null, "generation_token_count": 2, "stop_reason": null }),
                metrics(
                    json!({ "generation": "", "prompt_token_count": null, "generation_token_count": 4, "stop_reason": "stop" }),
                ),
            ],
        ),
        (
            prompt.clone(),
            "length",
            vec![
                json!({ "outputs": [{ "text": "Hel", "stop_reason": null }] }),
                metrics(json!({ "outputs": [{ "text": "lo", "stop_reason": "length" }] })),
            ],
        ),
        (
            json!({ "inputText": "hi" }),
            "FINISH",
            vec![
                json!({ "outputText": "Hel", "index": 0, "totalOutputTextTokenCount": null, "completionReason": null, "inputTextTokenCount": 7 }),
                metrics(
                    json!({ "outputText": "lo", "index": 0, "totalOutputTextTokenCount": 4, "completionReason": "FINISH", "inputTextTokenCount": null }),
                ),
            ],
        ),
        (
            json!({ "message": "hi" }),
            "COMPLETE",
            vec![
                json!({ "event_type": "text-generation", "is_finished": false, "text": "Hel" }),
                json!({ "event_type": "text-generation", "is_finished": false, "text": "lo" }),
                metrics(
                    json!({ "event_type": "stream-end", "is_finished": true, "finish_reason": "COMPLETE", "response": { "text": "Hello" } }),
                ),
            ],
        ),
        (
            prompt,
            "COMPLETE",
            vec![
                json!({ "index": 0, "is_finished": false, "text": "Hel" }),
                json!({ "index": 0, "is_finished": false, "text": "lo" }),
                metrics(json!({ "index": 0, "is_finished": true, "finish_reason": "COMPLETE" })),
            ],
        ),
        (
            json!({ "messages": [] }),
            "stop",
            vec![
                json!({ "choices": [{ "index": 0, "delta": { "role": "assistant", "content": "Hel" } }] }),
                metrics(json!({ "choices": [{ "index": 0, "delta": { "content": "lo" }, "finish_reason": "stop" }] })),
            ],
        ),
    ] {
        let span = invoke_span(&request, &documents);
        expect(
            &span,
            &json!({ "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 4, "gen_ai.response.finish_reasons": [reason],
                "gen_ai.request.stream": true, "retrace.partial": null, "failed": null }),
        );
        assert_eq!(parts(&span), &json!([{ "type": "text", "content": "Hello" }]), "{request}");
    }
}

#[test]
fn a_chunk_longer_than_any_name_is_read_where_no_content_is_recorded() {
    let rig = Rig::with(|builder| builder);
    let text = "x".repeat(20_000);
    let delta = json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } });
    let start =
        json!({ "type": "message_start", "padding": text, "message": { "id": "r1", "usage": { "input_tokens": 7 } } });
    let url = format!("{HOST}/m/invoke-with-response-stream");
    let exchange = Exchange::new(&url, &json!({ "anthropic_version": "b", "messages": [] }), "");
    let span = exchange.through(&rig, &[&chunk(&start), &chunk(&delta)]);
    expect(
        &span,
        &json!({ "gen_ai.response.id": "r1", "gen_ai.usage.input_tokens": 7, "gen_ai.output.messages": null }),
    );
}
