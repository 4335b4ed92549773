//! Values are recorded whole, bounded, marked, or not at all.

use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::{Stream, StreamExt as _, stream};
use retrace::{Record, SpanType, VALUE_BYTES};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::block_on;
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

/// Counts how often it is serialized.
struct Counted<'a>(&'a AtomicU32);
impl Serialize for Counted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        serializer.serialize_str("secret")
    }
}

#[retrace::record(input = input, output = |out| (out, "secret"))]
fn mapped<'a>(input: &Counted<'a>) -> Counted<'a> {
    Counted(input.0)
}

#[retrace::record]
fn fallible<'a>(input: &Counted<'a>) -> Result<Counted<'a>, std::fmt::Error> {
    Ok(Counted(input.0))
}

#[retrace::record]
async fn later<'a>(input: &Counted<'a>) -> Option<Counted<'a>> {
    Some(Counted(input.0))
}

#[retrace::record]
fn failing(_input: &Counted<'_>) -> Result<(), std::fmt::Error> {
    Err(std::fmt::Error)
}

#[retrace::record(stream)]
fn items<'a>(input: &Counted<'a>) -> impl Stream<Item = Counted<'a>> {
    stream::iter([Counted(input.0), Counted(input.0)])
}

/// Records what has content: two values of each function, and of the stream one more.
fn with_content(serialized: &AtomicU32) {
    let value = Counted(serialized);
    retrace::run("pipeline").input(&value).in_scope(|run| {
        run.output(&value);
        mapped(&value);
        let _ = (fallible(&value), failing(&value));
        block_on(later(&value));
        assert_eq!(block_on(items(&value).count()), 2);
    });
}

#[test]
fn without_content_nothing_is_serialized_and_a_failure_is_one_all_the_same() {
    let serialized = AtomicU32::new(0);
    let recording = record_with(|configuration| configuration.with_capture_content(false).with_transport("http"));
    with_content(&serialized);
    let run = recording.run();
    assert_eq!(serialized.load(Ordering::Relaxed), 0);
    assert!(!serde_json::to_string(&run).unwrap().contains("secret"), "{run:#?}");
    assert_eq!(span(&run, "failing").error.as_deref(), Some("Error: an error occurred when formatting an argument"));
    for name in ["mapped", "fallible", "later", "items"] {
        let recorded = span(&run, name);
        assert_eq!((&recorded.input, &recorded.output, &recorded.error), (&None, &None, &None), "{name}");
    }

    let recording = record();
    with_content(&serialized);
    let run = recording.run();
    assert_eq!(serialized.load(Ordering::Relaxed), 12);
    assert_eq!(value(&span(&run, "mapped").output), json!(["secret", "secret"]));
    assert_eq!(value(&span(&run, "items").output), json!(["secret", "secret"]));
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
