//! README's table of variables is the one that the code reads.

#![allow(clippy::unwrap_used)]

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
