//! The table of the README against the compiled cells and the tests.

use std::fs;
use std::path::Path;

use crate::cells::CELLS;

/// A row of the table.
struct Row {
    label: String,
    rust: String,
}

impl Row {
    /// The name of its test: the label in lower case, words joined by `_`.
    fn test(&self) -> String {
        let words = self.label.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_")
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

/// The rows of the table, without its head.
fn rows() -> Vec<Row> {
    let readme = read("README.md");
    let (_, section) =
        readme.split_once("| | Python | Rust |\n| --- | --- | --- |\n").expect("README.md has the table");
    let lines = section.lines().take_while(|line| line.starts_with('|'));
    let rows = lines.map(|line| {
        let line = line.replace("\\|", "\u{1}");
        let cells: Vec<_> = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect();
        let [label, _, rust] = cells.as_slice() else { panic!("three cells: {line}") };
        Row { label: label.clone(), rust: rust.clone() }
    });
    rows.collect()
}

/// Code without what the table and the compiler write differently: blanks, line breaks and marks of code.
fn bare(code: &str) -> String {
    code.replace("<br>", "").chars().filter(|c| !c.is_whitespace() && *c != '`').collect()
}

#[test]
fn every_rust_cell_compiles() {
    let rows: Vec<(String, String)> =
        rows().iter().filter(|row| row.rust != "not there yet").map(|row| (row.test(), bare(&row.rust))).collect();
    let cells: Vec<(String, String)> = CELLS.iter().map(|(test, code)| ((*test).to_owned(), bare(code))).collect();
    for (row, cell) in rows.iter().zip(&cells) {
        assert_eq!(row, cell, "a row of README.md, and the cell of tests/parity/cells.rs");
    }
    assert_eq!(rows.len(), cells.len());
}

#[test]
fn every_row_has_a_test_of_its_name() {
    let tests = read("crates/retrace-sdk/tests/parity.rs") + &read("integration-tests/tests/parity/providers.rs");
    for row in rows() {
        let has_test = tests.contains(&format!("#[test]\nfn {}()", row.test()))
            || tests.contains(&format!("#[tokio::test]\nasync fn {}()", row.test()));
        assert_eq!(has_test, row.rust != "not there yet", "{}", row.label);
    }
}

/// The first block of a language in the README.
fn block(language: &str) -> String {
    let readme = read("README.md");
    let (_, after) = readme.split_once(&format!("```{language}\n")).expect("README.md has such a block");
    after.split_once("```").expect("the block ends").0.to_owned()
}

#[test]
fn the_first_program_is_a_doc_test() {
    let of_crate = read("crates/retrace-sdk/README.md");
    assert!(of_crate.contains(&block("rust,no_run")), "crates/retrace-sdk/README.md has the same program");
}

#[test]
fn the_stranger_depends_on_the_crate_as_the_readme_does() {
    let manifest = read("integration-tests/stranger/Cargo.toml");
    assert!(manifest.contains(&block("toml")), "{manifest}");
}
