//! Programs of the official Python SDK whose traffic was captured, written in Rust: both runs are compared field by field.
//!
//! The capture is what the Python SDK sent, ours is what a receiver stored. Every difference is a row of
//! [`DIFFERENCES`](difference::DIFFERENCES) and of the table in the README of this crate; any other fails, and so does a row
//! that no program meets.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod difference;
mod fields;
mod official;
mod programs;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use difference::{DIFFERENCES, Difference};
use retrace::Configuration;
use support::{record_with, value};

type Program = (&'static str, fn(Configuration) -> Configuration, fn());

const PROGRAMS: [Program; 4] = [
    ("a-plain", |configuration| configuration, programs::plain),
    ("b-exception", |configuration| configuration, programs::exception),
    ("c-nested", |configuration| configuration, programs::nested),
    (
        "d-context",
        |configuration| configuration.with_project_id("proj-capture").with_environment("staging"),
        programs::context,
    ),
];

/// Runs the programs over a transport; gives the rows of the table that were met.
fn compare(transport: &str) -> BTreeSet<&'static str> {
    let mut met = BTreeSet::new();
    let mut unexpected = Vec::new();
    for (name, configure, program) in PROGRAMS {
        let recording = record_with(|configuration| configure(configuration).with_transport(transport));
        program();
        let ours =
            fields::of_runs(&recording.runs().iter().map(|run| serde_json::to_value(run).unwrap()).collect::<Vec<_>>());
        let official = fields::of_runs(&official::runs(&format!("{transport}-{name}")));
        for field in official.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
            let (python, rust) = (official.get(field), ours.get(field));
            if python == rust {
                continue;
            }
            match Difference::of(field, python, rust) {
                Some(row) => {
                    met.insert(row.field);
                }
                None => unexpected.push(format!("{name}: {field}: {python:?} in Python, {rust:?} here")),
            }
        }
    }
    assert!(unexpected.is_empty(), "{transport}:\n{}", unexpected.join("\n"));
    met
}

/// The rows of the table that a transport meets.
fn rows(transport: &str) -> BTreeSet<&'static str> {
    let fields = DIFFERENCES.iter().map(|row| row.field);
    fields.filter(|field| transport == "http" || !field.ends_with("over HTTP")).collect()
}

#[test]
fn over_http_only_documented_fields_differ() {
    assert_eq!(compare("http"), rows("http"));
}

#[test]
fn over_ws_only_documented_fields_differ() {
    assert_eq!(compare("ws"), rows("ws"));
}

#[test]
fn agents_are_those_of_the_protocol() {
    for transport in ["http", "ws"] {
        let recording = record_with(|configuration| configuration.with_transport(transport));
        programs::agents();
        let run = recording.run();
        let agents: Vec<_> = support::spans(&run)
            .iter()
            .map(|span| {
                let agent = (span.agent_id.as_deref(), span.agent_role.as_deref(), span.parent_agent_id.as_deref());
                (span.name.as_str(), agent)
            })
            .collect();
        assert_eq!(
            agents,
            [
                ("team", (None, None, None)),
                ("plan", (Some("planner"), Some("Planner"), None)),
                // The enclosing scope is the parent, whatever span is above.
                ("write", (Some("writer"), None, Some("planner"))),
                // A parent that is stated holds.
                ("review", (Some("reviewer"), Some("Reviewer"), Some("editor"))),
                // The scope follows into tasks, and ends with its block.
                ("spawned", (Some("planner"), Some("Planner"), None)),
                ("after", (None, None, None)),
            ],
            "{transport}"
        );
        // Agents do not depend on parents: `write` is below the run.
        assert_eq!(support::above(&run, "write"), Some("team"));
        assert_eq!(value(&run.output), serde_json::json!("done"));
    }
}

#[test]
fn readme_lists_every_difference() {
    let readme = include_str!("../../README.md");
    for Difference { field, python, rust, why, .. } in DIFFERENCES {
        let row = format!("| {field} | {python} | {rust} | {why} |");
        assert!(readme.contains(&row), "README.md lacks the row\n{row}");
    }
}
