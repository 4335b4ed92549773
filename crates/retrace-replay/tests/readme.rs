//! The tables of README have every API that the instrumentation reads.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use retrace_replay::render::Api;

/// Names of the APIs of `opentelemetry-instrumentation-genai`, from its source: what `fn name` returns.
fn instrumented() -> BTreeSet<String> {
    const NAME: &str = "fn name(&self) -> &'static str {";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../opentelemetry-instrumentation-genai/src/api");
    let mut names = BTreeSet::new();
    for file in fs::read_dir(folder).unwrap() {
        let source = fs::read_to_string(file.unwrap().path()).unwrap();
        let bodies = source.split(NAME).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
        names.extend(bodies.map(|body| body.split('"').next().unwrap().to_owned()));
    }
    names.remove("other"); // the default of the trait
    names
}

#[test]
fn every_api_is_in_the_readme() {
    let readme = include_str!("../README.md");
    let names = instrumented();
    assert!(names.len() > 25, "{names:?}");
    let missing: Vec<&String> = names.iter().filter(|name| !readme.contains(&format!("`{name}`"))).collect();
    assert!(
        missing.is_empty(),
        "add an `Api` to src/render/api.rs for {missing:?} and name it in the table of README, or state there why it is not rebuilt"
    );
}

#[test]
fn every_rebuilt_api_is_one_that_the_instrumentation_reads() {
    let names = instrumented();
    let unknown: Vec<Api> = Api::ALL.into_iter().filter(|api| !names.contains(api.name())).collect();
    assert!(unknown.is_empty(), "no API of the instrumentation has the name of {unknown:?}");
}

#[test]
fn the_readme_separates_rebuilt_apis_from_others() {
    let (rebuilt, others) = include_str!("../README.md").split_once("Not rebuilt").unwrap();
    for name in instrumented() {
        let table = if Api::by_name(&name).is_some() { rebuilt } else { others };
        assert!(table.contains(&format!("`{name}`")), "{name} is in the wrong table of README");
    }
}
