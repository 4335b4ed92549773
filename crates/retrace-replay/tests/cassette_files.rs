//! Cassette files: what is written is read, and bad files are refused with file, line and remedy.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod support;

use std::fs::{self, File};
use std::io::Cursor;

use proptest::prelude::*;
use retrace_protocol::{Json, SpanType};
use retrace_replay::cassette::{Cassette, CassetteError, CassetteProblem, Effects, Entry, Outcome, TokenCount};
use retrace_replay::{Chunk, Lane, Response};
use serde_json::json;
use support::{chat, file, model_entry, tool_entry};

fn open(bytes: &[u8]) -> Result<Cassette, CassetteError> {
    Cassette::open("golden/run.jsonl", Cursor::new(bytes.to_vec()))
}

fn run() -> Vec<u8> {
    file(vec![model_entry("", &chat("a"), "1"), tool_entry("plan", "search", &json!({"q": 1}), &json!(2))])
}

#[test]
fn a_cut_file_is_refused_wherever_it_is_cut() {
    let whole = run();
    open(&whole).unwrap();
    for end in 0..whole.len() - 1 {
        let error = open(&whole[..end]).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("cassette golden/run.jsonl, line "), "{end}: {text}");
        let header = whole.iter().position(|byte| *byte == b'\n').unwrap();
        if end > header {
            assert!(matches!(error.problem(), CassetteProblem::Cut), "{end}: {text}");
            assert!(text.contains("record it again"), "{text}");
        }
    }
}

#[test]
fn newer_versions() {
    let text = String::from_utf8(run()).unwrap();
    let newer = open(text.replace("\"1.0\"", "\"2.0\"").as_bytes()).unwrap_err();
    assert!(matches!(newer.problem(), CassetteProblem::NewerVersion(version) if version == "2.0"));
    assert!(newer.to_string().contains("update the retrace crates"), "{newer}");
    let minor = text.replace("\"1.0\"", "\"1.7\"").replace("\"ordinal\":", "\"tomorrow\":{\"a\":[1]},\"ordinal\":");
    let mut minor = open(minor.as_bytes()).unwrap();
    assert_eq!(minor.entry(1).unwrap().unwrap().name, "search");
    let typed = text.replace("\"tool_call\"", "\"handoff\"");
    assert_eq!(open(typed.as_bytes()).unwrap().index()[1].span_type, SpanType::Action);
}

#[test]
fn other_files_and_broken_lines() {
    for other in [&b""[..], b"hello\n", b"{}\n", b"{\"version\":1}\n", &[0xff, 0xfe, b'\n']] {
        let error = open(other).unwrap_err();
        assert!(matches!(error.problem(), CassetteProblem::NotACassette), "{error}");
    }
    let text = String::from_utf8(run()).unwrap();
    let broken = open(text.replacen("\"ordinal\":1", "\"ordinal\":x", 1).as_bytes()).unwrap_err();
    assert_eq!((broken.line(), matches!(broken.problem(), CassetteProblem::Malformed(_))), (Some(3), true), "{broken}");
    let count = open(text.replace("\"entries\":2", "\"entries\":3").as_bytes()).unwrap_err();
    assert!(matches!(count.problem(), CassetteProblem::Count { stated: 3, found: 2 }), "{count}");
}

#[test]
fn a_cassette_of_another_run() {
    let text = String::from_utf8(run()).unwrap().replacen("\"name\":\"run\"", "\"name\":\"run\",\"run_id\":\"a\"", 1);
    let cassette = open(text.as_bytes()).unwrap();
    cassette.expect_run("a").unwrap();
    let error = cassette.expect_run("b").unwrap_err();
    assert!(error.to_string().contains("is of run a, not of b"), "{error}");
}

#[test]
fn a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let opened = File::open(directory.path()).unwrap();
    let error = Cassette::open("golden", opened).unwrap_err();
    assert!(matches!(error.problem(), CassetteProblem::IsDirectory), "{error}");
    assert!(error.to_string().contains("is a directory; name a file inside"), "{error}");
}

