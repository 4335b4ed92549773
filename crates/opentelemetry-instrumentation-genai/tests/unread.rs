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
