//! `docs/MESSAGES.md` lists the texts that the source has.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use opentelemetry_retrace::LossReason;

const PAGE: &str = include_str!("../../../docs/MESSAGES.md");

/// All sources of the crate, with texts that span several lines joined.
fn source(dir: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &source(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all += &fs::read_to_string(path).unwrap();
        }
    }
    all
}

fn joined(text: &str) -> String {
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |all, line| all + line.trim_start())
}

/// The cells of the tables below a heading, row by row.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")).skip(1);
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

fn code(cell: &str) -> &str {
    cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).unwrap_or_else(|| panic!("{cell} is no code"))
}

#[test]
fn every_text_of_the_page_is_in_the_source() {
    let source = joined(&source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")));
    let texts = [("Errors", 0), ("Warnings", 0), ("Signals", 1), ("Functions", 0), ("Results", 0)];
    let mut found = 0;
    for (heading, column) in texts {
        for row in rows(heading) {
            let text = code(row.get(column).unwrap());
            assert!(source.contains(text), "the source does not have {text:?}");
            found += 1;
        }
    }
    assert!(found > 40, "{found}");
}

#[test]
fn every_error_of_build_is_on_the_page() {
    let errors = joined(include_str!("../src/config/error.rs"));
    let texts: Vec<String> = errors
        .split("#[error(")
        .skip(1)
        .map(|rest| {
            let text = rest.trim_start().trim_start_matches('"');
            text.split('"').next().unwrap().to_owned()
        })
        .collect();
    let listed: Vec<String> = rows("Errors").iter().map(|row| code(row.first().unwrap()).to_owned()).collect();
    assert_eq!(listed, texts);
}

#[test]
fn every_reason_for_a_loss_is_on_the_page() {
    let listed: Vec<String> = rows("Reasons").iter().map(|row| code(row.first().unwrap()).to_owned()).collect();
    assert_eq!(listed, LossReason::ALL.map(|reason| reason.as_str().to_owned()));
}
