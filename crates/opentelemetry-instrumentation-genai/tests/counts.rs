//! Token counts of a stream are cumulative: a later report never lowers a count.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Exchange, expect, sse};

/// One API: where it is called, a request, and the event that reports so many input and output tokens.
struct Streamed {
    url: &'static str,
    request: Value,
    report: fn(Option<u64>, Option<u64>) -> Value,
    lines: bool,
}

fn counts(input: (&str, Option<u64>), output: (&str, Option<u64>)) -> Value {
    [input, output].into_iter().filter_map(|(name, count)| Some((name.to_owned(), json!(count?)))).collect()
}

fn apis() -> Vec<Streamed> {
    let chat = json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    let api = |url, request: &Value, report| Streamed { url, request: request.clone(), report, lines: false };
    vec![
        api(
            "https://api.anthropic.com/v1/messages",
            &json!({ "model": "m", "max_tokens": 9, "stream": true, "messages": [{ "role": "user", "content": "hi" }] }),
            |input, output| json!({ "type": "message_delta", "delta": {}, "usage": counts(("input_tokens", input), ("output_tokens", output)) }),
        ),
        api(
            "https://api.openai.com/v1/chat/completions",
            &chat,
            |input, output| json!({ "choices": [], "usage": counts(("prompt_tokens", input), ("completion_tokens", output)) }),
        ),
        api(
            "https://api.openai.com/v1/responses",
            &json!({ "model": "m", "stream": true, "input": "hi" }),
            |input, output| {
                let usage = counts(("input_tokens", input), ("output_tokens", output));
                json!({ "type": "response.in_progress", "response": { "id": "r", "object": "response", "output": [], "usage": usage } })
            },
        ),
        api(
            "https://api.openai.com/v1/completions",
            &json!({ "model": "m", "stream": true, "prompt": "hi" }),
            |input, output| json!({ "choices": [{ "index": 0, "text": "" }], "usage": counts(("prompt_tokens", input), ("completion_tokens", output)) }),
        ),
        api(
            "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse",
            &json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] }),
            |input, output| json!({ "candidates": [], "usageMetadata": counts(("promptTokenCount", input), ("candidatesTokenCount", output)) }),
        ),
        api("https://api.cohere.com/v2/chat", &chat, |input, output| {
            let tokens = counts(("input_tokens", input), ("output_tokens", output));
            json!({ "type": "message-end", "delta": { "usage": { "tokens": tokens } } })
        }),
        Streamed {
            lines: true,
            ..api("http://gpu-box:11434/api/chat", &chat, |input, output| {
                counts(("prompt_eval_count", input), ("eval_count", output))
            })
        },
        api("http://127.0.0.1:8080/generate_stream", &json!({ "inputs": "Say" }), |input, output| {
            let details = counts(("input_length", input), ("generated_tokens", output));
            json!({ "token": { "id": 7, "text": "a" }, "details": details })
        }),
    ]
}

fn span(api: &Streamed, reports: &[(Option<u64>, Option<u64>)]) -> Value {
    let events: Vec<Value> = reports.iter().map(|(input, output)| (api.report)(*input, *output)).collect();
    let body = match api.lines {
        true => events.iter().map(|event| format!("{event}\n")).collect(),
        false => sse(&events),
    };
    Exchange::new(api.url, &api.request, body).span()
}

#[test]
fn a_later_zero_erases_no_count() {
    for api in apis() {
        let found = span(&api, &[(Some(15), Some(1)), (Some(0), Some(7)), (None, Some(0))]);
        expect(&found, &json!({ "gen_ai.usage.input_tokens": 15, "gen_ai.usage.output_tokens": 7 }));
    }
}

/// As gateways translate Anthropic's streams.
#[test]
fn anthropic_ends_with_zero_input() {
    let request = json!({ "model": "claude-sonnet-4-5", "max_tokens": 64, "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    let stream = sse(&[
        json!({ "type": "message_start", "message": { "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929",
            "content": [], "stop_reason": null, "usage": { "input_tokens": 15, "cache_read_input_tokens": 4, "output_tokens": 1 } } }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "hi" } }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" },
            "usage": { "input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 7 } }),
        json!({ "type": "message_stop" }),
    ]);
    let span = Exchange::new("https://gateway.example/v1/messages", &request, stream).span();
    expect(
        &span,
        &json!({ "gen_ai.usage.input_tokens": 19, "gen_ai.usage.output_tokens": 7, "gen_ai.usage.cache_read.input_tokens": 4 }),
    );
}

/// Gateways write one count under the names of two APIs, and zero under those that are not their own.
#[test]
fn a_zero_under_another_name_is_no_count() {
    let request = json!({ "model": "m", "messages": [] });
    for usage in [
        json!({ "prompt_tokens": 15, "completion_tokens": 7, "total_tokens": 22, "input_tokens": 0, "output_tokens": 0 }),
        json!({ "prompt_tokens": 0, "completion_tokens": 0, "input_tokens": 15, "output_tokens": 7 }),
    ] {
        let answer = json!({ "choices": [], "usage": usage }).to_string();
        let span = Exchange::new("https://api.openai.com/v1/chat/completions", &request, answer).span();
        expect(&span, &json!({ "gen_ai.usage.input_tokens": 15, "gen_ai.usage.output_tokens": 7 }));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_largest_report_of_each_count_holds(
        reports in prop::collection::vec((prop::option::of(0_u64..100), prop::option::of(0_u64..100)), 1..5),
        api in 0_usize..8,
    ) {
        let found = span(&apis()[api], &reports);
        let largest = |counts: Vec<Option<u64>>| counts.into_iter().max().flatten();
        let input = largest(reports.iter().map(|(input, _)| *input).collect());
        let output = largest(reports.iter().map(|(_, output)| *output).collect());
        prop_assert_eq!(found["gen_ai.usage.input_tokens"].as_u64(), input);
        prop_assert_eq!(found["gen_ai.usage.output_tokens"].as_u64(), output);
    }
}
