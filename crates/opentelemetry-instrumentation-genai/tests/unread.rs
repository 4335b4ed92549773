//! Bodies that are passed through unread, and marked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::json;
use support::{Exchange, Rig, expect};

#[test]
fn frames_that_no_feature_reads_are_marked() {
    let url = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/m/converse-stream";
    let exchange = Exchange::new(url, &json!({ "messages": [] }), "");
    let bytes = support::frames::converse(&json!({})).concat();
    let unread = (!cfg!(feature = "bedrock")).then_some("application/vnd.amazon.eventstream");
    for pieces in [vec![&*bytes], bytes.chunks(1).collect()] {
        let span = exchange.through(&Rig::new(), &pieces);
        expect(&span, &json!({ "retrace.unread_body": unread, "retrace.partial": null }));
    }
}

#[test]
fn codings_that_are_not_known_are_marked() {
    let request = json!({ "model": "m", "messages": [] });
    let answer = "{\"id\":\"r1\"}";
    let gzip = (!cfg!(feature = "decompress")).then_some("gzip");
    let several = Some("gzip, br");
    for (coding, expected) in
        [("compress", Some("compress")), ("gzip, br", several), ("GZIP", gzip), ("identity", None)]
    {
        let exchange = Exchange::new("https://api.openai.com/v1/chat/completions", &request, answer);
        let span = exchange.header("content-encoding", coding).span();
        expect(&span, &json!({ "retrace.unread_body": expected, "retrace.partial": null }));
        assert_eq!(span["gen_ai.response.id"] == "r1", expected.is_none(), "{coding}");
    }
}

#[cfg(not(feature = "decompress"))]
#[test]
fn requests_that_no_feature_reads_are_marked_where_the_host_is_known() {
    use opentelemetry_instrumentation_genai::Request;

    let rig = Rig::new();
    let body = Some(&b"\x1F\x8B\x08\0"[..]);
    let url = "https://api.openai.com/v1/chat/completions";
    rig.genai.start(&Request { method: "POST", url, body }).unwrap().end();
    expect(&rig.one(), &json!({ "retrace.unread_request_body": "gzip" }));
    assert!(rig.genai.start(&Request { method: "POST", url: "http://h/chat/completions", body }).is_none());
}
