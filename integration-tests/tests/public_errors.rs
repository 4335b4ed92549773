//! Errors that a `main` may return are printed with `Debug`, so that their `Debug` is the text of their `Display`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// Names of the public types of a source that are errors.
fn public_errors(source: &str) -> Vec<&str> {
    let name = |rest: &str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().len();
    let by_impl = source.match_indices("Error for ").map(|(at, found)| &source[at + found.len()..]);
    let by_derive = source.match_indices("Error)]").filter_map(|(at, _)| {
        let rest = &source[at..];
        let item = rest.find("\npub enum ").into_iter().chain(rest.find("\npub struct ")).min()?;
        // What stands between is attributes.
        let between =
            rest[..item].lines().skip(1).all(|line| line.is_empty() || !line.starts_with(|c: char| c.is_alphabetic()));
        between.then(|| rest[item + 1..].splitn(3, ' ').nth(2)).flatten()
    });
    let mut names: Vec<&str> = by_impl.chain(by_derive).map(|rest| &rest[..name(rest)]).collect();
    let is_public = |name: &str| ["enum", "struct"].iter().any(|kind| source.contains(&format!("\npub {kind} {name}")));
    names.retain(|name| !name.is_empty() && is_public(name));
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn their_debug_is_their_display() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates");
    let mut paths = Vec::new();
    for entry in fs::read_dir(crates).unwrap() {
        sources(&entry.unwrap().path().join("src"), &mut paths);
    }
    let (mut found, mut derived) = (0, Vec::new());
    for path in paths {
        let source = fs::read_to_string(&path).unwrap();
        for name in public_errors(&source) {
            found += 1;
            let by_hand = source.split(&format!("Debug for {name} {{")).nth(1);
            let is_display =
                by_hand.is_some_and(|body| body.lines().take(3).any(|line| line.contains("Display::fmt(self, f)")));
            if !is_display {
                derived.push(format!("{name} in {}", path.display()));
            }
        }
    }
    assert!(derived.is_empty(), "{derived:#?}");
    assert!(found > 20, "{found} errors");
}
