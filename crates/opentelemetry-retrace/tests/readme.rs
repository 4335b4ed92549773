//! README's table of variables is the one that the code reads.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use opentelemetry_retrace::VARIABLES;

#[test]
fn the_table_in_the_readme_is_the_one_that_is_read() {
    let mut table = "| variable | sets | default | accepted |\n| --- | --- | --- | --- |\n".to_owned();
    for variable in VARIABLES {
        let row = [&format!("`{}`", variable.name), variable.meaning, variable.default, variable.accepted];
        table.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    let readme = include_str!("../../../README.md");
    assert!(readme.contains(&table), "put this table into README.md:\n\n{table}");
}

#[test]
fn the_attributes_in_the_readme_are_those_of_the_documentation() {
    let source = include_str!("../../retrace-translate/src/attributes.rs");
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! ")).filter(|row| row.starts_with("| `retrace."));
    let table =
        format!("| attribute | meaning | value |\n| --- | --- | --- |\n{}\n", rows.collect::<Vec<_>>().join("\n"));
    assert!(include_str!("../../../README.md").contains(&table), "put this table into README.md:\n\n{table}");
}

/// The text without the indentation that all its lines share.
fn dedented(text: &str) -> String {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let shared = text.lines().filter(|line| !line.is_empty()).map(indentation).min().unwrap_or_default();
    text.lines().map(|line| line.get(shared..).unwrap_or_default().to_owned() + "\n").collect()
}

/// What stands between the two texts, each time.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
    text.split(begin).skip(1).map(|rest| rest.split(end).next().unwrap().split_once('\n').unwrap().1).collect()
}

/// Sections of the programs that the step `stranger` of `.ci/run` compiles and runs, and whose runs it reads back. Lines of
/// the programs' own are left out.
fn programs(begin: &str, end: &str) -> BTreeSet<String> {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../integration-tests/stranger/recipes/src/bin");
    let mut sections = BTreeSet::new();
    for program in fs::read_dir(programs).unwrap() {
        let source = fs::read_to_string(program.unwrap().path()).unwrap();
        for section in between(&source, begin, end) {
            let lines = section.trim_end_matches(' ').lines().filter(|line| !line.contains("recipes::"));
            sections.insert(dedented(&lines.map(|line| line.to_owned() + "\n").collect::<String>()));
        }
    }
    sections
}

/// Examples of the documentation of a source file that would send if they ran, without their hidden lines.
fn examples(source: &str) -> Vec<String> {
    let documentation = source.lines().filter_map(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
        Some(line.strip_prefix(' ').unwrap_or(line).to_owned() + "\n")
    });
    let documentation: String = documentation.collect();
    let visible = |example: &str| {
        let lines = example.lines().filter(|line| !line.starts_with("# "));
        lines.map(|line| line.to_owned() + "\n").collect::<String>().trim_start_matches('\n').to_owned()
    };
    between(&documentation, "```no_run", "```").into_iter().map(visible).collect()
}

#[test]
fn every_example_that_sends_is_a_program() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files = ["exporter.rs", "install.rs", "lib.rs", "processor/mod.rs"]
        .map(|file| format!("opentelemetry-retrace/src/{file}"));
    let files = files.into_iter().chain(["retrace-sdk/src/configuration/mod.rs".to_owned()]);
    let documented: BTreeSet<String> =
        files.flat_map(|file| examples(&fs::read_to_string(crates.join(file)).unwrap())).collect();
    assert_eq!(documented, programs("// rustdoc: begin", "// rustdoc: end"));
    assert!(documented.len() > 9, "{documented:?}");
}

#[test]
fn every_recipe_in_the_readme_is_a_program() {
    let of_programs = programs("// README: begin", "// README: end");
    let readme = between(include_str!("../../../README.md"), "```rust", "```").into_iter();
    // Replays are the programs `example-fork-replay` and `example-golden-test`, which have a provider to record.
    let readme: Vec<&str> = readme.filter(|block| !block.contains("retrace::replay(")).collect();
    assert!(readme.len() > 7, "{readme:?}");
    assert_eq!(readme.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), of_programs);
}
