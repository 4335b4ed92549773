//! How arguments, outputs and errors are captured.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod recorded;

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::json;

use crate::recorded::start;

#[derive(Serialize)]
struct Both {
    kept: u8,
}

impl fmt::Debug for Both {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not by Debug")
    }
}

#[derive(Debug)]
struct DebugOnly {
    #[allow(dead_code)]
    kept: u8,
}

struct Neither;

#[retrace::record(name = "means")]
fn by_its_means(both: &Both, debug: &mut DebugOnly, neither: Neither, function: fn(u8) -> u8, text: &str) -> Neither {
    let _ = (both, debug, function, text);
    neither
}

#[test]
fn by_serialize_else_debug_else_the_name() {
    let pipeline = start();
    by_its_means(&Both { kept: 1 }, &mut DebugOnly { kept: 2 }, Neither, |value| value, "{}");
    let run = pipeline.run("means");
    assert_eq!(run.input()["both"], json!({"kept": 1}));
    assert_eq!(run.input()["debug"], json!("DebugOnly { kept: 2 }"));
    assert_eq!(run.input()["neither"], json!("[record_values::Neither]"));
    assert!(run.input()["function"].is_string());
    assert_eq!(run.input()["text"], json!("{}"));
    assert_eq!(run.output(), json!("[record_values::Neither]"));
}

struct Unserialisable;

impl Serialize for Unserialisable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no form"))
    }
}

struct PanicsInSerialize;

impl Serialize for PanicsInSerialize {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("while serialising")
    }
}

struct PanicsInDebug;

impl fmt::Debug for PanicsInDebug {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("while formatting")
    }
}

struct PanicsInDisplay;

impl fmt::Display for PanicsInDisplay {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("while formatting")
    }
}

#[retrace::record(name = "unreadable")]
fn unreadable(first: Unserialisable, second: PanicsInSerialize, third: PanicsInDebug, last: u8) -> PanicsInDebug {
    let _ = (first, second, last);
    third
}

#[retrace::record(name = "unreadable expression", input = text.parse::<u8>().unwrap(), metadata(kept = 1))]
fn unreadable_expression(text: &str) -> usize {
    text.len()
}

#[retrace::record(name = "unreadable output", output = |out| out.parse::<u8>().unwrap())]
fn unreadable_output() -> &'static str {
    "text"
}

#[retrace::record(name = "unreadable error")]
fn unreadable_error() -> Result<(), PanicsInDisplay> {
    Err(PanicsInDisplay)
}

#[test]
fn what_cannot_be_read_breaks_nothing() {
    let pipeline = start();
    unreadable(Unserialisable, PanicsInSerialize, PanicsInDebug, 7);
    let run = pipeline.run("unreadable");
    let input = run.input();
    assert!(input["first"].as_str().unwrap().contains("no form"), "{input}");
    assert!(input["second"].as_str().unwrap().contains("unreadable"), "{input}");
    assert!(input["third"].as_str().unwrap().contains("unreadable"), "{input}");
    assert_eq!(input["last"], json!(7));
    assert!(run.output().as_str().unwrap().contains("unreadable"));
    assert_eq!(run.status(), "completed");

    assert_eq!(unreadable_expression("text"), 4);
    let run = pipeline.run("unreadable expression");
    assert_eq!(run.status(), "completed");
    assert!(run.input().as_str().unwrap().contains("unreadable"), "{}", run.input());

    assert_eq!(unreadable_output(), "text");
    assert_eq!(pipeline.run("unreadable output").status(), "completed");

    assert!(unreadable_error().is_err());
    assert_eq!(pipeline.run("unreadable error").status(), "failed");
}

struct OnlyDebug(&'static str);

impl fmt::Debug for OnlyDebug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[retrace::record(name = "error by its name")]
fn fails_by_name() -> Result<(), Neither> {
    Err(Neither)
}

#[retrace::record(name = "error by debug")]
fn fails_by_debug() -> Result<(), OnlyDebug> {
    Err(OnlyDebug("shown"))
}

#[retrace::record(name = "error by text")]
fn fails_by_text() -> Result<(), &'static str> {
    Err("no answer")
}

#[retrace::record(name = "error of a type parameter")]
fn fails_by<E>(error: E) -> Result<(), E> {
    Err(error)
}

#[test]
fn errors_of_any_type_are_described() {
    let pipeline = start();
    assert!(fails_by_name().is_err());
    assert!(fails_by_debug().is_err());
    assert!(fails_by_text().is_err());
    assert!(fails_by("text").is_err());
    for (name, part) in [
        ("error by its name", "Neither"),
        ("error by debug", "shown"),
        ("error by text", "no answer"),
        ("error of a type parameter", "str"),
    ] {
        let run = pipeline.run(name);
        assert!(run.error().unwrap().contains(part), "{name}: {:?}", run.error());
    }
}
