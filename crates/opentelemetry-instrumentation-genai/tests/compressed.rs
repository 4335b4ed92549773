//! Bodies that arrive compressed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use opentelemetry_instrumentation_genai::Request;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use support::{Exchange, Rig, expect, parts, sse};

const URL: &str = "https://api.openai.com/v1/chat/completions";

/// Each coding: the name in the head, and the body in it.
fn coded(plain: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("gzip", gzip(plain)),
        ("X-GZIP, identity", [gzip(&plain[..plain.len() / 2]), gzip(&plain[plain.len() / 2..])].concat()),
        ("deflate", {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }),
        ("deflate", {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }),
        ("br", brotli(plain)),
        ("zstd", zstd(plain)),
        ("gzip", plain.to_vec()), // a proxy has decoded it and left the head as it was
        ("identity", plain.to_vec()),
    ]
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
}

/// Blocks that are stored.
fn brotli(plain: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (place, block) in plain.chunks(65_536).enumerate() {
        let shift = u32::from(place == 0); // one bit for the window, before the first block
        let head = (u32::try_from(block.len() - 1).unwrap() << 3 | 1 << 19) << shift;
        bytes.extend(&head.to_le_bytes()[..3]);
        bytes.extend(block);
    }
    bytes.push(3);
    bytes
}

fn stream() -> String {
    sse(&[
        json!({ "id": "r1", "model": "m", "choices": [{ "index": 0, "delta": { "content": "Hel" } }] }),
        json!({ "choices": [{ "index": 0, "delta": { "content": "lo" }, "finish_reason": "stop" }] }),
        json!({ "choices": [], "usage": { "prompt_tokens": 3, "completion_tokens": 2 } }),
    ]) + "data: [DONE]\n\n"
}

fn request() -> Json {
    json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "hi" }] })
}

#[test]
fn every_coding_gives_the_span_of_the_plain_body_for_every_cut() {
    let rig = Rig::new();
    let whole =
        json!({ "id": "r1", "choices": [{ "index": 0, "message": { "content": "Hello" }, "finish_reason": "stop" }] });
    for plain in [stream(), whole.to_string()] {
        let usual = Exchange::new(URL, &request(), "").through(&rig, &[plain.as_bytes()]);
        assert_eq!(parts(&usual)[0]["content"], "Hello");
        for (coding, bytes) in coded(plain.as_bytes()) {
            let exchange = Exchange::new(URL, &request(), "").header("content-encoding", coding);
            assert_eq!(exchange.through(&rig, &[&bytes]), usual, "{coding}");
            for place in 0..=bytes.len() {
                let (one, other) = bytes.split_at(place);
                assert_eq!(exchange.through(&rig, &[one, other]), usual, "{coding} cut at {place}");
            }
        }
    }
}

#[test]
fn a_body_that_breaks_off_is_partial() {
    let rig = Rig::new();
    for (coding, bytes) in coded(stream().as_bytes()).into_iter().take(6) {
        let exchange = Exchange::new(URL, &request(), "").header("content-encoding", coding);
        for lost in [1, 9, bytes.len() / 2] {
            let span = exchange.through(&rig, &[&bytes[..bytes.len() - lost]]);
            assert_eq!(span["retrace.partial"], true, "{coding} without {lost}");
        }
        let mut damaged = bytes.clone();
        damaged.iter_mut().skip(20).for_each(|byte| *byte = !*byte);
        exchange.through(&rig, &[&damaged]);
    }
}

#[test]
fn what_has_arrived_is_read_before_the_body_ends() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(stream().as_bytes()).unwrap();
    encoder.flush().unwrap();
    let rig = Rig::new();
    let body = request().to_string();
    let request = Request { method: "POST", url: URL, body: Some(body.as_bytes()) };
    let mut call = rig.genai.start(&request).unwrap();
    let mut headers = http::HeaderMap::new();
    headers.insert("content-encoding", "gzip".parse().unwrap());
    call.response(200, &headers);
    call.chunk(encoder.get_ref());
    assert!(call.is_complete());
    drop(call);
    expect(&rig.one(), &json!({ "retrace.partial": null, "gen_ai.usage.input_tokens": 3 }));
}

#[test]
fn a_small_body_that_becomes_a_huge_one_is_read_up_to_the_bound() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(b"data: {\"id\":\"r1\",\"choices\":[]}\n\ndata: {\"x\":\"").unwrap();
    let block = vec![b'a'; 1 << 20];
    (0..40).for_each(|_| encoder.write_all(&block).unwrap());
    encoder.write_all(b"\"}\n\ndata: {\"usage\":{\"prompt_tokens\":3}}\n\ndata: [DONE]\n\n").unwrap();
    let bytes = encoder.finish().unwrap();
    let exchange = Exchange::new(URL, &request(), "").header("content-encoding", "gzip");
    let span = exchange.through(&Rig::new(), &[&bytes]);
    let expected = json!({ "gen_ai.response.id": "r1", "gen_ai.usage.input_tokens": null, "retrace.partial": true });
    expect(&span, &expected);
}

#[test]
fn requests_that_are_compressed_are_read() {
    let rig = Rig::new();
    let plain = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] }).to_string();
    let span = |body: &[u8]| {
        rig.genai.start(&Request { method: "POST", url: URL, body: Some(body) }).expect("a model call").end();
        rig.one()
    };
    let usual = span(plain.as_bytes());
    assert_eq!(usual["gen_ai.input.messages"][0]["parts"][0]["content"], "hi");
    assert_eq!(span(&gzip(plain.as_bytes())), usual);
    assert_eq!(span(&zstd(plain.as_bytes())), usual);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_cuts_of_a_coded_body_give_the_same_span(text in "[a-z\u{e9}]{0,900}", cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9), which in 0..8_usize) {
        let rig = Rig::new();
        let plain = json!({ "id": "r1", "choices": [{ "index": 0, "message": { "content": text.repeat(60) }, "finish_reason": "stop" }] }).to_string();
        let usual = Exchange::new(URL, &request(), "").through(&rig, &[plain.as_bytes()]);
        let (coding, bytes) = coded(plain.as_bytes()).remove(which);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        let exchange = Exchange::new(URL, &request(), "").header("content-encoding", coding);
        prop_assert_eq!(exchange.through(&rig, &pieces), usual);
    }

    #[test]
    fn damaged_bodies_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), place in any::<prop::sample::Index>(), which in 0..6_usize) {
        let rig = Rig::new();
        let (coding, mut coded) = coded(stream().as_bytes()).remove(which);
        let place = place.index(coded.len());
        coded.splice(place..place, bytes);
        Exchange::new(URL, &request(), "").header("content-encoding", coding).through(&rig, &[&coded]);
    }
}
