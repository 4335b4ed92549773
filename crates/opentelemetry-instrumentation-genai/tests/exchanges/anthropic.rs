//! Anthropic's messages.

use serde_json::{Value, json};

use super::*;

#[test]
fn counts_never_fall() {
    let span = span_of(include_str!("anthropic-delta-zero-input.json"));
    expect(&span, &json!({ "gen_ai.usage.input_tokens": 15, "gen_ai.usage.output_tokens": 7 }));
}

#[test]
fn input_of_server_tools_in_deltas() {
    let span = span_of(include_str!("anthropic-server-tool-stream.json"));
    assert_eq!(parts(&span)[0]["server_tool_call"]["input"], json!({ "query": "rome weather" }));
    let kinds: Vec<&Value> = parts(&span).as_array().unwrap().iter().map(|part| &part["type"]).collect();
    assert_eq!(kinds, ["server_tool_call", "server_tool_call_response", "text"]);
    for kind in ["mcp_tool_use", "other_tool_use"] {
        let block = json!({ "type": kind, "id": "t1", "name": "f", "input": {} });
        let delta = |text: &str| json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "input_json_delta", "partial_json": text } });
        let begin = json!({ "type": "content_block_start", "index": 0, "content_block": block });
        // Also where no event ends the block.
        for stop in [json!({ "type": "content_block_stop", "index": 0 }), json!({ "type": "ping" })] {
            let span = anthropic_stream(&[begin.clone(), delta(""), delta("{\"a\""), delta(":[1]}"), stop]);
            assert_eq!(parts(&span)[0]["server_tool_call"]["input"], json!({ "a": [1] }), "{kind}");
        }
    }
}

#[test]
fn anthropic_calls_without_arguments() {
    let block = json!({ "type": "tool_use", "id": "t1", "name": "ping", "input": {} });
    let streamed = anthropic_stream(&[
        json!({ "type": "content_block_start", "index": 0, "content_block": block }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "input_json_delta", "partial_json": "" } }),
        json!({ "type": "content_block_stop", "index": 0 }),
    ]);
    let whole = json!({ "type": "message", "content": [block], "stop_reason": "tool_use" });
    let whole = Exchange::new(ANTHROPIC, &chat_request(false), whole.to_string()).span();
    for span in [streamed, whole] {
        assert_eq!(parts(&span)[0]["arguments"], json!({}));
    }
}

#[test]
fn text_of_blocks_without_a_shape_of_their_own() {
    let span = anthropic_stream(&[
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "compaction", "content": null } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "compaction_delta", "content": "The user " } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "compaction_delta", "content": "greets." } }),
        json!({ "type": "content_block_stop", "index": 0 }),
    ]);
    assert_eq!(parts(&span), &json!([{ "type": "compaction", "content": "The user greets." }]));
}
