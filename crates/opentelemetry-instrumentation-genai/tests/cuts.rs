//! A span does not depend on how the bytes of the response were cut, and arguments of tools are kept whole.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use opentelemetry_instrumentation_genai::Capture;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::apis::{Framing, Known, framed, known};
use support::{Exchange, Rig};

/// Names that embeddings, tokens and their alternatives have in answers, and others.
const NAMES: &str = "(values|context|bytes|embedding|embeddings|prompt_token_ids|top_logprobs|topCandidates|top_tokens|float|data|logprobs|content|x|\u{e9}{30})";

/// Arguments of a tool: objects with those names, lists of numbers, long texts and numbers, deep nesting.
fn any_arguments() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(|number: f64| Value::from(number)),
        prop::collection::vec(-9..9_i32, 1..6).prop_map(Value::from),
        "[A-Za-z0-9+/]{0,40}|[a-z\u{e9}\u{1f600}\"\\\\\n]{0,90}".prop_map(Value::from),
    ];
    let inner = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((NAMES, inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    prop::collection::vec((NAMES, inner), 1..4).prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// An instrumentation with the default limits, one with small ones, and one that records no content.
fn rigs() -> [Rig; 3] {
    let small = |builder: opentelemetry_instrumentation_genai::Builder| {
        builder.with_capture(Capture::SpanOnly).with_text_limit(48).with_attribute_limit(400)
    };
    [Rig::new(), Rig::with(small), Rig::with(|builder| builder)]
}

/// Every response of an exchange: whole, and streamed.
fn responses(known: &Known) -> [String; 3] {
    [known.whole.to_string(), serde_json::to_string_pretty(&known.whole).unwrap(), known.framed()]
}

/// Cuts every answer in two, at every position from `first` on that is so far `apart` from the one before.
fn check_splits(rig: &Rig, first: usize, apart: usize) {
    let given = json!({ "values": [1, 2], "context": [3], "bytes": [4], "embedding": "QUJD", "prompt_token_ids": [5], "top_logprobs": [{ "b": 1 }] });
    for known in known(&given) {
        for response in [known.whole.to_string(), known.framed()] {
            let exchange = Exchange::new(known.url, &known.request, response.clone());
            let whole = exchange.through(rig, &[response.as_bytes()]);
            for at in (first..=response.len()).step_by(apart) {
                let (one, other) = response.as_bytes().split_at(at);
                assert_eq!(exchange.through(rig, &[one, other]), whole, "{} cut at {at}", known.url);
            }
        }
    }
}

// Two tests share the positions, so that they run beside each other.
#[test]
fn every_split_at_an_even_position_gives_the_same_span() {
    check_splits(&rigs()[0], 0, 2);
}

#[test]
fn every_split_at_an_odd_position_gives_the_same_span() {
    check_splits(&rigs()[0], 1, 2);
}

// With other limits the splits stand apart: they are many.
#[test]
fn splits_with_small_limits_give_the_same_span() {
    check_splits(&rigs()[1], 0, 13);
}

#[test]
fn splits_without_content_give_the_same_span() {
    check_splits(&rigs()[2], 0, 17);
}

#[test]
fn arguments_of_tools_are_kept_whole() {
    let given = json!({ "values": [1, 2], "context": [3], "bytes": [4], "embedding": "QUJD", "prompt_token_ids": [5], "top_logprobs": [{ "b": 1 }] });
    let mut calls = 0;
    for known in known(&given) {
        for response in responses(&known) {
            let span = Exchange::new(known.url, &known.request, response).span();
            let parts = span["gen_ai.output.messages"][0]["parts"].as_array().cloned().unwrap_or_default();
            for part in parts.iter().filter(|part| part["type"] == "tool_call") {
                assert_eq!(part["arguments"], given, "{}", known.url);
                calls += 1;
            }
        }
    }
    assert!(calls >= 25, "{calls} calls of tools");
}

#[test]
fn what_is_nested_deep_or_named_at_length_is_cut_alike() {
    let deep = |depth: usize| format!("{}1{}", "{\"values\":[".repeat(depth), "]}".repeat(depth));
    let digits = "1234567890".repeat(12);
    for arguments in [deep(40), deep(44), deep(46), deep(60), format!("{{\"{}\":1,\"n\":{digits}}}", "k".repeat(300))] {
        let response =
            format!(r#"{{"type":"message","content":[{{"type":"tool_use","name":"f","input":{arguments}}}]}}"#);
        Exchange::new("https://api.anthropic.com/v1/messages", &json!({ "model": "m", "messages": [] }), response)
            .span();
    }
}

#[test]
fn vectors_are_counted_and_are_no_content() {
    let vector: Vec<f32> = vec![0.5; 9000];
    let text = "QUJD".repeat(4000);
    for (url, request, response, dimensions) in [
        (
            "https://api.openai.com/v1/embeddings",
            json!({ "model": "m", "input": "a" }),
            json!({ "data": [{ "embedding": vector }] }),
            9000,
        ),
        (
            "https://api.openai.com/v1/embeddings",
            json!({ "model": "m", "input": "a" }),
            json!({ "data": [{ "embedding": text }] }),
            3000,
        ),
        (
            "http://h/v1beta/models/m:embedContent",
            json!({ "content": {} }),
            json!({ "embedding": { "values": vector } }),
            9000,
        ),
        ("http://h/api/embed", json!({ "model": "m", "input": "a" }), json!({ "embeddings": [vector, vector] }), 9000),
        ("http://h/v2/embed", json!({ "texts": ["a"] }), json!({ "embeddings": { "float": [vector] } }), 9000),
        ("http://h/model/embed/invoke", json!({ "inputText": "a" }), json!({ "embedding": vector }), 9000),
    ] {
        let rig = Rig::with(|builder| {
            builder.with_capture(Capture::SpanOnly).with_text_limit(256).with_attribute_limit(1024)
        });
        let exchange = Exchange::new(url, &request, response.to_string());
        for length in [usize::MAX, 64, 1] {
            let pieces: Vec<&[u8]> = exchange.response.as_bytes().chunks(length).collect();
            let span = exchange.through(&rig, &pieces);
            support::expect(
                &span,
                &json!({ "gen_ai.embeddings.dimension.count": dimensions, "retrace.omitted_bytes": null }),
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn any_arguments_and_any_cuts_give_the_same_span(given in any_arguments(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12), limits in 0..3_usize) {
        let rig = &rigs()[limits];
        for known in known(&given) {
            for response in responses(&known) {
                same(rig, &Exchange::new(known.url, &known.request, response), &cuts);
            }
        }
    }

    #[test]
    fn any_documents_and_any_cuts_give_the_same_span(documents in prop::collection::vec(any_arguments(), 1..4), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12), limits in 0..3_usize) {
        let rig = &rigs()[limits];
        for known in known(&json!({})) {
            for framing in [Framing::Events, Framing::Lines, Framing::List] {
                same(rig, &Exchange::new(known.url, &known.request, framed(&documents, framing)), &cuts);
            }
        }
    }
}

#[cfg(feature = "bedrock")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_cuts_of_frames_give_the_same_span(given in any_arguments(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12), limits in 0..3_usize, lost in 0..99_usize, damaged in any::<prop::sample::Index>(), damage in 0..2_u8) {
        let rig = &rigs()[limits];
        let url = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/m/converse-stream";
        let exchange = Exchange::new(url, &json!({ "messages": [] }), "");
        let mut bytes = support::frames::converse(&given).concat();
        bytes.truncate(bytes.len() - lost);
        let place = damaged.index(bytes.len());
        bytes[place] ^= damage;
        same_bytes(rig, &exchange, &bytes, &cuts);
    }
}

/// The span is the same whole, at these cuts and byte by byte.
fn same(rig: &Rig, exchange: &Exchange<'_>, cuts: &[prop::sample::Index]) {
    same_bytes(rig, exchange, exchange.response.as_bytes(), cuts);
}

fn same_bytes(rig: &Rig, exchange: &Exchange<'_>, bytes: &[u8], cuts: &[prop::sample::Index]) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let whole = exchange.through(rig, &[bytes]);
    let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
    assert_eq!(exchange.through(rig, &pieces), whole, "{} at {cuts:?}", exchange.url);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(exchange.through(rig, &single), whole, "{} byte by byte", exchange.url);
}
