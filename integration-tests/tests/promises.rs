//! Which tests hold the numbered promises to users of such software: those that have its number in their names, `pain_NN`.

#![allow(clippy::unwrap_used)]

use std::path::Path;

/// So many promises there are.
const PROMISES: usize = 39;

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
    for number in 1..=PROMISES {
        let name = format!("pain_{number:02}_");
        let tests = functions.iter().filter(|function| function.contains(&name)).count();
        println!("P{number:02}: {tests} tests");
        assert!(tests > 0, "no test has {name} in its name");
    }
}
