//! Which tests hold the numbered promises to users of such software.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

/// How a promise is kept.
enum Kept {
    /// By tests that have its number in their names: `pain_NN`.
    Numbered,
    /// By the test of this name.
    By(&'static str),
}
use Kept::{By, Numbered};

/// In the order of their numbers, from 1.
const PROMISES: [Kept; 39] = [
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    By("genai_spans_and_the_root_are_sent_under_their_nearest_sent_ancestor"),
    By("a_body_that_is_dropped_after_some_chunks"),
    By("usage_wherever_it_is"),
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    Numbered,
    By("agents_sessions_and_users_are_inherited"),
    By("requests_and_responses_pass_untouched"),
    Numbered,
    Numbered,
    Numbered,
    Numbered,
];

/// All Rust sources below, without what was built.
fn sources(dir: &Path, text: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") {
                sources(&path, text);
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_promise_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut text = String::new();
    for dir in ["crates", "examples", "integration-tests"] {
        sources(&root.join(dir), &mut text);
    }
    let functions: Vec<&str> = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next()).collect();
    for (number, kept) in (1..).zip(PROMISES) {
        let name = format!("pain_{number:02}_");
        let tests = functions.iter().filter(|function| function.contains(&name)).count();
        match kept {
            Numbered => {
                println!("P{number:02}: {tests} tests");
                assert!(tests > 0, "no test has {name} in its name");
            }
            By(test) => {
                println!("P{number:02}: {test}");
                assert!(functions.contains(&test), "P{number:02}: there is no test {test}");
                assert_eq!(tests, 0, "P{number:02} has a test of its number: say so here");
            }
        }
    }
}
