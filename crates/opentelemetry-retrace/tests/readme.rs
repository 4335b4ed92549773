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

/// The programs are compiled and run by the step `stranger` of `.ci/run`, and their runs are read back.
#[test]
fn every_recipe_in_the_readme_is_a_program() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../integration-tests/stranger/recipes/src/bin");
    let mut of_programs = BTreeSet::new();
    for program in fs::read_dir(programs).unwrap() {
        let source = fs::read_to_string(program.unwrap().path()).unwrap();
        for recipe in between(&source, "// README: begin", "// README: end") {
            let recipe = recipe.trim_end_matches(' ');
            of_programs.insert(dedented(recipe));
        }
    }
    let readme = between(include_str!("../../../README.md"), "```rust", "```");
    assert!(readme.len() > 7, "{readme:?}");
    assert_eq!(readme.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), of_programs);
}
