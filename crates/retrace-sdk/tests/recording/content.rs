//! Values are recorded whole, bounded, marked, or not at all.

use retrace::{Record, SpanType, VALUE_BYTES};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::support::{metadata, record, record_with, span, value};

/// Refuses to be serialized.
struct Refuses;
impl Serialize for Refuses {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("as intended"))
    }
}

/// Panics when it is serialized.
struct Panics;
impl Serialize for Panics {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("as intended")
    }
}

#[test]
fn every_value_is_read_back_as_it_was() {
    for stated in [
        json!(null),
        json!(true),
        json!(-7),
        json!(u64::MAX),
        json!(0.25),
        json!(""),
        json!("tides"),
        json!("42"),
        json!("null"),
        json!("{\"not\": an object"),
        json!("[1, 2]"),
        json!("\"quoted\""),
        json!("line\nbreak \u{0} nul".replace('\0', "")),
        json!([1, "2", [null]]),
        json!({ "a": { "b": [] }, "": 1 }),
    ] {
        let recording = record();
        retrace::run("pipeline").input(&stated).start().output(&stated).metadata("stated", &stated);
        let run = recording.run();
        assert_eq!(value(&run.input), stated);
        assert_eq!(value(&run.output), stated);
        assert_eq!(metadata(&run, "stated"), stated);
    }
}

#[test]
fn a_value_that_cannot_be_read_is_marked_and_breaks_nothing() {
    let recording = record();
    {
        let run = retrace::run("pipeline").input(Refuses).start();
        run.output(Panics).metadata("k", Panics).metadata("after", 1);
    }
    let run = recording.run();
    let input = value(&run.input);
    assert!(input.as_str().unwrap().contains("Refuses: as intended"), "{input}");
    assert_eq!(value(&run.output), json!("[unreadable: formatting panicked]"));
    assert_eq!(metadata(&run, "after"), json!(1));
}

#[test]
fn a_value_is_bounded() {
    let recording = record();
    {
        let long = "é".repeat(VALUE_BYTES);
        let run = retrace::run("pipeline").start();
        run.step("text", SpanType::Action).start().output(&long);
        run.step("list", SpanType::Action).start().output(vec![7_u64; VALUE_BYTES]);
    }
    let run = recording.run();
    let text = value(&span(&run, "text").output);
    assert!((VALUE_BYTES - 4..=VALUE_BYTES).contains(&text.as_str().unwrap().len()));
    let list = value(&span(&run, "list").output);
    assert!((VALUE_BYTES / 2 - 2..=VALUE_BYTES / 2).contains(&list.as_array().unwrap().len()));
    for name in ["text", "list"] {
        assert_eq!(value(&span(&run, name).metadata)["truncated"], json!(true), "{name}");
    }
}

#[test]
fn many_metadata_keys_crowd_nothing_out() {
    let recording = record();
    {
        let run = retrace::run("pipeline").start();
        for i in 0..500 {
            run.metadata(format!("key-{i}"), i).metadata("last", i);
        }
        run.output("there");
    }
    let run = recording.run();
    assert_eq!(value(&run.output), json!("there"));
    for i in 0..500 {
        assert_eq!(metadata(&run, &format!("key-{i}")), json!(i));
    }
    assert_eq!(metadata(&run, "last"), json!(499));
}

#[test]
fn without_content_structure_and_metadata_remain() {
    let recording = record_with(|configuration| configuration.with_capture_content(false).with_transport("http"));
    {
        let run = retrace::run("pipeline").input("secret").metadata("version", 1).start();
        run.step("search", SpanType::ToolCall).input("secret").start().output("secret").token_ids([1]);
        run.output("secret");
    }
    let run = recording.run();
    assert!(!serde_json::to_string(&run).unwrap().contains("secret"));
    assert_eq!((metadata(&run, "version"), &span(&run, "search").token_ids), (json!(1), &None));
}

#[test]
fn redaction_sees_everything() {
    let recording = record_with(|configuration| {
        configuration.with_transport("http").with_before_send(|record| match record {
            Record::Span(mut span) => {
                span.output = None;
                Some(Record::Span(span))
            }
            record => Some(record),
        })
    });
    {
        let run = retrace::run("pipeline").start();
        run.step("search", SpanType::ToolCall).start().output("secret");
    }
    assert_eq!(value(&span(&recording.run(), "search").output), Value::Null);
}

#[test]
fn a_run_may_state_its_environment() {
    let recording = record_with(|configuration| configuration.with_environment("production").with_transport("http"));
    retrace::run("first").start().end();
    retrace::run("second").metadata("environment", "staging").start().end();
    let runs = recording.runs();
    assert_eq!(metadata(&runs[0], "environment"), json!("production"));
    assert_eq!(metadata(&runs[1], "environment"), json!("staging"));
}