#[test]
fn a_file_that_changes_while_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    fs::write(&path, run()).unwrap();
    let mut cassette = Cassette::open("run.jsonl", File::open(&path).unwrap()).unwrap();
    fs::write(&path, file(vec![model_entry("other lane", &chat("b"), "2")])).unwrap();
    let error = cassette.entry(1).unwrap_err();
    assert!(matches!(error.problem(), CassetteProblem::Changed), "{error}");
}

#[test]
fn entries_are_read_in_any_order() {
    let mut cassette = open(&run()).unwrap();
    assert_eq!(cassette.entry(1).unwrap().unwrap().lane, Lane::parse("plan"));
    assert_eq!(cassette.entry(0).unwrap().unwrap().ordinal, 0);
    assert_eq!(cassette.entry(2).unwrap(), None);
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let chunk = (
        0u64..9,
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..8),
            Just(b"data: {\"a\":1}\n\n".to_vec()),
            "\\PC{0,8}".prop_map(String::into_bytes),
        ],
    );
    let chunks = proptest::collection::vec(chunk.prop_map(|(ms, bytes)| Chunk { ms, bytes }), 0..4);
    let response = (200u16..400, proptest::collection::vec(("[a-z-]{1,5}", "\\PC{0,5}"), 0..3), 0u64..3, chunks)
        .prop_map(|(status, headers, head_ms, chunks)| Response { status, headers, head_ms, chunks, broken: None });
    let outcome = prop_oneof![
        response.prop_map(Outcome::Response),
        prop_oneof![Just("null"), Just("[1.50]"), Just("\"a\\u00e9\"")]
            .prop_map(|text| Outcome::Value(Json::parse_strict(text).unwrap())),
        "[a-z ]{0,8}".prop_map(Outcome::Error),
        Just(Outcome::NotReplayable("cut".to_owned())),
        Just(Outcome::Mark),
    ];
    let step = proptest::option::of(0u32..3);
    ("[a-z/#~ ]{0,6}", "[a-z]{1,6}", step, outcome, proptest::collection::vec(any::<u64>(), 0..3)).prop_map(
        |(lane, name, step, outcome, token_ids)| {
            let mut entry = Entry::new(SpanType::ToolCall, name, Json::parse_strict("{\"a\": [1.0]}").unwrap());
            entry.lane = Lane::root().child(&lane, 1);
            entry.step = step;
            entry.outcome = outcome;
            entry.token_ids = token_ids;
            entry.effects = Some(Effects::Idempotent);
            entry.tokens = Some(TokenCount { input: 3, output: 4 });
            entry.cost_usd = Some(0.25);
            entry.span_id = Some("s".to_owned());
            entry
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in proptest::collection::vec(any_entry(), 0..5)) {
        let mut cassette = open(&file(entries.clone())).unwrap();
        prop_assert_eq!(cassette.index().len(), entries.len());
        for (at, mut entry) in entries.into_iter().enumerate() {
            entry.ordinal = at as u64;
            prop_assert_eq!(cassette.entry(at).unwrap().unwrap(), entry);
        }
    }

    #[test]
    fn an_edited_cassette_is_read_or_refused(
        edits in proptest::collection::vec((0.0..1.0f64, prop_oneof![Just(b'"'), Just(b'{'), Just(b'\n'), any::<u8>()]), 1..4)
    ) {
        let mut bytes = run();
        for (place, byte) in edits {
            let at = (place * bytes.len() as f64) as usize;
            bytes[at] = byte;
        }
        if let Ok(mut cassette) = open(&bytes) {
            for at in 0..cassette.index().len() {
                let _ = cassette.entry(at);
            }
        }
        let _ = retrace_replay::golden::read("golden.json", bytes.as_slice());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let whole = [&run()[..], &bytes].concat();
        let _ = open(&bytes);
        let _ = open(&whole);
    }
}
